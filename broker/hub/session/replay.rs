//! Replays: the past of streams on its way to one session, page by page, at the pace at which its socket takes it. It reads no
//! store itself: a page is requested, and arrives as a command.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use rialto_protocol::{Failure, Gap};

use super::live_buffer::{LiveBuffer, strike};
use crate::hub::{SessionKey, StreamId, Subscription};
use crate::message::SharedMessage;

/// One stream's past for one session.
pub(crate) struct Replay {
    /// Names this replay within the hub.
    pub(crate) id: u64,
    /// Requests the first page.
    pub(crate) read: ReadPage,
}

/// Requests a page, which comes back as a command: at once, or later and from another thread.
pub(crate) type ReadPage = Box<dyn FnOnce() + Send>;

/// Some messages of a stream's past.
#[derive(Debug)]
pub(crate) struct Page {
    /// What is missing before them.
    pub(crate) gap: Option<Gap>,
    pub(crate) messages: Vec<SharedMessage>,
    pub(crate) next: NextPage,
}

/// What follows a page.
pub(crate) enum NextPage {
    /// Another page, when the session's socket has taken this one.
    Read(ReadPage),
    /// Live messages, behind those that are held since this page was requested; where these were too many, another page.
    Held(ReadPage),
    /// Live messages: the page was sent to the shard while the topic's order stood still, so every earlier message is in the
    /// pages and every later one comes behind this.
    Live,
    /// Nothing: the past cannot be read, and the subscription ends.
    End(Failure),
}

/// How many sessions of a shard have a replay.
pub(in crate::hub) type Replaying = Rc<Cell<usize>>;

/// The replays of one session.
pub(in crate::hub) struct Replays {
    /// Counts this for as long as it is there.
    replaying: Replaying,
    shard: usize,
    pending: Vec<PendingReplay>,
    /// The pages to be requested, the one whose turn is next first.
    due: VecDeque<(u64, ReadPage)>,
    /// The replay whose page has been requested and has not arrived, also if it was given up since: one at a time, so that no
    /// more than a page waits for a session, and no more than a read is under way for it.
    requested: Option<u64>,
    /// What is held for the replay whose page has been requested.
    live: Option<LiveBuffer>,
}

/// A replay and the subscription that takes effect at its end. The session is counted in the audience meanwhile.
struct PendingReplay {
    id: u64,
    subscription: Subscription,
    /// Its first page, until the reply has been sent.
    held: Option<ReadPage>,
    /// What was removed while a page is being read, which may still have it.
    removed: Vec<u64>,
}

impl Replays {
    pub(in crate::hub) fn new(replaying: &Replaying, shard: usize) -> Self {
        replaying.set(replaying.get() + 1);
        let (replaying, pending, due) = (Rc::clone(replaying), Vec::new(), VecDeque::new());
        Self { replaying, shard, pending, due, requested: None, live: None }
    }

    /// Takes a replay that begins with [`Replays::start`]; another one of the same stream is given up.
    pub(in crate::hub) fn hold(&mut self, subscription: Subscription, Replay { id, read }: Replay) {
        self.give_up(subscription.stream);
        self.pending.push(PendingReplay { id, subscription, held: Some(read), removed: Vec::new() });
    }

    /// Begins a replay, unless it has been given up meanwhile.
    pub(in crate::hub) fn start(&mut self, id: u64) {
        if let Some(read) = self.pending.iter_mut().find(|pending| pending.id == id).and_then(|one| one.held.take()) {
            self.due.push_back((id, read));
        }
    }

    /// Ends the replay of a stream; a page of it that is on its way will be dropped.
    pub(in crate::hub) fn give_up(&mut self, stream: StreamId) {
        if let Some(place) = self.pending.iter().position(|pending| pending.subscription.stream == stream) {
            let PendingReplay { id, subscription, .. } = self.pending.swap_remove(place);
            subscription.audience.leave(self.shard);
            self.due.retain(|(other, _)| *other != id);
            self.live = self.live.take().filter(|live| live.replay != id);
        }
    }

    /// Whether nothing is under way, not even a page of a replay that was given up.
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.requested.is_none()
    }

    /// Begins to hold live messages for a replay whose page is being read. Returns the stream, unless the replay has been given
    /// up.
    pub(in crate::hub) fn hold_live(&mut self, id: u64) -> Option<StreamId> {
        let pending = self.pending.iter().find(|pending| pending.id == id && self.requested == Some(id))?;
        let stream = pending.subscription.stream;
        self.live = Some(LiveBuffer::new(id, stream));
        Some(stream)
    }

    /// Takes live messages of a stream to be held. Returns whether more of them are to be held: not if these were too many.
    pub(in crate::hub) fn take_live(
        &mut self,
        stream: StreamId,
        messages: &[SharedMessage],
        session: SessionKey,
    ) -> bool {
        let Some(live) = self.live.as_mut().filter(|live| live.stream == stream) else { return false };
        let has_room = live.take(messages, session);
        if !has_room {
            self.live = None;
        }
        has_room
    }

    /// Whether live messages of a stream are held.
    pub(in crate::hub) fn is_holding(&self, stream: StreamId) -> bool {
        self.live.as_ref().is_some_and(|live| live.stream == stream)
    }

    /// Bytes of what is held.
    pub(in crate::hub) fn live_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, LiveBuffer::bytes)
    }

    /// What was held while the page was read; none where nothing was, or too much. Nothing is held any more.
    pub(in crate::hub) fn release_live(&mut self) -> Option<LiveBuffer> {
        self.live.take()
    }

    /// The next page to be requested: none while one is on its way.
    pub(in crate::hub) fn next_page(&mut self) -> Option<ReadPage> {
        if self.requested.is_some() {
            return None;
        }
        let (id, read) = self.due.pop_front()?;
        self.requested = Some(id);
        Some(read)
    }

    /// Whether the replay of a stream is under way.
    pub(in crate::hub) fn has(&self, stream: StreamId) -> bool {
        self.pending.iter().any(|pending| pending.subscription.stream == stream)
    }

    /// A page has arrived that [`Replays::next_page`] requested. Returns whether it is wanted: not if its replay has been given
    /// up.
    pub(in crate::hub) fn arrived(&mut self, id: u64) -> bool {
        if self.requested != Some(id) {
            return false;
        }
        self.requested = None;
        self.pending.iter().any(|pending| pending.id == id)
    }

    /// A message of a stream was removed: neither a page on its way nor what is held may bring it.
    pub(in crate::hub) fn remove(&mut self, stream: StreamId, offset: u64) {
        let requested = self.requested;
        let mut all = self.pending.iter_mut();
        if let Some(pending) =
            all.find(|pending| pending.subscription.stream == stream && requested == Some(pending.id))
        {
            pending.removed.push(offset);
        }
        if let Some(live) = self.live.as_mut().filter(|live| live.stream == stream) {
            live.remove(offset);
        }
    }

    /// Takes out of a page that has arrived what was removed while it was read.
    pub(in crate::hub) fn strike(&mut self, id: u64, messages: &mut [SharedMessage]) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) {
            std::mem::take(&mut pending.removed).into_iter().for_each(|offset| strike(messages, offset));
        }
    }

    /// Another page follows the one that has arrived, after those of other replays.
    pub(in crate::hub) fn go_on(&mut self, id: u64, read: ReadPage) {
        self.due.push_back((id, read));
    }

    /// The last page has arrived. Returns the subscription that takes effect.
    pub(in crate::hub) fn finish(&mut self, id: u64) -> Option<Subscription> {
        let place = self.pending.iter().position(|pending| pending.id == id)?;
        Some(self.pending.swap_remove(place).subscription)
    }

    /// Lets a subscription change the policy of the replay of its stream, and returns it if there is none.
    pub(in crate::hub) fn change_policy(&mut self, subscription: Subscription) -> Option<Subscription> {
        let mut all = self.pending.iter_mut();
        let Some(pending) = all.find(|pending| pending.subscription.stream == subscription.stream) else {
            return Some(subscription);
        };
        // The session is counted once.
        let before = std::mem::replace(&mut pending.subscription, subscription);
        before.audience.leave(self.shard);
        None
    }
}

impl Drop for Replays {
    fn drop(&mut self) {
        self.replaying.set(self.replaying.get() - 1);
        for pending in &self.pending {
            pending.subscription.audience.leave(self.shard);
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for NextPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "Read",
            Self::Held(_) => "Held",
            Self::Live => "Live",
            Self::End(_) => "End",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rialto_protocol::Delivery;

    use super::*;
    use crate::hub::Audience;
    use crate::topic::Topic;

    fn replay(id: u64) -> Replay {
        Replay { id, read: Box::new(|| {}) }
    }

    fn subscription(stream: u64, delivery: Delivery, audience: &Arc<Audience>) -> Subscription {
        audience.enter(0);
        let (stream, topic) = (StreamId::topic(stream), Topic::parse("t").expect("a topic"));
        let audience = Arc::clone(audience);
        Subscription { stream, topic, delivery, field: None, audience }
    }

    /// Requests and takes pages until there is none, two of each replay. Returns the streams that are subscribed to then.
    fn pages(replays: &mut Replays, ids: &[u64]) -> Vec<StreamId> {
        let (mut seen, mut live) = (Vec::new(), Vec::new());
        while let Some(read) = replays.next_page() {
            read();
            assert!(replays.next_page().is_none(), "one at a time");
            let id = *ids.iter().find(|id| replays.arrived(**id)).expect("one is requested");
            seen.push(id);
            if seen.iter().filter(|other| **other == id).count() < 2 {
                replays.go_on(id, Box::new(|| {}));
            } else {
                live.extend(replays.finish(id).map(|subscription| subscription.stream));
            }
        }
        live
    }

    #[test]
    fn what_is_given_up_never_begins_and_never_ends_in_a_subscription() {
        let audience = Arc::new(Audience::new(1, &Delivery::Queue));
        let mut replays = Replays::new(&Replaying::default(), 0);
        for (id, stream) in [(1, 10), (2, 20), (3, 30)] {
            replays.hold(subscription(stream, Delivery::Queue, &audience), replay(id));
        }
        assert!(replays.next_page().is_none(), "no reply was sent yet");
        replays.give_up(StreamId::topic(10));
        replays.start(1);
        assert!(replays.next_page().is_none());
        replays.start(2);
        replays.start(3);
        replays.hold(subscription(30, Delivery::Queue, &audience), replay(4));
        assert_eq!(audience.subscribers(), 2);
        assert_eq!(pages(&mut replays, &[1, 2, 3, 4]), [StreamId::topic(20)], "the third was given up for the fourth");
        audience.leave(0);
        replays.start(4);
        assert!(replays.next_page().is_some());
        replays.give_up(StreamId::topic(30));
        assert!(!replays.is_empty(), "a read is under way");
        assert!(!replays.arrived(4) && replays.finish(4).is_none(), "it left while a page was on its way");
        assert!(replays.is_empty() && audience.is_empty());
    }

    #[test]
    fn a_policy_chosen_meanwhile_is_that_of_the_subscription() {
        let audience = Arc::new(Audience::new(1, &Delivery::Queue));
        let mut replays = Replays::new(&Replaying::default(), 0);
        replays.hold(subscription(10, Delivery::Queue, &audience), replay(1));
        let latest = |stream| subscription(stream, Delivery::Latest, &audience);
        assert!(replays.change_policy(latest(10)).is_none(), "it only changes the policy");
        assert!(replays.change_policy(latest(20)).is_some(), "another stream");
        audience.leave(0);
        assert_eq!(audience.subscribers(), 1);
        replays.start(1);
        assert!(replays.next_page().is_some() && replays.arrived(1));
        assert_eq!(replays.finish(1).expect("it is due").delivery, Delivery::Latest);
    }
}
