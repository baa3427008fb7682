//! What a hook decided and requested, done as one: everything that is to be kept is kept at once, then it happens in order, or
//! nothing of it does. Where the log takes its time, the rest happens when it has completed the commit.

mod apply;
mod resolve;

use std::cell::Cell;
use std::sync::Arc;

use rialto_protocol::{ErrorCode, Failure, Position};

use self::resolve::ResolvedEffect;
use super::handle::PluginHandle;
use super::reply::PluginReply;
use crate::broker::{Broker, Departure, SubscribeOptions};
use crate::engine::{AtomicSteps, Committed, KeyedRequest, StepOutcome, TransactionError, TransactionStep};
use crate::message::Draft;
use crate::plugin::{Commitment, Generation, HookEffects, MembershipChange};
use crate::request::caller::CallerSession;
use crate::request::responder::Responder;
use crate::store::{Batch, Begun, KeptKey, Store, StoreError};
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// When a request may be tried again during which its topic got another rule.
const RULE_RETRY_MS: u64 = 100;

/// The effect of the event itself, once its hook has returned `ok`: it comes before those that the hook requested.
pub(super) enum PrimaryEffect {
    /// The event has no effect of its own.
    None,
    /// The message that it decided on goes out.
    Publish { entry: Arc<TopicEntry>, draft: Draft, keyed: Option<KeyedRequest> },
    /// The session that asked joins the topic, which answers it.
    Admit { entry: Arc<TopicEntry>, options: SubscribeOptions, responder: Responder },
    /// A subscription or a connection has ended.
    End(End),
}

/// The end of something, which nobody can refuse.
pub(super) enum End {
    /// The session has left the topic.
    Subscription { topic: Topic, departure: Departure, responder: Option<Responder> },
    /// The session has left the raw endpoint.
    Connection,
    /// The plugin does not own the topic any more, and the subscription has ended with that.
    Ownership,
}

/// One hook's outcome on its way into the world.
pub(super) struct Transaction {
    pub(super) broker: Broker,
    pub(super) plugin: Arc<PluginHandle>,
    /// Whose request it was.
    pub(super) by: Option<CallerSession>,
    /// What of the plugin's state the hook could read.
    pub(super) generation: Generation,
    /// The membership that its event began, if it did.
    pub(super) joined: Option<MembershipChange>,
    pub(super) reply: PluginReply,
    progress: Progress,
}

/// How far the effects have come.
#[derive(Default)]
struct Progress {
    effects: Vec<ResolvedEffect>,
    /// How many plugins the cause of the hook has come through.
    hops: u8,
    /// How many of the effects are applied.
    applied: Cell<usize>,
    /// Whether the first message is the one that the hook decided on.
    decides: bool,
}

impl Transaction {
    pub(super) fn new(
        broker: Broker,
        plugin: Arc<PluginHandle>,
        by: Option<CallerSession>,
        generation: Generation,
        reply: PluginReply,
    ) -> Box<Self> {
        // Boxed, because it is handed on several times and may have to wait for the log.
        Box::new(Self { broker, plugin, by, generation, joined: None, reply, progress: Progress::default() })
    }

    /// Commits the effects of a hook, applies them, and replies: at once, or when the log has completed the commit.
    pub(super) fn commit(
        mut self: Box<Self>,
        first: PrimaryEffect,
        keys: Vec<KeptKey>,
        requested: HookEffects,
    ) -> Commitment {
        self.progress.decides = matches!(first, PrimaryEffect::Publish { .. });
        self.progress.hops = requested.hops;
        match self.resolve(first, requested, keys) {
            Ok(batch) => self.begin(batch),
            Err(failure) => self.fail(failure),
        }
    }

    fn begin(mut self: Box<Self>, mut batch: Batch) -> Commitment {
        let broker = self.broker.clone();
        let core = &broker.core;
        let may_wait = !core.store.completes_at_once();
        loop {
            // Once it waits for the log it is not here any more.
            let readers = if may_wait { self.published_to() } else { Vec::new() };
            let not_committed = match core.engine.publish_all(self, batch, core.clock.now()) {
                Ok(Committed::Visible(transaction, positions)) => {
                    transaction.apply_rest(&positions);
                    transaction.wait_for_readers();
                    transaction.succeed(positions);
                    return Commitment::Kept;
                }
                Ok(Committed::Pending) => {
                    readers.iter().for_each(|entry| wait_for_readers(&broker, entry));
                    return Commitment::Pending;
                }
                Err(not_committed) => *not_committed,
            };
            self = not_committed.steps;
            match not_committed.reason {
                TransactionError::NotKept(error) => return self.fail(error.to_failure()),
                TransactionError::Retired(back) => batch = *back,
            }
            if let Err(failure) = self.look_up_again() {
                return self.fail(failure);
            }
        }
    }

    /// Looks up the topics again, of which one was forgotten meanwhile, or has another rule.
    ///
    /// # Errors
    /// Where somebody else decides now on what the plugin has decided.
    fn look_up_again(&mut self) -> Result<(), Failure> {
        let core = &self.broker.core;
        for (entry, rule) in self.progress.effects.iter_mut().filter_map(ResolvedEffect::topic_mut) {
            *entry = core.topics.entry_again(entry, &core.engine)?;
            let now = entry.stream.rule_to_decide();
            if !now.admit_as(rule) {
                return Err(rule_changed(entry.stream.topic()));
            }
            *rule = now;
        }
        Ok(())
    }

    fn succeed(self: Box<Self>, positions: Vec<Position>) {
        let position = positions.into_iter().next().filter(|_| self.progress.decides);
        self.reply.succeed(&self.plugin, self.by.as_ref(), position);
    }

    /// Replies that nothing of it was done, which an end is all the same.
    fn fail(self: Box<Self>, failure: Failure) -> Commitment {
        if let Some(ResolvedEffect::End(_)) = self.progress.effects.first() {
            // What was asked before may still be under way, and must not come after the end.
            self.plugin.registry.state().wait_until_idle();
        }
        self.complete_failed(failure);
        Commitment::NotKept
    }

    fn complete_failed(self: Box<Self>, failure: Failure) {
        let Self { broker, plugin, by, reply, progress, .. } = *self;
        let mut responder = None;
        for effect in progress.effects {
            match effect {
                ResolvedEffect::End(end) => {
                    end.take().into_iter().for_each(|end| end.apply(&broker, &plugin, by.as_ref()));
                }
                ResolvedEffect::Admit { parts, .. } => {
                    responder = parts.take().map(|parts| parts.1);
                }
                ResolvedEffect::Subscribe { caller, .. } => {
                    plugin.known_sessions.tidy(&caller.member.session, &plugin.registry);
                }
                ResolvedEffect::Authenticate { caller, .. } => {
                    plugin.registry.cancel_authentication(&caller.member.session);
                }
                _ => {}
            }
        }
        reply.fail(&broker, &plugin, by.as_ref(), &failure);
        responder.into_iter().for_each(|responder| responder.fail(failure.clone()));
    }

    /// The topics that it publishes to.
    fn published_to(&self) -> Vec<Arc<TopicEntry>> {
        let entry = |effect: &ResolvedEffect| match effect {
            ResolvedEffect::Publish { entry, .. } => Some(Arc::clone(entry)),
            _ => None,
        };
        self.progress.effects.iter().filter_map(entry).collect()
    }

    /// Waits, on the plugin's thread, while the inboxes of the subscribers' shards are full: a plugin that makes many messages
    /// of few requests is held back like any publisher. Shards never wait for a plugin, so this ends.
    fn wait_for_readers(&self) {
        for effect in &self.progress.effects {
            if let ResolvedEffect::Publish { entry, .. } = effect {
                wait_for_readers(&self.broker, entry);
            }
        }
    }
}

fn wait_for_readers(broker: &Broker, entry: &TopicEntry) {
    let hub = &broker.core.hub;
    if !hub.has_room(&entry.reach) {
        futures_executor::block_on(hub.room(&entry.reach));
    }
}

impl AtomicSteps for Box<Transaction> {
    fn steps(&self) -> Vec<(usize, TransactionStep<'_>)> {
        let steps = self.progress.effects.iter().enumerate();
        steps.filter_map(|(place, effect)| Some((place, effect.step()?))).collect()
    }

    fn begin(&self, _: &dyn Store, batch: Batch) -> Begun {
        self.plugin.registry.begin(batch, self.generation, || self.anticipate())
    }

    fn pass(&self, place: usize, outcome: StepOutcome<'_>) {
        let effects = &self.progress.effects;
        if !matches!(outcome, StepOutcome::Recovered(_)) {
            effects[self.progress.applied.get()..place].iter().for_each(|effect| self.apply(effect));
            self.progress.applied.set(place + 1);
        }
        self.apply_in_topic(&effects[place], outcome);
    }

    fn complete(self, outcome: Result<Vec<Position>, StoreError>) {
        match outcome {
            Ok(positions) => {
                self.apply_rest(&positions);
                self.plugin.registry.complete(&Ok(()));
                self.succeed(positions);
            }
            Err(error) => {
                let failure = error.to_failure();
                self.plugin.registry.complete(&Err(error));
                self.complete_failed(failure);
            }
        }
    }
}

/// The failure of a request that the plugin has decided on while the topic got another rule.
fn rule_changed(topic: &Topic) -> Failure {
    let text = format!("the rule of topic \"{topic}\" has changed meanwhile: try again");
    Failure::new(ErrorCode::Unavailable, text).retry_after_ms(RULE_RETRY_MS)
}

/// The failure of a request that only a session can make.
fn no_session() -> Failure {
    Failure::new(ErrorCode::Internal, "no session asked to subscribe")
}
