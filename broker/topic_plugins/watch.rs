//! Looks at the files of plugins whose table says `watch`, and reloads those that have changed. It reads none of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::TopicPlugins;
use crate::broker::{Broker, Core};
use crate::file_version::FileVersion;

/// How often files are checked. A changed file is loaded once two checks have seen the same, so that a file that is still
/// being written is not loaded.
const LOOK: Duration = Duration::from_millis(500);

/// Whether a file is to be loaded: it is not what was read last, and stands still again. A file that is gone is no new version.
fn is_new(read: Option<FileVersion>, seen: Option<FileVersion>, now: Option<FileVersion>) -> bool {
    now.is_some() && now == seen && now != read
}

/// Watches until the broker is dropped: `ended` is disconnected then.
///
/// # Errors
/// When the operating system refuses a thread.
pub(crate) fn watch(core: Weak<Core>, plugins: Weak<TopicPlugins>, ended: Receiver<()>) -> io::Result<()> {
    let work = move || {
        let mut seen = BTreeMap::new();
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
            let (Some(core), Some(plugins)) = (core.upgrade(), plugins.upgrade()) else { return };
            plugins.look(&Broker { core }, &mut seen);
        }
    };
    std::thread::Builder::new().name("rialto-watch".to_owned()).spawn(work)?;
    Ok(())
}

impl TopicPlugins {
    /// One look at all files that are watched.
    fn look(&self, broker: &Broker, seen: &mut BTreeMap<String, Option<FileVersion>>) {
        let config = broker.core.config.get();
        let watched = config.plugins.iter().filter(|(_, plugin)| plugin.watch);
        let watched: Vec<(String, Option<FileVersion>)> =
            watched.map(|(name, plugin)| (name.clone(), FileVersion::of(&plugin.path))).collect();
        let before = std::mem::take(seen);
        for (name, now) in watched {
            let last = before.get(&name).copied().flatten();
            if is_new(self.loader.last_read(&name), last, now) {
                // Why it does not run has been logged.
                let _ = broker.reload_component(&name);
            }
            seen.insert(name, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_loaded_once_it_has_changed_and_stands_still() {
        let trace = |bytes| Some(FileVersion::with_bytes(bytes));
        for (read, seen, now, expected) in [
            (trace(1), trace(1), trace(1), false),
            (trace(1), trace(1), trace(2), false),
            (trace(1), trace(2), trace(2), true),
            (trace(1), trace(2), None, false),
            (trace(1), None, None, false),
            (trace(1), None, trace(1), false),
            (None, trace(1), trace(1), true),
        ] {
            assert_eq!(is_new(read, seen, now), expected, "{read:?} {seen:?} {now:?}");
        }
    }
}
