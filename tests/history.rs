//! History, recovery and idempotency keys over real sockets: missed messages are sent or reported as a gap, and a retry
//! has no effect.

mod key;
mod model;
mod page;
mod past;
mod recovery;
mod union;

use crate::support::Running;
use rialto::ManualClock;
use rialto::config::{Config, History, TopicRule};

/// A broker with two shards and this history.
fn keeping(history: History) -> Running {
    Running::with(kept(history))
}

/// The same, going by this clock.
fn keeping_by(history: History, clock: &ManualClock) -> Running {
    Running::built(kept(history), |builder| builder.clock(clock.clone()))
}

fn kept(history: History) -> impl FnOnce(&mut Config) {
    move |config| {
        config.topics = vec![TopicRule { history: Some(history), ..TopicRule::default() }];
        config.limits.topic_idle_ms = 50;
    }
}

fn messages(messages: usize) -> History {
    History { messages, ..History::default() }
}
