//! Engines: what gives messages their order and carries them. An engine knows no sessions and no plugins.

mod local;

use rialto_protocol::Position;

pub(crate) use local::{Retired, Stream};

use crate::message::{Draft, Shared};
use crate::topic::Topic;

/// Orders the messages of topics.
#[derive(Debug)]
pub(crate) enum Engine {
    /// Within this process.
    Local,
}

impl Engine {
    /// Begins the order of a topic.
    pub(crate) fn open(&self, id: u64, topic: Topic) -> Stream {
        match self {
            Self::Local => Stream::new(id, topic),
        }
    }

    /// Gives a message its place in the topic's order and hands it over before the next one can get a place.
    ///
    /// # Errors
    /// [`Retired`] with the draft, when the topic has to be looked up again.
    pub(crate) fn publish(
        &self,
        stream: &Stream,
        draft: Draft,
        now_ms: u64,
        hand_over: impl FnOnce(&Shared),
    ) -> Result<Position, (Draft, Retired)> {
        match self {
            Self::Local => stream.publish(draft, now_ms, hand_over),
        }
    }
}
