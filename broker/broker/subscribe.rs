//! Subscribing and unsubscribing: the options of a request, the catch-up that a session is sent, and the events for plugins and
//! presence.

use std::sync::Arc;

use rialto_protocol::{Delivery, ErrorCode, Failure, Gap, Position, Reply, Subscribed};

use super::Broker;
use super::kept_past::PendingSubscribe;
use crate::access::permissions::{Privilege, permits};
use crate::access::{self, Action, Target};
use crate::config::TopicOptions;
use crate::engine::{Retired, View};
use crate::hub::{FieldPlace, Subscribe, SubscribeReply, Subscription, TooManyFields};
use crate::presence::{PresenceFollower, PresenceView, TopicPresence};
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::{PartStart, Responder};
use crate::topic::Topic;
use crate::topics::TopicEntry;
use crate::topics::recovery::KeptRange;
use crate::topics::replay::ReplayReader;

/// The options of a subscribe.
#[derive(Debug, Default)]
pub(crate) struct SubscribeOptions {
    /// The last position it has seen.
    pub(crate) since: Option<Position>,
    /// How many past messages to send first, or where nothing leads on from `since`.
    pub(crate) last: Option<u64>,
    /// Whether the program that embeds the broker withholds the past from it.
    pub(crate) past_withheld: bool,
    /// Whether it may read what is kept of the past; for others nothing is.
    pub(crate) may_read_past: bool,
    /// What of the past is kept, where it was read.
    pub(crate) kept: Option<KeptRange>,
    /// The delivery policy; none means the topic's own.
    pub(crate) delivery: Option<Delivery>,
    /// The rule by which it was admitted.
    pub(crate) rule: Option<Arc<TopicOptions>>,
    /// What is reserved for the policy.
    pub(crate) field: Option<FieldPlace>,
    /// Whether joins and leaves are reported to it.
    pub(crate) presence: bool,
}

/// One topic that a session subscribes to.
pub(crate) struct SubscribeRequest {
    pub(crate) topic: Topic,
    pub(crate) options: SubscribeOptions,
    pub(crate) responder: Responder,
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
    /// Subscribes a session, after asking the topic's plugin if there is one. Returns the subscribe if it has to wait for the store:
    /// what the session subscribes to after that follows it, and its later requests are not read until it is answered, so that
    /// all take effect in their order.
    pub(crate) fn begin_subscribe(
        &self,
        caller: &CallerSession,
        request: SubscribeRequest,
    ) -> Option<PendingSubscribe> {
        let SubscribeRequest { topic, mut options, responder } = request;
        match self.check_subscribe(caller, &topic, &mut options) {
            Ok(entry) => self.read_kept(entry, caller, options, responder),
            Err(failure) => {
                responder.fail(failure);
                None
            }
        }
    }

    /// All that can refuse a subscribe before anybody is asked: not the store, and not the topic's plugin.
    fn check_subscribe(
        &self,
        caller: &CallerSession,
        topic: &Topic,
        options: &mut SubscribeOptions,
    ) -> Result<Arc<TopicEntry>, Failure> {
        let action = Action::Subscribe { delivery: options.delivery.as_ref() };
        self.check(Caller::Session(caller), action, topic)?;
        let entry = self.core.topics.entry(topic, &self.core.engine, || caller.holder())?;
        let rule = entry.stream.rule_to_decide();
        // The rule may have changed since, and decides from here on.
        access::check(Caller::Session(caller), action, Target::Topic { topic, options: &|| Some(Arc::clone(&rule)) })?;
        options.may_read_past =
            !options.past_withheld && permits(caller.identity(), Privilege::History, &rule.access, topic);
        if options.presence {
            let action = Action::Presence { admitted: true };
            access::check(
                Caller::Session(caller),
                action,
                Target::Topic { topic, options: &|| Some(Arc::clone(&rule)) },
            )?;
            presence_of(&entry)?;
        }
        self.choose(&entry, rule, caller, options)?;
        Ok(entry)
    }

    /// Asks the topic's plugin if there is one, and lets the session in.
    pub(super) fn decide_subscribe(
        &self,
        entry: Arc<TopicEntry>,
        caller: &CallerSession,
        options: SubscribeOptions,
        responder: Responder,
    ) {
        let decides = self.deciding_logic(options.rule.as_ref().unwrap_or(&entry.stream.rule()));
        match decides {
            Ok(None) => self.join(entry, caller, options, responder),
            Ok(Some(logic)) => logic.subscribe(self, entry, caller, options, responder),
            Err(failure) => responder.fail(failure),
        }
    }

    /// Settles the delivery policy of a subscription and reserves what it needs, before anybody else is asked.
    fn choose(
        &self,
        entry: &TopicEntry,
        rule: Arc<TopicOptions>,
        caller: &CallerSession,
        options: &mut SubscribeOptions,
    ) -> Result<(), Failure> {
        let delivery = options.delivery.as_ref().unwrap_or(&rule.delivery);
        let fields_max = self.core.config.load().limits.conflation_fields;
        let reserved = entry.reach.audience().reserve(delivery, fields_max, || caller.holder());
        options.field = reserved.map_err(|TooManyFields| {
            let text = format!(
                "subscribers of one topic may ask for {fields_max} different fields, each client for its share"
            );
            Failure::new(ErrorCode::TooMany, text)
        })?;
        options.rule = Some(rule);
        Ok(())
    }

    /// Subscribes a session to a topic: its reply, the catch-up that it asked for, then every message after that.
    pub(crate) fn join(
        &self,
        entry: Arc<TopicEntry>,
        caller: &CallerSession,
        mut options: SubscribeOptions,
        responder: Responder,
    ) {
        let rule = options.rule.take().unwrap_or_else(|| entry.stream.rule_to_decide());
        let mut responder = Some(responder);
        let joined = entry.stream.join_by(&rule, |view| {
            if let Some(responder) = responder.take() {
                self.enter(&entry, view, caller, &mut options, responder);
            }
        });
        if let (Err(Retired), Some(responder)) = (joined, responder) {
            // The topic was forgotten, or has another rule: the plugin of that rule decides.
            let SubscribeOptions { since, last, past_withheld, delivery, presence, .. } = options;
            let options =
                SubscribeOptions { since, last, past_withheld, delivery, presence, ..SubscribeOptions::default() };
            let topic = entry.stream.topic().clone();
            if let Some(pending) = self.begin_subscribe(caller, SubscribeRequest { topic, options, responder }) {
                pending.then(Vec::new());
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
        let SubscribeOptions { since, last, may_read_past, kept, delivery, field, presence, .. } =
            std::mem::take(options);
        let session = caller.key;
        let delivery = delivery.unwrap_or_else(|| entry.stream.rule().delivery.clone());
        let (topic, position): (Arc<str>, _) = (entry.stream.topic().as_str().into(), view.position());
        let mut subscribed = Subscribed { topic, position: None, recovered: None, more: None, present: None };
        let hub = &self.core.hub;
        let mut planned = None;
        if since.is_some() || last.is_some() {
            // Of a topic without a history nothing was read, and nothing is kept.
            let kept = kept.unwrap_or_else(|| KeptRange::new(position.clone()));
            let oldest = if may_read_past { view.oldest_kept() } else { position.offset + 1 };
            let (plan, more) = kept.plan(since.as_ref(), last, &position, oldest);
            subscribed.more = Some(more);
            planned = Some(plan);
        }
        entry.reach.enter(session.shard());
        let (mut replay, mut gap) = (None, None);
        if let Some(plan) = planned {
            subscribed.recovered = plan.recovered;
            self.count_recovery(plan.recovered);
            if plan.gap.is_some() && plan.after.is_none() && responder.is_whole() {
                // There is nothing to read, so live messages need not wait: those of a topic without history would be lost.
                gap = plan.gap;
            } else if plan.gap.is_some() || plan.after.is_some() {
                let after = plan.after.unwrap_or(position.offset);
                replay = Some(
                    ReplayReader::new(hub, self.core.clock.clone(), entry, session, after, plan.gap).into_replay(),
                );
            }
        }
        subscribed.position = Some(position);
        let (stream, topic) = (entry.stream.id(), entry.stream.topic().clone());
        let audience = Arc::clone(entry.reach.audience());
        let subscription = Subscription { stream, topic, delivery, field, audience };
        let gap = gap.map(|(from, to, reason)| Gap { topic: subscription.topic.as_str().into(), from, to, reason });
        let replay_id = replay.as_ref().map(|replay| replay.id);
        let in_bulk = !responder.is_whole();
        let open = self.attend(entry, caller, |view| {
            let view = view.filter(|_| presence);
            subscribed.present = view.map(PresenceView::present);
            // In a bulk it follows when the whole has been answered.
            let presence = view.filter(|_| !in_bulk).map(|view| view.follow(session));
            let known = subscribed.present.clone().filter(|_| in_bulk);
            let (reply, open) = match responder.into_frame(Reply::Subscribed(subscribed)) {
                Ok(frame) => (SubscribeReply::Frame(frame), None),
                Err(open) => {
                    (if in_bulk { SubscribeReply::InBulk } else { SubscribeReply::Aside }, Some((open, known)))
                }
            };
            hub.subscribe(session, Subscribe { subscription, replay, reply, presence, gap });
            open
        });
        if let Some((open, known)) = open {
            let (responder, reply) = *open;
            let follower = |(presence, known): (&Arc<TopicPresence>, _)| PresenceFollower {
                presence: Arc::clone(presence),
                session,
                member: caller.member.clone(),
                known,
            };
            let presence = entry.presence();
            let presence = presence.as_ref().zip(known).map(follower);
            responder.ok_starting(reply, PartStart { replay: replay_id, presence });
        }
    }

    fn count_recovery(&self, recovered: Option<bool>) {
        match recovered {
            Some(true) => self.core.metrics.recoveries.add(1),
            Some(false) => self.core.metrics.recoveries_lost.add(1),
            None => {}
        }
    }

    /// Ends a subscription, through the topic's plugin if there is one.
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

    /// Whether the rules still allow a session to be subscribed to a topic.
    ///
    /// # Errors
    /// `forbidden`.
    pub(crate) fn may_stay(&self, caller: &CallerSession, topic: &Topic) -> Result<(), Failure> {
        self.check(Caller::Session(caller), Action::Subscribe { delivery: None }, topic)?;
        if let Some(entry) = self.core.topics.peek(topic)
            && !permits(caller.identity(), Privilege::Presence, &entry.stream.rule().access, topic)
        {
            // It may stay without being sent who comes and goes.
            self.core.hub.unsubscribe(caller.key, entry.stream.id().presence());
        }
        Ok(())
    }

    /// Takes a session out of a topic that it may not be subscribed to any more: at once, whatever its plugin does.
    pub(crate) fn exclude(&self, caller: &CallerSession, topic: &Topic, failure: Failure) {
        if let Some(entry) = self.core.topics.peek(topic) {
            self.core.hub.end_subscriber(caller.key, entry.stream.id(), topic.clone(), failure);
        }
        match self.logic_of(topic) {
            Some(logic) => logic.unsubscribe(self, topic, caller, None),
            None => self.release(caller, topic, Departure::Final),
        }
    }

    /// A session has ended: its topics' plugins get an event, and its departure is reported as presence. Its shard ends the
    /// subscriptions itself.
    pub(crate) fn leave(&self, caller: &CallerSession, topic: &Topic) {
        match self.logic_of(topic) {
            Some(logic) => logic.unsubscribe(self, topic, caller, None),
            None => self.release(caller, topic, Departure::MayReturn),
        }
    }
}

/// The presence of a topic, where its rule has it kept.
///
/// # Errors
/// `unavailable` where it does not.
pub(crate) fn presence_of(entry: &TopicEntry) -> Result<Arc<TopicPresence>, Failure> {
    let text = "this topic keeps no presence";
    entry.presence().clone().ok_or_else(|| Failure::new(ErrorCode::Unavailable, text))
}

#[cfg(test)]
mod tests {
    use rialto_protocol::{Member, Payload};

    use super::*;
    use crate::config::{Config, History, TopicRule};
    use crate::hub::{InFlight, commands_of};
    use crate::identity::SessionKey;
    use crate::request::caller::CallerSession;
    use crate::topic::Pattern;

    fn broker() -> Broker {
        let mut config = Config::default();
        let rule = TopicRule { pattern: Pattern::parse(">").expect("a pattern"), ..TopicRule::default() };
        config.topics = vec![TopicRule { history: Some(History::default()), presence: true, ..rule }];
        let broker = Broker::builder().config(config).start().expect("the broker starts");
        for topic in ["a", "b", "c"] {
            for number in 0..3 {
                let payload = Payload::json(&number).expect("a number");
                futures_executor::block_on(broker.publish(topic, payload)).expect("it is published");
            }
        }
        broker
    }

    fn caller(serial: u64) -> CallerSession {
        let member = Member::anonymous(format!("s{serial}"));
        CallerSession::new(SessionKey { shard: 0, slot: 0, serial }, member, None)
    }

    fn responder(broker: &Broker, caller: &CallerSession) -> Responder {
        let in_flight = Arc::new(InFlight::default());
        Responder::session(broker.core.hub.clone(), caller.key, Some(1), in_flight.enter())
    }

    fn subscribe(
        broker: &Broker,
        caller: &CallerSession,
        topic: Topic,
        options: SubscribeOptions,
        responder: Responder,
    ) {
        let pending = broker.begin_subscribe(caller, SubscribeRequest { topic, options, responder });
        assert!(pending.is_none(), "memory completes every read at once");
    }

    /// What can be asked for, apart and together.
    fn options() -> Vec<SubscribeOptions> {
        let since = |epoch: &str, offset| Some(Position { epoch: epoch.into(), offset });
        let mut all = Vec::new();
        for presence in [false, true] {
            for since in [None, since("another", 1), since("another", 0)] {
                for last in [None, Some(0), Some(2)] {
                    all.push(SubscribeOptions { since: since.clone(), last, presence, ..SubscribeOptions::default() });
                }
            }
        }
        all
    }

    #[test]
    fn a_subscribe_is_one_command() {
        let broker = broker();
        let topic = Topic::parse("a").expect("a topic");
        for (options, serial) in options().into_iter().zip(1..) {
            let (caller, asked) = (caller(serial), format!("{options:?}"));
            let subscribe = || subscribe(&broker, &caller, topic.clone(), options, responder(&broker, &caller));
            let mut commands = commands_of(subscribe);
            // Those that follow who is present are sent that somebody came: that is another matter.
            commands.retain(|command| *command != "deliver");
            assert_eq!(commands, ["subscribe"], "{asked}");
        }
    }

    #[test]
    fn a_bulk_is_one_command_for_each_part_and_one_that_starts_them() {
        let broker = broker();
        for (options, serial) in options().into_iter().zip(1..) {
            let (caller, asked) = (caller(serial), format!("{options:?}"));
            let topics = ["a", "b", "c"];
            let commands = commands_of(|| {
                let combine = |parts: Vec<_>| Ok(Reply::SubscribedAll(Vec::with_capacity(parts.len())));
                let parts = responder(&broker, &caller).split(topics.map(Arc::from).into_iter(), combine);
                for (name, part) in topics.into_iter().zip(parts) {
                    let SubscribeOptions { since, last, presence, .. } = &options;
                    let (since, last, presence) = (since.clone(), *last, *presence);
                    let options = SubscribeOptions { since, last, presence, ..SubscribeOptions::default() };
                    subscribe(&broker, &caller, Topic::parse(name).expect("a topic"), options, part);
                }
            });
            let commands: Vec<_> = commands.into_iter().filter(|command| *command != "deliver").collect();
            assert_eq!(commands, ["subscribe", "subscribe", "subscribe", "start"], "{asked}");
        }
    }
}
