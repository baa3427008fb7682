//! Who a session belongs to: what a verified token, or the program that embeds the broker, says of it. Equal parts are shared
//! between sessions.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rialto_protocol::Payload;

use crate::topic::{Pattern, Topic};

/// Fewer parts are not worth a sweep.
const SWEEP_MIN: usize = 1_024;

/// Who a session belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: Arc<str>,
    /// Its roles, sorted; none for a user without any.
    pub(crate) roles: Option<Arc<Roles>>,
    /// What its token lists for rules with `"token"`.
    pub(crate) grants: Option<Arc<TokenGrants>>,
    /// What only some tokens say. In a box, because most say none of it.
    pub(crate) details: Option<Box<TokenDetails>>,
    /// When it ends, Unix time in seconds; 0 where it does not. Two small numbers, because every session with a user has them.
    pub(crate) expires_at_s: u32,
    /// When its token was issued, Unix time in seconds; 0 where it does not say so.
    pub(crate) issued_at_s: u32,
}

/// A sorted list of roles.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Roles(pub(crate) Vec<Box<str>>);

/// What only some tokens say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenDetails {
    /// The id of the token, its claim `jti`, by which it can be revoked alone.
    pub(crate) id: Option<Box<str>>,
    /// What presence shows beside the user, its claim `info`.
    pub(crate) info: Option<Arc<Payload>>,
}

/// The patterns of topics that a token lists for each action.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TokenGrants {
    pub(crate) subscribe: Vec<Pattern>,
    pub(crate) publish: Vec<Pattern>,
    pub(crate) call: Vec<Pattern>,
    pub(crate) history: Vec<Pattern>,
    pub(crate) presence: Vec<Pattern>,
}

impl Identity {
    /// A user with these roles, for as long as the session lasts.
    pub(crate) fn of_user(user: Arc<str>, roles: Option<Arc<Roles>>) -> Self {
        Self { user, roles, grants: None, details: None, expires_at_s: 0, issued_at_s: 0 }
    }

    /// The same until then, by a token that was issued then, both Unix times in seconds.
    pub(crate) fn with_times(self, expires_at_s: u32, issued_at_s: Option<u32>) -> Self {
        Self { expires_at_s, issued_at_s: issued_at_s.unwrap_or(0), ..self }
    }

    /// The same with what only some tokens say.
    pub(crate) fn with_details(self, details: TokenDetails) -> Self {
        Self { details: (details != TokenDetails::default()).then(|| Box::new(details)), ..self }
    }

    /// The bearer of the same token under this name and with these roles, until the token ends or then, Unix time in seconds; 0
    /// for no time.
    pub(crate) fn renamed(&self, user: Arc<str>, roles: Option<Arc<Roles>>, expires_at_s: u32) -> Self {
        let expires_at_s = match (self.expires_at_s, expires_at_s) {
            (0, only) | (only, 0) => only,
            (one, other) => one.min(other),
        };
        let (grants, details) = (self.grants.clone(), self.details.clone());
        Self { user, roles, grants, details, expires_at_s, issued_at_s: self.issued_at_s }
    }

    /// The id of its token, by which it can be revoked alone.
    pub(crate) fn token_id(&self) -> Option<&str> {
        self.details.as_ref()?.id.as_deref()
    }

    /// What presence shows beside the user.
    pub(crate) fn info(&self) -> Option<&Arc<Payload>> {
        self.details.as_ref()?.info.as_ref()
    }

    /// When it ends, Unix time in milliseconds.
    pub(crate) fn expires_at_ms(&self) -> Option<u64> {
        (self.expires_at_s > 0).then(|| 1_000 * u64::from(self.expires_at_s))
    }

    /// When its token was issued, Unix time in milliseconds; 0 where it does not say so.
    pub(crate) fn issued_at_ms(&self) -> u64 {
        1_000 * u64::from(self.issued_at_s)
    }

    /// Whether it has a role.
    pub(crate) fn has_role(&self, role: &str) -> bool {
        self.roles.as_ref().is_some_and(|roles| roles.has(role))
    }
}

impl Roles {
    /// The roles in their order, each once; none where there are none.
    pub(crate) fn new(mut roles: Vec<Box<str>>) -> Option<Self> {
        roles.sort_unstable();
        roles.dedup();
        (!roles.is_empty()).then_some(Self(roles))
    }

    pub(crate) fn has(&self, role: &str) -> bool {
        self.0.iter().any(|one| **one == *role)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|role| &**role)
    }
}

impl TokenGrants {
    pub(crate) fn is_empty(&self) -> bool {
        [&self.subscribe, &self.publish, &self.call, &self.history, &self.presence].iter().all(|list| list.is_empty())
    }

    /// Whether one of the patterns selects the topic.
    pub(crate) fn select(patterns: &[Pattern], topic: &Topic) -> bool {
        patterns.iter().any(|pattern| pattern.matches(topic))
    }
}

/// The parts of identities that many sessions have in common.
#[derive(Debug, Default)]
pub(crate) struct SharedParts {
    roles: SharedValues<Roles>,
    grants: SharedValues<TokenGrants>,
}

impl SharedParts {
    pub(crate) fn roles(&self, roles: Vec<Box<str>>) -> Option<Arc<Roles>> {
        Some(self.roles.share(Roles::new(roles)?))
    }

    pub(crate) fn grants(&self, grants: TokenGrants) -> Option<Arc<TokenGrants>> {
        (!grants.is_empty()).then(|| self.grants.share(grants))
    }
}

/// Values of which equal ones are kept once, as long as somebody has them.
#[derive(Debug)]
struct SharedValues<T> {
    hasher: RandomState,
    known: Mutex<KnownValues<T>>,
}

#[derive(Debug)]
struct KnownValues<T> {
    by_hash: HashMap<u64, Vec<Weak<T>>>,
    /// The number of entries at which those that nobody has any more are removed.
    sweep_at: usize,
}

impl<T> Default for SharedValues<T> {
    fn default() -> Self {
        let known = KnownValues { by_hash: HashMap::new(), sweep_at: SWEEP_MIN };
        Self { hasher: RandomState::new(), known: Mutex::new(known) }
    }
}

impl<T: Eq + Hash> SharedValues<T> {
    fn share(&self, value: T) -> Arc<T> {
        let hash = self.hasher.hash_one(&value);
        let KnownValues { by_hash, sweep_at } = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if by_hash.len() >= *sweep_at {
            by_hash.retain(|_, same| {
                same.retain(|one| one.strong_count() > 0);
                !same.is_empty()
            });
            *sweep_at = SWEEP_MIN.max(2 * by_hash.len());
        }
        let same = by_hash.entry(hash).or_default();
        same.retain(|one| one.strong_count() > 0);
        if let Some(there) = same.iter().filter_map(Weak::upgrade).find(|there| **there == value) {
            return there;
        }
        let value = Arc::new(value);
        same.push(Arc::downgrade(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_takes_no_more_than_a_line_of_the_cache() {
        // With the counters of its `Arc`.
        assert_eq!(size_of::<Identity>() + 2 * size_of::<usize>(), 64);
    }

    #[test]
    fn details_take_memory_only_where_there_are_some() {
        let identity = |details| Identity::of_user("ann".into(), None).with_details(details);
        assert!(identity(TokenDetails::default()).details.is_none());
        let info = Some(Arc::new(Payload::json(&7).expect("a payload")));
        let both = identity(TokenDetails { id: Some("one".into()), info: info.clone() });
        assert_eq!((both.token_id(), both.info()), (Some("one"), info.as_ref()));
        let only_info = identity(TokenDetails { id: None, info: info.clone() });
        assert_eq!((only_info.token_id(), only_info.info()), (None, info.as_ref()));
    }

    #[test]
    fn equal_parts_are_shared_and_others_are_not() {
        let parts = SharedParts::default();
        let roles = |names: &[&str]| parts.roles(names.iter().map(|name| Box::from(*name)).collect());
        let (one, same) = (roles(&["b", "a", "b"]).expect("roles"), roles(&["a", "b"]).expect("roles"));
        assert!(Arc::ptr_eq(&one, &same) && one.iter().eq(["a", "b"]));
        assert!(one.has("a") && !one.has("c") && roles(&[]).is_none());
        assert!(!Arc::ptr_eq(&one, &roles(&["a"]).expect("roles")));
        for number in 0..10 * SWEEP_MIN {
            roles(&[&number.to_string()]);
        }
        assert!(
            parts.roles.known.lock().expect("nobody panics").by_hash.len() <= 2 * SWEEP_MIN,
            "what nobody has is swept"
        );
        assert!(Arc::ptr_eq(&one, &roles(&["a", "b"]).expect("roles")));
    }
}
