//! Why a hook did not do what it was called for: a rejection for the client, or a failure for the operator.

use crate::imports::Refusal;
use crate::payload::{DecodeError, EncodeError, Payload};
use serde::Serialize;

/// What hooks return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a hook did not do what it was called for. Either way nothing that the hook asked for happens.
///
/// `?` turns a [`DecodeError`] into a rejection with the detail `{"kind":"invalid_data"}`, and a [`Refusal`] or an
/// [`EncodeError`] into a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The plugin's decision: the client gets the code `rejected`, and it is not counted as a failure.
    #[error("rejected: {reason}")]
    Rejected {
        /// One sentence for a person.
        reason: String,
        /// Data for the client's program.
        detail: Option<Payload>,
    },
    /// The plugin could not work: the client gets `plugin_failed`, the text goes to the operator's log.
    #[error("failed: {0}")]
    Failed(String),
}

/// A rejection: `return Err(reject("the auction is over"));`.
///
/// ```
/// use rialto_plugin::prelude::*;
///
/// fn check(price: u64) -> Result<()> {
///     if price == 0 {
///         return Err(reject("a bid must not be 0").detail(&json!({"kind": "too_low", "least": 1})));
///     }
///     Ok(())
/// }
/// assert!(matches!(check(0), Err(Error::Rejected { .. })));
/// ```
pub fn reject(reason: impl Into<String>) -> Error {
    Error::Rejected { reason: reason.into(), detail: None }
}

/// A failure: something that only the operator or the plugin's author can put right.
pub fn fail(text: impl Into<String>) -> Error {
    Error::Failed(text.into())
}

/// The detail of the SDK's own rejections.
#[derive(Serialize)]
pub(crate) struct Detail {
    pub(crate) kind: &'static str,
}

impl Error {
    /// The same rejection with data for the client's program, written as JSON; the broker translates it for clients
    /// that speak MessagePack. A failure stays as it is, and a value that cannot be encoded makes it a failure.
    #[must_use]
    pub fn detail(self, value: &(impl Serialize + ?Sized)) -> Self {
        match self {
            Self::Rejected { reason, .. } => match Payload::json(value) {
                Ok(detail) => Self::Rejected { reason, detail: Some(detail) },
                Err(error) => Self::Failed(format!("the detail of the rejection {reason:?}: {error}")),
            },
            failed @ Self::Failed(_) => failed,
        }
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        reject(format!("invalid data: {error}")).detail(&Detail { kind: "invalid_data" })
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn causes_become_rejections_or_failures() {
        let invalid = reject("invalid data: missing field `name`").detail(&json!({"kind": "invalid_data"}));
        let table = [
            (Error::from(DecodeError("missing field `name`".to_owned())), invalid),
            (Error::from(EncodeError("no".to_owned())), fail("cannot encode: no")),
            (Error::from(Refusal::Forbidden("topic a".to_owned())), fail("forbidden: topic a")),
            (Error::from(Refusal::Invalid("topic a..b".to_owned())), fail("invalid: topic a..b")),
            (Error::from(Refusal::Limit("effects".to_owned())), fail("limit: effects")),
            (fail("no disk").detail(&json!(1)), fail("no disk")),
        ];
        for (actual, expected) in table {
            assert_eq!(actual, expected);
        }
    }

    #[test]
    fn a_detail_that_cannot_be_encoded_is_a_failure() {
        let keys_are_lists = BTreeMap::from([(vec![1], 1)]);
        let error = reject("no").detail(&keys_are_lists);
        assert_eq!(error, fail("the detail of the rejection \"no\": cannot encode: key must be a string"));
    }
}
