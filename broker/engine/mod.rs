//! Engines: assign offsets to messages and commit them. An engine knows no sessions and no plugins.

mod idempotency;
#[cfg(test)]
mod log_tests;
mod past_page;
mod pending;
mod stream;
mod transaction;

use std::sync::Arc;

pub(crate) use self::idempotency::{KeyedRequest, Lookup};
pub(crate) use self::stream::{KeyedDraft, NotPublished, PendingPublish, Placed, Retired, Stream, View, retention};
pub(crate) use self::transaction::{
    AtomicSteps, Committed, PublishStep, StepOutcome, TransactionError, TransactionStep,
};

use crate::clock::Now;
use crate::config::TopicOptions;
use crate::identity::StreamId;
use crate::message::SharedMessage;
use crate::store::{Account, Store, StoreError};
use crate::topic::Topic;

/// Orders the messages of topics.
#[derive(Debug)]
pub(crate) enum Engine {
    /// Within this process.
    Local(Arc<dyn Store>),
}

impl Engine {
    /// Goes on with the order of a topic of this rule where it was kept, or begins it in this epoch.
    ///
    /// # Errors
    /// When the store cannot say where it was kept.
    pub(crate) fn open(
        &self,
        id: StreamId,
        topic: Topic,
        epoch: Arc<str>,
        rule: Arc<TopicOptions>,
        account: Arc<Account>,
    ) -> Result<Stream, StoreError> {
        match self {
            Self::Local(store) => Stream::open(id, topic, epoch, Arc::clone(store), rule, account),
        }
    }

    /// Assigns the next offset of the topic to a message that was decided on by this rule, and begins its commit, as the rule says. A message that is
    /// kept at once is handed over before the next one can get an offset; any other one when the log has completed its commit,
    /// by what `pending` returns. A message whose key is known gets the position that it had, and is not handed over.
    ///
    /// # Errors
    /// With the message when the topic has to be looked up again; the key stands for another message; or nothing can be kept.
    pub(crate) fn publish<P: PendingPublish>(
        &self,
        stream: &Stream,
        rule: &Arc<TopicOptions>,
        message: KeyedDraft,
        now: Now,
        hand_over: impl Fn(&SharedMessage),
        pending: impl FnOnce() -> P,
    ) -> Result<Placed, NotPublished> {
        match self {
            Self::Local(_) => stream.publish(rule, message, now, hand_over, pending),
        }
    }
}
