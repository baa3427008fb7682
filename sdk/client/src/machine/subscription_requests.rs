//! Sends the requests for subscriptions, a few frames for all of them, and takes the answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::{ErrorCode, Failure, Operation, Outcome, Request, Subscribe, Subscribed};

use super::subscriptions::{EntryId, PendingSubscribe, SubscriptionState};
use super::{Action, Machine, Moment, Phase, Reply, StreamId, Ticket};
use crate::Error;
use crate::event::{Event, Item, Resumed};
use crate::topic::Topic;

/// The largest frame that asks for subscriptions, and the most topics in one.
const FRAME_BYTES: usize = 32 * 1024;
const FRAME_TOPICS: usize = rialto_protocol::REQUEST_TOPICS_MAX;

/// When to ask again for a subscription that was refused without `retry_after_ms`.
const AGAIN_AFTER_MS: u64 = 1_000;

impl Machine {
    /// Adds a subscription. Its ticket gets the first answers of all its topics.
    pub(crate) fn subscribe(
        &mut self,
        now: Moment,
        stream: StreamId,
        wanted: Vec<Topic>,
        within: Duration,
        ticket: Ticket,
    ) {
        if let Err(error) = self.check(&wanted) {
            return self.answer(ticket, Err(error));
        }
        let topics = wanted.iter().map(|topic| (Arc::clone(&topic.name), None)).collect();
        self.subscriptions
            .begin_opening(stream, PendingSubscribe { ticket, deadline: now.instant + within, within, topics });
        for topic in wanted {
            self.subscriptions.add(stream, topic);
        }
        if self.phase == Phase::Open {
            self.subscribe_due(now);
        }
    }

    /// Ends a subscription: the program reads it no more.
    pub(crate) fn leave(&mut self, stream: StreamId) {
        let known = self.subscriptions.remove_stream(stream);
        if self.phase != Phase::Open {
            return;
        }
        for part in known.chunks(FRAME_TOPICS.min(FRAME_BYTES / 300)) {
            let topics = part.iter().map(|name| name.to_string().into()).collect();
            let mut frame = Vec::new();
            Request { id: None, operation: Operation::Unsubscribe(topics) }.encode(self.settings.codec, &mut frame);
            self.actions.push_back(Action::Send(frame));
        }
    }

    /// Asks for everything that this session should have and has not.
    pub(super) fn subscribe_due(&mut self, now: Moment) {
        let due = self.subscriptions.due(now.instant);
        let limit = FRAME_BYTES.min(self.limits().message_bytes * 3 / 4);
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            let (part, after) = rest.split_at(fitting(rest, limit));
            rest = after;
            self.send_subscribe(part);
        }
    }

    /// Asks for these in one frame.
    fn send_subscribe(&mut self, names: &[Arc<str>]) {
        let in_list = names.len() > 1;
        let asked = names.iter().filter_map(|name| Some(self.subscriptions.get(name)?.ask(in_list)));
        let (topics, asked): (Vec<Subscribe<'static>>, Vec<EntryId>) = asked.unzip();
        let id = self.new_id();
        let mut frame = Vec::new();
        Request { id: Some(id), operation: Operation::Subscribe(topics) }.encode(self.settings.codec, &mut frame);
        self.pending_subscribes.insert(id, asked);
        self.actions.push_back(Action::Send(frame));
    }

    /// Asks once more for each of these that is still wanted, each in a frame of its own.
    fn subscribe_alone(&mut self, asked: &[EntryId]) {
        for asked in asked {
            if self.subscriptions.asked(asked).is_some() {
                self.send_subscribe(std::slice::from_ref(&asked.0));
            }
        }
    }

    /// The broker answered what was asked for under an id.
    pub(super) fn subscribed(&mut self, now: Moment, asked: Vec<EntryId>, outcomes: Vec<Outcome>) {
        let in_list = asked.len() > 1;
        let mut again = Vec::new();
        for (asked, outcome) in asked.into_iter().zip(outcomes) {
            match outcome {
                // Too much came before this answer to keep it.
                Ok(_) if in_list && self.subscriptions.is_requested(&asked) => again.push(asked),
                Ok(subscribed) => self.is_there(&asked, subscribed),
                Err((_, failure)) => self.is_refused(now, &asked, failure),
            }
        }
        self.subscribe_alone(&again);
    }

    /// The broker refused all that was asked for under an id.
    pub(super) fn not_subscribed(&mut self, now: Moment, asked: Vec<EntryId>, failure: &Failure) {
        if failure.code == ErrorCode::BadRequest && asked.len() > 1 {
            // One invalid item fails the whole request: each is asked for alone to find it.
            return self.subscribe_alone(&asked);
        }
        for asked in asked {
            self.is_refused(now, &asked, failure.clone());
        }
    }

    /// The broker ended a subscription by itself.
    pub(super) fn unsubscribed(&mut self, now: Moment, topic: &str, failure: Failure) {
        let Some(entry) = self.subscriptions.get(topic) else { return };
        let asked = (Arc::clone(&entry.wanted.name), entry.serial);
        self.is_refused(now, &asked, failure);
    }

    fn is_there(&mut self, asked: &EntryId, subscribed: Subscribed) {
        // It may have been left while the answer was on its way.
        let Some(entry) = self.subscriptions.asked(asked) else { return };
        entry.state = SubscriptionState::Active;
        entry.cursor.begin(&entry.start_point, &subscribed);
        let early = std::mem::take(&mut entry.early);
        let (stream, is_resumed) = (entry.stream, std::mem::replace(&mut entry.was_active, true));
        let topic = || Arc::clone(&asked.0);
        if is_resumed {
            let recovered = subscribed.recovered == Some(true);
            let resumed = Resumed { topic: topic(), position: subscribed.position.clone(), recovered };
            self.emit(Event::Resumed(resumed.clone()));
            self.deliver(stream, Item::Resumed(resumed));
        }
        if let Some(present) = &subscribed.present {
            self.deliver(stream, Item::Presence { topic: topic(), present: present.clone() });
        }
        self.take_early(asked, early);
        self.note(stream, &asked.0, Ok(subscribed));
    }

    fn is_refused(&mut self, now: Moment, asked: &EntryId, failure: Failure) {
        let Some(entry) = self.subscriptions.asked(asked) else { return };
        let (stream, was_active) = (entry.stream, entry.was_active);
        if was_active && is_temporary(&failure) {
            let hint = failure.retry_after_ms.unwrap_or(AGAIN_AFTER_MS);
            let pause = Duration::from_millis(hint.saturating_add(self.random.up_to(AGAIN_AFTER_MS)));
            return self.subscriptions.put_off(asked, now.instant + pause);
        }
        let topic = Arc::clone(&asked.0);
        let is_last = self.subscriptions.remove(&topic);
        if was_active {
            self.deliver(stream, Item::Ended { topic, failure });
        } else {
            self.note(stream, &asked.0, Err((topic, failure)));
        }
        if is_last {
            self.actions.push_back(Action::End(stream));
        }
    }

    /// Notes a first answer, and answers the program when it was the last.
    fn note(&mut self, stream: StreamId, topic: &str, outcome: Outcome) {
        if let Some(opening) = self.subscriptions.note(stream, topic, outcome) {
            let outcomes = opening.topics.into_iter().filter_map(|(_, outcome)| outcome).collect();
            self.answer(opening.ticket, Ok(Reply::Subscribed(outcomes)));
        }
    }

    /// What the broker would refuse, or could not tell apart.
    fn check(&self, wanted: &[Topic]) -> Result<(), Error> {
        if let Phase::Closed(ending) = &self.phase {
            return Err(Error::Closed { ending: ending.clone(), may_have_acted: false });
        }
        if wanted.is_empty() {
            return Err(Error::NoTopic);
        }
        let mut names = HashSet::new();
        for topic in wanted {
            topic.check()?;
            if self.subscriptions.contains(&topic.name) || !names.insert(&topic.name) {
                return Err(Error::Subscribed(topic.name.to_string()));
            }
        }
        Ok(())
    }
}

/// Whether the topic is allowed, only not now.
fn is_temporary(failure: &Failure) -> bool {
    use ErrorCode::{Busy, Internal, PluginFailed, RateLimited};
    failure.retry_after_ms.is_some() || matches!(failure.code, Busy | RateLimited | Internal | PluginFailed)
}

/// How many of these go into one frame; at least one.
fn fitting(names: &[Arc<str>], limit: usize) -> usize {
    let mut bytes = 0;
    // A name may be written with escapes; the rest is a position and a policy.
    let fits = names.iter().take(FRAME_TOPICS).take_while(|name| {
        bytes += name.len() * 2 + 200;
        bytes <= limit
    });
    fits.count().max(1)
}
