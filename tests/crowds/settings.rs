//! Small limits, drawn.

use rialto::config::{Api, Config, History, TopicRule};
use rialto::topic::Pattern;

use super::ADDRESSES;
use crate::http::api_key;
use crate::support::dice::Dice;

/// What programs show.
pub(super) const KEY: &str = "rialto_testkeytestkeytestkeytestkey";

/// The neighbour's topic, and how many other clients do no harm.
pub(super) const NEIGHBOUR: &str = "neighbour";
const GOOD: u64 = 20;

pub(super) fn draw(config: &mut Config, dice: &mut Dice) {
    let mut size = |from: u64, to: u64| dice.within(from, to) as usize;
    let limits = &mut config.limits;
    limits.connections_per_address = size(2, 30);
    // Addresses have their share, so that others find room.
    limits.sessions = limits.connections_per_address * ADDRESSES as usize + GOOD as usize;
    limits.connections = limits.sessions;
    limits.message_bytes = size(1_024, 65_536);
    limits.fragments = size(1, 300);
    limits.subscriptions = size(2, 400);
    limits.topics = size(20, 2_000);
    limits.outbox_bytes = size(65_536, 262_144);
    limits.outboxes_bytes = size(1 << 20, 8 << 20);
    limits.unsent_bytes = size(4_096, 65_536) as u32;
    limits.inbox_messages = size(1, 500);
    limits.conflation_fields = size(0, 8);
    limits.history_bytes = size(65_536, 4 << 20);
    limits.keys_bytes = size(8_192, 1 << 20) as u64;
    limits.patterns = size(4, 1_000);
    limits.deep_patterns = size(1, 64);
    limits.pattern_lists_bytes = size(0, 1 << 20);
    limits.presence_members = size(1, 50);
    limits.presence_grace_ms = 0;
    limits.requests_in_flight = size(1, 128);
    limits.bad_requests_per_s = size(1, 200) as u32;
    limits.control_frames_per_s = size(1, 200) as u32;
    limits.header_ms = size(200, 2_000) as u64;
    limits.keep_alive_ms = size(200, 2_000) as u64;
    limits.frame_ms = size(200, 2_000) as u64;
    limits.write_ms = size(500, 5_000) as u64;
    limits.close_ms = size(50, 500) as u64;
    limits.topic_idle_ms = size(50, 1_000) as u64;
    let history = History { messages: size(1, 200), ..History::default() };
    let with_history = TopicRule { history: Some(history), presence: true, ..TopicRule::default() };
    let plain = TopicRule { pattern: Pattern::parse("plain.>").unwrap(), ..TopicRule::default() };
    config.topics = vec![plain, with_history];
    config.api = Some(Api { keys: vec![api_key("tests", KEY)] });
}
