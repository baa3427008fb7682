//! What the members of a room get to see.

use serde::Serialize;

/// One thing that happened in a room; `time` is Unix milliseconds.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// Somebody spoke.
    Message { author: &'a str, text: &'a str, time: u64 },
    /// Somebody claimed a first name.
    Joined { name: &'a str, time: u64 },
    /// Somebody with a name left the room.
    Left { name: &'a str, time: u64 },
    /// Somebody claimed another name.
    Renamed { from: &'a str, to: &'a str, time: u64 },
}
