//! The cache of compiled components: a folder of sealed files, so that a start need not compile. A file that is missing,
//! damaged or changed costs a compilation, never more.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;

use super::artifact::{Artifact, Broken, SealKey};

/// The most bytes of all artifacts together; beyond it the least recently used are removed.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// The most bytes of one file that is read.
const FILE_BYTES_MAX: u64 = 1 << 29;

/// The format of the files and the version of the broker: part of every artifact's name.
const FORM: &str = concat!("1 ", env!("CARGO_PKG_VERSION"));

const KEY_FILE: &str = "key";
const ENDING: &str = ".artefact";
const ASIDE_ENDING: &str = ".new";

/// An unfinished file is removed after this time.
const ASIDE_AGE: Duration = Duration::from_secs(3_600);

/// Permission bits that let other users change a file or folder, or read it.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS_ANY: u32 = 0o077;

/// Why the cache cannot be used. The broker works without one.
#[derive(Debug, thiserror::Error)]
pub(in crate::plugin) enum CacheError {
    /// An I/O error.
    #[error("{path}: {reason}", path = path.display())]
    Io { path: PathBuf, reason: io::Error },
    /// Another user could place code there.
    #[error("{path}: {what}; only its owner, who must run the broker, may write to it", path = path.display())]
    Exposed { path: PathBuf, what: &'static str },
}

/// A folder of artifacts.
pub(in crate::plugin) struct Cache {
    folder: PathBuf,
    key: SealKey,
    bytes_max: u64,
}

impl Cache {
    /// Opens a folder, and creates it when it does not exist.
    ///
    /// # Errors
    /// When it cannot be created, or another user owns it or may write to it.
    pub(in crate::plugin) fn open(folder: &Path) -> Result<Self, CacheError> {
        let failed = |reason| CacheError::Io { path: folder.to_owned(), reason };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        // The resolved path, so that the folder that was checked is the one that is used.
        let folder = &folder.canonicalize().map_err(failed)?;
        let about = fs::symlink_metadata(folder).map_err(failed)?;
        let exposed = |what| CacheError::Exposed { path: folder.clone(), what };
        if about.uid() != rustix::process::geteuid().as_raw() {
            return Err(exposed("it belongs to another user"));
        }
        if about.mode() & OTHERS_WRITE != 0 {
            return Err(exposed("others may write to it"));
        }
        let key = read_or_make_key(folder).map_err(failed)?;
        Ok(Self { folder: folder.clone(), key, bytes_max: CACHE_BYTES_MAX })
    }

    /// The name of a component's artifact: a hash of the component, the engine and all its settings.
    pub(in crate::plugin) fn name(engine: &Engine, component_hash: &str) -> String {
        let mut digest = Digest(blake3::Hasher::new());
        (FORM, component_hash).hash(&mut digest);
        engine.precompile_compatibility_hash().hash(&mut digest);
        digest.0.finalize().to_hex().to_string()
    }

    /// The artifact of this name. One that was changed is logged and removed.
    pub(in crate::plugin) fn get(&self, name: &str) -> Option<Artifact> {
        let path = self.path(name);
        let bytes = match read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled plugin cannot be read: it is compiled again");
                return None;
            }
        };
        match Artifact::open(bytes, name, &self.key) {
            Ok(artifact) => Some(artifact),
            Err(Broken) => {
                self.give_up(name, &Broken);
                None
            }
        }
    }

    /// Removes an artifact that cannot be used, and logs why.
    pub(in crate::plugin) fn give_up(&self, name: &str, why: &dyn std::fmt::Display) {
        let path = self.path(name);
        tracing::warn!(path = %path.display(), %why, "a compiled plugin is not used: it is removed and compiled again");
        let _ = fs::remove_file(&path);
    }

    /// Stores an artifact, and removes the least recently used ones beyond the cache's size.
    pub(in crate::plugin) fn put(&self, name: &str, artifact: &mut Artifact) {
        let path = self.path(name);
        let bytes = artifact.sealed(name, &self.key);
        if bytes.len() as u64 > self.bytes_max.min(FILE_BYTES_MAX) {
            return;
        }
        if let Err(error) = write_whole(&path, bytes) {
            tracing::warn!(path = %path.display(), %error, "a compiled plugin cannot be cached: the next start compiles it again");
        }
        self.make_room(name);
    }

    /// Marks an artifact as used.
    pub(in crate::plugin) fn touch(&self, name: &str) {
        // A failure affects only the order of eviction.
        let _ = File::open(self.path(name)).and_then(|file| file.set_modified(SystemTime::now()));
    }

    fn make_room(&self, keep: &str) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let (Ok(about), Some(name)) = (entry.metadata(), name.to_str()) else { continue };
            let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if name.ends_with(ASIDE_ENDING) && used.elapsed().is_ok_and(|age| age > ASIDE_AGE) {
                let _ = fs::remove_file(path);
            } else if name.strip_suffix(ENDING).is_some_and(|name| name != keep) {
                found.push((used, about.len(), path));
            }
        }
        found.sort();
        let kept = fs::metadata(self.path(keep)).map_or(0, |about| about.len());
        let mut total = kept + found.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        for (_, bytes, path) in found {
            if total <= self.bytes_max {
                return;
            }
            let _ = fs::remove_file(path);
            total -= bytes;
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{ENDING}"))
    }
}

/// Reads a file of at most `bytes_max` bytes.
fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    if size > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has {size} bytes")));
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file atomically: readers see all of it or nothing. A file that a crash cut off fails its seal.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = aside(path)?;
    let written = private(&aside).and_then(|mut file| file.write_all(bytes)).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

/// The key of the folder, created when it is opened first.
fn read_or_make_key(folder: &Path) -> io::Result<SealKey> {
    let path = folder.join(KEY_FILE);
    loop {
        match read_key(&path)? {
            Some(key) => return Ok(key),
            None => make_key(&path)?,
        }
    }
}

/// The key, unless there is none or other users could read it.
fn read_key(path: &Path) -> io::Result<Option<SealKey>> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let private = about.is_file() && about.mode() & OTHERS_ANY == 0;
    let own = about.uid() == rustix::process::geteuid().as_raw();
    let bytes = if private && own { read(path, 1_024)? } else { Vec::new() };
    match bytes.try_into() {
        Ok(key) => Ok(Some(SealKey(key))),
        Err(_) => {
            tracing::warn!(path = %path.display(), "the key of the cache of compiled plugins is damaged or readable by others: it is replaced");
            fs::remove_file(path)?;
            Ok(None)
        }
    }
}

/// Creates a key, unless another process has just done so.
fn make_key(path: &Path) -> io::Result<()> {
    let mut key = [0; blake3::KEY_LEN];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let aside = aside(path)?;
    let made = private(&aside).and_then(|mut file| file.write_all(&key)).and_then(|()| fs::hard_link(&aside, path));
    let _ = fs::remove_file(&aside);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A unique temporary path beside a file.
fn aside(path: &Path) -> io::Result<PathBuf> {
    let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(path.with_added_extension(format!("{random:016x}{ASIDE_ENDING}")))
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Hashes names of artifacts: stable across processes, unlike the hashers of maps.
struct Digest(blake3::Hasher);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    fn artifact(fill: u8, bytes: usize) -> Artifact {
        Artifact::compiled(&vec![fill; bytes])
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_kept_comes_back_and_to_the_owner_only() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("a/b");
        Cache::open(&folder).expect("made").put("one", &mut artifact(1, 1_000));
        let again = Cache::open(&folder).expect("it is there");
        assert!(again.get("one").is_some() && again.get("two").is_none());
        assert_eq!(names(&folder), ["key", "one.artefact"]);
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!([mode(&folder.join("key")), mode(&folder.join("one.artefact"))], [0o600; 2]);
    }

    #[test]
    fn what_was_changed_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("it is ours");
        cache.put("one", &mut artifact(1, 1_000));
        let path = folder.path().join("one.artefact");
        fs::copy(&path, folder.path().join("two.artefact")).expect("a copy");
        assert!(cache.get("two").is_none(), "it was sealed under another name");
        let mut bytes = fs::read(&path).expect("readable");
        bytes[500] ^= 4;
        fs::write(&path, bytes).expect("writable");
        assert!(cache.get("one").is_none());
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for mode in [0o777, 0o770, 0o702] {
            set_mode(folder.path(), mode);
            assert!(matches!(Cache::open(folder.path()), Err(CacheError::Exposed { .. })), "{mode:o}");
        }
        set_mode(folder.path(), 0o755);
        assert!(Cache::open(folder.path()).is_ok());
    }

    #[test]
    fn a_key_that_others_could_read_is_made_anew_and_what_it_sealed_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key");
        let keep = || Cache::open(folder.path()).expect("it is ours").put("one", &mut artifact(1, 10));
        let kept = || Cache::open(folder.path()).expect("it is ours").get("one").is_some();
        keep();
        set_mode(&key, 0o644);
        assert!(!kept());
        keep();
        fs::write(&key, b"short").expect("writable");
        assert!(!kept());
        keep();
        assert!(kept());
    }

    #[test]
    fn the_cache_has_a_bound_and_what_was_used_longest_ago_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut cache = Cache::open(folder.path()).expect("it is ours");
        cache.bytes_max = 3_500;
        let age = |name: &str, seconds: u64| {
            let file = File::open(folder.path().join(format!("{name}.artefact"))).expect("it is there");
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("it is ours");
        };
        for (name, seconds) in [("a", 300), ("b", 200), ("c", 100)] {
            cache.put(name, &mut artifact(0, 1_000));
            age(name, seconds);
        }
        cache.touch("a");
        cache.put("d", &mut artifact(0, 1_000));
        assert_eq!(names(folder.path()), ["a.artefact", "c.artefact", "d.artefact", "key"]);
        cache.put("e", &mut artifact(0, 4_000));
        assert!(cache.get("e").is_none(), "larger than the whole cache");
    }
}
