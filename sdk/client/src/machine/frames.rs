//! What a frame from the broker changes, and whom it is for.

use std::sync::Arc;

use bytes::Bytes;
use rialto_protocol::{Answer, Failure, Gap, Heard, HeardError, HeardMessage, Operation, Outcome, Subscribe};

use super::requests::read;
use super::subscriptions::SubscriptionState;
use super::{Machine, Moment, Phase, Reply, StreamId};
use crate::Error;
use crate::event::{Event, Item};

impl Machine {
    /// A frame came.
    pub(crate) fn receive(&mut self, now: Moment, frame: &Bytes) {
        if matches!(self.phase, Phase::Closed(_) | Phase::Resting { .. }) {
            return;
        }
        self.alive(now);
        let heard = Heard::decode(self.settings.codec, frame);
        if let Err(error) = heard.and_then(|heard| self.take(now, heard)) {
            self.drop_connection(now, &format!("the broker sent what is no frame of the protocol: {error}"));
        }
    }

    fn take(&mut self, now: Moment, heard: Heard<'_>) -> Result<(), HeardError> {
        match heard {
            Heard::Welcome(greeting) => self.greeted(now, greeting),
            Heard::Ok { id, answer } => self.take_answer(now, id, &answer)?,
            Heard::Error { id: Some(id), failure } => self.take_failure(now, id, failure),
            // Of requests without an id nobody waits for the outcome.
            Heard::Error { id: None, .. } | Heard::Pong { id: None, .. } => {}
            Heard::Pong { id: Some(id), time, .. } => self.take_pong(id, time),
            Heard::Message(message) => self.take_message(message),
            Heard::Gap(gap) => self.take_gap(gap),
            Heard::Join { topic, member } => self.take_for(&Arc::clone(&topic), Item::Join { topic, member }),
            Heard::Leave { topic, member } => self.take_for(&Arc::clone(&topic), Item::Leave { topic, member }),
            Heard::Presence { topic, present } => self.take_for(&Arc::clone(&topic), Item::Presence { topic, present }),
            Heard::Unsubscribed { topic, failure } => self.unsubscribed(now, &topic, failure),
            Heard::Closing(closing) => self.closing = Some(closing),
            Heard::Unknown { kind, frame } => self.emit(Event::Pushed { kind, frame }),
        }
        Ok(())
    }

    fn take_answer(&mut self, now: Moment, id: u64, answer: &Answer<'_>) -> Result<(), HeardError> {
        if self.is_proof(id) {
            self.proven(now, answer.connected()?);
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
        if self.is_proof(id) {
            self.not_proven(now, failure);
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

    fn take_message(&mut self, message: HeardMessage) {
        let (mut is_past, mut own) = (false, None);
        if let Some(entry) = self.subscriptions.get(&message.topic) {
            is_past = entry.state == SubscriptionState::Active && entry.cursor.is_past(message.offset);
            let stream = entry.stream;
            own = Some(stream);
            if entry.listens() && entry.cursor.message(message.offset) {
                self.deliver(stream, Item::Message(message.clone()));
            }
        }
        // Patterns are live only: what a topic is sent of its past is the topic's alone.
        if is_past {
            return;
        }
        let mut given: Vec<StreamId> = own.into_iter().collect();
        let selecting: Vec<StreamId> = self.subscriptions.selecting(&message.topic).collect();
        for stream in selecting {
            // A subscription with a topic and a pattern that selects it gets each message once.
            if !given.contains(&stream) {
                given.push(stream);
                self.deliver(stream, Item::Message(message.clone()));
            }
        }
    }

    fn take_gap(&mut self, gap: Gap) {
        let Some(entry) = self.subscriptions.get(&gap.topic).filter(|entry| entry.listens()) else { return };
        let stream = entry.stream;
        if let Some(gap) = entry.cursor.gap(gap) {
            self.emit(Event::Gap(gap.clone()));
            self.deliver(stream, Item::Gap(gap));
        }
    }

    fn take_for(&mut self, topic: &str, item: Item) {
        let Some(entry) = self.subscriptions.get(topic) else { return };
        match entry.state {
            SubscriptionState::Active => {
                let stream = entry.stream;
                self.deliver(stream, item);
            }
            // They change the list of members, which comes with the answer.
            SubscriptionState::Requested { in_list: true } => entry.early_presence.push(item),
            _ => {}
        }
    }

    fn is_proof(&self, id: u64) -> bool {
        self.phase == Phase::Proving(id) || self.refreshing == Some(id)
    }

    fn finish(&mut self, id: u64, outcome: Result<Reply, Error>) {
        let Some(asking) = self.requests.take(id) else { return };
        match (&asking.operation, &outcome) {
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
        self.answer(asking.ticket, outcome);
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
