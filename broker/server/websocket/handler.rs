//! Who handles the messages of a connection: a session of the protocol, or a raw endpoint. It knows no frames.

use std::time::Instant;

use rialto_protocol::{CloseCode, Codec};

use super::assembler::Kind;
use super::close::closed;
use crate::hub::Ending;
use crate::limits::rate::Rate;
use crate::session::{BadFrame, Session};

/// Handles the messages of a connection.
pub(in crate::server) trait Handler {
    /// Handles one message.
    ///
    /// # Errors
    /// How the connection ends because of the message.
    fn on_message(&mut self, kind: Kind, message: &[u8]) -> Result<(), Ending>;

    /// Whether [`Handler::ready`] would return at once.
    fn is_ready(&self) -> bool;

    /// Back-pressure: waits until the next message may be read.
    async fn ready(&mut self);

    /// The longest message that is read; none for that of the limits.
    fn message_bytes(&self) -> Option<usize> {
        None
    }

    /// Looks at its permissions and the times of its token again.
    ///
    /// # Errors
    /// How the connection ends because of that.
    async fn recheck(&mut self) -> Result<(), Ending>;

    /// The connection is about to end like this.
    fn ending(&mut self, _ending: &Ending) {}

    /// The connection has ended: does a part of what has to be done then. Returns whether there is more.
    fn end_some(&mut self) -> bool;
}

/// A session of the protocol: requests in one codec.
pub(in crate::server) struct Requests {
    pub(in crate::server) session: Session,
    codec: Codec,
    /// In a box, because most sessions never need it.
    bad_requests: Option<Box<Rate>>,
}

impl Requests {
    pub(in crate::server) fn new(session: Session, codec: Codec) -> Self {
        Self { session, codec, bad_requests: None }
    }

    fn count_bad_request(&mut self) -> Result<(), Ending> {
        let per_s = self.session.bad_requests_per_s();
        let taken = self.bad_requests.get_or_insert_default().take(per_s, Instant::now());
        taken.map_err(|_| closed(CloseCode::PolicyViolation, "rate limit: too many bad requests"))
    }
}

impl Handler for Requests {
    fn on_message(&mut self, kind: Kind, message: &[u8]) -> Result<(), Ending> {
        match (kind, self.codec) {
            (Kind::Text, Codec::Json) | (Kind::Binary, Codec::MessagePack) => {}
            (Kind::Binary, Codec::Json) => {
                return Err(closed(CloseCode::UnsupportedData, "a JSON session takes text frames"));
            }
            (Kind::Text, Codec::MessagePack) => {
                return Err(closed(CloseCode::UnsupportedData, "a MessagePack session takes binary frames"));
            }
        }
        match self.session.handle(message) {
            Ok(()) => Ok(()),
            Err(BadFrame::NoRequest) => self.count_bad_request(),
            Err(BadFrame::Abuse) => Err(closed(CloseCode::Rate, "rate limit: too many requests that were refused")),
        }
    }

    fn is_ready(&self) -> bool {
        self.session.is_ready()
    }

    async fn ready(&mut self) {
        self.session.ready().await;
    }

    fn message_bytes(&self) -> Option<usize> {
        self.session.first_message_bytes()
    }

    async fn recheck(&mut self) -> Result<(), Ending> {
        self.session.recheck()?;
        self.session.ready().await;
        Ok(())
    }

    fn end_some(&mut self) -> bool {
        self.session.end_some()
    }
}
