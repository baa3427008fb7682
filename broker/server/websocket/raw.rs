//! Sessions on raw endpoints: every message goes to a plugin's hook unchanged, in any format. It knows no protocol.

use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::{CloseCode, Closing};

use super::assembler::Kind;
use super::handler::Handler;
use crate::auth::identity::Identity;
use crate::broker::Broker;
use crate::broker::topic_logic::{RawMessage, TopicLogic};
use crate::hub::{Ending, InFlight, SessionKey};
use crate::identity;
use crate::limits::quota::QuotaSlot;
use crate::limits::seats::SessionPermit;
use crate::request::caller::CallerSession;

/// How long a message waits before the next attempt to put it into the plugin's full mailbox.
const BUSY_WAIT: Duration = Duration::from_millis(2);

/// When a client may reconnect after its endpoint's plugin was busy or not loaded.
const RETRY_MS: u64 = 5_000;

/// A session on a raw endpoint.
pub(in crate::server) struct Raw {
    broker: Broker,
    caller: CallerSession,
    endpoint: Arc<str>,
    logic: Option<Arc<dyn TopicLogic>>,
    in_flight: Arc<InFlight>,
    /// The message for which the plugin's mailbox had no room yet. Meanwhile the socket is not read.
    waiting: Option<RawMessage>,
    /// Its place among the sessions of its user, where it was anonymous at first. In a box, because most have none.
    of_user: Option<Box<QuotaSlot<Arc<str>>>>,
}

impl Raw {
    /// Begins a session and reports it to the endpoint's plugin. Also returns why the session has to end at once, if it has to.
    pub(in crate::server) fn begin(
        broker: Broker,
        key: SessionKey,
        endpoint: Arc<str>,
        permit: &SessionPermit,
    ) -> (Self, Option<Closing>) {
        let member = rialto_protocol::Member::anonymous(identity::session_id());
        let mut caller = CallerSession::new(key, member, permit.network());
        if let Some(identity) = &permit.identity {
            caller.set_identity(Arc::clone(identity));
        }
        broker.watch_expiry(&caller);
        let logic =
            broker.core.config.load().endpoints.plugin(&endpoint).and_then(|plugin| broker.core.plugins.logic(&plugin));
        let refused = match &logic {
            Some(logic) => Arc::clone(logic).connect(&broker, &caller, &endpoint).err(),
            None => Some("the plugin of this endpoint is not loaded".to_owned()),
        };
        let closing = refused.map(|message| Closing {
            code: CloseCode::TryAgainLater.number(),
            message,
            retry_after_ms: Some(RETRY_MS),
        });
        // The end of a session is reported only to a plugin that knows of its beginning.
        let logic = logic.filter(|_| closing.is_none());
        (Self { broker, caller, endpoint, logic, in_flight: Arc::default(), waiting: None, of_user: None }, closing)
    }

    /// The session as a caller.
    pub(in crate::server) fn caller(&self) -> &CallerSession {
        &self.caller
    }

    /// Puts the waiting message into the plugin's mailbox, if there is room.
    fn forward(&mut self) {
        let (Some(message), Some(logic)) = (self.waiting.take(), &self.logic) else { return };
        let in_flight = self.in_flight.enter();
        self.waiting = Arc::clone(logic).message(&self.broker, &self.caller, &self.endpoint, message, in_flight).err();
    }
}

impl Raw {
    /// Where its plugin has asked to authenticate it, and the secret is verified: it belongs to the user from now on, or does
    /// not, and its plugin gets a hook. What it has sent before is the plugin's first.
    async fn follow_authentication(&mut self) {
        let Some(logic) = self.logic.clone() else { return };
        let Some(verified) = logic.take_verified(&self.caller.member.session) else { return };
        self.in_flight.below(1).await;
        let outcome = verified.and_then(|identity| self.belong(identity));
        logic.authenticated(&self.broker, &self.caller, outcome, self.in_flight.enter());
    }

    /// It belongs to this user from now on.
    ///
    /// # Errors
    /// Why it cannot.
    fn belong(&mut self, identity: Arc<Identity>) -> Result<(), String> {
        let core = &self.broker.core;
        match &self.caller.member.user {
            Some(user) if **user != *identity.user => return Err("the session is another user's".to_owned()),
            Some(_) => {}
            None => {
                let slot = core.session_limits.slot_of_user(&core.config.load().limits, &identity.user);
                let slot = slot.ok_or_else(|| "session limit of this user reached".to_owned())?;
                self.of_user = Some(Box::new(slot));
            }
        }
        self.caller.set_identity(identity);
        let (key, member) = (self.caller.key, self.caller.member.clone());
        core.hub.run_on(key.shard(), move |shard| shard.set_member(key, &member));
        Ok(())
    }
}

impl Handler for Raw {
    fn on_message(&mut self, kind: Kind, message: &[u8]) -> Result<(), Ending> {
        self.waiting = Some(match kind {
            Kind::Text => RawMessage::Text(String::from_utf8_lossy(message).into_owned()),
            Kind::Binary => RawMessage::Binary(message.to_vec()),
        });
        self.forward();
        Ok(())
    }

    async fn recheck(&mut self) -> Result<(), Ending> {
        self.follow_authentication().await;
        if let Some(closing) = self.broker.token_end(&self.caller) {
            return Err(Ending::Closed(closing));
        }
        self.broker.watch_expiry(&self.caller);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.waiting.is_none() && self.in_flight.is_below(self.broker.core.config.load().limits.requests_in_flight)
    }

    async fn ready(&mut self) {
        self.in_flight.below(self.broker.core.config.load().limits.requests_in_flight).await;
        while self.waiting.is_some() {
            tokio::time::sleep(BUSY_WAIT).await;
            self.forward();
        }
    }

    fn end_some(&mut self) -> bool {
        if let Some(logic) = self.logic.take() {
            logic.disconnect(&self.broker, &self.caller, &self.endpoint);
        }
        for topic in self.caller.assigned.end() {
            self.broker.leave(&self.caller, &topic);
        }
        self.of_user = None;
        false
    }
}
