//! What followers of a symbol get to see: each tick, and at first where things stand.

use crate::tape::Tape;
use serde::Serialize;

/// One price. `time` is Unix milliseconds and rises from tick to tick; `change` and `percent` are since the day's open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Tick<'a> {
    pub(crate) symbol: &'a str,
    pub(crate) price: f64,
    pub(crate) change: f64,
    pub(crate) percent: f64,
    pub(crate) time: u64,
}

/// The frame that a session gets when it subscribes.
#[derive(Serialize)]
pub(crate) struct Snapshot<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    topic: &'a str,
    data: Standing<'a>,
}

/// The last tick, and the ticks before it with it as the last of them: `[time, price]`, oldest first.
#[derive(Serialize)]
struct Standing<'a> {
    tick: Tick<'a>,
    tail: Vec<(u64, f64)>,
}

impl<'a> Snapshot<'a> {
    pub(crate) fn new(topic: &'a str, tick: Tick<'a>, tape: &Tape) -> Self {
        Self { kind: "x-snapshot", topic, data: Standing { tick, tail: tape.shown() } }
    }
}
