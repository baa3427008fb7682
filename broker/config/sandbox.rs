//! Checks `[sandbox]`: how plugins are compiled, and the folders of the cache and of recordings. It creates no folder.

use std::path::PathBuf;

use super::{
    Sandbox,
    section::{Report, Section, Unit, Value},
};

/// The keys of `[sandbox]`.
pub(super) const KEYS: &[&str] = &["cache", "recordings", "compile_ms", "compile_bytes"];

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> Sandbox {
    let mut sandbox = Sandbox::beside(report.folder);
    let Some(section) = Section::open(report, "[sandbox]", KEYS, value) else {
        return sandbox;
    };
    if let Some(folder) = section.text(report, "cache", "\"/var/cache/rialto\"") {
        // The empty text means none; it is not joined with the folder of the file.
        sandbox.cache = Some(if folder.value.is_empty() { PathBuf::new() } else { report.folder.join(folder.value) });
    }
    if let Some(folder) = section.text(report, "recordings", "\"recordings\"") {
        sandbox.recordings = report.folder.join(folder.value);
    }
    section.number(report, "compile_ms", Unit::Milliseconds, 1_000..=600_000, &mut sandbox.compile_ms);
    let bytes = 536_870_912..=1_099_511_627_776;
    section.number(report, "compile_bytes", Unit::Bytes, bytes, &mut sandbox.compile_bytes);
    sandbox
}
