//! Who is present in a topic, as sessions and embedders ask for it. Who is told when is the business of `attendance`.

use std::sync::Arc;

use rialto_protocol::{Failure, Present};

use super::{Broker, Departure, attendance, parse_topic};
use crate::request::caller::Client;
use crate::topics::Entry;

impl Broker {
    /// Who is present in a topic: every session that is subscribed to it by name, and for a moment those that may come back. Of
    /// more than `presence_members` only the count.
    ///
    /// # Errors
    /// `bad_request` for a name that is no topic, `not_found` where no rule is for it, `unavailable` where its rule does not want
    /// that to be known.
    pub fn presence(&self, topic: &str) -> Result<Present, Failure> {
        let topic = parse_topic(topic)?;
        let entry = self.core.directory.entry(&topic, &self.core.engine)?;
        Ok(attendance(&entry)?.present())
    }

    /// A session becomes a subscriber. Gives who is present, if it wants to know.
    pub(crate) fn attend(&self, entry: &Arc<Entry>, client: &Client, presence: bool) -> Option<Present> {
        let attendance = entry.attendance.as_ref()?;
        let now_ms = self.core.clock.monotonic_ms();
        self.core.usher.visit(entry, attendance.enter(&self.core.hub, &client.member, now_ms));
        // Whoever asks again is told of nothing between the list and what follows from it.
        attendance.forsake(&self.core.hub, client.key);
        presence.then(|| attendance.present())
    }

    /// What is to be done once a session has been told who is present: it is told who comes and goes from then on.
    pub(crate) fn follow(
        &self,
        entry: &Arc<Entry>,
        client: &Client,
        known: Option<Present>,
    ) -> Option<impl FnOnce() + Send + use<>> {
        let known = known?;
        let (hub, entry, client) = (self.core.hub.clone(), Arc::clone(entry), client.clone());
        Some(move || {
            if let Some(attendance) = &entry.attendance {
                attendance.follow(&hub, client.key, &client.member, &known);
            }
        })
    }

    /// A session is no subscriber any more.
    pub(crate) fn depart(&self, entry: &Arc<Entry>, client: &Client, departure: Departure) {
        let Some(attendance) = &entry.attendance else { return };
        let (hub, now_ms) = (&self.core.hub, self.core.clock.monotonic_ms());
        attendance.forsake(hub, client.key);
        let grace_ms = self.core.limits.presence_grace_ms;
        let may_return = departure == Departure::MayReturn && grace_ms > 0;
        let due_ms = may_return.then(|| now_ms + grace_ms);
        self.core.usher.visit(entry, attendance.leave(hub, &client.member, due_ms, now_ms));
    }
}
