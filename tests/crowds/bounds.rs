//! What must hold all the time, and afterwards.

use rialto::config::Limits;
use rialto_comparison::holding::Holding;

use crate::support::{Running, eventually};

/// What a shard may do at one go, as the broker promises it.
const WORK_AT_ONCE: u64 = 300;

/// The memory of a session with its connection, its request and its reader; and of a topic.
const SESSION_BYTES: u64 = 256 << 10;
const TOPIC_BYTES: u64 = 2 << 10;

/// The threads that publish: two shards, and the server's for the HTTP API.
const PUBLISHERS: usize = 3;

/// What a message in the history takes beside its payload.
const MESSAGE_BYTES: usize = 512;

/// What this process, which has both sides, takes beyond that.
const OTHER_BYTES: u64 = 96 << 20;

pub(super) struct Bounds {
    limits: Limits,
    /// Of this process, before.
    resident_bytes: u64,
}

impl Bounds {
    pub(super) fn of(limits: Limits) -> Self {
        Self { limits, resident_bytes: resident_bytes() }
    }

    pub(super) fn check(&self, seed: u64, running: &Running) {
        let (limits, is) = (&self.limits, running.broker.metrics());
        // Shedding begins when the budget is exceeded, and the last message of each session may exceed its outbox.
        let outboxes = limits.outboxes_bytes + limits.sessions * limits.message_bytes;
        // A message counts before room is made for it: one on each thread that publishes.
        let history = limits.history_bytes + PUBLISHERS * (limits.message_bytes + MESSAGE_BYTES);
        for (what, is, most) in [
            ("units of work at one go", is.work_at_once_most, WORK_AT_ONCE),
            ("sessions", is.sessions, limits.sessions as u64),
            ("topics", is.topics, limits.topics as u64),
            ("patterns", is.patterns, limits.patterns as u64),
            ("bytes of pattern lists", is.pattern_list_bytes, limits.pattern_lists_bytes as u64),
            ("bytes of keys", is.key_bytes, limits.keys_bytes),
            ("bytes of history", is.history_bytes, history as u64),
            ("bytes of outboxes", is.outbox_bytes, outboxes as u64),
            ("failed tasks", is.tasks_failed_total, 0),
            ("resident bytes", resident_bytes(), self.memory()),
        ] {
            assert!(is <= most, "seed {seed}: {is} {what}, at most {most} with {limits:?}");
        }
    }

    /// Nothing is left of anybody.
    pub(super) async fn is_left(&self, seed: u64, running: &Running) {
        eventually(&format!("seed {seed}: topics, patterns and outboxes are empty"), || {
            let is = running.broker.metrics();
            (is.topics, is.patterns, is.pattern_list_bytes, is.outbox_bytes, is.presence_members) == (0, 0, 0, 0, 0)
        })
        .await;
    }

    /// The most that this process may take.
    fn memory(&self) -> u64 {
        let limits = &self.limits;
        let budgets = limits.outboxes_bytes + limits.history_bytes + limits.pattern_lists_bytes;
        self.resident_bytes
            + 2 * (budgets as u64 + limits.keys_bytes)
            + limits.sessions as u64 * SESSION_BYTES
            + limits.topics as u64 * TOPIC_BYTES
            + OTHER_BYTES
    }
}

fn resident_bytes() -> u64 {
    Holding::of(std::process::id()).expect("this process runs").resident_bytes
}
