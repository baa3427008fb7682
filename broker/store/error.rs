//! Why a store did not keep or find something, by kind: texts for the operator, and the failure that a client gets.

use std::sync::LazyLock;

use rialto_protocol::{ErrorCode, Failure};

use crate::log_pace::LogPace;

/// When it makes sense to ask again for what could not be kept or read.
const RETRY_MS: u64 = 1_000;

/// Something could not be kept or read. The texts are for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(dead_code, reason = "memory never fails; what writes to a disk does")]
pub(crate) enum StoreError {
    /// There is no space left. Nothing was kept.
    #[error("the store is full: {0}")]
    Full(String),
    /// Writing or reading failed, or something that had to be kept first could not be. Nothing was kept.
    #[error("the store failed: {0}")]
    Failing(String),
    /// The store cannot say whether a commit was kept.
    #[error("the store does not know whether it kept this: {0}")]
    Unknown(String),
    /// What was kept cannot be read any more.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Too many commits wait. Nothing was kept.
    #[error("the store is busy: too many commits wait")]
    Busy,
}

impl StoreError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Full(_) => "full",
            Self::Failing(_) => "failing",
            Self::Unknown(_) => "unknown",
            Self::Damaged(_) => "damaged",
            Self::Busy => "busy",
        }
    }

    /// What a client gets: it may try again. The operator's log gets the reason.
    pub(crate) fn to_failure(&self) -> Failure {
        static PACE: LazyLock<LogPace> = LazyLock::new(LogPace::default);
        if let Some(left_out) = PACE.take(("store", self.kind()), 1) {
            tracing::error!(error = %self, left_out, "a request failed because of the store");
        }
        Failure::new(ErrorCode::Unavailable, "storage is unavailable, try again later").retry_after_ms(RETRY_MS)
    }
}
