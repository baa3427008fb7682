//! One subscription as its reader has it: a queue of items, and what the broker said when it began.

use std::fmt;
use std::sync::Arc;

use rialto_protocol::{Delivery, Failure, Operation, Outcome, ReceivedMessage, Subscribe, Subscribed};
use tokio::sync::mpsc;

use crate::Error;
use crate::client::Client;
use crate::command::Command;
use crate::event::Item;
use crate::machine::{Reply, Retry, StreamId};
use crate::topic::Topic;

/// A subscription to one or more topics and patterns. Dropping it ends it.
///
/// Its queue has room for [`Builder::queue_items_max`](crate::Builder::queue_items_max) items. While it is full nothing at all is
/// read from the broker, no answers either: a task that publishes and waits for the answer should not be the one that must make
/// room here first.
pub struct Subscription {
    client: Client,
    stream: StreamId,
    items: mpsc::Receiver<Item>,
    topics: Vec<Subscribed>,
    pub(crate) refused: Vec<(Arc<str>, Failure)>,
}

impl Subscription {
    pub(crate) fn new(client: Client, stream: StreamId, items: mpsc::Receiver<Item>) -> Self {
        Self { client, stream, items, topics: Vec::new(), refused: Vec::new() }
    }

    pub(crate) fn begin(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            match outcome {
                Ok(subscribed) => self.topics.push(subscribed),
                Err(refused) => self.refused.push(refused),
            }
        }
    }

    /// The next item; none when the client has ended or the broker has ended all of it. Safe to cancel.
    pub async fn next(&mut self) -> Option<Item> {
        self.items.recv().await
    }

    /// The next message; passes over everything else, gaps too. None as with [`Subscription::next`].
    pub async fn next_message(&mut self) -> Option<ReceivedMessage> {
        loop {
            if let Item::Message(message) = self.next().await? {
                return Some(message);
            }
        }
    }

    /// The next item if one is there.
    pub fn try_next(&mut self) -> Option<Item> {
        self.items.try_recv().ok()
    }

    /// How it began: for each topic its position, and what else was asked for.
    #[must_use]
    pub fn topics(&self) -> &[Subscribed] {
        &self.topics
    }

    /// The topics that the broker refused, and why; always empty after [`Client::subscribe`].
    #[must_use]
    pub fn refused(&self) -> &[(Arc<str>, Failure)] {
        &self.refused
    }

    /// Goes on under another delivery policy, and with or without presence; where it is does not change.
    ///
    /// # Errors
    /// As every request. When it fails, everything stays as it was.
    pub async fn change(&self, topic: &str, delivery: Option<Delivery>, presence: bool) -> Result<(), Error> {
        if !self.topics.iter().any(|subscribed| *subscribed.topic == *topic) {
            return Err(Error::NotSubscribed(topic.to_owned()));
        }
        let wanted = Topic { delivery: delivery.clone(), presence, ..Topic::new(topic) };
        wanted.check()?;
        let change = Subscribe { topic: topic.to_owned().into(), since: None, last: None, delivery, presence };
        let operation = Operation::Subscribe(vec![change]);
        let within = self.client.within();
        let read = |reply| if let Reply::Subscribed(outcomes) = reply { Some(outcomes) } else { None };
        let outcomes = self.client.ask(operation, within, Retry::Allowed, read).await?.await?;
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop).map_err(|(_, failure)| Error::Refused(failure)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // If the client has ended there is nothing to leave.
        let _ = self.client.shared().command(Command::Unsubscribe(self.stream));
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("topics", &self.topics).finish_non_exhaustive()
    }
}
