//! What the client signs in with: when it is needed anew, when the broker has taken it, when it is to be refreshed.

use std::time::{Duration, Instant};

use super::Moment;
use crate::credential::{Credential, Headers, SignIn};

/// How long before its end a credential is refreshed, at most.
const REFRESH_BEFORE_MS: u64 = 30_000;

/// How soon a refresh that failed is tried again.
const REFRESH_AGAIN: Duration = Duration::from_secs(2);

/// How soon a connection is replaced again whose headers last no longer than those before, and how often in a row.
const UNCHANGED_AGAIN: Duration = Duration::from_secs(5);
const UNCHANGED_MAX: u32 = 3;

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    sign_in: SignIn,
    credential: Option<Credential>,
    /// Fetched, and not yet judged by the broker.
    is_fresh: bool,
    is_fetching: bool,
    /// Unix milliseconds.
    expires_at: Option<u64>,
    refresh_at: Option<Instant>,
    /// Whether a handshake has made the client a user.
    had_user: bool,
    /// When the headers end that are refreshed; the fresh ones end later.
    replaced_end: Option<u64>,
    /// How often in a row they did not.
    unchanged: u32,
}

impl Credentials {
    pub(crate) fn new(sign_in: SignIn) -> Self {
        Self { sign_in, ..Self::default() }
    }

    /// What a `connect` proves by who the client is.
    pub(crate) fn in_connect(&self) -> Option<&Credential> {
        self.credential.as_ref().filter(|_| self.sign_in == SignIn::Connect)
    }

    /// What the next handshake carries.
    pub(crate) fn in_handshake(&self) -> Headers {
        match &self.credential {
            Some(Credential::Headers(headers)) => headers.clone(),
            _ => Headers::default(),
        }
    }

    pub(crate) fn is_of_handshake(&self) -> bool {
        self.sign_in == SignIn::Handshake
    }

    /// Whether there is a program to ask, and nothing that could still be right. Headers are asked for before every
    /// connection.
    pub(crate) fn must_fetch(&self, now: Moment) -> bool {
        let is_over = self.expires_at.is_some_and(|expires_at| expires_at <= now.unix_ms);
        match self.sign_in {
            SignIn::Never => false,
            SignIn::Connect => self.credential.is_none() || is_over,
            SignIn::Handshake => true,
        }
    }

    /// Says that a credential is being asked for; no if it is already.
    pub(crate) fn begin_fetch(&mut self) -> bool {
        self.refresh_at = None;
        !std::mem::replace(&mut self.is_fetching, true)
    }

    /// It is there, for the next connection or in place of that of the session.
    pub(crate) fn fetched(&mut self, credential: Credential, in_session: bool) {
        let Self { sign_in, had_user, unchanged, expires_at, .. } = *self;
        let replaced_end = expires_at.filter(|_| in_session);
        let credential = Some(credential);
        *self = Self { sign_in, credential, is_fresh: true, had_user, unchanged, replaced_end, ..Self::default() };
    }

    pub(crate) fn not_fetched(&mut self, now: Moment) {
        self.is_fetching = false;
        self.refresh_at = Some(now.instant + REFRESH_AGAIN);
    }

    /// The broker took it.
    pub(crate) fn accepted(&mut self, now: Moment, expires_at: Option<u64>) {
        let ends_later = self.replaced_end.take().is_none_or(|before| expires_at.is_none_or(|end| end > before));
        self.unchanged = if ends_later || !self.is_of_handshake() { 0 } else { self.unchanged + 1 };
        self.is_fresh = false;
        self.expires_at = expires_at;
        self.refresh_at = expires_at.filter(|_| self.sign_in != SignIn::Never).and_then(|expires_at| {
            let left = expires_at.saturating_sub(now.unix_ms);
            match self.unchanged {
                // A short life is refreshed after four fifths of it.
                0 => Some(now.instant + Duration::from_millis(left - REFRESH_BEFORE_MS.min(left / 5))),
                1..UNCHANGED_MAX => Some(now.instant + UNCHANGED_AGAIN),
                _ => None,
            }
        });
    }

    /// A handshake made the client a user.
    pub(crate) fn accepted_in_handshake(&mut self, now: Moment, expires_at: Option<u64>) {
        self.accepted(now, expires_at);
        self.had_user = true;
    }

    pub(crate) fn had_user(&self) -> bool {
        self.had_user
    }

    /// The broker says that it is about to expire: it is refreshed now, unless that is done, or has brought nothing before.
    pub(crate) fn expiring(&mut self, now: Moment) {
        let waits_for_use = self.is_of_handshake() && self.is_fresh;
        if self.sign_in != SignIn::Never && !self.is_fetching && !waits_for_use && self.unchanged == 0 {
            self.refresh_at = Some(now.instant);
        }
    }

    /// The broker did not take it. Says whether another one may help.
    pub(crate) fn refused(&mut self) -> bool {
        let may_help = self.sign_in != SignIn::Never && !self.is_fresh;
        self.credential = None;
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

    fn token() -> Credential {
        Credential::Token("t".into())
    }

    fn cookie() -> Credential {
        Credential::Headers(Headers(vec![("cookie".into(), "session=t".into())]))
    }

    #[test]
    fn a_token_is_refreshed_before_its_end() {
        let started = Instant::now();
        for (life_ms, expected_ms) in [(3_600_000, 3_570_000), (100_000, 80_000), (10, 8), (0, 0)] {
            let mut credentials = Credentials::new(SignIn::Connect);
            assert!(credentials.must_fetch(at(started, 0)));
            credentials.fetched(token(), false);
            assert!(!credentials.must_fetch(at(started, 0)));
            credentials.accepted(at(started, 0), Some(1_000_000 + life_ms));
            assert_eq!(credentials.refresh_at(), Some(at(started, expected_ms).instant), "{life_ms}");
            assert!(credentials.must_fetch(at(started, life_ms)));
        }
    }

    #[test]
    fn only_a_credential_that_was_good_before_is_worth_another() {
        let started = Instant::now();
        for (sign_in, credential) in [(SignIn::Connect, token()), (SignIn::Handshake, cookie())] {
            let mut credentials = Credentials::new(sign_in);
            credentials.fetched(credential.clone(), false);
            assert!(!credentials.refused(), "it was fetched for this");
            credentials.fetched(credential, false);
            credentials.accepted(at(started, 0), None);
            assert!(credentials.refused());
            assert!(credentials.must_fetch(at(started, 0)));
        }
        assert!(!Credentials::new(SignIn::Never).refused());
        assert!(!Credentials::new(SignIn::Never).must_fetch(at(started, 0)));
    }

    #[test]
    fn each_credential_goes_where_the_client_signs_in() {
        let mut by_connect = Credentials::new(SignIn::Connect);
        by_connect.fetched(token(), false);
        assert_eq!((by_connect.in_connect(), by_connect.in_handshake()), (Some(&token()), Headers::default()));
        let mut by_handshake = Credentials::new(SignIn::Handshake);
        by_handshake.fetched(cookie(), false);
        assert_eq!(by_handshake.in_connect(), None);
        assert_eq!(Credential::Headers(by_handshake.in_handshake()), cookie());
    }

    #[test]
    fn headers_are_asked_for_before_every_connection_and_refreshed_once_for_each_warning() {
        let started = Instant::now();
        let mut credentials = Credentials::new(SignIn::Handshake);
        credentials.fetched(cookie(), false);
        credentials.accepted_in_handshake(at(started, 0), Some(1_060_000));
        assert!(credentials.must_fetch(at(started, 0)) && credentials.had_user());
        credentials.expiring(at(started, 7));
        assert_eq!(credentials.refresh_at(), Some(at(started, 7).instant));
        assert!(credentials.begin_fetch());
        credentials.expiring(at(started, 8));
        assert_eq!(credentials.refresh_at(), None, "they are being asked for");
        credentials.fetched(cookie(), true);
        credentials.expiring(at(started, 9));
        assert_eq!(credentials.refresh_at(), None, "they wait for their connection");
        credentials.accepted_in_handshake(at(started, 10), Some(1_120_000));
        credentials.expiring(at(started, 11));
        assert_eq!(credentials.refresh_at(), Some(at(started, 11).instant));
    }

    #[test]
    fn headers_that_last_no_longer_are_refreshed_at_a_pace_and_then_left_to_end() {
        let started = Instant::now();
        let mut credentials = Credentials::new(SignIn::Handshake);
        credentials.fetched(cookie(), false);
        credentials.accepted_in_handshake(at(started, 0), Some(1_060_000));
        for time in 1..=3 {
            credentials.fetched(cookie(), true);
            credentials.accepted_in_handshake(at(started, 0), Some(1_060_000));
            credentials.expiring(at(started, 0));
            let again = (time < 3).then(|| at(started, 5_000).instant);
            assert_eq!(credentials.refresh_at(), again, "{time}");
        }
        // A connection that was lost begins anew, with the same headers or with others.
        credentials.fetched(cookie(), false);
        credentials.accepted_in_handshake(at(started, 0), Some(1_060_000));
        assert_eq!(credentials.refresh_at(), Some(at(started, 48_000).instant));
    }
}
