//! Reads a configuration file and returns a checked `Config` or all its problems; the only code that reads it.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::{
    Config, check, hide,
    problem::{Problem, Problems},
    section::Report,
    syntax::Syntax,
};

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads and checks a TOML file of at most 1 MiB. Paths in it start at its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it, not only the first problem.
    pub fn load(path: &Path) -> Result<Config, Problems> {
        Config::load_with_warnings(path).map(|(config, _)| config)
    }

    /// Like [`Config::load`], and returns what works but will not in the next version, such as an old name of a key.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with_warnings(path: &Path) -> Result<(Config, Option<Problems>), Problems> {
        match read(path) {
            Ok(text) => Config::parse_with_warnings(&text, path),
            Err(problem) => Err(Problems::new(path, String::new(), vec![problem])),
        }
    }

    /// Checks the text of a TOML file. `file_name` appears in problems; relative paths start at its folder. The file
    /// itself is not read, but the files of plugins must exist.
    ///
    /// # Errors
    /// Everything that is wrong with it, not only the first problem.
    pub fn parse(text: &str, file_name: &Path) -> Result<Config, Problems> {
        Config::parse_with_warnings(text, file_name).map(|(config, _)| config)
    }

    /// Like [`Config::parse`], and returns what works but will not in the next version.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse_with_warnings(text: &str, file_name: &Path) -> Result<(Config, Option<Problems>), Problems> {
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(Problems::new(file_name, String::new(), vec![too_large()]));
        }
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let syntax = Syntax::read(text);
        let document = syntax.document();
        let folder = file_name.parent().unwrap_or(Path::new(""));
        let mut report = Report { torn: syntax.torn, ..Report::new(text, folder) };
        let config = check::check(&mut report, &document);
        let follows = |problem: &Problem| problem.start().is_some_and(|at| syntax.is_torn(at));
        report.problems.retain(|problem| !follows(problem));
        let mut problems = report.problems;
        problems.extend_from_slice(&syntax.problems);
        if !problems.is_empty() {
            return Err(Problems::new(file_name, hide::secrets(text, &document), problems));
        }
        let warnings = (!report.warnings.is_empty())
            .then(|| Problems::warnings(file_name, hide::secrets(text, &document), report.warnings));
        Ok((config, warnings))
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
        Problem::new(format!("the file is not UTF-8: byte 0x{:02x} in line {line}", error.as_bytes()[good]))
            .help("save it as UTF-8 text")
    })
}

fn unreadable(error: &io::Error) -> Problem {
    match error.kind() {
        ErrorKind::NotFound => Problem::new("there is no such file")
            .help("name a configuration file; `rialto config --minimal > rialto.toml` writes one"),
        ErrorKind::PermissionDenied => Problem::new("the file may not be read").help("check its owner and mode"),
        ErrorKind::IsADirectory => {
            Problem::new("this is a folder").help("name the file in it, like config/rialto.toml")
        }
        _ => Problem::new(format!("the file cannot be read: {error}")),
    }
}

fn too_large() -> Problem {
    Problem::new("the file is larger than 1 MiB").help("this does not look like a configuration of the broker")
}
