//! What a hook decided and wanted, done as one: everything that is to be kept is kept at once, then it happens in order, or
//! nothing of it does.

use std::cell::Cell;
use std::sync::Arc;

use rialto_protocol::{CloseCode, Closing, ErrorCode, Failure, Position};

use super::handle::PluginHandle;
use crate::broker::topic_logic::{TopicLogic, TopicPublish};
use crate::broker::{Broker, Departure, SubscribeOptions};
use crate::engine::{KeyedRequest, PublishStep, StepOutcome, TransactionError, TransactionStep};
use crate::hub::{Push, What};
use crate::message::Draft;
use crate::plugin::{Effect, HookEffects, SessionMessage};
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::Responder;
use crate::store::{Batch, KeptKey};
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// What follows first of all from a hook that returned `ok`.
pub(super) enum First {
    /// Nothing but what it wanted.
    Nothing,
    /// The message that it decided on goes out.
    Message { entry: Arc<TopicEntry>, draft: Draft, keyed: Option<KeyedRequest> },
    /// The session that asked is let into the topic.
    Join { entry: Arc<TopicEntry>, options: SubscribeOptions, responder: Option<Responder> },
    /// Something has ended.
    End(End),
}

/// What is done when something has ended.
pub(super) type End = Box<dyn FnOnce(&Broker) + Send>;

/// Nothing was done.
pub(super) struct Undone {
    pub(super) failure: Failure,
    /// What is still to be given.
    pub(super) responder: Option<Responder>,
}

/// One hook's outcome on its way into the world.
pub(super) struct Transaction<'s> {
    pub(super) broker: &'s Broker,
    pub(super) owner: &'s Arc<PluginHandle>,
    /// Whose request it was.
    pub(super) by: Option<&'s CallerSession>,
}

/// Something that happens, in its place among the others.
enum Act {
    Post {
        entry: Arc<TopicEntry>,
        draft: Draft,
        keyed: Option<KeyedRequest>,
    },
    Join {
        entry: Arc<TopicEntry>,
        caller: CallerSession,
        parts: Cell<Option<(SubscribeOptions, Responder)>>,
    },
    /// A session is brought into a topic of the plugin, or of nobody.
    Bring {
        entry: Arc<TopicEntry>,
        caller: CallerSession,
        own: bool,
    },
    Send {
        caller: CallerSession,
        what: Cell<Option<What>>,
    },
    Take {
        caller: CallerSession,
        topic: Topic,
        own: bool,
    },
    Evict {
        caller: CallerSession,
        reason: String,
    },
    End(Cell<Option<End>>),
    /// A message to a topic of another plugin, which decides on it.
    Forward {
        entry: Arc<TopicEntry>,
        draft: Draft,
        other: Arc<dyn TopicLogic>,
    },
}

impl Transaction<'_> {
    /// Does what follows from a hook. Gives the position of the message that it decided on.
    ///
    /// # Errors
    /// Why nothing of it was done.
    pub(super) fn settle(
        &self,
        first: First,
        keys: Vec<KeptKey>,
        wanted: HookEffects,
    ) -> Result<Option<Position>, Failure> {
        let decides = matches!(first, First::Message { .. });
        let hops = wanted.hops;
        let mut acts = self.first_act(first)?;
        let batch = self.resolve(wanted, keys, &mut acts)?;
        let positions = self.carry_out(acts, batch, hops).map_err(|undone| undone.failure)?;
        Ok(positions.into_iter().next().filter(|_| decides))
    }

    /// The same where a session is let in first, which answers by itself.
    ///
    /// # Errors
    /// Why nothing of it was done, and the answer that is still to be given.
    pub(super) fn settle_joining(&self, first: First, wanted: HookEffects) -> Result<(), Box<Undone>> {
        let hops = wanted.hops;
        let mut acts = self.first_act(first).map_err(|failure| undone(&[], failure))?;
        match self.resolve(wanted, Vec::new(), &mut acts) {
            Ok(batch) => self.carry_out(acts, batch, hops).map(|_| ()),
            Err(failure) => Err(undone(&acts, failure)),
        }
    }

    fn first_act(&self, first: First) -> Result<Vec<Act>, Failure> {
        Ok(match (first, self.by) {
            (First::Nothing, _) => Vec::new(),
            (First::Message { entry, draft, keyed }, _) => vec![Act::Post { entry, draft, keyed }],
            (First::Join { entry, options, responder: Some(responder) }, Some(caller)) => {
                vec![Act::Join { entry, caller: caller.clone(), parts: Cell::new(Some((options, responder))) }]
            }
            (First::Join { .. }, _) => return Err(Failure::new(ErrorCode::Internal, "nobody asked to be let in")),
            (First::End(end), _) => vec![Act::End(Cell::new(Some(end)))],
        })
    }

    /// Finds the topics and sessions of what a hook wanted. Gives what is to be kept.
    fn resolve(&self, wanted: HookEffects, keys: Vec<KeptKey>, acts: &mut Vec<Act>) -> Result<Batch, Failure> {
        let HookEffects { effects, writes, .. } = wanted;
        let is_end = matches!(acts.first(), Some(Act::End(_)));
        for effect in effects {
            match self.act(effect) {
                Ok(act) => acts.extend(act),
                // An ending gets through however full the broker is; a topic for which there is no room has no audience.
                Err(failure) if is_end => {
                    tracing::error!(plugin = &**self.owner.name(), %failure, "a plugin's message could not be published");
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Batch { state: Some(writes), keys, ..Batch::at(self.broker.core.clock.now()) })
    }

    /// What an effect comes to; none where its session has ended meanwhile.
    fn act(&self, effect: Effect) -> Result<Option<Act>, Failure> {
        let entry = |topic: &Topic| self.broker.core.topics.entry(topic, &self.broker.core.engine);
        Ok(match effect {
            Effect::Publish { topic, payload, exclude, own } => {
                let entry = entry(&topic)?;
                let except = exclude.and_then(|session| self.caller(&session)).map(|caller| caller.key);
                let draft = Draft { payload, from: None, except };
                match self.broker.deciding_logic(&entry)?.filter(|_| !own) {
                    Some(other) => Some(Act::Forward { entry, draft, other }),
                    None => Some(Act::Post { entry, draft, keyed: None }),
                }
            }
            Effect::Send { session, what } => self.caller(&session).map(|caller| {
                let what = match what {
                    SessionMessage::Payload(payload) => What::Custom(payload),
                    SessionMessage::Text(text) => What::Text(text),
                    SessionMessage::Binary(bytes) => What::Binary(bytes),
                };
                Act::Send { caller, what: Cell::new(Some(what)) }
            }),
            Effect::Subscribe { session, topic, own } => {
                let is_in = own && self.owner.has_admitted(&topic, &session);
                match self.caller(&session).filter(|_| !is_in) {
                    Some(caller) => Some(Act::Bring { entry: entry(&topic)?, caller, own }),
                    None => None,
                }
            }
            Effect::Unsubscribe { session, topic, own } => {
                self.caller(&session).map(|caller| Act::Take { caller, topic, own })
            }
            Effect::Disconnect { session, reason } => self.caller(&session).map(|caller| Act::Evict { caller, reason }),
        })
    }

    /// A session that the plugin knows, or that caused the hook.
    fn caller(&self, session: &str) -> Option<CallerSession> {
        match self.by {
            Some(by) if *by.member.session == *session => Some(by.clone()),
            _ => self.owner.known_sessions.get(session),
        }
    }

    /// Keeps what is to be kept and then does everything in order.
    fn carry_out(&self, mut acts: Vec<Act>, mut batch: Batch, hops: u8) -> Result<Vec<Position>, Box<Undone>> {
        let core = &self.broker.core;
        let (positions, done) = loop {
            let places: Vec<usize> = (0..acts.len()).filter(|place| acts[*place].step().is_some()).collect();
            let steps: Vec<TransactionStep<'_>> = acts.iter().filter_map(Act::step).collect();
            let done = Cell::new(0);
            let pass = |index: usize, passed: StepOutcome<'_>| {
                let place = places[index];
                if let StepOutcome::Recovered(_) = passed {
                    return self.pass(&acts[place], passed);
                }
                acts[done.get()..place].iter().for_each(|act| self.perform(act, hops));
                self.pass(&acts[place], passed);
                done.set(place + 1);
            };
            match core.engine.publish_all(&steps, batch, core.clock.now(), pass) {
                Ok(positions) => break (positions, done.get()),
                Err(TransactionError::NotKept(error)) => return Err(undone(&acts, error.to_failure())),
                Err(TransactionError::Retired(back)) => batch = *back,
            }
            for act in &mut acts {
                if let Some(entry) = act.entry_mut() {
                    let again = core.topics.entry(entry.stream.topic(), &core.engine);
                    match again {
                        Ok(again) => *entry = again,
                        Err(failure) => return Err(undone(&acts, failure)),
                    }
                }
            }
        };
        acts[done..].iter().for_each(|act| self.perform(act, hops));
        core.metrics.messages_published.add(positions.len() as u64);
        self.wait_for_readers(&acts);
        Ok(positions)
    }

    /// What happens while the topic is held.
    fn pass(&self, act: &Act, passed: StepOutcome<'_>) {
        match (act, passed) {
            (Act::Post { entry, .. }, StepOutcome::Message(message) | StepOutcome::Recovered(message)) => {
                self.broker.core.hub.deliver(&entry.reach, message);
            }
            (Act::Join { entry, caller, parts }, StepOutcome::Joined(view)) => {
                if let Some((mut options, responder)) = parts.take() {
                    self.broker.enter(entry, &view, caller, &mut options, responder);
                }
            }
            (Act::Bring { entry, caller, own }, StepOutcome::Joined(view)) => {
                let topic = entry.stream.topic();
                if !caller.assigned.add(topic, self.broker.core.limits.subscriptions) {
                    return;
                }
                if *own {
                    self.owner.known_sessions.add(caller);
                    self.owner.registry.enter(topic, &caller.member);
                }
                // Nobody asked, so nobody is answered.
                let (responder, _) = Responder::caller();
                self.broker.enter(entry, &view, caller, &mut SubscribeOptions::default(), responder);
            }
            _ => {}
        }
    }

    /// What happens to sessions.
    fn perform(&self, act: &Act, hops: u8) {
        let hub = &self.broker.core.hub;
        match act {
            Act::Send { caller, what } => {
                if let Some(what) = what.take() {
                    hub.push(caller.key, Push { what, in_flight: None });
                }
            }
            Act::Take { caller, topic, own } => self.take_out(caller, topic, *own),
            Act::Evict { caller, reason } => {
                let code = CloseCode::Kicked.number();
                let closing = Closing { code, message: reason.clone(), retry_after_ms: None };
                let key = caller.key;
                hub.run_on(key.shard(), move |shard| shard.end(key, &closing));
            }
            Act::End(end) => end.take().into_iter().for_each(|end| end(self.broker)),
            Act::Forward { entry, draft, other } => {
                let Draft { payload, except, .. } = draft.clone();
                let (responder, _) = Responder::caller();
                let caller = Caller::Plugin { name: self.owner.name(), hops: hops + 1 };
                let request = TopicPublish { caller, except, payload, keyed: None };
                Arc::clone(other).publish(self.broker, entry, request, responder);
            }
            Act::Post { .. } | Act::Join { .. } | Act::Bring { .. } => {}
        }
    }

    /// Ends a subscription for a session that did not ask for that, and tells it.
    fn take_out(&self, caller: &CallerSession, topic: &Topic, own: bool) {
        let was_in = !own || self.owner.registry.leave(topic, &caller.member.session);
        let was_brought = caller.assigned.remove(topic);
        if !(was_in || was_brought) {
            return;
        }
        self.broker.release(caller, topic, Departure::Final);
        let failure = Failure::new(ErrorCode::Rejected, "the topic's plugin ended the subscription");
        let what = What::Unsubscribed { topic: topic.clone(), failure };
        self.broker.core.hub.push(caller.key, Push { what, in_flight: None });
        if self.by.is_none_or(|by| by.key != caller.key) {
            self.owner.known_sessions.tidy(&caller.member.session, &self.owner.registry);
        }
    }

    /// Waits, on the plugin's thread, while the subscribers' shards have too much to do: a plugin that makes many messages of
    /// few requests is held back like any publisher. Shards never wait for a plugin, so this ends.
    fn wait_for_readers(&self, acts: &[Act]) {
        let hub = &self.broker.core.hub;
        for act in acts {
            if let Act::Post { entry, .. } = act
                && !hub.has_room(&entry.reach)
            {
                futures_executor::block_on(hub.room(&entry.reach));
            }
        }
    }
}

impl Act {
    /// What of it must be done while its topic is held.
    fn step(&self) -> Option<TransactionStep<'_>> {
        match self {
            Self::Post { entry, draft, keyed } => {
                Some(TransactionStep::Post(PublishStep { stream: &entry.stream, draft, keyed: keyed.as_ref() }))
            }
            Self::Join { entry, .. } | Self::Bring { entry, .. } => Some(TransactionStep::Join(&entry.stream)),
            _ => None,
        }
    }

    fn entry_mut(&mut self) -> Option<&mut Arc<TopicEntry>> {
        match self {
            Self::Post { entry, .. } | Self::Join { entry, .. } | Self::Bring { entry, .. } => Some(entry),
            _ => None,
        }
    }
}

fn undone(acts: &[Act], failure: Failure) -> Box<Undone> {
    let responder = match acts.first() {
        Some(Act::Join { parts, .. }) => parts.take().map(|(_, responder)| responder),
        _ => None,
    };
    Box::new(Undone { failure, responder })
}
