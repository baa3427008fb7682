//! The results of a measurement as text for a terminal.

use std::fmt::Write as _;

use rialto_load::machine::Machine;
use rialto_load::number::{bytes, count, digits, micros};
use rialto_load::scenario::{Codecs, Measurement, Pace, Scenario};
use rialto_load::statistics::median;
use rialto_load::table::{Side, Table};

/// The scenario, the server and the machine.
pub(super) fn head(scenario: &Scenario, server: &str, rounds: u32, machine: &Machine) -> String {
    let Scenario { stalled, seconds, warm_up_seconds, .. } = scenario;
    let mut text = format!("Fan-out at {server}\n  {}\n", offered(scenario));
    if *stalled > 0 {
        let _ = writeln!(text, "  {} of the first topic that never read", many(*stalled, "more subscriber"));
    }
    if let Some(delivery) = &scenario.delivery {
        let _ = writeln!(text, "  delivery policy {delivery}");
    }
    let rounds = many(rounds, "round");
    let _ = writeln!(text, "  {rounds} of {seconds} s after {warm_up_seconds} s of warm-up\n  {machine}\n");
    text
}

/// The scenario and the server in one line.
pub(super) fn load(scenario: &Scenario, server: &str) -> String {
    format!("{}, at {server}", offered(scenario))
}

/// The load: subscribers, payloads and rate.
fn offered(scenario: &Scenario) -> String {
    let Scenario { subscribers, topics, payload_bytes, .. } = scenario;
    let to = match topics {
        1 => format!("{} of one topic", many(*subscribers, "subscriber")),
        _ => format!("{} of each of {}", many(*subscribers, "subscriber"), many(*topics, "topic")),
    };
    let pace = match scenario.pace {
        Pace::Window(window) => format!("{} in flight", many(window, "message")),
        Pace::PerSecond(rate) => format!("{} per second", many(rate, "message")),
    };
    format!("{to}, {payload_bytes}-byte payloads{}, {pace}", codec(scenario))
}

/// All rounds, and their median.
pub(super) fn tables(measurements: &[Measurement]) -> String {
    let mut text = speed(measurements);
    text.push_str("\nLatency runs from when a message was due until its last subscriber had it.\n");
    if measurements.iter().all(|one| one.cpu_seconds.is_none()) {
        text.push_str("Processor time and memory were not measured: name the server's process with --pid.\n");
    }
    text.push_str(&faults(measurements));
    text
}

/// A column of results, and their format.
struct Column {
    heading: &'static str,
    value: fn(&Measurement) -> Option<f64>,
    show: fn(f64) -> String,
}

const SPEED: [Column; 9] = [
    Column { heading: "deliveries/s", value: Measurement::deliveries_per_second, show: count },
    Column { heading: "messages/s", value: |one| positive(one.published as f64 / one.seconds), show: count },
    Column { heading: "payload MB/s", value: megabytes_per_second, show: digits },
    Column { heading: "CPU/delivery", value: Measurement::cpu_micros, show: micros },
    Column { heading: "p50", value: |one| latency(one, one.latency.p50), show: micros },
    Column { heading: "p99", value: |one| latency(one, one.latency.p99), show: micros },
    Column { heading: "p99.9", value: |one| latency(one, one.latency.p999), show: micros },
    Column { heading: "max", value: |one| latency(one, one.latency.max), show: micros },
    Column { heading: "memory", value: |one| one.resident_bytes.map(|bytes| bytes as f64), show: memory },
];

const FAULTS: [Column; 6] = [
    Column { heading: "lost", value: |one| Some(one.faults.lost as f64), show: whole },
    Column { heading: "disordered", value: |one| Some(one.faults.disordered as f64), show: whole },
    Column { heading: "doubled", value: |one| Some(one.faults.doubled as f64), show: whole },
    Column { heading: "altered", value: |one| Some(one.faults.altered as f64), show: whole },
    Column { heading: "skipped", value: |one| Some(one.skipped as f64), show: whole },
    Column { heading: "disconnected", value: |one| Some(one.disconnected as f64), show: whole },
];

fn speed(measurements: &[Measurement]) -> String {
    let mut table = table(&SPEED, measurements);
    if measurements.len() > 1 {
        let medians = SPEED.iter().map(|column| {
            let values: Vec<f64> = measurements.iter().filter_map(column.value).collect();
            shown(median(&values), column)
        });
        table.push(std::iter::once("median".to_owned()).chain(medians).collect());
    }
    table.text(u16::MAX)
}

/// One line without faults, else a table.
fn faults(measurements: &[Measurement]) -> String {
    let well = |one: &Measurement| one.faults.none() && one.skipped == 0 && one.disconnected == 0;
    if measurements.iter().all(well) {
        return "Every delivery was checked: none lost, disordered, doubled, altered or skipped.\n".to_owned();
    }
    format!("\n{}", table(&FAULTS, measurements).text(u16::MAX))
}

fn table(columns: &[Column], measurements: &[Measurement]) -> Table {
    let headings = columns.iter().map(|column| (column.heading, Side::Right));
    let mut table = Table::new(&std::iter::once(("", Side::Left)).chain(headings).collect::<Vec<_>>());
    for one in measurements {
        let cells = columns.iter().map(|column| shown((column.value)(one), column));
        table.push(std::iter::once(format!("round {}", one.round + 1)).chain(cells).collect());
    }
    table
}

fn shown(value: Option<f64>, column: &Column) -> String {
    value.map_or_else(|| "–".to_owned(), column.show)
}

fn codec(scenario: &Scenario) -> &'static str {
    match scenario.codecs {
        Codecs::Json => "",
        Codecs::Msgpack => " in MessagePack",
        Codecs::Both => " (JSON and MessagePack half and half)",
    }
}

fn megabytes_per_second(one: &Measurement) -> Option<f64> {
    Some(one.deliveries_per_second()? * f64::from(one.scenario.payload_bytes) / 1e6)
}

fn latency(one: &Measurement, micros: f64) -> Option<f64> {
    (one.latency.count > 0).then_some(micros)
}

fn positive(value: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then_some(value)
}

fn memory(resident_bytes: f64) -> String {
    if resident_bytes >= 1e6 { format!("{} MB", digits(resident_bytes / 1e6)) } else { bytes(resident_bytes) }
}

fn whole(value: f64) -> String {
    grouped(value as u64)
}

/// A number with a noun.
fn many(number: u32, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number.into()))
}

/// With commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use rialto_load::scenario::{Faults, Percentiles};

    use super::*;

    fn measurement(round: u32, lost: u64) -> Measurement {
        let scenario = Scenario {
            name: "saturated".to_owned(),
            topics: 1,
            subscribers: 1_000,
            topics_per_connection: 1,
            payload_bytes: 128,
            codecs: Codecs::Json,
            delivery: None,
            acks: false,
            pace: Pace::Window(32),
            stalled: 1,
            warm_up_seconds: 1.0,
            seconds: 5.0,
        };
        Measurement {
            server: "rialto".to_owned(),
            scenario,
            round,
            seconds: 5.0,
            published: 20_000,
            delivered: 20_000_000,
            cpu_seconds: None,
            resident_bytes: None,
            latency: Percentiles { count: 20_000, p50: 900.4, p90: 1e3, p99: 2e3, p999: 3e3, max: 4e6 },
            faults: Faults { lost, ..Faults::default() },
            skipped: 0,
            disconnected: 0,
        }
    }

    #[test]
    fn says_what_is_measured() {
        let machine = Machine {
            processor: "AMD EPYC".to_owned(),
            cores: 2,
            kernel: "Linux 6.18".to_owned(),
            memory_bytes: 8 << 30,
        };
        let text = head(&measurement(0, 0).scenario, "ws://127.0.0.1:8080 (rialto)", 3, &machine);
        let expected = "Fan-out at ws://127.0.0.1:8080 (rialto)\n  \
            1,000 subscribers of one topic, 128-byte payloads, 32 messages in flight\n  \
            1 more subscriber of the first topic that never read\n  \
            3 rounds of 5 s after 1 s of warm-up\n  AMD EPYC, 2 cores, 8 GB, Linux 6.18\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn shows_faults_only_where_there_are_any() {
        let well = tables(&[measurement(0, 0), measurement(1, 0)]);
        assert!(well.contains("\nmedian         4.00 M      4.00 k           512             –  900 µs"), "{well}");
        assert!(well.ends_with("none lost, disordered, doubled, altered or skipped.\n"), "{well}");
        let ill = tables(&[measurement(0, 1234)]);
        assert!(ill.contains("\nround 1  1,234           0"), "{ill}");
        assert!(!ill.contains("median"), "{ill}");
    }

    #[test]
    fn thousands_have_commas() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
