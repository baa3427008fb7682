//! Finds the topics and sessions of what a hook requested. Nothing is done yet.

use std::cell::Cell;
use std::sync::Arc;

use rialto_protocol::Failure;

use super::{End, PrimaryEffect, Transaction, no_session, rule_changed};
use crate::auth::passwords::Login;
use crate::broker::SubscribeOptions;
use crate::broker::topic_logic::TopicLogic;
use crate::config::TopicOptions;
use crate::engine::{KeyedRequest, PublishStep, TransactionStep};
use crate::hub::What;
use crate::message::Draft;
use crate::plugin::{Credentials, Effect, HookEffects, SessionMessage};
use crate::request::caller::CallerSession;
use crate::request::responder::Responder;
use crate::shares::Holder;
use crate::store::{Batch, KeptKey};
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// An effect whose topic and session are found.
pub(super) enum ResolvedEffect {
    Publish {
        entry: Arc<TopicEntry>,
        /// The topic's rule when it was decided.
        rule: Arc<TopicOptions>,
        draft: Draft,
        keyed: Option<KeyedRequest>,
    },
    Admit {
        entry: Arc<TopicEntry>,
        rule: Arc<TopicOptions>,
        caller: CallerSession,
        /// Boxed, because every other effect would have its size.
        parts: Cell<Option<Box<(SubscribeOptions, Responder)>>>,
    },
    /// The plugin subscribes a session to a topic of its own, or of nobody.
    Subscribe {
        entry: Arc<TopicEntry>,
        rule: Arc<TopicOptions>,
        caller: CallerSession,
        membership: Cell<Membership>,
    },
    /// A message of a topic of the plugin is removed.
    Remove {
        entry: Arc<TopicEntry>,
        rule: Arc<TopicOptions>,
        offset: u64,
    },
    Send {
        caller: CallerSession,
        what: Cell<Option<What>>,
    },
    Unsubscribe {
        caller: CallerSession,
        topic: Topic,
        membership: Cell<Membership>,
    },
    Disconnect {
        caller: CallerSession,
        reason: String,
    },
    /// A session on a raw endpoint is to be authenticated.
    Authenticate {
        caller: CallerSession,
        login: Cell<Option<Login>>,
    },
    End(Cell<Option<End>>),
    /// A message to a topic of another plugin, which decides on it.
    Forward {
        entry: Arc<TopicEntry>,
        draft: Draft,
        other: Arc<dyn TopicLogic>,
    },
}

/// What a subscribe or unsubscribe of the plugin does to its list of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// Nothing: the topic is not the plugin's.
    None,
    /// It is still to be changed.
    Due,
    /// It was changed when the commit began; and whether that made a difference.
    Anticipated(bool),
}

impl Membership {
    fn of(own: bool) -> Cell<Self> {
        Cell::new(if own { Self::Due } else { Self::None })
    }
}

impl ResolvedEffect {
    /// The step of the transaction that needs the topic's lock, if there is one.
    pub(super) fn step(&self) -> Option<TransactionStep<'_>> {
        match self {
            Self::Publish { entry, rule, draft, keyed } => {
                let (stream, keyed) = (&entry.stream, keyed.as_ref());
                Some(TransactionStep::Publish(PublishStep { stream, rule, draft, keyed }))
            }
            Self::Admit { entry, rule, .. } | Self::Subscribe { entry, rule, .. } => {
                Some(TransactionStep::Join(&entry.stream, rule))
            }
            Self::Remove { entry, rule, offset } => Some(TransactionStep::Remove(&entry.stream, rule, *offset)),
            _ => None,
        }
    }

    /// The topic that has to be locked for it, and its rule.
    pub(super) fn topic_mut(&mut self) -> Option<(&mut Arc<TopicEntry>, &mut Arc<TopicOptions>)> {
        match self {
            Self::Publish { entry, rule, .. }
            | Self::Admit { entry, rule, .. }
            | Self::Subscribe { entry, rule, .. }
            | Self::Remove { entry, rule, .. } => Some((entry, rule)),
            _ => None,
        }
    }
}

impl Transaction {
    /// Finds the topics and sessions of all effects. Returns what is to be kept.
    ///
    /// # Errors
    /// Why one of them cannot be done; then none is.
    pub(super) fn resolve(
        &mut self,
        first: PrimaryEffect,
        requested: HookEffects,
        keys: Vec<KeptKey>,
    ) -> Result<Batch, Failure> {
        let HookEffects { requested, writes, .. } = requested;
        let is_end = matches!(first, PrimaryEffect::End(_));
        let primary = self.primary_effect(first)?;
        self.progress.effects.extend(primary);
        for effect in requested {
            match self.resolve_one(effect) {
                Ok(effect) => self.progress.effects.extend(effect),
                // An ending gets through however full the broker is; a topic for which there is no room has no audience.
                Err(failure) if is_end => {
                    if let Some(left_out) = self.plugin.status.log_pace.take(("end", ""), 1) {
                        let plugin = &**self.plugin.name();
                        tracing::error!(plugin, %failure, left_out, "a plugin's message could not be published");
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Batch { state: Some(writes), keys, ..Batch::at(self.broker.core.clock.now()) })
    }

    fn primary_effect(&self, first: PrimaryEffect) -> Result<Option<ResolvedEffect>, Failure> {
        Ok(match first {
            PrimaryEffect::None => None,
            PrimaryEffect::Publish { entry, draft, keyed } => {
                let rule = self.own_rule(&entry)?;
                Some(ResolvedEffect::Publish { entry, rule, draft, keyed })
            }
            PrimaryEffect::Admit { entry, options, responder } => {
                let Some(caller) = self.by.clone() else { return Err(no_session()) };
                // The session chose its options by this rule.
                let rule = options.rule.clone().unwrap_or_else(|| entry.stream.rule_to_decide());
                Some(ResolvedEffect::Admit {
                    entry,
                    rule,
                    caller,
                    parts: Cell::new(Some(Box::new((options, responder)))),
                })
            }
            PrimaryEffect::End(end) => Some(ResolvedEffect::End(Cell::new(Some(end)))),
        })
    }

    /// What an effect comes to; none where its session has ended meanwhile.
    fn resolve_one(&self, effect: Effect) -> Result<Option<ResolvedEffect>, Failure> {
        let entry = |topic: &Topic| self.broker.core.topics.entry(topic, &self.broker.core.engine, || Holder::Trusted);
        Ok(match effect {
            Effect::Publish { topic, payload, exclude, own } => {
                let entry = entry(&topic)?;
                let except = exclude.and_then(|session| self.caller(&session)).map(|caller| caller.key);
                let draft = Draft { payload, from: None, except };
                let rule = if own { self.own_rule(&entry)? } else { entry.stream.rule_to_decide() };
                match self.broker.deciding_logic(&rule)?.filter(|_| !own) {
                    Some(other) => Some(ResolvedEffect::Forward { entry, draft, other }),
                    None => Some(ResolvedEffect::Publish { entry, rule, draft, keyed: None }),
                }
            }
            Effect::Remove { topic, offset } => {
                let entry = entry(&topic)?;
                let rule = self.own_rule(&entry)?;
                Some(ResolvedEffect::Remove { entry, rule, offset })
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
                    Some(caller) => {
                        let (entry, membership) = (entry(&topic)?, Membership::of(own));
                        let rule = if own { self.own_rule(&entry)? } else { entry.stream.rule_to_decide() };
                        Some(ResolvedEffect::Subscribe { entry, rule, caller, membership })
                    }
                    None => None,
                }
            }
            Effect::Unsubscribe { session, topic, own } => self
                .caller(&session)
                .map(|caller| ResolvedEffect::Unsubscribe { caller, topic, membership: Membership::of(own) }),
            Effect::Disconnect { session, reason } => {
                self.caller(&session).map(|caller| ResolvedEffect::Disconnect { caller, reason })
            }
            Effect::Authenticate { session, credentials: Credentials { user, secret } } => {
                let login = Cell::new(Some(Login { user, password: secret }));
                self.caller(&session).map(|caller| ResolvedEffect::Authenticate { caller, login })
            }
        })
    }

    /// The rule of a topic that the plugin owns.
    ///
    /// # Errors
    /// Where it does not own it any more.
    fn own_rule(&self, entry: &TopicEntry) -> Result<Arc<TopicOptions>, Failure> {
        let rule = entry.stream.rule_to_decide();
        if rule.plugin.as_ref() == Some(self.plugin.name()) {
            return Ok(rule);
        }
        Err(rule_changed(entry.stream.topic()))
    }

    /// A session that the plugin knows, or that caused the hook.
    fn caller(&self, session: &str) -> Option<CallerSession> {
        match &self.by {
            Some(by) if *by.member.session == *session => Some(by.clone()),
            _ => self.plugin.known_sessions.get(session),
        }
    }
}
