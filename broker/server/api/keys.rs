//! Authentication of programs that use the HTTP API, by their keys. Only hashes are compared, all of them and each in constant
//! time, so that the time it takes reveals nothing. What a key may do is up to `access`.

use hyper::header::{self, HeaderMap};
use rialto_protocol::ApiOperation;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::ApiKey;
use crate::topic::Pattern;

/// Longer keys are refused unread: none of ours is longer.
const KEY_BYTES_MAX: usize = 256;

const SCHEME: &[u8] = b"Bearer ";

/// The API key that the header `Authorization: Bearer` carries; none where there is no such header or its key is unknown.
pub(super) fn find<'k>(keys: &'k [ApiKey], headers: &HeaderMap) -> Option<&'k ApiKey> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
    let (scheme, key) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || key.len() > KEY_BYTES_MAX {
        return None;
    }
    let hash: [u8; 32] = Sha256::digest(key.trim_ascii()).into();
    let mut found = None;
    for key in keys {
        if bool::from(key.sha256.ct_eq(&hash)) {
            found = Some(key);
        }
    }
    found
}

/// Stands for the operator, who needs no key and may do everything.
pub(super) fn operator() -> ApiKey {
    ApiKey {
        name: "operator".to_owned(),
        sha256: [0; 32],
        allow: ApiOperation::ALL.to_vec(),
        topics: vec![Pattern::parse(">").expect("`>` is a pattern")],
    }
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
        let keys = [key("one", "first"), key("two", "second")];
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
            assert_eq!(find(&keys, &headers).map(|key| &*key.name), expected, "{values:?}");
        }
    }
}
