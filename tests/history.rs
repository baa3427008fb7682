//! History, recovery and idempotency keys over real sockets: missed messages are sent or reported as a gap, and a retry
//! has no effect.

mod key;
mod model;
mod page;
mod past;
mod recovery;
mod union;

use crate::support::Running;
use rialto::config::{History, TopicRule};

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
