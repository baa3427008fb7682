//! Engines: what gives messages their order and carries them. An engine knows no sessions and no plugins.

mod idempotency;
mod stream;
mod transaction;

use std::sync::Arc;

use rialto_protocol::Published;

pub(crate) use self::idempotency::{KeyedRequest, Lookup};
pub(crate) use self::stream::{Keeping, NotPublished, Retired, Stream, View};
pub(crate) use self::transaction::{PublishStep, StepOutcome, TransactionError, TransactionStep};

use crate::clock::Now;
use crate::message::{Draft, SharedMessage};
use crate::store::{Store, StoreError};
use crate::topic::Topic;

/// Orders the messages of topics.
#[derive(Debug)]
pub(crate) enum Engine {
    /// Within this process.
    Local(Arc<dyn Store>),
}

impl Engine {
    /// Goes on with the order of a topic where it was kept, or begins it in this epoch.
    ///
    /// # Errors
    /// When the store cannot say where it was kept.
    pub(crate) fn open(
        &self,
        id: u64,
        topic: Topic,
        epoch: Arc<str>,
        keeping: Arc<Keeping>,
    ) -> Result<Stream, StoreError> {
        match self {
            Self::Local(store) => Stream::open(id, topic, epoch, Arc::clone(store), keeping),
        }
    }

    /// Gives a message its place in the topic's order, keeps it as the topic's rule says, and hands it over before the next
    /// one can get a place. A message whose key is known gets the position that it had, and is not handed over.
    ///
    /// # Errors
    /// With the draft when the topic has to be looked up again; or the key stands for another message.
    pub(crate) fn publish(
        &self,
        stream: &Stream,
        draft: Draft,
        keyed: Option<KeyedRequest>,
        now: Now,
        hand_over: impl FnOnce(&SharedMessage),
    ) -> Result<Published, NotPublished> {
        match self {
            Self::Local(_) => stream.publish(draft, keyed, now, hand_over),
        }
    }
}
