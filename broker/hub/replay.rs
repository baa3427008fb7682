//! The past of streams on its way to one session, page by page, at the pace at which its socket takes it. It reads no store
//! itself.

use std::collections::VecDeque;
use std::fmt;

use rialto_protocol::{Codec, Delivery, Frame, Gap};

use super::outbox::{Chunk, Outbox};
use super::{FieldPlace, Subscription};
use crate::message::{Shared, websocket_frame};
use crate::metrics::Metrics;

/// One stream's past for one session.
pub(crate) struct Replay {
    /// Names this replay within the hub.
    pub(crate) id: u64,
    pub(crate) stream: u64,
    /// Reads the next page. With the last one it sends the shard the subscription, which takes effect behind every message of
    /// the pages and before all later ones.
    pub(crate) read: Box<dyn FnMut() -> Page + Send>,
}

/// Some messages of a stream's past.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// What is missing before them.
    pub(crate) gap: Option<Gap>,
    pub(crate) messages: Vec<Shared>,
    /// Whether this is the last page.
    pub(crate) is_last: bool,
}

/// What one session still has to be sent of the past.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// Those with pages to read, the one whose turn is next first.
    reading: VecDeque<Pending>,
    /// Those whose last page was read and whose subscription has not taken effect yet.
    joining: Vec<Pending>,
}

/// A replay and the policy that the session has chosen since it began.
#[derive(Debug)]
struct Pending {
    replay: Replay,
    chosen: Option<(Delivery, Option<FieldPlace>)>,
}

impl Replays {
    /// Begins a replay; one of the same stream that is under way is given up.
    pub(super) fn begin(&mut self, replay: Replay) {
        self.give_up(replay.stream);
        self.reading.push_back(Pending { replay, chosen: None });
    }

    /// Ends the replay of a stream. Whether there was one.
    pub(super) fn give_up(&mut self, stream: u64) -> bool {
        let before = self.reading.len() + self.joining.len();
        self.reading.retain(|pending| pending.replay.stream != stream);
        self.joining.retain(|pending| pending.replay.stream != stream);
        before != self.reading.len() + self.joining.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reading.is_empty() && self.joining.is_empty()
    }

    /// Whether there are pages to read.
    pub(super) fn has_page(&self) -> bool {
        !self.reading.is_empty()
    }

    /// Queues the next page of the replay whose turn it is. Gives the number of its messages.
    pub(super) fn page(&mut self, codec: Codec, outbox: &mut Outbox, metrics: &Metrics) -> usize {
        let Some(mut pending) = self.reading.pop_front() else { return 0 };
        let Page { gap, messages, is_last } = (pending.replay.read)();
        if let Some(gap) = gap {
            outbox.push_messages(Chunk::One(websocket_frame(codec, &Frame::Gap(&gap))));
        }
        for message in &messages {
            outbox.push_messages(Chunk::One(message.frame(codec, metrics).clone()));
        }
        if is_last {
            self.joining.push(pending);
        } else {
            self.reading.push_back(pending);
        }
        messages.len()
    }

    /// A subscription is to take effect. Gives it back if it does: not when it only changes the policy of a replay that is
    /// under way, and not when it belongs to one that has been given up.
    pub(super) fn admit(&mut self, mut subscription: Subscription) -> Result<Subscription, Subscription> {
        let Some(id) = subscription.replay else {
            let mut all = self.reading.iter_mut().chain(&mut self.joining);
            return match all.find(|pending| pending.replay.stream == subscription.stream) {
                Some(pending) => {
                    pending.chosen = Some((subscription.delivery.clone(), subscription.field.take()));
                    Err(subscription)
                }
                None => Ok(subscription),
            };
        };
        let Some(place) = self.joining.iter().position(|pending| pending.replay.id == id) else {
            return Err(subscription);
        };
        if let Some((delivery, field)) = self.joining.swap_remove(place).chosen {
            (subscription.delivery, subscription.field) = (delivery, field);
        }
        Ok(subscription)
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("id", &self.id).field("stream", &self.stream).finish_non_exhaustive()
    }
}
