//! A session on a stream that a program handed over: a session like all others, whose end is reported.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::assembler::Kind;
use super::handler::{Handler, Requests};
use crate::hub::{Ending, SessionKey};

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The broker closed it, or the program did by [`SessionHandle::close`](crate::SessionHandle::close).
    Closed {
        /// The code of the close.
        code: u16,
        /// Why, as the client was told.
        reason: String,
    },
    /// Its client closed it.
    Left {
        /// The code of the close, if it had one.
        code: Option<u16>,
    },
    /// The connection was lost.
    Lost,
}

impl SessionEnd {
    /// The code of the close; none where there was none.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Closed { code, .. } => Some(*code),
            Self::Left { code } => *code,
            Self::Lost => None,
        }
    }

    fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Closed(closing) | Ending::Drained(closing) => {
                Self::Closed { code: closing.code, reason: closing.message.clone() }
            }
            Ending::PeerClosed(code) => Self::Left { code: *code },
            Ending::Gone => Self::Lost,
        }
    }
}

/// What is known of a session outside of its shard.
#[derive(Debug, Default)]
pub(in crate::server) struct SessionState {
    /// Its key, once it is there.
    pub(in crate::server) key: OnceLock<SessionKey>,
    pub(in crate::server) ended: watch::Sender<Option<SessionEnd>>,
}

/// Reports the end of a session when it is dropped: everything of the session is gone then.
pub(in crate::server) struct EndReport {
    state: Arc<SessionState>,
    end: SessionEnd,
}

impl EndReport {
    pub(in crate::server) fn new(state: Arc<SessionState>) -> Self {
        Self { state, end: SessionEnd::Lost }
    }

    /// The session is there.
    pub(super) fn begun(&self, key: SessionKey) {
        // It begins once.
        let _ = self.state.key.set(key);
    }
}

impl Drop for EndReport {
    fn drop(&mut self) {
        let end = std::mem::replace(&mut self.end, SessionEnd::Lost);
        self.state.ended.send_replace(Some(end));
    }
}

/// A session whose end is reported.
pub(super) struct HandedOver {
    requests: Requests,
    report: EndReport,
}

impl HandedOver {
    pub(super) fn new(requests: Requests, report: EndReport) -> Self {
        Self { requests, report }
    }
}

impl Handler for HandedOver {
    fn on_message(&mut self, kind: Kind, message: &[u8]) -> Result<(), Ending> {
        self.requests.on_message(kind, message)
    }

    fn is_ready(&self) -> bool {
        self.requests.is_ready()
    }

    async fn ready(&mut self) {
        self.requests.ready().await;
    }

    fn message_bytes(&self) -> Option<usize> {
        self.requests.message_bytes()
    }

    async fn recheck(&mut self) -> Result<(), Ending> {
        self.requests.recheck().await
    }

    fn ending(&mut self, ending: &Ending) {
        self.report.end = SessionEnd::of(ending);
    }

    fn end_some(&mut self) -> bool {
        self.requests.end_some()
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::CloseCode;

    use super::*;
    use crate::hub::closing;

    #[test]
    fn the_end_is_reported_with_its_reason_or_as_a_loss() {
        let closed = |code| Ending::Closed(closing(code, "why", None));
        let told = |code, reason: &str| SessionEnd::Closed { code, reason: reason.to_owned() };
        for (ending, expected) in [
            (Some(closed(CloseCode::Kicked)), told(4003, "why")),
            (Some(Ending::Drained(closing(CloseCode::GoingAway, "stops", None))), told(1001, "stops")),
            (Some(Ending::PeerClosed(Some(1000))), SessionEnd::Left { code: Some(1000) }),
            (Some(Ending::PeerClosed(None)), SessionEnd::Left { code: None }),
            (Some(Ending::Gone), SessionEnd::Lost),
            (None, SessionEnd::Lost),
        ] {
            let state = Arc::new(SessionState::default());
            let mut report = EndReport::new(Arc::clone(&state));
            if let Some(ending) = &ending {
                report.end = SessionEnd::of(ending);
            }
            assert_eq!(*state.ended.borrow(), None, "it has not ended");
            drop(report);
            assert_eq!(*state.ended.borrow(), Some(expected), "{ending:?}");
        }
    }
}
