//! A recording as a file: JSON Lines, the header first.

use super::event::Step;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;

/// The version of the format.
const FORMAT: u32 = 1;

/// Which plugin was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub rialto_recording: u32,
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// What the component calls itself.
    pub package: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component; empty for a native plugin.
    pub hash: String,
    /// The component's file.
    pub component: String,
    /// Whether the recording has every event since the instance started. Without that, what the instance kept in memory may
    /// be missing.
    pub complete: bool,
}

/// What an instance did.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Which plugin it is.
    pub header: Header,
    /// Its events in order; the first is `start`.
    pub steps: Vec<Step>,
}

/// A file that is no recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A line is not what it has to be.
    #[error("line {line} is not part of a recording: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It is a recording of another version of the format.
    #[error("this is format {0} of a recording, not {FORMAT}")]
    Format(u32),
    /// The first event is not `start`.
    #[error("the recording does not begin with `start`")]
    NoStart,
}

impl Header {
    /// The header of a new recording.
    pub fn new(plugin: impl Into<String>, complete: bool) -> Self {
        let (package, version, hash, component) = Default::default();
        Self { rialto_recording: FORMAT, plugin: plugin.into(), package, version, hash, component, complete }
    }
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ReadError`] says what is wrong with it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|reason| ReadError::File { path: path.display().to_string(), reason })?;
        Self::parse(&text)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// As [`Recording::read`].
    pub fn parse(text: &str) -> Result<Self, ReadError> {
        let wrong = |line: usize, reason: serde_json::Error| ReadError::Line { line, reason: reason.to_string() };
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let (line, first) = lines.next().unwrap_or((1, ""));
        let header: Header = serde_json::from_str(first).map_err(|reason| wrong(line, reason))?;
        if header.rialto_recording != FORMAT {
            return Err(ReadError::Format(header.rialto_recording));
        }
        let step = |(line, text): (usize, &str)| serde_json::from_str(text).map_err(|reason| wrong(line, reason));
        let steps: Vec<Step> = lines.map(step).collect::<Result<_, _>>()?;
        match steps.first().map(|step| step.event.hook()) {
            Some("start") => Ok(Self { header, steps }),
            _ => Err(ReadError::NoStart),
        }
    }

    /// The text of the file.
    ///
    /// # Panics
    /// Never: everything in a recording can be written as JSON.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string(&self.header).expect("a header is JSON");
        for step in &self.steps {
            write!(text, "\n{}", serde_json::to_string(step).expect("a step is JSON")).expect("memory takes it");
        }
        text.push('\n');
        text
    }
}
