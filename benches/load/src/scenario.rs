//! What is measured, and what came of it: plain values that the load makes and the report shows.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A server to be measured.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Its process and all children of it, for processor time and memory; none where it runs elsewhere.
    pub pid: Option<u32>,
}

/// The protocol inside the WebSocket messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Rialto's own, at `/ws`.
    Rialto,
    /// Text messages without any envelope: what anybody sends, everybody who connected to the path `/sub/TOPIC` gets.
    /// The publisher connects to `/pub/TOPIC`.
    Plain,
    /// The NATS client protocol in binary messages, at `/`.
    Nats,
    /// MQTT 3.1.1 in binary messages (subprotocol `mqtt`), QoS 0, at `/`.
    Mqtt,
}

/// In which codec subscribers listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codecs {
    /// All JSON.
    Json,
    /// All MessagePack.
    Msgpack,
    /// Every second one MessagePack.
    Both,
}

/// How messages are offered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Closed loop: a new message as soon as fewer than so many are not yet with all their subscribers.
    Window(u32),
    /// Open loop: so many messages a second, whatever becomes of them. Latency counts from the moment a message should
    /// have been sent.
    PerSecond(u32),
}

/// One load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name in tables and charts, for instance `saturated`.
    pub name: String,
    /// Number of topics; messages go to them in a random order that is the same in every run.
    pub topics: u32,
    /// Subscribers of each topic, every one its own connection... unless `topics_per_connection` joins them.
    pub subscribers: u32,
    /// How many topics one connection subscribes to.
    pub topics_per_connection: u32,
    /// Bytes of each payload.
    pub payload_bytes: u32,
    /// The codec of Rialto's subscribers; other dialects have but one.
    pub codecs: Codecs,
    /// The delivery policy Rialto's subscribers ask for; as JSON text, for instance `"latest"` with its quotes.
    pub delivery: Option<String>,
    /// Whether Rialto's publisher asks for an ack of every message, and gives each a key of its own.
    pub acks: bool,
    /// How messages are offered.
    pub pace: Pace,
    /// Further subscribers of the first topic that stop reading once subscribed. Nothing is expected of them.
    pub stalled: u32,
    /// Seconds before anything counts.
    pub warm_up_seconds: f64,
    /// Seconds that count.
    pub seconds: f64,
}

/// What one run of a scenario against one server showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The server's name.
    pub server: String,
    /// The load.
    pub scenario: Scenario,
    /// Which repetition this is, from 0.
    pub round: u32,
    /// How long was counted.
    pub seconds: f64,
    /// Messages published in that time.
    pub published: u64,
    /// Messages received by all subscribers together in that time.
    pub delivered: u64,
    /// Processor time the server used in that time.
    pub cpu_seconds: Option<f64>,
    /// The server's resident memory at the end of it.
    pub resident_bytes: Option<u64>,
    /// Time until the last subscriber of each message had it.
    pub latency: Percentiles,
    /// What must not happen.
    pub faults: Faults,
    /// Messages that the server said it skipped, over all subscribers, from the first message to the last.
    pub skipped: u64,
    /// Subscribers that were disconnected; of the stalled ones nothing is counted.
    pub disconnected: u64,
}

/// What sessions cost that only wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// The server's name.
    pub server: String,
    /// How many sessions there were, each subscribed to the same topic.
    pub sessions: u32,
    /// Bytes of resident memory for each, before any message.
    pub bytes_per_session: f64,
    /// The same after all of them have got a message.
    pub bytes_per_session_after_message: f64,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// Half were quicker.
    pub p50: f64,
    /// 90 % were quicker.
    pub p90: f64,
    /// 99 % were quicker.
    pub p99: f64,
    /// 99.9 % were quicker.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

/// Deliveries that are wrong, from the first message of the run to the last; the run is not over before everything that
/// was published has come in or a few seconds have passed without anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Neither received nor told as skipped.
    pub lost: u64,
    /// Received after a later message of the same topic.
    pub disordered: u64,
    /// Received twice.
    pub doubled: u64,
    /// With another content than was published.
    pub altered: u64,
}

impl Measurement {
    /// Deliveries in one second; none where nothing was counted.
    pub fn deliveries_per_second(&self) -> Option<f64> {
        Some(self.delivered as f64 / self.seconds).filter(|rate| rate.is_finite() && *rate > 0.0)
    }

    /// Microseconds of processor time for each delivery.
    pub fn cpu_micros(&self) -> Option<f64> {
        let micros = self.cpu_seconds? * 1e6 / self.delivered as f64;
        Some(micros).filter(|micros| micros.is_finite() && *micros > 0.0)
    }
}

impl Faults {
    /// How many deliveries were wrong.
    pub fn count(&self) -> u64 {
        self.lost + self.disordered + self.doubled + self.altered
    }

    /// Whether everything was as it must be.
    pub fn none(&self) -> bool {
        *self == Self::default()
    }
}
