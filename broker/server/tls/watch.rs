//! Looks at the certificate and its key from time to time: what has changed and is good is used from then on, what is broken
//! is not. It makes no connection.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rustls::ServerConfig;

use super::Current;
use super::files::{Files, Fingerprint};
use super::pair::{Pair, PairError};
use super::validity::{Validity, Worth};
use crate::clock::Clock;
use crate::config;
use crate::metrics::Metrics;

/// How often the same is warned of.
const WARN_EVERY_S: i64 = 86_400;

/// What is known about the files.
#[derive(Debug)]
pub(super) struct Watch {
    settings: config::Tls,
    metrics: Arc<Metrics>,
    clock: Clock,
    used: Fingerprint,
    validity: Validity,
    seen: Sight,
    /// What was complained about, once.
    refused: Option<Sight>,
    warned_s: Option<i64>,
}

/// What one look saw: what is in the files, or why it cannot be read.
type Sight = Result<Fingerprint, String>;

impl Watch {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`PairError`] when they cannot be used.
    pub(super) fn begin(
        settings: config::Tls,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<(Self, Arc<ServerConfig>), PairError> {
        let files = Files::read(&settings)?;
        let Pair { config, validity } = Pair::parse(&settings, &files)?;
        let used = files.fingerprint();
        let seen = Ok(used);
        let mut watch = Self { settings, metrics, clock, used, validity, seen, refused: None, warned_s: None };
        watch.tell(watch.now_s());
        Ok((watch, config))
    }

    /// Looks on a thread of its own, because a disk may be slow, until what is returned is dropped.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn spawn(mut self, current: Current) -> io::Result<SyncSender<()>> {
        let (watched, ended) = sync_channel(1);
        let every = Duration::from_millis(self.settings.reload_ms);
        let work = move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if let Some(config) = self.look(self.now_s()) {
                    current.set(config);
                }
            }
        };
        std::thread::Builder::new().name("rialto-tls".to_owned()).spawn(work)?;
        Ok(watched)
    }

    /// Looks once; gives what new connections get from now on, if that has changed.
    fn look(&mut self, now_s: i64) -> Option<Arc<ServerConfig>> {
        let changed = self.look_at_files(now_s);
        self.tell(now_s);
        changed
    }

    fn look_at_files(&mut self, now_s: i64) -> Option<Arc<ServerConfig>> {
        let read = Files::read(&self.settings);
        let sight = read.as_ref().map(Files::fingerprint).map_err(PairError::to_string);
        let before = std::mem::replace(&mut self.seen, sight.clone());
        if sight == Ok(self.used) {
            self.refused = None;
            return None;
        }
        // Two files are not written at once: only what two looks have seen is meant.
        if sight != before {
            return None;
        }
        match read.and_then(|files| self.better(&files, now_s)) {
            Ok(Pair { config, validity }) => {
                self.used = sight.unwrap_or(self.used);
                (self.validity, self.refused, self.warned_s) = (validity, None, None);
                self.metrics.tls_reloads.add(1);
                tracing::info!(certificate = %self.settings.certificate.display(), "the new certificate is used");
                Some(config)
            }
            Err(error) => {
                if self.refused.as_ref() != Some(&sight) {
                    self.metrics.tls_reload_errors.add(1);
                    tracing::warn!(%error, "the certificate stays what it was");
                    self.refused = Some(sight);
                }
                None
            }
        }
    }

    /// A pair that may take the place of the one in use: what no client would accept does not, as long as that is valid.
    fn better(&self, files: &Files, now_s: i64) -> Result<Pair, PairError> {
        let pair = Pair::parse(&self.settings, files)?;
        let worth = self.worth(pair.validity, now_s);
        if self.worth(self.validity, now_s).is_valid() && !worth.is_valid() {
            let file = self.settings.certificate.clone();
            return Err(PairError::NotValid { file, worth: worth.to_string() });
        }
        Ok(pair)
    }

    /// Says what the certificate in use is worth: by metrics always, in the log once a day if there is something to do.
    fn tell(&mut self, now_s: i64) {
        let worth = self.worth(self.validity, now_s);
        self.metrics.tls_certificate_expires_s.set(u64::try_from(self.validity.until_s).unwrap_or(0));
        self.metrics.tls_certificate_expires_soon.set(u64::from(worth.is_ending()));
        let warned = self.warned_s.is_some_and(|then| (0..WARN_EVERY_S).contains(&(now_s - then)));
        if worth != Worth::Good && !warned {
            tracing::warn!(file = %self.settings.certificate.display(), "the certificate {worth}");
            self.warned_s = Some(now_s);
        }
    }

    fn worth(&self, validity: Validity, now_s: i64) -> Worth {
        validity.worth(now_s, self.settings.expiry_warn_days)
    }

    fn now_s(&self) -> i64 {
        i64::try_from(self.clock.unix_ms() / 1_000).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::KeyPair;
    use tempfile::TempDir;

    use super::*;
    use crate::server::tls::pair::tests::issue;

    const DAY: u64 = 86_400;
    /// Most certificates here are valid from day 100 to day 200; this is within.
    const NOW_S: i64 = 150 * DAY as i64;

    struct Looking {
        watch: Watch,
        metrics: Arc<Metrics>,
        folder: TempDir,
    }

    fn pair(from_day: u64, until_day: u64) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        (issue(&key, from_day * DAY, until_day * DAY), key.serialize_pem())
    }

    fn write(folder: &Path, (certificate, key): &(String, String)) {
        std::fs::write(folder.join("c.pem"), certificate).expect("a file");
        std::fs::write(folder.join("k.pem"), key).expect("a file");
    }

    fn looking(folder: TempDir) -> Looking {
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let settings = config::Tls { certificate, key, ..config::Tls::default() };
        let metrics = Arc::new(Metrics::default());
        let (mut watch, _) = Watch::begin(settings, Arc::clone(&metrics), Clock::default()).expect("a good pair");
        watch.warned_s = None;
        Looking { watch, metrics, folder }
    }

    fn begin(first: &(String, String)) -> Looking {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), first);
        looking(folder)
    }

    impl Looking {
        /// How many of so many looks took something new.
        fn taken(&mut self, looks: usize, now_s: i64) -> usize {
            (0..looks).filter_map(|_| self.watch.look(now_s)).count()
        }

        fn counted(&self) -> (u64, u64) {
            let counted = self.metrics.snapshot();
            (counted.tls_reloads_total, counted.tls_reload_errors_total)
        }

        fn expires(&self) -> (u64, u64) {
            let counted = self.metrics.snapshot();
            (counted.tls_certificate_expires_unix_s, counted.tls_certificate_expires_soon)
        }
    }

    #[test]
    fn a_change_counts_when_two_looks_have_seen_it() {
        let mut looking = begin(&pair(100, 200));
        assert_eq!(looking.taken(3, NOW_S), 0, "nothing has changed");
        let (first, second) = (pair(100, 300), pair(100, 400));
        // A certificate that is there before its key is no mistake.
        std::fs::write(looking.folder.path().join("c.pem"), &first.0).expect("a file");
        assert_eq!(looking.taken(1, NOW_S), 0);
        write(looking.folder.path(), &first);
        assert_eq!((looking.taken(1, NOW_S), looking.taken(1, NOW_S), looking.taken(3, NOW_S)), (0, 1, 0));
        assert_eq!((looking.counted(), looking.expires()), ((1, 0), (300 * DAY, 0)));
        write(looking.folder.path(), &second);
        assert_eq!(looking.taken(2, NOW_S), 1);
        assert_eq!((looking.counted(), looking.expires()), ((2, 0), (400 * DAY, 0)));
    }

    #[test]
    fn what_is_broken_is_said_once_and_the_old_pair_stays() {
        let (old, new) = (pair(100, 200), pair(100, 300));
        let mut looking = begin(&old);
        let folder = looking.folder.path().to_owned();
        let mixed = (new.0.clone(), old.1.clone());
        let half = (new.0[..300].to_owned(), new.1.clone());
        let (over, early) = (pair(1, 2), pair(160, 300));
        let empty = (String::new(), String::new());
        for (errors, broken) in [&mixed, &half, &over, &early, &empty].into_iter().enumerate() {
            write(&folder, broken);
            assert_eq!(looking.taken(5, NOW_S), 0);
            assert_eq!((looking.counted(), looking.expires()), ((0, errors as u64 + 1), (200 * DAY, 0)));
        }
        for gone in ["c.pem", "k.pem"] {
            write(&folder, &old);
            assert_eq!(looking.taken(2, NOW_S), 0, "what is in use is not taken again");
            std::fs::remove_file(folder.join(gone)).expect("it was there");
            std::fs::create_dir(folder.join(gone)).expect("a folder");
            assert_eq!(looking.taken(5, NOW_S), 0);
            std::fs::remove_dir(folder.join(gone)).expect("it was empty");
            assert_eq!(looking.taken(5, NOW_S), 0);
        }
        assert_eq!(looking.counted(), (0, 9));
        write(&folder, &new);
        assert_eq!(looking.taken(2, NOW_S), 1);
        assert_eq!((looking.counted(), looking.expires()), ((1, 9), (300 * DAY, 0)));
    }

    #[test]
    fn a_certificate_that_is_early_is_taken_when_its_time_has_come() {
        let mut looking = begin(&pair(100, 200));
        write(looking.folder.path(), &pair(160, 300));
        assert_eq!(looking.taken(3, NOW_S), 0);
        assert_eq!(looking.taken(1, 160 * DAY as i64 - 1), 0);
        assert_eq!(looking.taken(2, 160 * DAY as i64), 1);
        assert_eq!(looking.counted(), (1, 1));
        // None is as bad as one that is over.
        write(looking.folder.path(), &pair(1, 290));
        assert_eq!(looking.taken(2, 301 * DAY as i64), 1);
        assert_eq!((looking.counted(), looking.expires()), ((2, 1), (290 * DAY, 1)));
    }

    #[test]
    fn the_end_is_told_in_time() {
        let mut looking = begin(&pair(100, 200));
        for (day, soon, warned_day) in [
            (50, 0, Some(50)),
            (150, 0, Some(50)),
            (185, 0, Some(50)),
            (187, 1, Some(187)),
            (188, 1, Some(188)),
            (201, 1, Some(201)),
            // A clock that is set back does not silence it.
            (190, 1, Some(190)),
        ] {
            for hour in 0..3 {
                looking.taken(1, day * DAY as i64 + hour * 3_600);
                assert_eq!(looking.expires(), (200 * DAY, soon), "day {day}");
                assert_eq!(looking.watch.warned_s, warned_day.map(|day| day * DAY as i64), "day {day}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_wherever_they_lead() {
        use std::os::unix::fs::symlink;

        // As Kubernetes does it: c.pem -> data/c.pem, data -> a folder, and only that link is exchanged.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        for (name, pair) in [("one", pair(100, 200)), ("two", pair(100, 300))] {
            std::fs::create_dir(path.join(name)).expect("a folder");
            write(&path.join(name), &pair);
        }
        symlink("one", path.join("data")).expect("a link");
        symlink("data/c.pem", path.join("c.pem")).expect("a link");
        symlink("data/k.pem", path.join("k.pem")).expect("a link");
        let mut looking = looking(folder);
        symlink("two", looking.folder.path().join("next")).expect("a link");
        assert_eq!(looking.taken(2, NOW_S), 0);
        std::fs::rename(looking.folder.path().join("next"), looking.folder.path().join("data")).expect("exchanged");
        assert_eq!(looking.taken(2, NOW_S), 1);
        assert_eq!((looking.counted(), looking.expires()), ((1, 0), (300 * DAY, 0)));
    }
}
