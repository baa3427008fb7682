//! The presence of a topic, as sessions and embedders request it. When it is reported is decided in `presence`.

use std::sync::Arc;

use rialto_protocol::{Failure, Present};

use super::{Broker, Departure, parse_topic, presence_of};
use crate::access::Action;
use crate::presence::PresenceView;
use crate::request::caller::{Caller, CallerSession};
use crate::topic::Topic;
use crate::topics::TopicEntry;

impl Broker {
    /// Who is present in a topic: every session that is subscribed to it by name, and for a moment those that may come back. Of
    /// more than `presence_members` only the count.
    ///
    /// # Errors
    /// `bad_request` for a name that is no topic, `not_found` where no rule is for it, `unavailable` where its rule does not want
    /// that to be known.
    pub fn presence(&self, topic: &str) -> Result<Present, Failure> {
        self.presence_as(Caller::Embedder, false, &parse_topic(topic)?)
    }

    /// The same for any caller. `admitted` says of a session whether the topic's plugin has admitted it as a subscriber.
    pub(crate) fn presence_as(&self, caller: Caller<'_>, admitted: bool, topic: &Topic) -> Result<Present, Failure> {
        self.check(caller, Action::Presence { admitted }, topic)?;
        let entry = self.core.topics.entry(topic, &self.core.engine, || caller.holder())?;
        Ok(presence_of(&entry)?.present())
    }

    /// A session becomes a subscriber: `subscribe` sends its shard the command for that, and sees who is present where the topic
    /// keeps that.
    pub(crate) fn attend<T>(
        &self,
        entry: &Arc<TopicEntry>,
        caller: &CallerSession,
        subscribe: impl FnOnce(Option<&PresenceView<'_>>) -> T,
    ) -> T {
        let presence = entry.presence();
        let Some(presence) = &*presence else { return subscribe(None) };
        let now_ms = self.core.clock.monotonic_ms();
        let subscribe = |view: &PresenceView<'_>| subscribe(Some(view));
        let (look_at_ms, subscribed) = presence.enter(&self.core.hub, &caller.member, now_ms, subscribe);
        self.core.presence_timer.schedule(entry, look_at_ms);
        subscribed
    }

    /// A session is no subscriber any more.
    pub(crate) fn depart(&self, entry: &Arc<TopicEntry>, caller: &CallerSession, departure: Departure) {
        let presence = entry.presence();
        let Some(presence) = &*presence else { return };
        let (hub, now_ms) = (&self.core.hub, self.core.clock.monotonic_ms());
        let grace_ms = self.core.config.load().limits.presence_grace_ms;
        let may_return = departure == Departure::MayReturn && grace_ms > 0;
        let due_ms = may_return.then(|| now_ms + grace_ms);
        self.core.presence_timer.schedule(entry, presence.leave(hub, &caller.member.session, due_ms, now_ms));
    }
}
