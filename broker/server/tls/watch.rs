//! Certificate reload: polls the files of the certificate and its key, takes a changed pair if it is usable, and warns
//! before the certificate expires. It makes no connection.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::Current;
use super::files::{Files, Fingerprint};
use super::pair::{Pair, PairError, Served};
use super::validity::{CertificateStatus, Validity};
use crate::clock::Clock;
use crate::config;
use crate::metrics::Metrics;

/// Least time between two warnings about the same certificate.
const WARN_EVERY_S: i64 = 86_400;

/// The state of the watched files.
#[derive(Debug)]
pub(super) struct Watch {
    settings: config::Tls,
    metrics: Arc<Metrics>,
    clock: Clock,
    used: Fingerprint,
    validity: Validity,
    seen: Reading,
    /// The content whose refusal has been logged.
    refused: Option<Reading>,
    warned_s: Option<i64>,
}

/// The outcome of one poll: a hash of the files, or why they cannot be read.
type Reading = Result<Fingerprint, String>;

impl Watch {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`PairError`] when they cannot be used.
    pub(super) fn begin(
        settings: config::Tls,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<(Self, Arc<Served>), PairError> {
        let files = Files::read(&settings)?;
        let Pair { served, validity } = Pair::parse(&settings, &files)?;
        let used = files.fingerprint();
        let seen = Ok(used);
        let mut watch = Self { settings, metrics, clock, used, validity, seen, refused: None, warned_s: None };
        watch.report(watch.now_s());
        Ok((watch, served))
    }

    /// Polls on a thread of its own, because a disk may be slow, until the returned sender is dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn spawn(mut self, current: Current) -> io::Result<SyncSender<()>> {
        let (watched, ended) = sync_channel(1);
        let every = Duration::from_millis(self.settings.reload_ms);
        let work = move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if let Some(served) = self.poll(self.now_s()) {
                    current.set(served);
                }
            }
        };
        std::thread::Builder::new().name("rialto-tls".to_owned()).spawn(work)?;
        Ok(watched)
    }

    /// Polls once; returns the configuration of new connections if it has changed.
    fn poll(&mut self, now_s: i64) -> Option<Arc<Served>> {
        let changed = self.poll_files(now_s);
        self.report(now_s);
        changed
    }

    fn poll_files(&mut self, now_s: i64) -> Option<Arc<Served>> {
        let read = Files::read(&self.settings);
        let reading = read.as_ref().map(Files::fingerprint).map_err(PairError::to_string);
        let before = std::mem::replace(&mut self.seen, reading.clone());
        if reading == Ok(self.used) {
            self.refused = None;
            return None;
        }
        // Two files are not written atomically: a change counts when two polls have read the same.
        if reading != before {
            return None;
        }
        match read.and_then(|files| self.parse_replacement(&files, now_s)) {
            Ok(Pair { served, validity }) => {
                self.used = reading.unwrap_or(self.used);
                (self.validity, self.refused, self.warned_s) = (validity, None, None);
                // Before the reload counts, what it changed can be seen.
                self.report(now_s);
                self.metrics.tls_reloads.add(1);
                tracing::info!(certificate = %self.settings.certificate.display(), "certificate reloaded");
                Some(served)
            }
            Err(error) => {
                if self.refused.as_ref() != Some(&reading) {
                    self.metrics.tls_reload_errors.add(1);
                    tracing::warn!(%error, "certificate not reloaded: the one in use stays");
                    self.refused = Some(reading);
                }
                None
            }
        }
    }

    /// Parses a pair that may replace the one in use: an invalid one may not, as long as the one in use is valid.
    fn parse_replacement(&self, files: &Files, now_s: i64) -> Result<Pair, PairError> {
        let pair = Pair::parse(&self.settings, files)?;
        let status = self.status(pair.validity, now_s);
        if self.status(self.validity, now_s).is_valid() && !status.is_valid() {
            let file = self.settings.certificate.clone();
            return Err(PairError::NotValid { file, status: status.to_string() });
        }
        Ok(pair)
    }

    /// Reports the status of the certificate in use: always by metrics, and as a warning once a day if it is not valid
    /// for long.
    fn report(&mut self, now_s: i64) {
        let status = self.status(self.validity, now_s);
        self.metrics.tls_certificate_expires_s.set(u64::try_from(self.validity.until_s).unwrap_or(0));
        self.metrics.tls_certificate_expires_soon.set(u64::from(status.is_ending()));
        let warned = self.warned_s.is_some_and(|then| (0..WARN_EVERY_S).contains(&(now_s - then)));
        if status != CertificateStatus::Valid && !warned {
            tracing::warn!(file = %self.settings.certificate.display(), "the certificate {status}");
            self.warned_s = Some(now_s);
        }
    }

    fn status(&self, validity: Validity, now_s: i64) -> CertificateStatus {
        validity.status(now_s, self.settings.expiry_warn_days)
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

    struct Fixture {
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

    fn looking(folder: TempDir) -> Fixture {
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let settings = config::Tls { certificate, key, ..config::Tls::default() };
        let metrics = Arc::new(Metrics::default());
        let (mut watch, _) = Watch::begin(settings, Arc::clone(&metrics), Clock::default()).expect("a good pair");
        watch.warned_s = None;
        Fixture { watch, metrics, folder }
    }

    fn begin(first: &(String, String)) -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), first);
        looking(folder)
    }

    impl Fixture {
        /// How many of so many polls loaded a new certificate.
        fn taken(&mut self, looks: usize, now_s: i64) -> usize {
            (0..looks).filter_map(|_| self.watch.poll(now_s)).count()
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
    fn a_change_counts_when_two_polls_have_seen_it() {
        let mut looking = begin(&pair(100, 200));
        assert_eq!(looking.taken(3, NOW_S), 0, "nothing has changed");
        let (first, second) = (pair(100, 300), pair(100, 400));
        // A certificate that is written before its key is no fault.
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
    fn a_broken_pair_is_logged_once_and_the_old_one_stays() {
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
            assert_eq!(looking.taken(2, NOW_S), 0, "the certificate in use is not loaded again");
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
    fn a_certificate_is_loaded_when_it_becomes_valid() {
        let mut looking = begin(&pair(100, 200));
        write(looking.folder.path(), &pair(160, 300));
        assert_eq!(looking.taken(3, NOW_S), 0);
        assert_eq!(looking.taken(1, 160 * DAY as i64 - 1), 0);
        assert_eq!(looking.taken(2, 160 * DAY as i64), 1);
        assert_eq!(looking.counted(), (1, 1));
        // Not yet valid counts like expired.
        write(looking.folder.path(), &pair(1, 290));
        assert_eq!(looking.taken(2, 301 * DAY as i64), 1);
        assert_eq!((looking.counted(), looking.expires()), ((2, 1), (290 * DAY, 1)));
    }

    #[test]
    fn the_expiry_is_warned_of_in_time() {
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
    fn symbolic_links_are_followed() {
        use std::os::unix::fs::symlink;

        // As in Kubernetes: c.pem -> data/c.pem, data -> a folder, and only that link is exchanged.
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
