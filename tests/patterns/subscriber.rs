//! A client that knows when it has received everything that was sent to it so far.

use std::ops::{Deref, DerefMut};

use rialto::Codec;
use serde_json::{Value, json};

use crate::support::{Client, Running};

/// A session of the independent client.
pub(crate) struct Subscriber(Client);

impl Subscriber {
    /// One subscribed to these topics and patterns, each by a request of its own.
    pub(crate) async fn of(running: &Running, codec: Codec, names: &[&str]) -> Self {
        let mut subscriber = Self(running.client(codec).await);
        for name in names {
            subscriber.ok(json!({"type": "subscribe", "topic": name})).await;
        }
        subscriber
    }

    pub(crate) async fn unsubscribe(&mut self, name: &str) {
        self.ok(json!({"type": "unsubscribe", "topic": name})).await;
    }

    /// All that has arrived since this was last asked, up to now: each message as its topic, offset and data. Another kind of
    /// push fails the test.
    pub(crate) async fn arrived(&mut self) -> Vec<(String, u64, Value)> {
        // Where a subscription ends is said behind all messages before it, and nobody has this one.
        self.unsubscribe("nobody.is.in.this").await;
        let message = |push: Value| {
            assert_eq!(push["type"], "message", "{push}");
            (push["topic"].as_str().unwrap().to_owned(), push["offset"].as_u64().unwrap(), push["data"].clone())
        };
        self.take_all().into_iter().map(message).collect()
    }

    /// The data of what has arrived.
    pub(crate) async fn data(&mut self) -> Vec<Value> {
        self.arrived().await.into_iter().map(|(_, _, data)| data).collect()
    }
}

impl Deref for Subscriber {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl DerefMut for Subscriber {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.0
    }
}
