//! Idempotency keys as requests carry them.

use rialto_protocol::{ErrorCode, Failure, Member};

use crate::engine::KeyedRequest;
use crate::store::{Digest, Key};

/// The longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 128;

/// A request's key and what the request says, if it has a key.
///
/// # Errors
/// `bad_request` for a key that is empty or too long.
pub(crate) fn keyed(
    key: Option<&str>,
    from: Option<&Member>,
    digest: impl FnOnce() -> Digest,
) -> Result<Option<KeyedRequest>, Failure> {
    let Some(text) = key else { return Ok(None) };
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        let message = format!("field \"key\" has {} bytes; 1 to {KEY_BYTES_MAX} are allowed", text.len());
        return Err(Failure::new(ErrorCode::BadRequest, message));
    }
    let key = Key { user: from.and_then(|member| member.user.clone()), text: text.into() };
    Ok(Some(KeyedRequest { key, digest: digest() }))
}

pub(crate) fn key_reused() -> Failure {
    Failure::new(ErrorCode::KeyReused, "the key was used for another request")
}

/// Whose keys those of a program are that uses the API, or, without a name, of the one that embeds the broker: no user's, whatever
/// that is called, so that nobody can use one up before it.
pub(crate) fn program(name: &str) -> Member {
    Member { session: "".into(), user: Some(format!("\0{name}").into()) }
}
