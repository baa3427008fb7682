//! A JWK set (RFC 7517) in a file: public keys that an identity provider publishes and replaces from time to time.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::keys::VerifyingKey;
use crate::file_version::FileVersion;

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most keys of a file.
const KEYS_MAX: usize = 100;

/// The file and the keys that were read from it last.
#[derive(Clone, Debug)]
pub(crate) struct JwkFile {
    path: PathBuf,
    read: Option<FileVersion>,
    keys: Vec<VerifyingKey>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

impl JwkFile {
    /// Reads the file. Where it cannot be read, the keys of the same file before stay in force.
    pub(crate) fn open(path: &Path, before: Option<&JwkFile>) -> Self {
        let version = FileVersion::of(path);
        let keys = read(path).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "the JWK set cannot be read: its keys stay as they were");
            before.filter(|before| before.path == path).map(|before| before.keys.clone()).unwrap_or_default()
        });
        Self { path: path.to_owned(), read: version, keys }
    }

    /// The keys in force.
    pub(crate) fn keys(&self) -> Vec<VerifyingKey> {
        self.keys.clone()
    }

    /// Whether the file has changed since it was read.
    pub(crate) fn is_changed(&self) -> bool {
        FileVersion::of(&self.path) != self.read
    }
}

/// Reads the keys of a file; those of other kinds are left out and logged.
///
/// # Errors
/// A sentence, where the file is no JWK set.
pub(crate) fn read(path: &Path) -> Result<Vec<VerifyingKey>, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err("it is larger than 1 MiB".to_owned());
    }
    // The error's own text may repeat what is in the file, which may be a secret.
    let place = |error: serde_json::Error| format!("line {} column {}", error.line(), error.column());
    let set: JwkSet = serde_json::from_slice(&text).map_err(|error| format!("it is no JWK set: {}", place(error)))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("it has {} keys, and {KEYS_MAX} are the most", set.keys.len()));
    }
    let mut keys = Vec::new();
    for (index, value) in set.keys.into_iter().enumerate() {
        match key(value) {
            Ok(key) => keys.push(key),
            Err(reason) => {
                tracing::warn!(path = %path.display(), key = index + 1, reason, "a key of the JWK set is left out");
            }
        }
    }
    Ok(keys)
}

fn key(value: Value) -> Result<VerifyingKey, &'static str> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "it is no JSON Web Key")?;
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return Err("it is not for signatures");
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::OctetKey(_) => return Err("secrets belong into `[[auth.key]]`"),
        _ => return Err("its type or curve is not supported"),
    };
    if jwk.common.key_algorithm.is_some_and(|named| named != KeyAlgorithm::from(algorithm)) {
        return Err("its algorithm is not RS256, ES256 or EdDSA");
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| "its parameters are not base64url")?;
    let id = jwk.common.key_id.map(Into::into);
    Ok(VerifyingKey { id, algorithm, key })
}
