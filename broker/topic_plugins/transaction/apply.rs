//! Applies the effects of a hook whose commit is kept, in their order; and, while the log takes its time, the changes to the
//! plugin's members that its next hooks already see.

use std::sync::Arc;

use rialto_protocol::{CloseCode, Closing, ErrorCode, Failure, Position, Reply};

use super::resolve::{Membership, ResolvedEffect};
use super::{End, Transaction};
use crate::broker::topic_logic::TopicPublish;
use crate::broker::{Broker, Departure, SubscribeOptions};
use crate::engine::StepOutcome;
use crate::hub::{Push, What};
use crate::message::Draft;
use crate::plugin::MembershipChange;
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::Responder;
use crate::topic::Topic;
use crate::topic_plugins::handle::PluginHandle;

impl Transaction {
    /// Applies what is left when all steps are done.
    pub(super) fn apply_rest(&self, positions: &[Position]) {
        self.progress.effects[self.progress.applied.get()..].iter().for_each(|effect| self.apply(effect));
        self.broker.core.metrics.messages_published.add(positions.len() as u64);
    }

    /// Applies an effect for which its topic is locked.
    pub(super) fn apply_in_topic(&self, effect: &ResolvedEffect, outcome: StepOutcome<'_>) {
        match (effect, outcome) {
            (
                ResolvedEffect::Publish { entry, .. } | ResolvedEffect::Remove { entry, .. },
                StepOutcome::Message(message) | StepOutcome::Recovered(message),
            ) => {
                self.broker.core.hub.deliver(&entry.reach, message);
            }
            (ResolvedEffect::Remove { entry, .. }, StepOutcome::Removed(offset)) => {
                let stream = &entry.stream;
                self.broker.core.hub.remove(&entry.reach, stream.id(), stream.topic(), offset);
            }
            (ResolvedEffect::Admit { entry, caller, parts, .. }, StepOutcome::Joined(view)) => {
                if let Some(parts) = parts.take() {
                    let (mut options, responder) = *parts;
                    self.broker.enter(entry, &view, caller, &mut options, responder);
                }
            }
            (ResolvedEffect::Subscribe { entry, caller, membership, .. }, StepOutcome::Joined(view)) => {
                let (topic, registry) = (entry.stream.topic(), &self.plugin.registry);
                if !caller.assigned.add(topic, self.broker.core.config.load().limits.subscriptions) {
                    if membership.get() == Membership::Anticipated(true) {
                        registry.leave(topic, &caller.member.session);
                    }
                    return;
                }
                if membership.get() == Membership::Due {
                    self.plugin.known_sessions.add_new(caller);
                    registry.enter(topic, &caller.for_plugins());
                }
                // Nobody asked, so nobody is answered.
                let (responder, _) = Responder::caller();
                self.broker.enter(entry, &view, caller, &mut SubscribeOptions::default(), responder);
            }
            _ => {}
        }
    }

    /// Applies an effect for which no topic is locked.
    pub(super) fn apply(&self, effect: &ResolvedEffect) {
        let hub = &self.broker.core.hub;
        match effect {
            ResolvedEffect::Send { caller, what } => {
                if let Some(what) = what.take() {
                    hub.push(caller.key, Push { what, in_flight: None });
                }
            }
            ResolvedEffect::Unsubscribe { caller, topic, membership } => {
                let is_ended = match membership.get() {
                    Membership::None => true,
                    Membership::Due => self.plugin.registry.leave(topic, &caller.member.session),
                    Membership::Anticipated(was_in) => was_in,
                };
                self.end_subscription(caller, topic, is_ended);
            }
            ResolvedEffect::Disconnect { caller, reason } => {
                let code = CloseCode::Kicked.number();
                let closing = Closing { code, message: reason.clone(), retry_after_ms: None };
                let key = caller.key;
                hub.run_on(key.shard(), move |shard| shard.end(key, &closing));
            }
            ResolvedEffect::Authenticate { caller, login } => {
                if let Some(login) = login.take() {
                    self.plugin.authenticate(&self.broker, caller, login);
                }
            }
            ResolvedEffect::End(end) => {
                end.take().into_iter().for_each(|end| end.apply(&self.broker, &self.plugin, self.by.as_ref()));
            }
            ResolvedEffect::Forward { entry, draft, other } => {
                let Draft { payload, except, .. } = draft.clone();
                let (responder, _) = Responder::caller();
                let caller = Caller::Plugin { name: self.plugin.name(), hops: self.progress.hops + 1 };
                let request = TopicPublish { caller, except, payload, keyed: None };
                Arc::clone(other).publish(&self.broker, entry, request, responder);
            }
            ResolvedEffect::Publish { .. }
            | ResolvedEffect::Remove { .. }
            | ResolvedEffect::Admit { .. }
            | ResolvedEffect::Subscribe { .. } => {}
        }
    }

    /// Ends a subscription of a session that did not ask for that, and notifies the session.
    fn end_subscription(&self, caller: &CallerSession, topic: &Topic, was_in: bool) {
        let was_assigned = caller.assigned.remove(topic);
        if !(was_in || was_assigned) {
            return;
        }
        self.broker.release(caller, topic, Departure::Final);
        let failure = Failure::new(ErrorCode::Rejected, "the topic's plugin ended the subscription");
        let what = What::Unsubscribed { topic: topic.clone(), failure };
        self.broker.core.hub.push(caller.key, Push { what, in_flight: None });
        if self.by.as_ref().is_none_or(|by| by.key != caller.key) {
            self.plugin.known_sessions.tidy(&caller.member.session, &self.plugin.registry);
        }
    }

    /// The commit has begun: the plugin's next hooks find its members as they will be. Returns what is undone if the commit is
    /// not kept.
    pub(super) fn anticipate(&self) -> Vec<MembershipChange> {
        let registry = &self.plugin.registry;
        let mut changes: Vec<MembershipChange> = self.joined.clone().into_iter().collect();
        for effect in &self.progress.effects {
            match effect {
                ResolvedEffect::Subscribe { entry, caller, membership, .. } if membership.get() == Membership::Due => {
                    let (topic, session) = (entry.stream.topic(), &caller.member.session);
                    let is_new = !registry.is_on(topic, session);
                    membership.set(Membership::Anticipated(is_new));
                    self.plugin.known_sessions.add_new(caller);
                    registry.enter(topic, &caller.for_plugins());
                    let joined = || MembershipChange::Joined { topic: topic.clone(), session: session.clone() };
                    changes.extend(is_new.then(joined));
                }
                ResolvedEffect::Unsubscribe { caller, topic, membership } if membership.get() == Membership::Due => {
                    let was_in = registry.leave(topic, &caller.member.session);
                    membership.set(Membership::Anticipated(was_in));
                    let left = || MembershipChange::Left { topic: topic.clone(), member: caller.for_plugins() };
                    changes.extend(was_in.then(left));
                }
                ResolvedEffect::Authenticate { caller, .. } => {
                    registry.begin_authentication(&caller.member.session);
                }
                _ => {}
            }
        }
        changes
    }
}

impl End {
    /// Takes the session out, and answers it if it asked for that.
    pub(super) fn apply(self, broker: &Broker, plugin: &PluginHandle, by: Option<&CallerSession>) {
        match self {
            Self::Subscription { topic, departure, responder } => {
                // Where the topic has another owner, the session may have been admitted anew.
                if broker.is_owner(plugin.name(), &topic) {
                    by.into_iter().for_each(|caller| broker.release(caller, &topic, departure));
                }
                responder.into_iter().for_each(|responder| responder.ok(Reply::Unsubscribed));
            }
            Self::Connection | Self::Ownership => {}
        }
    }
}
