//! Artifacts: machine code of components, and the only place that loads it. Only code that our own compiler has just
//! produced, or that carries the seal of our own cache, is loaded.
#![allow(
    unsafe_code,
    reason = "the engine takes machine code on trust only by an unsafe call; no other module of the broker is unsafe"
)]

use wasmtime::component::Component;
use wasmtime::{Engine, Result};

/// The first bytes of a sealed artifact.
const MARK: &[u8; 8] = b"rialto\x01\n";

/// The bytes before the machine code: the mark and the seal.
const HEAD_BYTES: usize = MARK.len() + blake3::OUT_LEN;

/// The secret key of the seals: a keyed hash that nobody without the key can forge.
#[derive(Clone)]
pub(in crate::plugin) struct SealKey(pub(in crate::plugin) [u8; blake3::KEY_LEN]);

/// Trusted machine code, behind space for its mark and seal.
pub(in crate::plugin) struct Artifact(Vec<u8>);

/// The bytes are not what was sealed under this name with this key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not what was written")]
pub(in crate::plugin) struct Broken;

impl Artifact {
    /// The output of the compiler, in this process or in its child.
    pub(in crate::plugin) fn compiled(code: &[u8]) -> Self {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes.extend_from_slice(code);
        Self(bytes)
    }

    /// Opens the bytes of [`Artifact::sealed`] if every bit is unchanged.
    ///
    /// # Errors
    /// When a bit was changed, or the name or the key is another one.
    pub(in crate::plugin) fn open(bytes: Vec<u8>, name: &str, key: &SealKey) -> Result<Self, Broken> {
        let (head, code) = bytes.split_at_checked(HEAD_BYTES).ok_or(Broken)?;
        let (mark, written) = head.split_at(MARK.len());
        let written: [u8; blake3::OUT_LEN] = written.try_into().map_err(|_| Broken)?;
        // Hashes are compared in constant time.
        if mark != MARK || seal(code, name, key) != blake3::Hash::from_bytes(written) {
            return Err(Broken);
        }
        Ok(Self(bytes))
    }

    /// The bytes to store under this name.
    pub(in crate::plugin) fn sealed(&mut self, name: &str, key: &SealKey) -> &[u8] {
        let seal = seal(self.code(), name, key);
        self.0[..MARK.len()].copy_from_slice(MARK);
        self.0[MARK.len()..HEAD_BYTES].copy_from_slice(seal.as_bytes());
        &self.0
    }

    /// Loads the component.
    ///
    /// # Errors
    /// When it was compiled by another version of the engine or with other settings.
    pub(in crate::plugin) fn component(&self, engine: &Engine) -> Result<Component> {
        // SAFETY: the bytes come from `Engine::precompile_component` (`compiled`), or have been found unchanged since then
        // by a hash that only holders of our key can make (`open`). The engine itself checks version and settings.
        unsafe { Component::deserialize(engine, self.code()) }
    }

    fn code(&self) -> &[u8] {
        &self.0[HEAD_BYTES..]
    }
}

fn seal(code: &[u8], name: &str, key: &SealKey) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(MARK).update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(code);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_these_bytes_this_name_and_this_key_only() {
        let (key, other) = (SealKey([1; 32]), SealKey([2; 32]));
        let sealed = Artifact::compiled(b"some code").sealed("name", &key).to_vec();
        let opens = |bytes: &[u8], name: &str, key: &SealKey| Artifact::open(bytes.to_vec(), name, key).is_ok();
        assert!(opens(&sealed, "name", &key));
        assert!(!opens(&sealed, "other", &key));
        assert!(!opens(&sealed, "name", &other));
        for place in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[place] ^= 1;
            assert!(!opens(&flipped, "name", &key), "byte {place}");
            assert!(!opens(&sealed[..place], "name", &key), "cut at {place}");
        }
        assert!(!opens(&[sealed.as_slice(), b"x"].concat(), "name", &key));
    }
}
