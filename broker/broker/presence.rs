//! Who is present in a topic, as sessions and embedders ask for it. Who is told when is the business of `presence`.

use std::sync::Arc;

use rialto_protocol::{Failure, Present};

use super::{Broker, Departure, parse_topic, presence_of};
use crate::access::Action;
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
        let entry = self.core.topics.entry(topic, &self.core.engine)?;
        Ok(presence_of(&entry)?.present())
    }

    /// A session becomes a subscriber. Gives who is present, if it wants to know.
    pub(crate) fn attend(&self, entry: &Arc<TopicEntry>, caller: &CallerSession, wanted: bool) -> Option<Present> {
        let presence = entry.presence.as_ref()?;
        let now_ms = self.core.clock.monotonic_ms();
        self.core.presence_timer.schedule(entry, presence.enter(&self.core.hub, &caller.member, now_ms));
        // Whoever asks again is told of nothing between the list and what follows from it.
        presence.forsake(&self.core.hub, caller.key);
        wanted.then(|| presence.present())
    }

    /// What is to be done once a session has been told who is present: it is told who comes and goes from then on.
    pub(crate) fn follow(
        &self,
        entry: &Arc<TopicEntry>,
        caller: &CallerSession,
        known: Option<Present>,
    ) -> Option<impl FnOnce() + Send + use<>> {
        let known = known?;
        let (hub, entry, caller) = (self.core.hub.clone(), Arc::clone(entry), caller.clone());
        Some(move || {
            if let Some(presence) = &entry.presence {
                presence.follow(&hub, caller.key, &caller.member, &known);
            }
        })
    }

    /// A session is no subscriber any more.
    pub(crate) fn depart(&self, entry: &Arc<TopicEntry>, caller: &CallerSession, departure: Departure) {
        let Some(presence) = &entry.presence else { return };
        let (hub, now_ms) = (&self.core.hub, self.core.clock.monotonic_ms());
        presence.forsake(hub, caller.key);
        let grace_ms = self.core.limits.presence_grace_ms;
        let may_return = departure == Departure::MayReturn && grace_ms > 0;
        let due_ms = may_return.then(|| now_ms + grace_ms);
        self.core.presence_timer.schedule(entry, presence.leave(hub, &caller.member, due_ms, now_ms));
    }
}
