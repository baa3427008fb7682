//! What is said over a raw endpoint: every message is a plugin's, in whatever format. It knows no protocol.

use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::{CloseCode, Closing};

use super::assembler::Kind;
use super::handler::Handler;
use crate::broker::Broker;
use crate::broker::topic_logic::{RawMessage, TopicLogic};
use crate::hub::{Ending, InFlight, SessionKey};
use crate::identity;
use crate::request::caller::CallerSession;

/// How long a message waits before it is tried again to put it into a full mailbox.
const BUSY_WAIT: Duration = Duration::from_millis(2);

/// When a session may come back whose plugin is not there.
const RETRY_MS: u64 = 5_000;

/// A session on a raw endpoint.
pub(in crate::server) struct Raw {
    broker: Broker,
    caller: CallerSession,
    endpoint: Arc<str>,
    logic: Option<Arc<dyn TopicLogic>>,
    in_flight: Arc<InFlight>,
    /// What its plugin has had no room for yet. Meanwhile its socket is not read.
    waiting: Option<RawMessage>,
}

impl Raw {
    /// A session that is now told to its plugin. Gives why it has to end, if it has.
    pub(in crate::server) fn begin(
        broker: Broker,
        key: SessionKey,
        endpoint: Arc<str>,
        user: Option<Arc<str>>,
    ) -> (Self, Option<Closing>) {
        let member = rialto_protocol::Member { session: identity::session_id(), user };
        let caller = CallerSession::new(key, member);
        let logic = broker.core.endpoints.plugin(&endpoint).and_then(|plugin| broker.core.plugins.logic(&plugin));
        let refused = match &logic {
            Some(logic) => Arc::clone(logic).connect(&broker, &caller, &endpoint).err(),
            None => Some("the plugin of this endpoint is not loaded".to_owned()),
        };
        let closing = refused.map(|message| Closing {
            code: CloseCode::TryAgainLater.number(),
            message,
            retry_after_ms: Some(RETRY_MS),
        });
        // Who was not told to the plugin does not end there either.
        let logic = logic.filter(|_| closing.is_none());
        (Self { broker, caller, endpoint, logic, in_flight: Arc::default(), waiting: None }, closing)
    }

    /// Who it is.
    pub(in crate::server) fn caller(&self) -> &CallerSession {
        &self.caller
    }

    /// Gives the plugin what waits, if there is room.
    fn pass_on(&mut self) {
        let (Some(message), Some(logic)) = (self.waiting.take(), &self.logic) else { return };
        let in_flight = self.in_flight.enter();
        self.waiting = Arc::clone(logic).message(&self.broker, &self.caller, &self.endpoint, message, in_flight).err();
    }
}

impl Handler for Raw {
    fn hear(&mut self, kind: Kind, message: &[u8]) -> Result<(), Ending> {
        self.waiting = Some(match kind {
            Kind::Text => RawMessage::Text(String::from_utf8_lossy(message).into_owned()),
            Kind::Binary => RawMessage::Binary(message.to_vec()),
        });
        self.pass_on();
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.waiting.is_none() && self.in_flight.is_below(self.broker.core.limits.requests_in_flight)
    }

    async fn ready(&mut self) {
        self.in_flight.below(self.broker.core.limits.requests_in_flight).await;
        while self.waiting.is_some() {
            tokio::time::sleep(BUSY_WAIT).await;
            self.pass_on();
        }
    }

    fn end(&mut self) {
        if let Some(logic) = &self.logic {
            Arc::clone(logic).disconnect(&self.broker, &self.caller, &self.endpoint);
        }
        for topic in self.caller.assigned.end() {
            self.broker.leave(&self.caller, &topic);
        }
    }
}
