//! Secrets of a file: in an environment variable or in a file of their own, never in the file itself, and never printed.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use subtle::ConstantTimeEq as _;
use toml::de::DeValue;

use super::problem::Problem;
use super::section::{Report, Section, Value};
use super::setting::{Form, Table};

/// Largest file with a secret, in bytes.
const FILE_BYTES_MAX: u64 = 65_536;

/// A secret. What shows it shows three dots.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// A secret with these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into().into())
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

/// Where a value is.
static SOURCE: Table = Table::within("source", &["env", "file"]);

/// The schema of a value that is elsewhere.
pub(super) fn source() -> Form {
    let text = json!({ "type": "string" });
    Form::of(json!({
        "type": "object", "properties": { "env": text, "file": text }, "minProperties": 1, "maxProperties": 1,
        "additionalProperties": false,
    }))
}

/// What is wrong with a value that is elsewhere, and how to correct that. Nothing of the value is in it.
struct Fault {
    title: String,
    help: &'static str,
}

/// Reads a value that is in an environment variable or in a file; `is_secret` says that nobody else may read the file.
pub(super) fn read_source<'a>(
    report: &mut Report,
    key: &'static str,
    value: &'a Value<'a>,
    is_secret: bool,
) -> Option<Secret> {
    let example = "write `{ env = \"NAME\" }` or `{ file = \"name.txt\" }`";
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let title = format!("`{key}` says where the value is; the value itself does not belong in this file");
        report.add(Problem::at(value.span(), title).help(example));
        return None;
    }
    let section = Section::open(report, key, &SOURCE, value)?;
    let (env, file) = (section.text(report, "env", "\"NAME\""), section.text(report, "file", "\"name.txt\""));
    let (read, span) = match (env, file) {
        (Some(name), None) => (from_env(key, name.value), name.span),
        (None, Some(path)) => (from_file(key, &report.folder.join(path.value), is_secret), path.span),
        _ => {
            report.add(Problem::at(value.span(), format!("`{key}` needs one of `env` and `file`")).help(example));
            return None;
        }
    };
    match read {
        Ok(secret) => Some(secret),
        Err(Fault { title, help }) => {
            report.add(Problem::at(span, title).help(help));
            None
        }
    }
}

fn from_env(key: &str, name: &str) -> Result<Secret, Fault> {
    match std::env::var_os(name) {
        Some(value) if !value.is_empty() => Ok(Secret::new(value.into_encoded_bytes())),
        _ => Err(Fault {
            title: format!("the environment variable of `{key}` is not set"),
            help: "set it for the broker, and for this command",
        }),
    }
}

fn from_file(key: &str, path: &Path, is_secret: bool) -> Result<Secret, Fault> {
    let fault = |text: &str, help| Fault { title: format!("the file of `{key}` {text}"), help };
    let metadata = std::fs::metadata(path).map_err(|error| {
        fault(&format!("cannot be read: {error}"), "a relative path starts at the folder of the configuration file")
    })?;
    // Checked before it is opened: opening something other than a file may block for ever.
    if !metadata.is_file() {
        return Err(fault("is not a file", "name a file with nothing but the value in it"));
    }
    #[cfg(unix)]
    if is_secret {
        use std::os::unix::fs::PermissionsExt as _;
        if metadata.permissions().mode() & 0o007 != 0 {
            return Err(fault("may be read by every user of this machine", "run `chmod o= FILE`"));
        }
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| fault(&format!("cannot be read: {error}"), "check its owner and mode"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fault("is larger than 64 KiB", "name a file with nothing but the value in it"));
    }
    while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(fault("is empty", "name a file with nothing but the value in it"));
    }
    Ok(Secret::new(bytes))
}
