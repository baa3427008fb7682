//! How a session of a shard gets into streams: each subscribe is one command, which carries its reply and the past that comes
//! before live messages.

use rialto_protocol::Gap;

use crate::hub::session::replay::{NextPage, Page, Replay};
use crate::hub::{Push, SessionKey, Shard, StreamId, Subscription, What};
use crate::message::Passage;

/// All that a shard does for one subscribe, in the order of the fields. Where the session follows who is present in the topic,
/// that ends first, because the reply has a new list.
#[derive(Debug)]
pub(crate) struct Subscribe {
    /// Takes effect at once, or at the end of the replay.
    pub(crate) subscription: Subscription,
    /// What is sent of the past; it takes the place of a subscription to the stream, and begins after the reply.
    pub(crate) replay: Option<Replay>,
    pub(crate) reply: SubscribeReply,
    /// Follows who is present from the list in the reply on.
    pub(crate) presence: Option<Subscription>,
    /// What the session will not get and what nothing is replayed behind. It ends a replay of before.
    pub(crate) gap: Option<Gap>,
}

/// How a subscribe is answered.
#[derive(Debug)]
pub(crate) enum SubscribeReply {
    /// With this frame.
    Frame(Push),
    /// By other means than a frame; the session did not ask.
    Aside,
    /// With the others of a bulk: [`Start`] has the reply and begins the replay.
    InBulk,
}

/// The reply to a bulk and the begin of what follows it, in the order of the fields.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) reply: Push,
    /// Topics of which the session follows who is present.
    pub(crate) presence: Vec<FollowPresence>,
    /// Replays to begin with.
    pub(crate) replays: Vec<u64>,
}

/// Who is present in a topic, from a list on that the session knows.
#[derive(Debug)]
pub(crate) struct FollowPresence {
    /// What has changed since the list was made.
    pub(crate) changes: Vec<Passage>,
    /// What changes from now on.
    pub(crate) subscription: Subscription,
}

impl Shard {
    /// Carries out a subscribe.
    pub(in crate::hub) fn subscribe(&self, session: SessionKey, subscribe: Subscribe) {
        let Subscribe { subscription, replay, reply, presence, gap } = subscribe;
        let stream = subscription.stream;
        self.leave_stream(session, stream.presence());
        let replay_id = replay.as_ref().map(|replay| replay.id);
        match replay {
            Some(replay) => {
                self.flush_before(session, |member| member.subscriptions.get(&stream).is_some());
                self.queue(session, |sessions| sessions.hold_replay(session, subscription, replay));
            }
            None => {
                if gap.is_some() {
                    self.leave_stream(session, stream);
                }
                self.enter_stream(session, subscription);
            }
        }
        match reply {
            SubscribeReply::Frame(push) => self.push(session, push),
            SubscribeReply::Aside => {}
            SubscribeReply::InBulk => return,
        }
        if let Some(presence) = presence {
            self.enter_stream(session, presence);
        }
        self.start_replays(session, replay_id.as_slice());
        if let Some(gap) = gap {
            self.push(session, Push { what: What::Gap(gap), in_flight: None });
        }
    }

    /// Answers a bulk and begins what follows the answer.
    pub(in crate::hub) fn start(&self, session: SessionKey, start: Start) {
        let Start { reply, presence, replays } = start;
        self.push(session, reply);
        for FollowPresence { changes, subscription } in presence {
            for passage in changes {
                let what = What::Passage { topic: subscription.topic.clone(), passage };
                self.push(session, Push { what, in_flight: None });
            }
            self.enter_stream(session, subscription);
        }
        self.start_replays(session, &replays);
    }

    /// Lets a session into a stream from here on, or changes the policy of its subscription or of its replay.
    fn enter_stream(&self, session: SessionKey, subscription: Subscription) {
        self.deliver();
        let subscription = {
            let mut sessions = self.sessions.borrow_mut();
            match sessions.get(session) {
                Some(member) => member.change_policy(subscription),
                None => return subscription.audience.leave(session.shard()),
            }
        };
        let Some(subscription) = subscription else { return };
        // What patterns have brought of the topic is not held for a policy to reach back to.
        self.flush_before(session, |member| {
            member.patterns > 0 || member.subscriptions.get(&subscription.stream).is_some()
        });
        self.queue(session, |sessions| sessions.subscribe(session, subscription));
    }

    /// Lets a session out of a stream, and ends the replay that leads into it.
    pub(in crate::hub) fn leave_stream(&self, session: SessionKey, stream: StreamId) {
        self.flush_before(session, |member| member.subscriptions.get(&stream).is_some());
        self.queue(session, |sessions| sessions.unsubscribe(session, stream));
    }

    /// Begins to send a session what was before. Its own task requests a page whenever the socket has taken the last one.
    fn start_replays(&self, session: SessionKey, ids: &[u64]) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(member) = sessions.get(session) else { return };
        if let Some(replays) = &mut member.replays {
            ids.iter().for_each(|id| replays.start(*id));
            member.signals.full.notify_one();
        }
    }

    /// Queues a page of the past, and lets the session into the stream behind the last one.
    pub(in crate::hub) fn take_page(&self, session: SessionKey, replay: u64, page: Page) {
        // What came before the end of a replay is in its pages: a pattern must not bring it again.
        self.deliver();
        let Page { gap, messages, next } = page;
        let mut sessions = self.sessions.borrow_mut();
        let Some(member) = sessions.get(session) else { return };
        if !member.replays.as_mut().is_some_and(|replays| replays.arrived(replay)) {
            return;
        }
        member.queue_page(gap, &messages, &self.metrics);
        self.count(Some(member));
        // The session's task writes the page, however large it is, and requests the next one.
        member.signals.full.notify_one();
        match next {
            NextPage::Read(read) => {
                if let Some(replays) = &mut member.replays {
                    replays.go_on(replay, read);
                }
            }
            NextPage::Live => {
                let subscription = member.finish_replay(replay);
                drop(sessions);
                if let Some(subscription) = subscription {
                    self.enter_stream(session, subscription);
                }
            }
        }
    }
}
