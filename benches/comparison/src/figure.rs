//! The figures to reach, computed from what was measured; the table is the one of the design, line by line.

use crate::plan::TOPICS;
use crate::plan::{CALM, ONE_STALLED, SATURATED, SATURATED_BOTH, SATURATED_KEPT, SATURATED_MSGPACK, SATURATED_WIDE};
use crate::plugins::PluginRound;
use crate::row::Bound::{self, AtLeast, AtMost};
use crate::row::{Row, Unit};
use crate::server::{FLOOR_BATCHED, FLOOR_UNBATCHED, RIALTO, RIALTO_KEEPING, RIALTO_TWO};
use crate::summary::Measured;
use rialto_load::scenario::Measurement;

/// All figures to reach, in the order of the design. `two_shards_apart`: whether two shards and the load had cores of
/// their own.
pub fn rows(measured: &Measured<'_>, two_shards_apart: bool) -> Vec<Row> {
    let figures = Figures(measured);
    let mut rows = figures.saturated().to_vec();
    rows.extend(figures.calm());
    rows.push(figures.many_topics());
    rows.push(figures.history());
    rows.push(figures.idle());
    rows.push(figures.two_shards(two_shards_apart));
    rows.push(figures.slow_reader());
    rows.extend(figures.plugins());
    rows.push(durable());
    rows
}

struct Figures<'a>(&'a Measured<'a>);

impl Figures<'_> {
    fn saturated(&self) -> [Row; 3] {
        let against = |server: &str| self.0.rounds(|round| self.rate(RIALTO, SATURATED, round, server));
        let mut peers = self.0.measurements.iter().map(|one| one.server.as_str());
        let uws = peers.find(|server| server.to_lowercase().starts_with("uwebsockets")).unwrap_or("");
        let both = self.0.rounds(|round| {
            let [json, msgpack, both] = [SATURATED, SATURATED_MSGPACK, SATURATED_BOTH]
                .map(|scenario| self.0.of(RIALTO, scenario, round, Measurement::deliveries_per_second));
            // Half of the deliveries at either pace: their times add up.
            Some(both? * (1.0 / json? + 1.0 / msgpack?) / 2.0)
        });
        [
            ratio(
                "saturated fan-out, 1,000 subscribers, 128 B, one shard: deliveries/s ÷ batched floor",
                AtLeast(0.60),
                AtLeast(0.85),
                against(FLOOR_BATCHED),
                "Rialto or the floor was not measured",
            ),
            ratio(
                "same ÷ uWebSockets",
                AtLeast(1.1),
                AtLeast(1.6),
                against(uws),
                "it is in no registry; give one with --also uWebSockets=plain:…",
            ),
            ratio(
                "same, MessagePack and JSON half and half ÷ single codec",
                AtLeast(0.9),
                AtLeast(1.0),
                both,
                "one of the three runs is missing",
            ),
        ]
    }

    fn calm(&self) -> [Row; 2] {
        let cpu = self.0.rounds(|round| {
            let [own, floor] =
                [RIALTO, FLOOR_BATCHED].map(|server| self.0.of(server, CALM, round, Measurement::cpu_micros));
            Some(own? / floor?)
        });
        let p99 = self.0.rounds(|round| {
            let [own, floor] =
                [RIALTO, FLOOR_BATCHED].map(|server| self.0.of(server, CALM, round, |one| Some(one.latency.p99)));
            Some(own? / floor?).filter(|ratio| ratio.is_finite())
        });
        let without = "Rialto or the floor was not measured";
        [
            ratio("CPU per delivery at 50 msg/s ÷ floor", AtMost(1.15), AtMost(1.05), cpu, without),
            ratio("p99 of the last subscriber at 50 msg/s ÷ floor", AtMost(1.3), AtMost(1.1), p99, without),
        ]
    }

    fn many_topics(&self) -> Row {
        let rounds = self.0.rounds(|round| {
            let own = self.0.of(RIALTO, TOPICS, round, Measurement::cpu_micros);
            Some(own? / self.0.of(FLOOR_UNBATCHED, SATURATED, round, Measurement::cpu_micros)?)
        });
        ratio(
            "10,000 topics, 10 subscribers each, random publishes: CPU per delivery ÷ single-topic unbatched floor",
            AtMost(1.5),
            AtMost(1.2),
            rounds,
            "Rialto or the floor was not measured",
        )
    }

    fn history(&self) -> Row {
        let rounds = self.0.rounds(|round| {
            let with = self.0.of(RIALTO_KEEPING, SATURATED_KEPT, round, Measurement::cpu_micros);
            Some(100.0 * (with? / self.0.of(RIALTO, SATURATED, round, Measurement::cpu_micros)? - 1.0))
        });
        Row::new(
            "history, acks and keys on: CPU per delivery over that of plain fan-out",
            Unit::Percent,
            AtMost(10.0),
            AtMost(5.0),
            rounds,
            "Rialto was not measured",
        )
    }

    fn idle(&self) -> Row {
        let own = self.0.idle.iter().filter(|idle| idle.server == RIALTO);
        Row::new(
            "resident memory per idle, subscribed session",
            Unit::Bytes,
            AtMost(4_096.0),
            AtMost(2_048.0),
            own.map(|idle| idle.bytes_per_session).collect(),
            "Rialto was not measured",
        )
    }

    fn two_shards(&self, apart: bool) -> Row {
        let rounds = self.0.rounds(|round| {
            if apart {
                return self.rate(RIALTO_TWO, SATURATED_WIDE, round, RIALTO);
            }
            let [one, two] =
                [RIALTO, RIALTO_TWO].map(|server| self.0.of(server, SATURATED_WIDE, round, Measurement::cpu_micros));
            Some(2.0 * one? / two?)
        });
        let figure = if apart {
            "two shards ÷ one shard"
        } else {
            "two shards ÷ one shard, computed from CPU per delivery (2 × one ÷ two): too few cores to measure it"
        };
        ratio(figure, AtLeast(1.7), AtLeast(1.95), rounds, "Rialto was not measured")
    }

    fn slow_reader(&self) -> Row {
        let rounds = self.0.rounds(|round| {
            let [with, without] = [ONE_STALLED, SATURATED]
                .map(|scenario| self.0.of(RIALTO, scenario, round, Measurement::deliveries_per_second));
            Some(with? / without?)
        });
        ratio(
            "one slow reader among 1,000: throughput of the others ÷ without it",
            AtLeast(0.95),
            AtLeast(1.0),
            rounds,
            "Rialto was not measured",
        )
    }

    fn plugins(&self) -> [Row; 2] {
        let rounds = |figure: fn(&PluginRound) -> f64| self.0.plugins.iter().map(figure).collect();
        let without = "plugins are measured when all loads are";
        [
            ratio(
                "plugin hook round trip (publish accepted as is), native ÷ wasm time per message",
                AtLeast(0.25),
                AtLeast(0.5),
                rounds(|round| round.native_hook_micros / round.component_hook_micros),
                without,
            ),
            Row::new(
                "messages/s through the chat plugin, one instance",
                Unit::PerSecond,
                AtLeast(150_000.0),
                AtLeast(400_000.0),
                rounds(|round| round.component_chat_messages_per_second),
                without,
            ),
        ]
    }

    /// Deliveries a second of `server` divided by those of `other`.
    fn rate(&self, server: &str, scenario: &str, round: u32, other: &str) -> Option<f64> {
        let rate = |server: &str| self.0.of(server, scenario, round, Measurement::deliveries_per_second);
        Some(rate(server)? / rate(other)?)
    }
}

fn ratio(figure: &str, must: Bound, aim: Bound, rounds: Vec<f64>, without: &str) -> Row {
    Row::new(figure, Unit::Ratio, must, aim, rounds, without)
}

fn durable() -> Row {
    let figure = "durable publishes/s with fsync, 64 publishers, ÷ fsyncs/s of the disk";
    Row::due(figure, Unit::Ratio, AtLeast(50.0), AtLeast(200.0), "the durable store")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Verdict;
    use crate::sample;

    fn row(measurements: &[Measurement], apart: bool, figure: &str) -> Row {
        let measured = Measured { rounds: 2, measurements, idle: &[], plugins: &[] };
        rows(&measured, apart).into_iter().find(|row| row.figure.starts_with(figure)).expect("there is such a row")
    }

    fn close(values: &[f64], expected: &[f64]) -> bool {
        values.len() == expected.len() && values.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-9)
    }

    #[test]
    fn ratios_are_within_one_round() {
        let found = sample::found();
        let cases: [(&str, &[f64]); 5] = [
            ("saturated fan-out", &[0.75, 1.0]),
            ("same ÷ uWebSockets", &[]),
            ("CPU per delivery at 50", &[1.2, 1.2]),
            ("p99 of the last", &[1.0, 1.0]),
            ("10,000 topics", &[1.1, 1.1]),
        ];
        for (figure, expected) in cases {
            let rounds = row(&found.measurements, false, figure).rounds;
            assert!(close(&rounds, expected), "{figure}: {rounds:?}");
        }
    }

    #[test]
    fn a_given_peer_is_known_by_its_name() {
        let mut measurements = sample::found().measurements;
        measurements.iter_mut().filter(|one| one.server == sample::PEER).for_each(|one| {
            one.server = "uWebSockets".to_owned();
        });
        let rounds = row(&measurements, false, "same ÷ uWebSockets").rounds;
        assert!(close(&rounds, &[1.5, 2.0]), "{rounds:?}");
    }

    #[test]
    fn a_mixed_load_is_compared_with_the_mean_of_both() {
        let run = |scenario, millions| sample::measurement(RIALTO, scenario, 0, millions, 0.3);
        let measurements = [run(SATURATED, 2.0), run(SATURATED_MSGPACK, 3.0), run(SATURATED_BOTH, 2.4)];
        let rounds = row(&measurements, false, "same, MessagePack and JSON").rounds;
        assert!(close(&rounds, &[1.0]), "{rounds:?}");
    }

    #[test]
    fn the_cost_of_history_is_reported_in_percent() {
        let run = |server, scenario, cpu| sample::measurement(server, scenario, 0, 2.0, cpu);
        let measurements = [run(RIALTO, SATURATED, 0.50), run(RIALTO_KEEPING, SATURATED_KEPT, 0.52)];
        assert!(close(&row(&measurements, false, "history, acks").rounds, &[4.0]));
    }

    #[test]
    fn two_shards_are_measured_or_computed() {
        let run = |server, millions, cpu| sample::measurement(server, SATURATED_WIDE, 1, millions, cpu);
        let measurements = [run(RIALTO, 2.0, 0.30), run(RIALTO_TWO, 3.0, 0.32)];
        assert!(close(&row(&measurements, true, "two shards").rounds, &[1.5]));
        let computed = row(&measurements, false, "two shards");
        assert!(close(&computed.rounds, &[1.875]) && computed.figure.contains("computed"), "{computed:?}");
    }

    #[test]
    fn missing_and_due_measurements_are_reported() {
        let none = rows(&Measured { rounds: 3, measurements: &[], idle: &[], plugins: &[] }, false);
        assert_eq!(none.len(), 13);
        assert!(none.iter().all(|row| matches!(row.verdict, Verdict::NotMeasured(_) | Verdict::Due(_))), "{none:?}");
        assert_eq!(none.iter().filter(|row| matches!(row.verdict, Verdict::Due(_))).count(), 1);
    }
}
