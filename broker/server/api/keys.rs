//! Which program sends a request of the HTTP API, by its key, and what that key is good for. Only hashes are compared, all of
//! them and each in the same time, so that nothing can be learnt from how long it takes.

use hyper::header::{self, HeaderMap};
use rialto_protocol::ApiOperation;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::ApiKey;
use crate::topic::{Pattern, Topic};

/// Longer ones nobody has.
const KEY_BYTES_MAX: usize = 256;

/// All keys.
#[derive(Debug)]
pub(super) struct Keys(Vec<ApiKey>);

impl Keys {
    pub(super) fn new(keys: Vec<ApiKey>) -> Self {
        Self(keys)
    }

    /// The key in `Authorization: Bearer`; none where there is none, or none of ours.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<&ApiKey> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
        let (scheme, key) = value.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) || key.len() > KEY_BYTES_MAX {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(key.trim_ascii()).into();
        let mut found = None;
        for key in &self.0 {
            if bool::from(key.sha256.ct_eq(&hash)) {
                found = Some(key);
            }
        }
        found
    }
}

const SCHEME: &[u8] = b"Bearer ";

/// What stands for the operator where no key is asked for: good for everything.
pub(super) fn operator() -> ApiKey {
    ApiKey {
        name: "operator".to_owned(),
        sha256: [0; 32],
        allow: ApiOperation::ALL.to_vec(),
        topics: vec![Pattern::parse(">").expect("`>` is a pattern")],
    }
}

/// Whether a key is good for an operation at all.
pub(super) fn allows(key: &ApiKey, operation: ApiOperation) -> bool {
    key.allow.contains(&operation)
}

/// Whether a key is good for a topic.
pub(super) fn selects(key: &ApiKey, topic: &Topic) -> bool {
    key.topics.iter().any(|pattern| pattern.matches(topic))
}

/// Whether a key is good for all topics, and so for what concerns none.
pub(super) fn selects_all(key: &ApiKey) -> bool {
    key.topics.iter().map(Pattern::as_str).any(|pattern| pattern == ">")
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_found_by_its_hash_and_nothing_else() {
        let key = |name: &str, text: &str| ApiKey {
            name: name.to_owned(),
            sha256: Sha256::digest(text).into(),
            allow: vec![ApiOperation::Publish],
            topics: vec![Pattern::parse("a.*").expect("a pattern")],
        };
        let keys = Keys::new(vec![key("one", "first"), key("two", "second")]);
        for (values, expected) in [
            (&["Bearer first"][..], Some("one")),
            (&["bearer second "], Some("two")),
            (&["Bearer third"], None),
            (&["Bearer "], None),
            (&["Basic first"], None),
            (&["first"], None),
            (&["Bearer first", "Bearer first"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(keys.find(&headers).map(|key| &*key.name), expected, "{values:?}");
        }
        let one = key("one", "first");
        assert!(allows(&one, ApiOperation::Publish) && !allows(&one, ApiOperation::History));
        let selected = |name| selects(&one, &Topic::parse(name).expect("a topic"));
        assert!(selected("a.b") && !selected("b.b") && !selects_all(&one));
    }
}
