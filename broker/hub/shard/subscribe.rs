//! Subscribes sessions to streams. Each subscribe is one command, which carries its reply and the replay of missed
//! messages.

use rialto_protocol::{Failure, Gap};

use crate::hub::session::replay::{NextPage, Page, Replay};
use crate::hub::{Push, SessionKey, Shard, StreamId, Subscription, What};
use crate::message::Passage;
use crate::topic::Topic;

/// Over how many milliseconds the returns of sessions are spread whose subscriptions ended together.
const SPREAD_MS: u64 = 1_000;

/// All that a shard does for one subscribe, in the order of the fields. A subscription to the topic's presence ends first,
/// because the reply has a new list of members.
#[derive(Debug)]
pub(crate) struct Subscribe {
    /// Takes effect at once, or at the end of the replay.
    pub(crate) subscription: Subscription,
    /// Missed messages to send. The replay replaces a subscription to the stream until it ends, and starts after the reply.
    pub(crate) replay: Option<Replay>,
    pub(crate) reply: SubscribeReply,
    /// The subscription to the topic's presence, from the list in the reply on.
    pub(crate) presence: Option<Subscription>,
    /// Messages that the session will not receive, where none are replayed. It ends an earlier replay.
    pub(crate) gap: Option<Gap>,
}

/// How a subscribe is answered.
#[derive(Debug)]
pub(crate) enum SubscribeReply {
    /// By this frame.
    Frame(Push),
    /// Not by a frame; the session did not request it.
    Aside,
    /// Together with the others of a bulk: [`Start`] has the reply and starts the replay.
    InBulk,
}

/// The reply to a bulk and what starts after it, in the order of the fields. A large one is several of these, the first of
/// which has the reply.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) reply: Option<Push>,
    /// Topics whose presence the session follows.
    pub(crate) presence: Vec<FollowPresence>,
    /// The replays to start.
    pub(crate) replays: Vec<u64>,
}

/// A subscription to the presence of a topic, from a list on that the session was sent.
#[derive(Debug)]
pub(crate) struct FollowPresence {
    /// The changes since that list.
    pub(crate) changes: Vec<Passage>,
    /// The changes from now on.
    pub(crate) subscription: Subscription,
}

impl Start {
    /// How much of a bulk one of them starts: to follow a presence is a subscription, to start a replay little work.
    const PRESENCE_MAX: usize = 4;
    const REPLAYS_MAX: usize = 8;

    /// The same in parts, in order.
    pub(in crate::hub) fn into_parts(self) -> impl Iterator<Item = Self> {
        let Self { reply, presence, replays } = self;
        let (mut reply, mut presence, mut replays) = (reply, presence.into_iter(), replays.into_iter());
        std::iter::from_fn(move || {
            let presence: Vec<_> = presence.by_ref().take(Self::PRESENCE_MAX).collect();
            let replays: Vec<_> = replays.by_ref().take(Self::REPLAYS_MAX).collect();
            let part = Self { reply: reply.take(), presence, replays };
            (part.reply.is_some() || !part.presence.is_empty() || !part.replays.is_empty()).then_some(part)
        })
    }
}

impl Shard {
    /// Carries out a subscribe.
    pub(in crate::hub) fn subscribe(&self, key: SessionKey, subscribe: Subscribe) {
        let Subscribe { subscription, replay, reply, presence, gap } = subscribe;
        let stream = subscription.stream;
        self.leave_stream(key, stream.presence());
        let replay_id = replay.as_ref().map(|replay| replay.id);
        match replay {
            Some(replay) => {
                self.flush_before(key, |session| session.subscriptions.get(&stream).is_some());
                self.queue(key, |sessions| sessions.hold_replay(key, subscription, replay));
            }
            None => {
                if gap.is_some() {
                    self.leave_stream(key, stream);
                }
                self.enter_stream(key, subscription);
            }
        }
        match reply {
            SubscribeReply::Frame(push) => self.push(key, push),
            SubscribeReply::Aside => {}
            SubscribeReply::InBulk => return,
        }
        if let Some(presence) = presence {
            self.enter_stream(key, presence);
        }
        self.start_replays(key, replay_id.as_slice());
        if let Some(gap) = gap {
            self.push(key, Push { what: What::Gap(gap), in_flight: None });
        }
    }

    /// Answers a bulk and starts what follows the reply.
    pub(in crate::hub) fn start(&self, key: SessionKey, start: Start) {
        let Start { reply, presence, replays } = start;
        if let Some(reply) = reply {
            self.push(key, reply);
        }
        for FollowPresence { changes, subscription } in presence {
            for passage in changes {
                let what = What::Passage { topic: subscription.topic.clone(), passage };
                self.push(key, Push { what, in_flight: None });
            }
            self.enter_stream(key, subscription);
        }
        self.start_replays(key, &replays);
    }

    /// Subscribes a session to a stream from now on, or changes the policy of its subscription or replay.
    fn enter_stream(&self, key: SessionKey, subscription: Subscription) {
        self.deliver();
        let subscription = {
            let mut sessions = self.sessions.borrow_mut();
            match sessions.get(key) {
                Some(session) => session.change_policy(subscription),
                None => return subscription.audience.leave(key.shard()),
            }
        };
        let Some(subscription) = subscription else { return };
        // Messages of the topic that patterns have queued may not be skipped by the new policy.
        self.flush_before(key, |session| {
            session.patterns > 0 || session.subscriptions.get(&subscription.stream).is_some()
        });
        self.queue(key, |sessions| sessions.subscribe(key, subscription));
    }

    /// Unsubscribes a session from a stream, and ends the replay before that subscription.
    pub(in crate::hub) fn leave_stream(&self, key: SessionKey, stream: StreamId) {
        self.flush_before(key, |session| session.subscriptions.get(&stream).is_some());
        self.queue(key, |sessions| sessions.unsubscribe(key, stream));
    }

    /// Unsubscribes a session from a topic and its presence, and reports why, unless that has ended already and been reported.
    pub(in crate::hub) fn end_subscriber(&self, key: SessionKey, stream: StreamId, (topic, failure): (Topic, Failure)) {
        let was_in = self.sessions.borrow_mut().get(key).is_some_and(|session| session.is_in(stream));
        self.leave_stream(key, stream);
        self.leave_stream(key, stream.presence());
        if was_in {
            self.push(key, Push { what: What::Unsubscribed { topic, failure }, in_flight: None });
        }
    }

    /// Unsubscribes all sessions from a topic and its presence, ends their replays, and reports why. They may come back later,
    /// not all at once.
    pub(in crate::hub) fn end_stream(&self, stream: StreamId, (topic, failure): (Topic, Failure)) {
        // What came before goes to those that are subscribed still.
        self.deliver();
        let keys = self.sessions.borrow_mut().subscribers(stream);
        for key in keys {
            self.leave_stream(key, stream);
            self.leave_stream(key, stream.presence());
            let mut failure = failure.clone();
            failure.retry_after_ms = failure.retry_after_ms.map(|least_ms| least_ms + spread_ms(key));
            self.push(key, Push { what: What::Unsubscribed { topic: topic.clone(), failure }, in_flight: None });
        }
    }

    /// Starts replays. The session's own task requests the next page whenever the last one is written.
    fn start_replays(&self, key: SessionKey, ids: &[u64]) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(session) = sessions.get(key) else { return };
        if let Some(replays) = &mut session.replays {
            ids.iter().for_each(|id| replays.start(*id));
            session.signals.full.notify_one();
        }
    }

    /// Holds live messages for a replay, those that come after this.
    pub(in crate::hub) fn hold_live(&self, key: SessionKey, replay: u64) {
        // Earlier ones are in the page.
        self.deliver();
        self.sessions.borrow_mut().hold_live(key, replay);
    }

    /// Queues a page of a replay, and subscribes the session to the stream after the last one.
    pub(in crate::hub) fn take_page(&self, key: SessionKey, replay: u64, page: Page) {
        // Messages from before the end of a replay are in its pages; a pattern must not deliver them again.
        self.deliver();
        let Page { gap, mut messages, next } = page;
        let mut sessions = self.sessions.borrow_mut();
        let Some(session) = sessions.get(key) else { return };
        // The session's task writes the page and requests the next one, of any of its replays.
        session.signals.full.notify_one();
        let (is_wanted, live) = session.page_arrived(replay);
        if !is_wanted {
            return;
        }
        if let Some(replays) = &mut session.replays {
            replays.strike(replay, &mut messages);
        }
        session.queue_page(gap, &messages, &self.metrics);
        let subscription = match (next, live) {
            (NextPage::Read(read), _) | (NextPage::Held(read), None) => {
                if let Some(replays) = &mut session.replays {
                    replays.go_on(replay, read);
                }
                None
            }
            (NextPage::Held(_), Some(live)) => {
                session.queue_page(None, live.messages(), &self.metrics);
                session.finish_replay(replay)
            }
            (NextPage::Live, _) => session.finish_replay(replay),
            (NextPage::End(failure), _) => {
                let subscription = session.finish_replay(replay);
                self.count(Some(session));
                drop(sessions);
                return self.end_subscription(key, subscription, failure);
            }
        };
        self.count(Some(session));
        drop(sessions);
        if let Some(subscription) = subscription {
            self.enter_stream(key, subscription);
        }
    }

    /// Ends a subscription whose history cannot be read, and reports that to the client. Presence and the topic's plugin count
    /// the session as subscribed until it unsubscribes: it may subscribe again at any moment.
    fn end_subscription(&self, key: SessionKey, subscription: Option<Subscription>, failure: Failure) {
        let Some(Subscription { stream, topic, audience, .. }) = subscription else { return };
        audience.leave(key.shard());
        self.leave_stream(key, stream.presence());
        self.push(key, Push { what: What::Unsubscribed { topic, failure }, in_flight: None });
    }
}

/// How much later than others a session may come back.
fn spread_ms(key: SessionKey) -> u64 {
    // Sessions that follow each other are far apart (Fibonacci hashing).
    ((key.serial.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) * SPREAD_MS) >> 32
}
