//! How sessions come into topics and leave them: what they may ask for, what of the past they are sent, and who is told.

use std::sync::Arc;

use rialto_protocol::{Delivery, ErrorCode, Failure, Gap, Position, Reply, Subscribed};

use super::Broker;
use crate::access::Action;
use crate::engine::{Retired, View};
use crate::hub::{FieldPlace, Push, Subscription, TooManyFields, What};
use crate::presence::TopicPresence;
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::Responder;
use crate::store::{Span, StoreError};
use crate::topic::Topic;
use crate::topics::TopicEntry;
use crate::topics::recovery::{Plan, plan};
use crate::topics::replay::{PAGE, Reading};

/// What a session wants of a topic that it subscribes to.
#[derive(Debug, Default)]
pub(crate) struct SubscribeOptions {
    /// The last position it has seen.
    pub(crate) since: Option<Position>,
    /// How many past messages to send first, or where nothing leads on from `since`.
    pub(crate) last: Option<u64>,
    /// The delivery policy; none means the topic's own.
    pub(crate) delivery: Option<Delivery>,
    /// What is reserved for the policy.
    pub(crate) field: Option<FieldPlace>,
    /// Whether it wants to be told who comes and goes.
    pub(crate) presence: bool,
}

/// How a session leaves a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// As it wished.
    Final,
    /// It has ended, and its user may come back.
    MayReturn,
}

impl Broker {
    /// Subscribes a session, after asking the topic's plugin if there is one.
    pub(crate) fn subscribe(
        &self,
        caller: &CallerSession,
        topic: &Topic,
        mut options: SubscribeOptions,
        responder: Responder,
    ) {
        let action = Action::Subscribe { delivery: options.delivery.as_ref() };
        let found = self
            .check(Caller::Session(caller), action, topic)
            .and_then(|()| self.core.topics.entry(topic, &self.core.engine));
        let entry = match found {
            Ok(entry) => entry,
            Err(failure) => return responder.fail(failure),
        };
        if let Err(failure) = self.choose(&entry, &mut options) {
            return responder.fail(failure);
        }
        if options.presence
            && let Err(failure) = presence_of(&entry)
        {
            return responder.fail(failure);
        }
        match self.deciding_logic(&entry) {
            Ok(None) => self.join(entry, caller, options, responder),
            Ok(Some(logic)) => logic.subscribe(self, entry, caller, options, responder),
            Err(failure) => responder.fail(failure),
        }
    }

    /// Settles the delivery policy of a subscription and reserves what it needs, before anybody else is asked.
    fn choose(&self, entry: &TopicEntry, options: &mut SubscribeOptions) -> Result<(), Failure> {
        let delivery = options.delivery.get_or_insert_with(|| entry.options.delivery.clone());
        let fields_max = self.core.limits.conflation_fields;
        options.field = entry.reach.audience().reserve(delivery, fields_max).map_err(|TooManyFields| {
            let text = format!("subscribers of one topic may ask for {fields_max} different fields");
            Failure::new(ErrorCode::TooMany, text)
        })?;
        Ok(())
    }

    /// Lets a session into a topic: its answer, what of the past it wants, then every message after that.
    pub(crate) fn join(
        &self,
        mut entry: Arc<TopicEntry>,
        caller: &CallerSession,
        mut options: SubscribeOptions,
        responder: Responder,
    ) {
        let mut responder = Some(responder);
        while let Err(Retired) = entry.stream.join(|view| {
            if let Some(responder) = responder.take() {
                self.enter(&entry, view, caller, &mut options, responder);
            }
        }) {
            match self.core.topics.entry(entry.stream.topic(), &self.core.engine) {
                Ok(fresh) => {
                    entry = fresh;
                    let delivery = options.delivery.get_or_insert_with(|| entry.options.delivery.clone());
                    // A topic that has just come back has no other subscribers whose fields could be too many.
                    options.field = entry.reach.audience().reserve(delivery, usize::MAX).ok().flatten();
                }
                Err(failure) => return responder.into_iter().for_each(|responder| responder.fail(failure.clone())),
            }
        }
    }

    /// The same while nothing changes in the topic.
    pub(crate) fn enter(
        &self,
        entry: &Arc<TopicEntry>,
        view: &View<'_>,
        caller: &CallerSession,
        options: &mut SubscribeOptions,
        responder: Responder,
    ) {
        let SubscribeOptions { since, last, delivery, field, presence } = std::mem::take(options);
        let session = caller.key;
        let delivery = delivery.unwrap_or_else(|| entry.options.delivery.clone());
        let (topic, position): (Arc<str>, _) = (entry.stream.topic().as_str().into(), view.position());
        let mut subscribed = Subscribed { topic, position: None, recovered: None, more: None, present: None };
        let hub = &self.core.hub;
        let mut planned = None;
        if since.is_some() || last.is_some() {
            match self.plan_recovery(view, since.as_ref(), last) {
                Ok((plan, more)) => {
                    subscribed.more = Some(more);
                    planned = Some(plan);
                }
                Err(error) => return responder.fail(error.to_failure()),
            }
        }
        entry.reach.enter(session.shard());
        let (mut replay, mut told) = (None, None);
        if let Some(plan) = planned {
            subscribed.recovered = plan.recovered;
            self.count_recovery(plan.recovered);
            if plan.gap.is_some() && plan.after.is_none() && responder.is_whole() {
                // There is nothing to read, so live messages need not wait: those of a topic without history would be lost.
                told = plan.gap;
            } else if plan.gap.is_some() || plan.after.is_some() {
                let after = plan.after.unwrap_or(position.offset);
                let reading = Reading::new(hub, self.core.clock, entry, session, after, plan.gap, delivery.clone());
                replay = Some(reading);
            }
        }
        subscribed.position = Some(position);
        subscribed.present = self.attend(entry, caller, presence);
        let follow = self.follow(entry, caller, subscribed.present.clone());
        match replay {
            None => {
                let (topic, audience) = (entry.stream.topic().clone(), Arc::clone(entry.reach.audience()));
                let stream = entry.stream.id();
                if told.is_some() {
                    // A replay that is under way ends here.
                    hub.unsubscribe(session, stream);
                }
                hub.subscribe(session, Subscription { stream, topic, delivery, field, audience, replay: None });
                match follow {
                    Some(follow) => responder.ok_then(Reply::Subscribed(subscribed), follow),
                    None => responder.ok(Reply::Subscribed(subscribed)),
                }
                if let Some((from, to, reason)) = told {
                    let topic = entry.stream.topic().as_str().into();
                    let what = What::Gap(Gap { topic, from, to, reason });
                    hub.push(session, Push { what, in_flight: None });
                }
            }
            Some(reading) => {
                let replay = reading.reserving(field).into_replay();
                let (hub, id) = (hub.clone(), replay.id);
                hub.replay(session, replay);
                responder.ok_then(Reply::Subscribed(subscribed), move || {
                    follow.into_iter().for_each(|follow| follow());
                    hub.release(session, id);
                });
            }
        }
    }

    /// What of the past a subscription gets, and whether that is more than one page.
    fn plan_recovery(
        &self,
        view: &View<'_>,
        since: Option<&Position>,
        last: Option<u64>,
    ) -> Result<(Plan, bool), StoreError> {
        let (position, now) = (view.position(), self.core.clock.now());
        let kept = view.read(Span::After(position.offset), PAGE, now)?.first.unwrap_or(position.offset + 1);
        let plan = plan(since, last, &position, kept);
        let more = match plan.after {
            Some(after) => view.read(Span::After(after), PAGE, now)?.more,
            None => false,
        };
        Ok((plan, more))
    }

    fn count_recovery(&self, recovered: Option<bool>) {
        match recovered {
            Some(true) => self.core.metrics.recoveries.add(1),
            Some(false) => self.core.metrics.recoveries_lost.add(1),
            None => {}
        }
    }

    /// Ends a subscription and tells the topic's plugin.
    pub(crate) fn unsubscribe(&self, caller: &CallerSession, topic: &Topic, responder: Responder) {
        match self.logic_of(topic) {
            Some(logic) => logic.unsubscribe(self, topic, caller, Some(responder)),
            None => {
                self.release(caller, topic, Departure::Final);
                responder.ok(Reply::Unsubscribed);
            }
        }
    }

    /// Takes a session out of a topic. A topic that is not in memory has nobody in it.
    pub(crate) fn release(&self, caller: &CallerSession, topic: &Topic, departure: Departure) {
        let Some(entry) = self.core.topics.peek(topic) else { return };
        self.core.hub.unsubscribe(caller.key, entry.stream.id());
        self.depart(&entry, caller, departure);
    }

    /// A session has ended: the plugins of its topics are told, and those who want to know who is present. Its shard ends the
    /// subscriptions itself.
    pub(crate) fn leave(&self, caller: &CallerSession, topic: &Topic) {
        match self.logic_of(topic) {
            Some(logic) => logic.unsubscribe(self, topic, caller, None),
            None => self.release(caller, topic, Departure::MayReturn),
        }
    }
}

/// Who is present, where the topic's rule wants that to be known.
///
/// # Errors
/// `unavailable` where it does not.
pub(crate) fn presence_of(entry: &TopicEntry) -> Result<&TopicPresence, Failure> {
    let text = "this topic keeps no presence";
    entry.presence.as_deref().ok_or_else(|| Failure::new(ErrorCode::Unavailable, text))
}
