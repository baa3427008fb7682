//! History, recovery and idempotency keys over real sockets: missed messages are sent or reported as a gap, and a retry
//! has no effect.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "history/key.rs"]
mod key;
#[path = "history/model.rs"]
mod model;
#[path = "history/page.rs"]
mod page;
#[path = "history/past.rs"]
mod past;
#[path = "history/recovery.rs"]
mod recovery;
#[path = "history/union.rs"]
mod union;

use rialto::config::{History, TopicRule};
use support::Running;

/// A broker with two shards and this history.
fn keeping(history: History) -> Running {
    Running::with(|config| {
        config.topics = vec![TopicRule { history: Some(history), ..TopicRule::default() }];
        config.limits.topic_idle_ms = 50;
    })
}

fn messages(messages: usize) -> History {
    History { messages, ..History::default() }
}
