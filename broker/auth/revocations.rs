//! Revoked tokens: all of a user that were issued before, or one by its id, each for as long as such a token could live.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::identity::Identity;

/// Most revocations at a time.
const REVOCATIONS_MAX: usize = 100_000;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Revoked {
    /// Every token of this user.
    User(Box<str>),
    /// The token with this id.
    Token(Box<str>),
    /// The token that this session has.
    Session(Box<str>),
}

/// There are as many as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyRevocations;

/// The revocations in force. They end with the broker.
#[derive(Debug, Default)]
pub(crate) struct Revocations(Mutex<HashMap<Revoked, Revocation>>);

#[derive(Clone, Copy, Debug)]
struct Revocation {
    at_ms: u64,
    until_ms: u64,
}

impl Revocations {
    /// Revokes tokens from now until then, both Unix times in milliseconds.
    ///
    /// # Errors
    /// [`TooManyRevocations`]; nothing is revoked.
    pub(crate) fn add(&self, revoked: Revoked, at_ms: u64, until_ms: u64) -> Result<(), TooManyRevocations> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REVOCATIONS_MAX && !all.contains_key(&revoked) {
            all.retain(|_, revocation| revocation.until_ms > at_ms);
            if all.len() >= REVOCATIONS_MAX {
                return Err(TooManyRevocations);
            }
        }
        let before = all.get(&revoked).map_or(0, |before| before.until_ms);
        all.insert(revoked, Revocation { at_ms, until_ms: until_ms.max(before) });
        Ok(())
    }

    /// Whether the token that a session has is revoked by the session's id; then it is also by its own, where it has one.
    pub(crate) fn covers_session(&self, session: &str, identity: &Identity, now_ms: u64) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return false;
        }
        let of_session = all.get(&Revoked::Session(session.into())).copied();
        let Some(revocation) = of_session.filter(|revocation| revocation.until_ms > now_ms) else { return false };
        if let Some(id) = identity.token_id() {
            all.insert(Revoked::Token(id.into()), revocation);
        }
        true
    }

    /// Whether the token of an identity is revoked at this Unix time in milliseconds. A token that does not say when it was
    /// issued counts as issued before.
    pub(crate) fn covers(&self, identity: &Identity, now_ms: u64) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return false;
        }
        let is_in_force = |revocation: &&Revocation| revocation.until_ms > now_ms;
        let of_user = all.get(&Revoked::User((*identity.user).into())).filter(is_in_force);
        // Tokens say whole seconds: one of the same second may be older.
        let is_older = of_user.is_some_and(|revocation| identity.issued_at_ms() <= revocation.at_ms);
        let by_id = identity.token_id().and_then(|id| all.get(&Revoked::Token(id.into())));
        is_older || by_id.filter(is_in_force).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::identity::TokenDetails;

    fn identity(user: &str, token: Option<&str>, issued_at_s: Option<u32>) -> Identity {
        let details = TokenDetails { id: token.map(Into::into), info: None };
        Identity::of_user(user.into(), None).with_times(0, issued_at_s).with_details(details)
    }

    #[test]
    fn older_tokens_of_a_user_and_single_tokens_are_revoked_for_a_time() {
        let revocations = Revocations::default();
        revocations.add(Revoked::User("ann".into()), 5_000, 60_000).expect("room");
        revocations.add(Revoked::Token("t1".into()), 5_000, 60_000).expect("room");
        for (user, token, issued_at_s, now_ms, expected) in [
            ("ann", None, Some(4), 6_000, true),
            ("ann", None, None, 6_000, true),
            ("ann", None, Some(5), 6_000, true),
            ("ann", None, Some(6), 6_000, false),
            ("ann", None, Some(4), 60_000, false),
            ("bob", None, Some(4), 6_000, false),
            ("bob", Some("t1"), Some(9), 6_000, true),
            ("bob", Some("t2"), Some(4), 6_000, false),
        ] {
            let identity = identity(user, token, issued_at_s);
            assert_eq!(revocations.covers(&identity, now_ms), expected, "{identity:?} at {now_ms}");
        }
    }

    #[test]
    fn revocations_have_a_bound_and_those_that_are_over_make_room() {
        let revocations = Revocations::default();
        let token = |number: usize| Revoked::Token(number.to_string().into());
        for number in 0..REVOCATIONS_MAX {
            revocations.add(token(number), 0, if number == 7 { 10 } else { 1_000 }).expect("room");
        }
        assert_eq!(revocations.add(token(REVOCATIONS_MAX), 5, 1_000), Err(TooManyRevocations));
        assert_eq!(revocations.add(token(8), 5, 2_000), Ok(()), "one that is there already");
        assert_eq!(revocations.add(token(REVOCATIONS_MAX), 10, 1_000), Ok(()));
    }
}
