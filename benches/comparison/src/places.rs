//! Where programs are looked for: in `PATH`, then among what `benches/run` has installed. It runs them only to hear
//! their version.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian keeps servers, in `PATH` or not.
const SERVER_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Folders with programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Those of `PATH`, and those where systems keep servers.
    pub path: Vec<PathBuf>,
    /// `target/peers`, where `benches/run` installs.
    pub peers: PathBuf,
}

/// A program and what it needs to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file.
    pub file: PathBuf,
    /// Variables it needs.
    pub environment: Vec<(OsString, OsString)>,
}

impl Places {
    /// The folders of this process's `PATH`, and `peers`.
    pub fn new(peers: PathBuf) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path).chain(SERVER_FOLDERS.map(PathBuf::from)).collect();
        Self { path, peers }
    }

    /// A program of the system.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        self.path.iter().map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    /// A file under the installed peers.
    pub fn installed(&self, below: &str) -> Option<PathBuf> {
        Some(self.peers.join(below)).filter(|file| file.is_file())
    }

    /// A server of the system, or the same as [`Self::unpacked`].
    pub fn server(&self, name: &str) -> Option<Program> {
        let system = self.program(name).map(|file| Program { file, environment: Vec::new() });
        system.or_else(|| self.unpacked(name))
    }

    /// A server out of one of Debian's packages that was unpacked under the installed peers.
    pub fn unpacked(&self, name: &str) -> Option<Program> {
        let file = self.installed(&format!("debian/usr/sbin/{name}"))?;
        Some(Program { file, environment: vec![("LD_LIBRARY_PATH".into(), self.unpacked_libraries())] })
    }

    /// The version of one of Debian's packages: as unpacked, else as installed.
    pub fn debian_version(&self, package: &str) -> Option<String> {
        let unpacked = std::fs::read_to_string(self.peers.join("debian/versions")).unwrap_or_default();
        let version = unpacked.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix(' '));
        let query = || {
            let program = Program { file: "dpkg-query".into(), environment: Vec::new() };
            program.says(&["--show", "--showformat=${Version}", package])
        };
        version.map(str::to_owned).or_else(query)
    }

    fn unpacked_libraries(&self) -> OsString {
        let entries = std::fs::read_dir(self.peers.join("debian/usr/lib")).into_iter().flatten().flatten();
        let folders = entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with("-linux-gnu"));
        std::env::join_paths(folders).unwrap_or_default()
    }
}

impl Program {
    /// The first line that the program prints when it is told `arguments`, be it as an error; none if there is none.
    pub fn says(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(&self.file);
        command.args(arguments).envs(self.environment.iter().cloned()).stdin(Stdio::null());
        let output = command.output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let line = String::from_utf8_lossy(&said).lines().next()?.trim().to_owned();
        Some(line).filter(|line| !line.is_empty())
    }

    /// The last word of that line that begins like a version, without a leading `v`.
    pub fn version(&self, arguments: &[&str]) -> Option<String> {
        version_in(&self.says(arguments)?)
    }
}

/// `path` as text for a configuration file.
pub fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

fn version_in(line: &str) -> Option<String> {
    let words = line.rsplit(|letter: char| letter.is_whitespace() || letter == '/');
    let mut versions = words.map(|word| word.trim_start_matches('v'));
    versions
        .find(|word| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_program_output() {
        let cases = [
            ("nats-server: v2.15.1", Some("2.15.1")),
            ("nginx version: nginx/1.22.1", Some("1.22.1")),
            ("mosquitto version 2.0.11", Some("2.0.11")),
            ("v20.20.2", Some("20.20.2")),
            ("no such option", None),
        ];
        for (line, version) in cases {
            assert_eq!(version_in(line).as_deref(), version, "{line}");
        }
    }

    #[test]
    fn peers_are_looked_up_in_the_path_first() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let below = folder.path().join("debian/usr/sbin");
        std::fs::create_dir_all(&below).expect("folders can be made");
        std::fs::create_dir_all(folder.path().join("debian/usr/lib/z80-linux-gnu")).expect("folders can be made");
        std::fs::write(below.join("nginx"), "").expect("a file can be written");
        std::fs::write(folder.path().join("debian/versions"), "nginx-common 1\nnginx 1.22.1-9\n").expect("as above");
        let places = Places { path: vec!["/nowhere".into()], peers: folder.path().to_owned() };
        let found = places.server("nginx").expect("it was unpacked");
        assert_eq!(found.file, below.join("nginx"));
        assert!(found.environment[0].1.to_string_lossy().ends_with("/z80-linux-gnu"), "{found:?}");
        assert_eq!(places.debian_version("nginx").as_deref(), Some("1.22.1-9"));
        assert_eq!(places.server("mosquitto"), None);
    }
}
