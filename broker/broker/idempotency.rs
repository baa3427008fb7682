//! Idempotency keys as requests carry them: their check, and whose they are. It looks none up.

use std::sync::Arc;

use rialto_protocol::{ErrorCode, Failure};

use crate::engine::KeyedRequest;
use crate::request::caller::Caller;
use crate::store::{Digest, Key};

use super::Broker;

/// What a key takes in memory beside its text, roughly: it stands in a table and in the order of their age, and with it what its
/// request came to.
const KEY_BYTES: usize = 320;

/// When a client may try again whose share of the keys is used up.
const FULL_RETRY_MS: u64 = 5_000;

/// The longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 128;

/// Checks the form of a request's key, if it has one.
///
/// # Errors
/// `bad_request` for a key that is empty or too long.
pub(crate) fn check_key(key: Option<&str>) -> Result<(), Failure> {
    let Some(text) = key else { return Ok(()) };
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        let message = format!("field \"key\" has {} bytes; 1 to {KEY_BYTES_MAX} are allowed", text.len());
        return Err(Failure::new(ErrorCode::BadRequest, message));
    }
    Ok(())
}

impl Broker {
    /// The request's key as the caller's own, with a digest of what the request says, if it has a key.
    ///
    /// # Errors
    /// Those of [`check_key`].
    pub(super) fn keyed(
        &self,
        key: Option<&str>,
        caller: Caller<'_>,
        digest: impl FnOnce() -> Digest,
    ) -> Result<Option<KeyedRequest>, Failure> {
        check_key(key)?;
        let keyed = |text: &str| {
            let share = self.core.key_shares.take(&caller.holder(), (KEY_BYTES + text.len()) as u64).map(Arc::new);
            KeyedRequest { key: Key { owner: caller.key_owner(), text: text.into() }, digest: digest(), share }
        };
        Ok(key.map(keyed))
    }
}

/// The refusal of a new key by a client whose share is used up.
pub(crate) fn too_many_keys() -> Failure {
    let text = "too many idempotency keys are remembered for this client: try again when older ones have expired, or without a key";
    Failure::new(ErrorCode::TooMany, text).retry_after_ms(FULL_RETRY_MS)
}

/// The refusal of a key that stands for another request.
pub(crate) fn key_reused() -> Failure {
    Failure::new(ErrorCode::KeyReused, "the key was used for another request")
}
