//! Presence through real sockets: who is there, who comes and goes, who only seems to have gone, and what it costs when there
//! are many.

mod crowd;
mod grace;
mod info;
mod list;
mod race;

use crate::support::{Client, Running};
use rialto::ManualClock;
use rialto::config::{Config, TopicRule};
use serde_json::{Value, json};

/// A broker with two shards whose topics know who is present.
fn attended(change: impl FnOnce(&mut Config)) -> Running {
    Running::with(with_presence(change))
}

/// The same, going by this clock.
fn attended_by(change: impl FnOnce(&mut Config), clock: &ManualClock) -> Running {
    Running::built(with_presence(change), |builder| builder.clock(clock.clone()))
}

fn with_presence(change: impl FnOnce(&mut Config)) -> impl FnOnce(&mut Config) {
    move |config| {
        config.topics = vec![TopicRule { presence: true, ..TopicRule::default() }];
        config.limits.topic_idle_ms = 50;
        change(config);
    }
}

/// Subscribes and asks to be told who comes and goes; gives the answer.
async fn follow(client: &mut Client, topic: &str) -> Value {
    client.ok(json!({"type": "subscribe", "topic": topic, "presence": true})).await
}

/// Who the client is to others.
fn member(client: &Client) -> Value {
    json!({"session": client.welcome["session"], "user": client.welcome["user"]})
}
