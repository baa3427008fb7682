//! A request that a plugin decides on, as a value from its event in the mailbox to its one reply.

use std::sync::Arc;

use rialto_protocol::{Answered, ErrorCode, Failure, Member, Payload, Published, Reply};

use super::handle::PluginHandle;
use super::reply::PluginReply;
use super::transaction::{End, PrimaryEffect, Transaction};
use crate::broker::{Broker, SubscribeOptions, key_reused, too_many_keys};
use crate::engine::Lookup;
use crate::hub::{InFlightGuard, SessionKey};
use crate::message::Draft;
use crate::plugin::{Commitment, Decision, Done, Event, Generation, HookError, HookRequest, Lane, MembershipChange};
use crate::request::caller::CallerSession;
use crate::request::responder::Responder;
use crate::store::{Batch, Begun, Outcome, StoreError};
use crate::topics::TopicEntry;
use crate::topics::idempotency::ScopedKey;

/// When a client may retry after a plugin's mailbox was full.
const BUSY_RETRY_MS: u64 = 100;

/// A request that a plugin decides on.
pub(super) struct PluginRequest {
    pub(super) broker: Broker,
    pub(super) plugin: Arc<PluginHandle>,
    /// The session that asked, if one did.
    pub(super) caller: Option<CallerSession>,
    pub(super) key: Option<ScopedKey>,
    /// What was known of its key when it was its turn.
    known: Option<Result<KnownKey, StoreError>>,
    kind: RequestKind,
}

/// What is asked of the plugin.
pub(super) enum RequestKind {
    Publish {
        entry: Arc<TopicEntry>,
        payload: Payload,
        from: Option<Member>,
        except: Option<SessionKey>,
        responder: Responder,
    },
    Subscribe {
        entry: Arc<TopicEntry>,
        options: SubscribeOptions,
        responder: Responder,
    },
    Call {
        responder: Responder,
    },
    Connect {
        endpoint: Arc<str>,
    },
    Message {
        in_flight: InFlightGuard,
    },
    End(End),
}

/// What is known of a request's key.
struct KnownKey {
    lookup: Lookup,
    /// The request that used it waits for the log.
    under_way: Option<Generation>,
}

impl PluginRequest {
    pub(super) fn new(
        broker: &Broker,
        plugin: &Arc<PluginHandle>,
        caller: Option<CallerSession>,
        key: Option<ScopedKey>,
        kind: RequestKind,
    ) -> Box<Self> {
        Box::new(Self { broker: broker.clone(), plugin: Arc::clone(plugin), caller, key, known: None, kind })
    }

    /// Puts the event into the plugin's mailbox.
    pub(super) fn submit(self: Box<Self>, event: Event) {
        let plugin = Arc::clone(&self.plugin);
        let Ok(slot) = plugin.mailbox.reserve(Lane::of(event.session())) else {
            self.broker.core.metrics.plugin_busy.add(1);
            let text = busy(plugin.name());
            return self.fail(Failure::new(ErrorCode::Busy, text).retry_after_ms(BUSY_RETRY_MS));
        };
        slot.fill(event, self);
    }

    /// What is known of the key, if it has one; a request under way is asked first, because what is kept is not under way.
    fn recall(&self) -> Option<Result<KnownKey, StoreError>> {
        let key = self.key.as_ref()?;
        let state = self.plugin.registry.state();
        let generation = state.generation();
        if let Some(record) = state.pending_key(key.scope(), &key.keyed.key) {
            return Some(Ok(KnownKey { lookup: key.keyed.judge(Some(record)), under_way: Some(generation) }));
        }
        let kept = key.recall(self.broker.core.clock.now());
        Some(kept.map(|lookup| KnownKey { lookup, under_way: None }))
    }

    /// Whether the request is new and may be made: its key, if it has one, can be remembered.
    fn is_for_hook(&self, known: Option<&Result<KnownKey, StoreError>>) -> bool {
        let is_new = matches!(known, None | Some(Ok(KnownKey { lookup: Lookup::No, .. })));
        is_new && self.key.as_ref().is_none_or(|key| key.keyed.share.is_some())
    }

    /// Commits what the hook decided and requested.
    fn commit(self, done: Done) -> Commitment {
        let Self { broker, plugin, caller, key, kind, .. } = self;
        let Done { decision, effects, generation, joined } = done;
        let (mut keys, mut membership) = (Vec::new(), None);
        let (first, reply) = match kind {
            RequestKind::Publish { entry, payload, from, except, responder } => {
                let payload = match decision {
                    Decision::Swallow => None,
                    Decision::Publish(Some(replacement)) => Some(replacement),
                    _ => Some(payload),
                };
                let first = match payload {
                    Some(payload) => {
                        let from = from.filter(|_| entry.stream.rule().reveal_publisher);
                        let keyed = key.map(|key| key.keyed);
                        PrimaryEffect::Publish { entry, draft: Draft { payload, from, except }, keyed }
                    }
                    None => {
                        keys.extend(key.map(|key| key.kept(Outcome::Published(None))));
                        PrimaryEffect::None
                    }
                };
                (first, PluginReply::Publish(responder))
            }
            RequestKind::Call { responder } => {
                let payload = match decision {
                    Decision::Answer(payload) => payload,
                    _ => None,
                };
                keys.extend(key.map(|key| key.kept(Outcome::Answered(payload.clone()))));
                (PrimaryEffect::None, PluginReply::Call(responder, payload))
            }
            RequestKind::Subscribe { entry, options, responder } => {
                if let Some(caller) = &caller {
                    plugin.known_sessions.add(caller);
                    let (topic, session) = (entry.stream.topic().clone(), Arc::clone(&caller.member.session));
                    membership = joined.then_some(MembershipChange::Joined { topic, session });
                }
                (PrimaryEffect::Admit { entry, options, responder }, PluginReply::Subscribe)
            }
            RequestKind::Connect { endpoint } => {
                if let Some(caller) = &caller {
                    plugin.known_sessions.add(caller);
                    let session = Arc::clone(&caller.member.session);
                    membership = joined.then_some(MembershipChange::Connected { endpoint, session });
                }
                (PrimaryEffect::None, PluginReply::Connect)
            }
            RequestKind::Message { in_flight } => (PrimaryEffect::None, PluginReply::Message(in_flight)),
            RequestKind::End(end) => (PrimaryEffect::End(end), PluginReply::End),
        };
        let mut transaction = Transaction::new(broker, plugin, caller, generation, reply);
        transaction.joined = membership;
        transaction.commit(first, keys, effects)
    }

    /// The hook has no outcome. An end comes all the same, behind what was asked before.
    fn fail_hook(self, error: HookError) -> Commitment {
        if let RequestKind::End(_) = self.kind {
            let generation = self.plugin.registry.state().generation();
            let nothing = Done::nothing(Arc::clone(self.plugin.name()), generation);
            return self.commit(nothing);
        }
        let failure = failure(self.plugin.name(), error);
        self.fail(failure);
        Commitment::NotKept
    }

    /// Replies that nothing was done.
    fn fail(self, failure: Failure) {
        let reply = match self.kind {
            RequestKind::Publish { responder, .. } | RequestKind::Subscribe { responder, .. } => {
                return responder.fail(failure);
            }
            RequestKind::Call { responder } => return responder.fail(failure),
            RequestKind::Connect { .. } => PluginReply::Connect,
            RequestKind::Message { in_flight } => PluginReply::Message(in_flight),
            RequestKind::End(_) => PluginReply::End,
        };
        reply.fail(&self.broker, &self.plugin, self.caller.as_ref(), &failure);
    }

    /// Replies to a request whose key is known; behind the request that used it, if that is under way.
    fn answer_known(self, known: KnownKey) {
        let broker = self.broker.clone();
        let Lookup::Same(outcome) = known.lookup else { return self.fail(key_reused()) };
        let Some(generation) = known.under_way else { return self.answer_again(outcome) };
        let batch = Batch::at(broker.core.clock.now());
        match Arc::clone(&self.plugin).registry.begin(batch, generation, Vec::new) {
            Begun::Complete(Ok(())) => self.answer_again(outcome),
            Begun::Complete(Err(error)) => self.fail(error.to_failure()),
            Begun::Pending(ticket) => ticket.then(move |result| {
                self.plugin.registry.complete(&result);
                match result {
                    Ok(()) => self.answer_again(outcome),
                    Err(error) => self.fail(error.to_failure()),
                }
            }),
        }
    }

    fn answer_again(self, outcome: Outcome) {
        self.broker.core.metrics.duplicates.add(1);
        let duplicate = true;
        let reply = match outcome {
            Outcome::Published(position) => Reply::Published(Published { position, duplicate }),
            Outcome::Answered(payload) => Reply::Answered(Answered { payload, duplicate }),
        };
        match self.kind {
            RequestKind::Publish { responder, .. } | RequestKind::Call { responder } => responder.ok(reply),
            // Only publishes and calls have keys.
            _ => {}
        }
    }
}

impl HookRequest for PluginRequest {
    fn is_new(&mut self) -> bool {
        // Looked up when it is this request's turn: the effects of an earlier one with the same key have begun by then.
        self.known = self.recall();
        self.is_for_hook(self.known.as_ref())
    }

    fn complete(mut self: Box<Self>, outcome: Result<Done, HookError>) -> Commitment {
        let known = self.known.take();
        match (known, outcome) {
            (known, Ok(done)) if self.is_for_hook(known.as_ref()) => self.commit(done),
            (known, Err(error)) if self.is_for_hook(known.as_ref()) => self.fail_hook(error),
            (None | Some(Ok(KnownKey { lookup: Lookup::No, .. })), _) => {
                self.fail(too_many_keys());
                Commitment::NotKept
            }
            (Some(Ok(known)), _) => {
                self.answer_known(known);
                Commitment::NotKept
            }
            (Some(Err(error)), _) => {
                self.fail(error.to_failure());
                Commitment::NotKept
            }
        }
    }
}

/// The text for a request to a plugin whose mailbox is full.
pub(super) fn busy(plugin: &str) -> String {
    format!("plugin \"{plugin}\" is busy: its mailbox is full")
}

/// The failure that a client receives when a hook has no outcome.
fn failure(plugin: &str, error: HookError) -> Failure {
    match error {
        HookError::Rejected { reason, detail } => {
            let mut failure = Failure::new(ErrorCode::Rejected, reason);
            failure.detail = detail;
            failure
        }
        HookError::Storage(error) => error.to_failure(),
        HookError::NotCalled => Failure::new(ErrorCode::Internal, "a hook was not called"),
        HookError::Failed(failed) => {
            let text = format!("plugin \"{plugin}\" failed: {}", failed.for_client());
            Failure::new(ErrorCode::PluginFailed, text)
        }
    }
}
