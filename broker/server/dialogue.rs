//! What is said over a connection: a session of the protocol, or the messages of somebody else's. It knows no frames.

use std::time::Instant;

use rialto_protocol::{CloseCode, Codec};

use super::assembler::Kind;
use super::farewell::closed;
use crate::hub::Ending;
use crate::pace::Pace;
use crate::session::Session;

/// The side of a connection that hears its messages.
pub(super) trait Dialogue {
    /// Takes one message.
    ///
    /// # Errors
    /// How the connection ends because of it.
    fn hear(&mut self, kind: Kind, message: &[u8]) -> Result<(), Ending>;

    /// Whether [`Dialogue::ready`] would return at once.
    fn is_ready(&self) -> bool;

    /// Waits until the next message may come.
    async fn ready(&mut self);

    /// The connection has ended.
    fn end(&mut self);
}

/// A session of the protocol: requests in one codec.
pub(super) struct Requests {
    pub(super) session: Session,
    codec: Codec,
    bad: Pace,
    bad_per_s: u32,
}

impl Requests {
    pub(super) fn new(session: Session, codec: Codec) -> Self {
        let bad_per_s = session.limits().bad_requests_per_s;
        Self { session, codec, bad: Pace::default(), bad_per_s }
    }
}

impl Dialogue for Requests {
    fn hear(&mut self, kind: Kind, message: &[u8]) -> Result<(), Ending> {
        match (kind, self.codec) {
            (Kind::Text, Codec::Json) | (Kind::Binary, Codec::MessagePack) => {}
            (Kind::Binary, Codec::Json) => {
                return Err(closed(CloseCode::UnsupportedData, "a JSON session takes text frames"));
            }
            (Kind::Text, Codec::MessagePack) => {
                return Err(closed(CloseCode::UnsupportedData, "a MessagePack session takes binary frames"));
            }
        }
        if self.session.handle(message).is_err() && self.bad.take(self.bad_per_s, Instant::now()).is_err() {
            return Err(closed(CloseCode::PolicyViolation, "too many bad requests"));
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.session.is_ready()
    }

    async fn ready(&mut self) {
        self.session.ready().await;
    }

    fn end(&mut self) {
        self.session.end();
    }
}
