//! `[sandbox]` and its check: how plugins are compiled, and the folders of the cache and of recordings. It creates no folder.

use std::path::{Path, PathBuf};

use super::{
    section::{Report, Section, Value},
    setting::{Custom, settings},
    tls::file,
};

settings! {
    /// How plugins are compiled, and where their recordings are stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Sandbox: "[sandbox]" {
        /// Cache of compiled plugins, so that a start need not wait for the compiler. The folder is created if it is
        /// missing, and used only if no other user can write to it; a file in it only if it is unchanged. A relative path
        /// starts at the folder of this file. Without this line it is `$XDG_CACHE_HOME/rialto` or `~/.cache/rialto`, and
        /// none in a program that embeds the broker; `""` switches it off.
        cache [restart]: Option<PathBuf> = None => Custom { form: || file().example("\"/var/cache/rialto\"") };
        /// Folder of recordings of plugins, created when the first is written. A relative path starts at the folder of this
        /// file.
        recordings [restart]: PathBuf = PathBuf::from("recordings") => Custom { form: file };
        /// Time to compile one plugin. While the broker serves, the compiler uses half of the cores at the lowest priority.
        compile_ms [restart]: u64 = 120_000, 1_000 to 600_000 ms;
        /// Address space of the process that compiles. A program that embeds the broker has this bound only with
        /// `Builder::compiler`.
        compile_bytes [restart]: u64 = 2_147_483_648, 536_870_912 to 1_099_511_627_776 bytes;
    }
}

impl Sandbox {
    /// The defaults for a configuration in this folder.
    pub(super) fn beside(folder: &Path) -> Self {
        let default = Self::default();
        Sandbox { recordings: folder.join(&default.recordings), ..default }
    }
}

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> Sandbox {
    let mut sandbox = Sandbox::beside(report.folder);
    let Some(section) = Section::open(report, "[sandbox]", &Sandbox::TABLE, value) else {
        return sandbox;
    };
    sandbox.read_keys(report, &section);
    if let Some(folder) = section.text(report, "cache", "\"/var/cache/rialto\"") {
        // The empty text means none; it is not joined with the folder of the file.
        sandbox.cache = Some(if folder.value.is_empty() { PathBuf::new() } else { report.folder.join(folder.value) });
    }
    if let Some(folder) = section.text(report, "recordings", "\"recordings\"") {
        sandbox.recordings = report.folder.join(folder.value);
    }
    sandbox
}
