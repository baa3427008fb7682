//! What a hook decided and requested, done as one: everything that is to be kept is kept at once, then it happens in order, or
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

/// The effect of the event itself, once its hook has returned `ok`: it comes before those that the hook requested.
pub(super) enum PrimaryEffect {
    /// The event has no effect of its own.
    None,
    /// The message that it decided on goes out.
    Publish { entry: Arc<TopicEntry>, draft: Draft, keyed: Option<KeyedRequest> },
    /// The session that asked is let into the topic.
    Admit { entry: Arc<TopicEntry>, options: SubscribeOptions, responder: Option<Responder> },
    /// A subscription or a connection has ended.
    End(End),
}

/// What follows from the end of a subscription or a connection.
pub(super) type End = Box<dyn FnOnce(&Broker) + Send>;

/// Why a transaction was not committed. Nothing of it was done.
pub(super) struct AdmissionFailure {
    pub(super) failure: Failure,
    /// The answer that is still to be sent.
    pub(super) responder: Option<Responder>,
}

/// One hook's outcome on its way into the world.
pub(super) struct Transaction<'s> {
    pub(super) broker: &'s Broker,
    pub(super) plugin: &'s Arc<PluginHandle>,
    /// Whose request it was.
    pub(super) by: Option<&'s CallerSession>,
}

/// An effect whose topic and session are found.
enum ResolvedEffect {
    Publish {
        entry: Arc<TopicEntry>,
        draft: Draft,
        keyed: Option<KeyedRequest>,
    },
    Admit {
        entry: Arc<TopicEntry>,
        caller: CallerSession,
        parts: Cell<Option<(SubscribeOptions, Responder)>>,
    },
    /// The plugin subscribes a session to a topic of its own, or of nobody.
    Subscribe {
        entry: Arc<TopicEntry>,
        caller: CallerSession,
        own: bool,
    },
    Send {
        caller: CallerSession,
        what: Cell<Option<What>>,
    },
    Unsubscribe {
        caller: CallerSession,
        topic: Topic,
        own: bool,
    },
    Disconnect {
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
    /// Commits the effects of a hook and then applies them. Returns the position of the message that the hook decided on.
    ///
    /// # Errors
    /// Why nothing of it was done.
    pub(super) fn commit_effects(
        &self,
        first: PrimaryEffect,
        keys: Vec<KeptKey>,
        requested: HookEffects,
    ) -> Result<Option<Position>, Failure> {
        let decides = matches!(first, PrimaryEffect::Publish { .. });
        let hops = requested.hops;
        let mut effects = self.primary_effect(first)?;
        let batch = self.resolve(requested, keys, &mut effects)?;
        let positions = self.commit(effects, batch, hops).map_err(|not_committed| not_committed.failure)?;
        Ok(positions.into_iter().next().filter(|_| decides))
    }

    /// The same where the event is a subscribe, which is answered by the admission itself.
    ///
    /// # Errors
    /// Why nothing of it was done, and the answer that is still to be given.
    pub(super) fn commit_admission(
        &self,
        first: PrimaryEffect,
        requested: HookEffects,
    ) -> Result<(), Box<AdmissionFailure>> {
        let hops = requested.hops;
        let mut effects = self.primary_effect(first).map_err(|failure| not_committed(&[], failure))?;
        match self.resolve(requested, Vec::new(), &mut effects) {
            Ok(batch) => self.commit(effects, batch, hops).map(|_| ()),
            Err(failure) => Err(not_committed(&effects, failure)),
        }
    }

    fn primary_effect(&self, first: PrimaryEffect) -> Result<Vec<ResolvedEffect>, Failure> {
        Ok(match (first, self.by) {
            (PrimaryEffect::None, _) => Vec::new(),
            (PrimaryEffect::Publish { entry, draft, keyed }, _) => {
                vec![ResolvedEffect::Publish { entry, draft, keyed }]
            }
            (PrimaryEffect::Admit { entry, options, responder: Some(responder) }, Some(caller)) => {
                vec![ResolvedEffect::Admit {
                    entry,
                    caller: caller.clone(),
                    parts: Cell::new(Some((options, responder))),
                }]
            }
            (PrimaryEffect::Admit { .. }, _) => {
                return Err(Failure::new(ErrorCode::Internal, "nobody asked to be let in"));
            }
            (PrimaryEffect::End(end), _) => vec![ResolvedEffect::End(Cell::new(Some(end)))],
        })
    }

    /// Finds the topics and sessions of what a hook requested. Returns what is to be kept.
    fn resolve(
        &self,
        requested: HookEffects,
        keys: Vec<KeptKey>,
        effects: &mut Vec<ResolvedEffect>,
    ) -> Result<Batch, Failure> {
        let HookEffects { effects: asked, writes, .. } = requested;
        let is_end = matches!(effects.first(), Some(ResolvedEffect::End(_)));
        for effect in asked {
            match self.resolve_one(effect) {
                Ok(effect) => effects.extend(effect),
                // An ending gets through however full the broker is; a topic for which there is no room has no audience.
                Err(failure) if is_end => {
                    tracing::error!(plugin = &**self.plugin.name(), %failure, "a plugin's message could not be published");
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Batch { state: Some(writes), keys, ..Batch::at(self.broker.core.clock.now()) })
    }

    /// What an effect comes to; none where its session has ended meanwhile.
    fn resolve_one(&self, effect: Effect) -> Result<Option<ResolvedEffect>, Failure> {
        let entry = |topic: &Topic| self.broker.core.topics.entry(topic, &self.broker.core.engine);
        Ok(match effect {
            Effect::Publish { topic, payload, exclude, own } => {
                let entry = entry(&topic)?;
                let except = exclude.and_then(|session| self.caller(&session)).map(|caller| caller.key);
                let draft = Draft { payload, from: None, except };
                match self.broker.deciding_logic(&entry)?.filter(|_| !own) {
                    Some(other) => Some(ResolvedEffect::Forward { entry, draft, other }),
                    None => Some(ResolvedEffect::Publish { entry, draft, keyed: None }),
                }
            }
            Effect::Send { session, what } => self.caller(&session).map(|caller| {
                let what = match what {
                    SessionMessage::Payload(payload) => What::Custom(payload),
                    SessionMessage::Text(text) => What::Text(text),
                    SessionMessage::Binary(bytes) => What::Binary(bytes),
                };
                ResolvedEffect::Send { caller, what: Cell::new(Some(what)) }
            }),
            Effect::Subscribe { session, topic, own } => {
                let is_in = own && self.plugin.has_admitted(&topic, &session);
                match self.caller(&session).filter(|_| !is_in) {
                    Some(caller) => Some(ResolvedEffect::Subscribe { entry: entry(&topic)?, caller, own }),
                    None => None,
                }
            }
            Effect::Unsubscribe { session, topic, own } => {
                self.caller(&session).map(|caller| ResolvedEffect::Unsubscribe { caller, topic, own })
            }
            Effect::Disconnect { session, reason } => {
                self.caller(&session).map(|caller| ResolvedEffect::Disconnect { caller, reason })
            }
        })
    }

    /// A session that the plugin knows, or that caused the hook.
    fn caller(&self, session: &str) -> Option<CallerSession> {
        match self.by {
            Some(by) if *by.member.session == *session => Some(by.clone()),
            _ => self.plugin.known_sessions.get(session),
        }
    }

    /// Commits the batch and then applies all effects in order.
    fn commit(
        &self,
        mut effects: Vec<ResolvedEffect>,
        mut batch: Batch,
        hops: u8,
    ) -> Result<Vec<Position>, Box<AdmissionFailure>> {
        let core = &self.broker.core;
        let (positions, done) = loop {
            let stepping: Vec<usize> = (0..effects.len()).filter(|place| effects[*place].step().is_some()).collect();
            let steps: Vec<TransactionStep<'_>> = effects.iter().filter_map(ResolvedEffect::step).collect();
            let done = Cell::new(0);
            let pass = |index: usize, outcome: StepOutcome<'_>| {
                let place = stepping[index];
                if let StepOutcome::Recovered(_) = outcome {
                    return self.hand_over(&effects[place], outcome);
                }
                effects[done.get()..place].iter().for_each(|effect| self.perform(effect, hops));
                self.hand_over(&effects[place], outcome);
                done.set(place + 1);
            };
            match core.engine.publish_all(&steps, batch, core.clock.now(), pass) {
                Ok(positions) => break (positions, done.get()),
                Err(TransactionError::NotKept(error)) => return Err(not_committed(&effects, error.to_failure())),
                Err(TransactionError::Retired(back)) => batch = *back,
            }
            for effect in &mut effects {
                if let Some(entry) = effect.entry_mut() {
                    let again = core.topics.entry(entry.stream.topic(), &core.engine);
                    match again {
                        Ok(again) => *entry = again,
                        Err(failure) => return Err(not_committed(&effects, failure)),
                    }
                }
            }
        };
        effects[done..].iter().for_each(|effect| self.perform(effect, hops));
        core.metrics.messages_published.add(positions.len() as u64);
        self.wait_for_readers(&effects);
        Ok(positions)
    }

    /// Applies an effect for which its topic is locked.
    fn hand_over(&self, effect: &ResolvedEffect, outcome: StepOutcome<'_>) {
        match (effect, outcome) {
            (
                ResolvedEffect::Publish { entry, .. },
                StepOutcome::Message(message) | StepOutcome::Recovered(message),
            ) => {
                self.broker.core.hub.deliver(&entry.reach, message);
            }
            (ResolvedEffect::Admit { entry, caller, parts }, StepOutcome::Joined(view)) => {
                if let Some((mut options, responder)) = parts.take() {
                    self.broker.enter(entry, &view, caller, &mut options, responder);
                }
            }
            (ResolvedEffect::Subscribe { entry, caller, own }, StepOutcome::Joined(view)) => {
                let topic = entry.stream.topic();
                if !caller.assigned.add(topic, self.broker.core.limits.subscriptions) {
                    return;
                }
                if *own {
                    self.plugin.known_sessions.add(caller);
                    self.plugin.registry.enter(topic, &caller.member);
                }
                // Nobody asked, so nobody is answered.
                let (responder, _) = Responder::caller();
                self.broker.enter(entry, &view, caller, &mut SubscribeOptions::default(), responder);
            }
            _ => {}
        }
    }

    /// Applies an effect for which no topic is locked.
    fn perform(&self, effect: &ResolvedEffect, hops: u8) {
        let hub = &self.broker.core.hub;
        match effect {
            ResolvedEffect::Send { caller, what } => {
                if let Some(what) = what.take() {
                    hub.push(caller.key, Push { what, in_flight: None });
                }
            }
            ResolvedEffect::Unsubscribe { caller, topic, own } => self.end_subscription(caller, topic, *own),
            ResolvedEffect::Disconnect { caller, reason } => {
                let code = CloseCode::Kicked.number();
                let closing = Closing { code, message: reason.clone(), retry_after_ms: None };
                let key = caller.key;
                hub.run_on(key.shard(), move |shard| shard.end(key, &closing));
            }
            ResolvedEffect::End(end) => end.take().into_iter().for_each(|end| end(self.broker)),
            ResolvedEffect::Forward { entry, draft, other } => {
                let Draft { payload, except, .. } = draft.clone();
                let (responder, _) = Responder::caller();
                let caller = Caller::Plugin { name: self.plugin.name(), hops: hops + 1 };
                let request = TopicPublish { caller, except, payload, keyed: None };
                Arc::clone(other).publish(self.broker, entry, request, responder);
            }
            ResolvedEffect::Publish { .. } | ResolvedEffect::Admit { .. } | ResolvedEffect::Subscribe { .. } => {}
        }
    }

    /// Ends a subscription of a session that did not ask for that, and notifies the session.
    fn end_subscription(&self, caller: &CallerSession, topic: &Topic, own: bool) {
        let was_in = !own || self.plugin.registry.leave(topic, &caller.member.session);
        let was_assigned = caller.assigned.remove(topic);
        if !(was_in || was_assigned) {
            return;
        }
        self.broker.release(caller, topic, Departure::Final);
        let failure = Failure::new(ErrorCode::Rejected, "the topic's plugin ended the subscription");
        let what = What::Unsubscribed { topic: topic.clone(), failure };
        self.broker.core.hub.push(caller.key, Push { what, in_flight: None });
        if self.by.is_none_or(|by| by.key != caller.key) {
            self.plugin.known_sessions.tidy(&caller.member.session, &self.plugin.registry);
        }
    }

    /// Waits, on the plugin's thread, while the subscribers' shards have too much to do: a plugin that makes many messages of
    /// few requests is held back like any publisher. Shards never wait for a plugin, so this ends.
    fn wait_for_readers(&self, effects: &[ResolvedEffect]) {
        let hub = &self.broker.core.hub;
        for effect in effects {
            if let ResolvedEffect::Publish { entry, .. } = effect
                && !hub.has_room(&entry.reach)
            {
                futures_executor::block_on(hub.room(&entry.reach));
            }
        }
    }
}

impl ResolvedEffect {
    /// The step of the transaction that needs the topic's lock, if there is one.
    fn step(&self) -> Option<TransactionStep<'_>> {
        match self {
            Self::Publish { entry, draft, keyed } => {
                Some(TransactionStep::Publish(PublishStep { stream: &entry.stream, draft, keyed: keyed.as_ref() }))
            }
            Self::Admit { entry, .. } | Self::Subscribe { entry, .. } => Some(TransactionStep::Join(&entry.stream)),
            _ => None,
        }
    }

    fn entry_mut(&mut self) -> Option<&mut Arc<TopicEntry>> {
        match self {
            Self::Publish { entry, .. } | Self::Admit { entry, .. } | Self::Subscribe { entry, .. } => Some(entry),
            _ => None,
        }
    }
}

fn not_committed(effects: &[ResolvedEffect], failure: Failure) -> Box<AdmissionFailure> {
    let responder = match effects.first() {
        Some(ResolvedEffect::Admit { parts, .. }) => parts.take().map(|(_, responder)| responder),
        _ => None,
    };
    Box::new(AdmissionFailure { failure, responder })
}
