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
