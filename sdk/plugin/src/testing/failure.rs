//! What clients and operators see of a hook that did not succeed.

use super::effect::to_json;
use crate::error::Error;
use serde_json::Value;

/// Why a hook did not do what it was called for, with the detail as plain JSON.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The client gets the code `rejected`.
    #[error("rejected: {reason} {detail}")]
    Rejected {
        /// The sentence for a person.
        reason: String,
        /// The data for the client's program; null when there is none.
        detail: Value,
    },
    /// The client gets `plugin_failed`, the operator this text.
    #[error("failed: {0}")]
    Failed(String),
}

impl Failure {
    /// A rejection to compare with.
    pub fn rejected(reason: impl Into<String>, detail: Value) -> Self {
        Self::Rejected { reason: reason.into(), detail }
    }

    /// The sentence of a rejection, or the text of a failure.
    pub fn reason(&self) -> &str {
        match self {
            Self::Rejected { reason, .. } => reason,
            Self::Failed(text) => text,
        }
    }

    /// The `kind` in the detail of a rejection, which is how plugins name their rejections to programs.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Rejected { detail, .. } => detail["kind"].as_str(),
            Self::Failed(_) => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Rejected { reason, detail: None } => Self::Rejected { reason, detail: Value::Null },
            Error::Rejected { reason, detail: Some(detail) } => match to_json(detail) {
                Ok(detail) => Self::Rejected { reason, detail },
                Err(failure) => failure,
            },
            Error::Failed(text) => Self::Failed(text),
        }
    }
}
