//! What a frame from the broker changes, and whom it is for.

use std::sync::Arc;

use bytes::Bytes;
use rialto_protocol::{
    Answer, Failure, FrameError, Gap, GapReason, Operation, Outcome, ReceivedFrame, ReceivedMessage, Subscribe,
};

use super::requests::read;
use super::subscriptions::SubscriptionState;
use super::{EntryId, Machine, Moment, Phase, Reply, StreamId};
use crate::Error;
use crate::event::{Event, Item};

impl Machine {
    /// A frame came.
    pub(crate) fn receive(&mut self, now: Moment, frame: &Bytes) {
        if matches!(self.phase, Phase::Closed(_) | Phase::Resting { .. }) {
            return;
        }
        self.alive(now);
        let heard = ReceivedFrame::decode(self.settings.codec, frame);
        if let Err(error) = heard.and_then(|heard| self.take(now, heard)) {
            self.drop_connection(now, &format!("the broker sent what is no frame of the protocol: {error}"));
        }
        self.replace_if_due(now);
    }

    fn take(&mut self, now: Moment, heard: ReceivedFrame<'_>) -> Result<(), FrameError> {
        match heard {
            ReceivedFrame::Welcome(greeting) => self.greeted(now, greeting),
            ReceivedFrame::Ok { id, answer } => self.take_answer(now, id, &answer)?,
            ReceivedFrame::Error { id: Some(id), failure } => self.take_failure(now, id, failure),
            // A request without an id has no ticket that waits for its outcome.
            ReceivedFrame::Error { id: None, .. } | ReceivedFrame::Pong { id: None, .. } => {}
            ReceivedFrame::Pong { id: Some(id), time, .. } => self.take_pong(id, time),
            ReceivedFrame::Message(message) => self.take_message(message),
            ReceivedFrame::Gap(gap) => self.take_gap(gap),
            ReceivedFrame::Removed { topic, offset } => self.take_removed(topic, offset),
            ReceivedFrame::Join { topic, member } => self.take_for(&Arc::clone(&topic), Item::Join { topic, member }),
            ReceivedFrame::Leave { topic, member } => self.take_for(&Arc::clone(&topic), Item::Leave { topic, member }),
            ReceivedFrame::Presence { topic, present } => {
                self.take_for(&Arc::clone(&topic), Item::Presence { topic, present })
            }
            ReceivedFrame::Unsubscribed { topic, failure } => self.unsubscribed(now, &topic, failure),
            ReceivedFrame::TokenExpiring { .. } => self.credentials.expiring(now),
            ReceivedFrame::Closing(closing) => self.closing = Some(closing),
            ReceivedFrame::Unknown { kind, frame } if kind.starts_with("x-") => {
                self.emit(Event::Pushed { kind, frame })
            }
            // A later broker's frame.
            ReceivedFrame::Unknown { .. } => {}
        }
        Ok(())
    }

    fn take_answer(&mut self, now: Moment, id: u64, answer: &Answer<'_>) -> Result<(), FrameError> {
        if self.is_authentication(id) {
            self.authenticated(now, answer.connected()?);
        } else if let Some(asked) = self.pending_subscribes.remove(&id) {
            let outcomes = answer.subscribed()?;
            self.subscribed(now, asked, outcomes);
        } else if let Some(operation) = self.requests.operation(id) {
            let reply = read(operation, answer)?;
            self.finish(id, Ok(reply));
        }
        Ok(())
    }

    fn take_failure(&mut self, now: Moment, id: u64, failure: Failure) {
        if self.is_authentication(id) {
            self.not_authenticated(now, failure);
        } else if let Some(asked) = self.pending_subscribes.remove(&id) {
            self.not_subscribed(now, asked, &failure);
        } else {
            self.finish(id, Err(Error::Refused(failure)));
        }
    }

    fn take_pong(&mut self, id: u64, time: u64) {
        if matches!(self.requests.operation(id), Some(Operation::Ping(_))) {
            self.finish(id, Ok(Reply::Pong(time)));
        }
    }

    fn take_message(&mut self, message: ReceivedMessage) {
        let (mut is_past, mut own) = (false, None);
        if let Some(entry) = self.subscriptions.get(&message.topic) {
            own = Some(entry.stream);
            match entry.state {
                SubscriptionState::Active => {
                    is_past = entry.cursor.is_past(message.offset);
                    self.take_own_message(message.clone());
                }
                SubscriptionState::Buffering => entry.keep_early(Item::Message(message.clone())),
                _ => {}
            }
        }
        // Patterns are live only: what a topic is sent of its past is the topic's alone.
        if !is_past {
            self.deliver_to_patterns(&message.topic, own, &Item::Message(message.clone()));
        }
    }

    /// A message of a topic whose own subscription is there.
    fn take_own_message(&mut self, message: ReceivedMessage) {
        let Some(entry) = self.subscriptions.get(&message.topic) else { return };
        let hole = entry.cursor.hole_before(message.offset).filter(|_| !entry.is_quiet);
        let (stream, is_new) = (entry.stream, entry.cursor.message(message.offset));
        if let Some(hole) = hole {
            let (topic, reason) = (Arc::clone(&message.topic), GapReason::Unknown);
            self.report_gap(stream, Gap { topic, from: *hole.start(), to: *hole.end(), reason });
        }
        if is_new {
            self.deliver(stream, Item::Message(message));
        }
    }

    fn take_gap(&mut self, gap: Gap) {
        let (mut live, mut own) = (Some(gap.clone()), None);
        if let Some(entry) = self.subscriptions.get(&gap.topic).filter(|entry| entry.reports_gaps()) {
            own = Some(entry.stream);
            if entry.state == SubscriptionState::Buffering {
                entry.keep_early(Item::Gap(gap));
            } else {
                let new = entry.cursor.gap(gap);
                live = new.clone().and_then(|gap| entry.cursor.live_part(gap));
                if let (Some(stream), Some(gap)) = (own, new) {
                    self.report_gap(stream, gap);
                }
            }
        }
        let Some(gap) = live else { return };
        let reaches_patterns = self.deliver_to_patterns(&gap.topic, own, &Item::Gap(gap.clone()));
        if own.is_none() && reaches_patterns {
            self.emit(Event::Gap(gap));
        }
    }

    /// A message was removed: for the subscription to its topic and for patterns that select it.
    fn take_removed(&mut self, topic: Arc<str>, offset: u64) {
        let own = self.subscriptions.get(&topic).map(|entry| entry.stream);
        let item = Item::Removed { topic: Arc::clone(&topic), offset };
        self.take_for(&topic, item.clone());
        self.deliver_to_patterns(&topic, own, &item);
    }

    fn report_gap(&mut self, stream: StreamId, gap: Gap) {
        self.emit(Event::Gap(gap.clone()));
        self.deliver(stream, Item::Gap(gap));
    }

    /// Delivers to the subscriptions whose patterns select a topic, to each once; not to the one that has the topic itself.
    /// Returns whether there were any.
    fn deliver_to_patterns(&mut self, topic: &str, own: Option<StreamId>, item: &Item) -> bool {
        let mut reached: Vec<StreamId> = own.into_iter().collect();
        let selecting: Vec<StreamId> = self.subscriptions.selecting(topic).collect();
        for stream in selecting {
            if !reached.contains(&stream) {
                reached.push(stream);
                self.deliver(stream, item.clone());
            }
        }
        reached.len() > usize::from(own.is_some())
    }

    fn take_for(&mut self, topic: &str, item: Item) {
        let Some(entry) = self.subscriptions.get(topic) else { return };
        match entry.state {
            SubscriptionState::Active => {
                let stream = entry.stream;
                self.deliver(stream, item);
            }
            // It changes the list of members, which comes with the answer.
            SubscriptionState::Buffering => entry.keep_early(item),
            _ => {}
        }
    }

    /// Takes what came before the answer to a bulk subscribe. Messages and gaps up to the position in the answer belong to an
    /// earlier subscription, or to a pattern.
    pub(super) fn take_early(&mut self, asked: &EntryId, early: Vec<Item>) {
        for item in early {
            let Some(entry) = self.subscriptions.asked(asked) else { return };
            let stream = entry.stream;
            match item {
                Item::Message(message) if entry.cursor.is_past(message.offset) => {}
                Item::Message(message) => self.take_own_message(message),
                Item::Gap(gap) => {
                    let live = entry.cursor.live_part(gap);
                    if let Some(gap) = live.and_then(|gap| entry.cursor.gap(gap)) {
                        self.report_gap(stream, gap);
                    }
                }
                item => self.deliver(stream, item),
            }
        }
    }

    fn is_authentication(&self, id: u64) -> bool {
        self.phase == Phase::Authenticating(id) || self.refreshing == Some(id)
    }

    fn finish(&mut self, id: u64, outcome: Result<Reply, Error>) {
        let Some(request) = self.requests.take(id) else { return };
        match (&request.operation, &outcome) {
            (Operation::Subscribe(changes), Ok(Reply::Subscribed(outcomes))) => self.changed(changes, outcomes),
            (Operation::Publish(publish), Ok(Reply::Published(published))) if !publish.echo => {
                let entry =
                    self.subscriptions.get(&publish.topic).filter(|entry| entry.state == SubscriptionState::Active);
                if let (Some(entry), Some(position)) = (entry, &published.position) {
                    entry.cursor.published(position);
                }
            }
            _ => {}
        }
        self.answer(request.ticket, outcome);
    }

    /// Subscriptions go on under other conditions, in later sessions too.
    fn changed(&mut self, changes: &[Subscribe<'_>], outcomes: &[Outcome]) {
        for (change, outcome) in changes.iter().zip(outcomes) {
            let Ok(subscribed) = outcome else { continue };
            self.subscriptions.change(&change.topic, change.delivery.clone(), change.presence);
            if let Some(present) = &subscribed.present {
                let (topic, present) = (Arc::clone(&subscribed.topic), present.clone());
                self.take_for(&change.topic, Item::Presence { topic, present });
            }
        }
    }
}
