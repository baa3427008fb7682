//! The past of streams on its way to one session, page by page, at the pace at which its socket takes it. It reads no store
//! itself.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use rialto_protocol::{Delivery, Frame, Gap};

use super::outbox::{Chunk, Outbox};
use crate::hub::{FieldPlace, Subscription};
use crate::message::{SharedMessage, Wire};
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
    pub(crate) messages: Vec<SharedMessage>,
    /// Whether this is the last page.
    pub(crate) is_last: bool,
}

/// How many sessions of a shard are being sent the past of something.
pub(in crate::hub) type Replaying = Rc<Cell<usize>>;

/// What one session still has to be sent of the past.
#[derive(Debug)]
pub(in crate::hub) struct Replays {
    /// Counts this for as long as it is there.
    replaying: Replaying,
    /// Those that wait until the session has been told that they come.
    held: Vec<Pending>,
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
    pub(in crate::hub) fn new(replaying: &Replaying) -> Self {
        replaying.set(replaying.get() + 1);
        Self { replaying: Rc::clone(replaying), held: Vec::new(), reading: VecDeque::new(), joining: Vec::new() }
    }

    /// Takes a replay that begins with [`Replays::release`]; one of the same stream that is under way is given up.
    pub(in crate::hub) fn hold(&mut self, replay: Replay) {
        self.give_up(replay.stream);
        self.held.push(Pending { replay, chosen: None });
    }

    /// Begins a replay, unless it has been given up meanwhile.
    pub(in crate::hub) fn release(&mut self, id: u64) {
        if let Some(place) = self.held.iter().position(|pending| pending.replay.id == id) {
            self.reading.push_back(self.held.remove(place));
        }
    }

    /// Ends the replay of a stream.
    pub(in crate::hub) fn give_up(&mut self, stream: u64) {
        let other = |pending: &Pending| pending.replay.stream != stream;
        self.held.retain(other);
        self.reading.retain(other);
        self.joining.retain(other);
    }

    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.reading.is_empty() && self.joining.is_empty()
    }

    /// Whether there are pages to read.
    pub(in crate::hub) fn has_page(&self) -> bool {
        !self.reading.is_empty()
    }

    /// Whether the replay of a stream is under way.
    pub(in crate::hub) fn has(&self, stream: u64) -> bool {
        let mut all = self.held.iter().chain(&self.reading).chain(&self.joining);
        all.any(|pending| pending.replay.stream == stream)
    }

    /// Queues the next page of the replay whose turn it is. Gives the number of its messages.
    pub(in crate::hub) fn page(&mut self, wire: Wire, outbox: &mut Outbox, metrics: &Metrics) -> usize {
        let Some(mut pending) = self.reading.pop_front() else { return 0 };
        let Page { gap, messages, is_last } = (pending.replay.read)();
        if let Some(frame) = gap.and_then(|gap| wire.frame(&Frame::Gap(&gap))) {
            outbox.push_messages(Chunk::One(frame));
        }
        for message in &messages {
            outbox.push_messages(Chunk::One(message.frame(wire, metrics).clone()));
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
    pub(in crate::hub) fn admit(&mut self, mut subscription: Subscription) -> Result<Subscription, Subscription> {
        let Some(id) = subscription.replay else {
            let mut all = self.held.iter_mut().chain(&mut self.reading).chain(&mut self.joining);
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

impl Drop for Replays {
    fn drop(&mut self) {
        self.replaying.set(self.replaying.get() - 1);
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("id", &self.id).field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::hub::Audience;
    use crate::hub::shard::batch::tests::messages;
    use rialto_protocol::Codec;

    use super::*;
    use crate::topic::Topic;

    /// Two pages of one message each.
    fn replay(id: u64, stream: u64) -> Replay {
        let mut next = 1;
        let read = move || {
            let page = Page { gap: None, messages: messages(stream, next..=next), is_last: next == 2 };
            next += 1;
            page
        };
        Replay { id, stream, read: Box::new(read) }
    }

    fn subscription(stream: u64, delivery: Delivery, replay: Option<u64>) -> Subscription {
        let audience = Arc::new(Audience::new(1, &Delivery::Queue));
        Subscription { stream, topic: Topic::parse("t").expect("a topic"), delivery, field: None, audience, replay }
    }

    fn pages(replays: &mut Replays) -> usize {
        let (mut outbox, metrics) = (Outbox::default(), Metrics::default());
        let mut sent = 0;
        while replays.has_page() {
            sent += replays.page(Wire::Frames(Codec::Json), &mut outbox, &metrics);
        }
        sent
    }

    #[test]
    fn what_is_given_up_never_begins_and_never_ends_in_a_subscription() {
        let mut replays = Replays::new(&Replaying::default());
        for (id, stream) in [(1, 10), (2, 20), (3, 30)] {
            replays.hold(replay(id, stream));
        }
        assert!(!replays.has_page(), "nobody was told yet");
        replays.give_up(10);
        replays.release(1);
        assert!(!replays.has_page());
        replays.release(2);
        replays.release(3);
        replays.hold(replay(4, 30));
        assert_eq!(pages(&mut replays), 2, "the third was given up for the fourth");
        assert!(replays.admit(subscription(30, Delivery::Queue, Some(3))).is_err());
        assert!(replays.admit(subscription(20, Delivery::Queue, Some(2))).is_ok());
        replays.release(4);
        assert_eq!(pages(&mut replays), 2);
        replays.give_up(30);
        assert!(replays.admit(subscription(30, Delivery::Queue, Some(4))).is_err(), "it left between the two");
        assert!(replays.is_empty());
    }

    #[test]
    fn a_policy_chosen_meanwhile_is_that_of_the_subscription() {
        let mut replays = Replays::new(&Replaying::default());
        replays.hold(replay(1, 10));
        assert!(replays.admit(subscription(10, Delivery::Latest, None)).is_err(), "it only changes the policy");
        assert!(replays.admit(subscription(20, Delivery::Latest, None)).is_ok(), "another stream");
        replays.release(1);
        pages(&mut replays);
        let admitted = replays.admit(subscription(10, Delivery::Queue, Some(1))).expect("it is due");
        assert_eq!(admitted.delivery, Delivery::Latest);
    }
}
