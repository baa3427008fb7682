//! The token: when a new one is needed, when the broker has taken it, when it is to be refreshed.

use std::time::{Duration, Instant};

use super::Moment;

/// How long before its end a token is refreshed, at most.
const REFRESH_BEFORE_MS: u64 = 30_000;

/// How soon a refresh that failed is tried again.
const REFRESH_AGAIN: Duration = Duration::from_secs(2);

/// What is known of the token.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    has_source: bool,
    token: Option<String>,
    /// Fetched, and not yet judged by the broker.
    is_fresh: bool,
    is_fetching: bool,
    /// Unix milliseconds.
    expires_at: Option<u64>,
    refresh_at: Option<Instant>,
}

impl Credentials {
    pub(crate) fn new(has_source: bool) -> Self {
        Self { has_source, ..Self::default() }
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether there is a program to ask for a token, and none that could still be right.
    pub(crate) fn must_fetch(&self, now: Moment) -> bool {
        let is_over = self.expires_at.is_some_and(|expires_at| expires_at <= now.unix_ms);
        self.has_source && (self.token.is_none() || is_over)
    }

    /// Says that a token is being asked for; no if it is already.
    pub(crate) fn begin_fetch(&mut self) -> bool {
        self.refresh_at = None;
        !std::mem::replace(&mut self.is_fetching, true)
    }

    pub(crate) fn fetched(&mut self, token: String) {
        *self = Self { has_source: self.has_source, token: Some(token), is_fresh: true, ..Self::default() };
    }

    pub(crate) fn not_fetched(&mut self, now: Moment) {
        self.is_fetching = false;
        self.refresh_at = Some(now.instant + REFRESH_AGAIN);
    }

    /// The broker took the token.
    pub(crate) fn accepted(&mut self, now: Moment, expires_at: Option<u64>) {
        self.is_fresh = false;
        self.expires_at = expires_at;
        self.refresh_at = expires_at.filter(|_| self.has_source).map(|expires_at| {
            let left = expires_at.saturating_sub(now.unix_ms);
            // A short life is refreshed after four fifths of it.
            now.instant + Duration::from_millis(left - REFRESH_BEFORE_MS.min(left / 5))
        });
    }

    /// The broker says that the token is about to expire: it is refreshed now.
    pub(crate) fn expiring(&mut self, now: Moment) {
        if self.has_source && !self.is_fetching {
            self.refresh_at = Some(now.instant);
        }
    }

    /// The broker did not take the token. Says whether another one may help.
    pub(crate) fn refused(&mut self) -> bool {
        let may_help = self.has_source && !self.is_fresh;
        self.token = None;
        self.expires_at = None;
        self.refresh_at = None;
        may_help
    }

    /// When a session that is open is to authenticate again.
    pub(crate) fn refresh_at(&self) -> Option<Instant> {
        self.refresh_at.filter(|_| !self.is_fetching)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(started: Instant, ms: u64) -> Moment {
        Moment { instant: started + Duration::from_millis(ms), unix_ms: 1_000_000 + ms }
    }

    #[test]
    fn a_token_is_refreshed_before_its_end() {
        let started = Instant::now();
        for (life_ms, expected_ms) in [(3_600_000, 3_570_000), (100_000, 80_000), (10, 8), (0, 0)] {
            let mut credentials = Credentials::new(true);
            assert!(credentials.must_fetch(at(started, 0)));
            credentials.fetched("t".into());
            assert!(!credentials.must_fetch(at(started, 0)));
            credentials.accepted(at(started, 0), Some(1_000_000 + life_ms));
            assert_eq!(credentials.refresh_at(), Some(at(started, expected_ms).instant), "{life_ms}");
            assert!(credentials.must_fetch(at(started, life_ms)));
        }
    }

    #[test]
    fn only_a_token_that_was_good_before_is_worth_another() {
        let started = Instant::now();
        let mut credentials = Credentials::new(true);
        credentials.fetched("t".into());
        assert!(!credentials.refused(), "it was fetched for this");
        credentials.fetched("t".into());
        credentials.accepted(at(started, 0), None);
        assert!(credentials.refused());
        assert!(credentials.must_fetch(at(started, 0)));
        assert!(!Credentials::new(false).refused());
        assert!(!Credentials::new(false).must_fetch(at(started, 0)));
    }
}
