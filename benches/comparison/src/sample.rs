//! A made-up comparison for tests: two rounds, a floor, Rialto, and a peer with an awkward name.

use crate::peer::Absent;
use crate::plan::{CALM, Plan, SATURATED, TOPICS};
use crate::plugins::PluginRound;
use crate::report::{Circumstances, Contender, Failure, Found, Report};
use crate::server::{FLOOR_BATCHED, FLOOR_UNBATCHED, RIALTO};
use rialto_load::machine::Machine;
use rialto_load::scenario::{Faults, Idle, Measurement, Percentiles};

/// Its name has to be escaped wherever it is shown.
pub(crate) const PEER: &str = "<uWebSockets & \"co|\">";

/// A run in which everything went well: `millions` of deliveries a second at `cpu_micros` each.
pub(crate) fn measurement(server: &str, scenario: &str, round: u32, millions: f64, cpu_micros: f64) -> Measurement {
    let mut steps = Plan::full(2).blocks.into_iter().flat_map(|block| block.steps).map(|step| step.scenario);
    let scenario = steps.find(|one| one.name == scenario).expect("the plan has it");
    let delivered = (millions * 4e6) as u64;
    Measurement {
        server: server.to_owned(),
        scenario,
        round,
        seconds: 4.0,
        published: delivered / 1_000,
        delivered,
        cpu_seconds: Some(delivered as f64 * cpu_micros / 1e6),
        resident_bytes: Some(20 << 20),
        latency: Percentiles { count: 200, p50: 2_000.0, p90: 4_000.0, p99: 8_000.0, p999: 8_500.0, max: 9_000.0 },
        faults: Faults::default(),
        skipped: 0,
        disconnected: 0,
    }
}

fn plugins(round: u32) -> PluginRound {
    PluginRound {
        native_hook_micros: 1.0 + f64::from(round),
        component_hook_micros: 4.0,
        native_chat_messages_per_second: 300_000.0,
        component_chat_messages_per_second: 200_000.0 + 100_000.0 * f64::from(round),
    }
}

pub(crate) fn found() -> Found {
    let idle = |server: &str, bytes: f64| Idle {
        server: server.to_owned(),
        sessions: 10_000,
        bytes_per_session: bytes,
        bytes_per_session_after_message: bytes + 100.0,
    };
    let round = |round| {
        [
            measurement(FLOOR_BATCHED, SATURATED, round, 4.0, 0.25),
            measurement(RIALTO, SATURATED, round, 3.0 + f64::from(round), 0.30),
            measurement(PEER, SATURATED, round, 2.0, 0.50),
            measurement(FLOOR_UNBATCHED, SATURATED, round, 0.14, 7.0),
            measurement(FLOOR_BATCHED, CALM, round, 0.05, 7.5),
            measurement(RIALTO, CALM, round, 0.05, 9.0),
            measurement(RIALTO, TOPICS, round, 0.9, 7.7),
        ]
    };
    Found {
        measurements: (0..2).flat_map(round).collect(),
        idle: vec![idle(RIALTO, 1_800.0), idle(RIALTO, 1_900.0), idle(PEER, 260.0)],
        plugins: (0..2).map(plugins).collect(),
        failures: vec![Failure {
            server: PEER.to_owned(),
            load: CALM.to_owned(),
            round: 1,
            reason: "it did not answer".to_owned(),
        }],
        bystanders: vec![0.01, 0.5],
    }
}

pub(crate) fn circumstances() -> Circumstances {
    let contender = |name: &str, version: &str| Contender { name: name.to_owned(), version: version.to_owned() };
    let machine =
        Machine { processor: "Z80".to_owned(), cores: 2, kernel: "Linux 6".to_owned(), memory_bytes: 24 << 30 };
    Circumstances {
        date: "2026-11-22".to_owned(),
        command: "benches/run --rounds 2".to_owned(),
        machine,
        notes: vec!["Servers on core 0, load on core 1.".to_owned()],
        quick: false,
        rounds: 2,
        two_shards_apart: false,
        servers: vec![
            contender(FLOOR_BATCHED, "0.1.0"),
            contender(RIALTO, "0.1.0"),
            contender(PEER, "20.79"),
            contender(FLOOR_UNBATCHED, "0.1.0"),
        ],
        skipped: vec![Absent {
            name: "nchan (nginx)".to_owned(),
            reason: "no program `nginx`".to_owned(),
            install: "benches/run".to_owned(),
        }],
    }
}

pub(crate) fn report() -> Report {
    Report::new(circumstances(), found())
}
