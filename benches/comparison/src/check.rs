//! What must be so besides the figures: nothing lost, nothing dropped in silence, stalled readers that cost memory
//! within bounds. Computed from what was measured.

use serde::{Deserialize, Serialize};

use crate::bystanders::DISTURBING_CORES;
use crate::plan::{LATEST, MANY_STALLED, SATURATED};
use crate::server::{RIALTO, RIALTO_TWO};
use crate::summary::Measured;
use rialto_load::scenario::Measurement;
use rialto_load::statistics::median;

/// Something that holds or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What must be so.
    pub what: String,
    /// What was seen.
    pub seen: String,
    /// Whether it is so.
    pub outcome: Outcome,
}

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is.
    Holds,
    /// It is not.
    Broken,
    /// It is not, but not on our side.
    Theirs,
    /// Nobody knows.
    NotMeasured,
}

/// All checks. Resident memory is only reported: its bound is a setting of the server's.
pub fn checks(measured: &Measured<'_>) -> Vec<Check> {
    let mut checks = deliveries(measured);
    checks.push(latest(measured));
    checks.push(stalled(measured));
    checks
}

/// Whether the machine did nothing else meanwhile. Nobody's fault, but figures of a busy machine say little.
pub fn alone(bystanders: &[f64]) -> Check {
    let disturbed = bystanders.iter().filter(|cores| **cores > DISTURBING_CORES).count();
    let most = bystanders.iter().copied().fold(0.0, f64::max);
    let outcome = if disturbed == 0 { Outcome::Holds } else { Outcome::Theirs };
    Check {
        what: "nothing else keeps the machine busy".to_owned(),
        seen: format!("in {disturbed} of {} runs others did, with up to {most:.2} cores", bystanders.len()),
        outcome,
    }
}

/// One check for each server that was measured.
fn deliveries(measured: &Measured<'_>) -> Vec<Check> {
    let mut servers: Vec<&str> = Vec::new();
    for one in measured.measurements {
        if !servers.contains(&one.server.as_str()) {
            servers.push(&one.server);
        }
    }
    servers.into_iter().map(|server| complete(server, measured.measurements)).collect()
}

fn complete(server: &str, measurements: &[Measurement]) -> Check {
    let own = || measurements.iter().filter(|one| one.server == server);
    let delivered: u64 = own().map(|one| one.delivered).sum();
    let wrong: Vec<String> = own().filter(|one| one.faults.count() > 0 || one.disconnected > 0).map(faults).collect();
    let outcome = match wrong.is_empty() {
        true => Outcome::Holds,
        false if is_ours(server) => Outcome::Broken,
        false => Outcome::Theirs,
    };
    let seen = if wrong.is_empty() { format!("{delivered} deliveries") } else { wrong.join("; ") };
    Check { what: format!("{server}: every message to everyone, once, in order, as it was"), seen, outcome }
}

fn faults(one: &Measurement) -> String {
    format!(
        "{} (round {}): {} lost, {} disordered, {} doubled, {} altered, {} disconnected",
        one.scenario.name,
        one.round + 1,
        one.faults.lost,
        one.faults.disordered,
        one.faults.doubled,
        one.faults.altered,
        one.disconnected
    )
}

/// Whether faults of this server are ours to mend: the load and the floor are ours too.
pub fn is_ours(server: &str) -> bool {
    [RIALTO, RIALTO_TWO].contains(&server) || server.starts_with("floor")
}

fn latest(measured: &Measured<'_>) -> Check {
    let what = "delivery latest: delivered + skipped = published".to_owned();
    let runs = measured.measurements.iter();
    let runs: Vec<_> = runs.filter(|one| one.server == RIALTO_TWO && one.scenario.name == LATEST).collect();
    let unaccounted: u64 = runs.iter().map(|one| one.faults.lost + one.faults.doubled).sum();
    let skipped: u64 = runs.iter().map(|one| one.skipped).sum();
    let delivered: u64 = runs.iter().map(|one| one.delivered).sum();
    let seen = format!("{delivered} delivered, {skipped} skipped, {unaccounted} unaccounted for");
    let outcome = match (runs.is_empty(), unaccounted) {
        (true, _) => return Check { what, seen: "not measured".to_owned(), outcome: Outcome::NotMeasured },
        (false, 0) => Outcome::Holds,
        (false, _) => Outcome::Broken,
    };
    if skipped == 0 {
        let seen = format!("{seen}: nothing had to be skipped, so nothing is shown");
        return Check { what, seen, outcome: Outcome::NotMeasured };
    }
    Check { what, seen, outcome }
}

fn stalled(measured: &Measured<'_>) -> Check {
    let over = |scenario: &str, figure: fn(&Measurement) -> Option<f64>| {
        median(&measured.rounds(|round| measured.of(RIALTO, scenario, round, figure)))
    };
    let resident = |one: &Measurement| one.resident_bytes.map(|bytes| bytes as f64);
    let what = "as many stalled readers as healthy ones: memory, and what the others get".to_owned();
    let [with, without] = [MANY_STALLED, SATURATED].map(|scenario| {
        Some((over(scenario, resident)? / 1_048_576.0, over(scenario, Measurement::deliveries_per_second)?))
    });
    let (Some((memory, rate)), Some((usual_memory, usual_rate))) = (with, without) else {
        return Check { what, seen: "not measured".to_owned(), outcome: Outcome::NotMeasured };
    };
    let seen = format!(
        "{memory:.0} MB resident instead of {usual_memory:.0} MB; the others at {:.2} × of the throughput without them",
        rate / usual_rate
    );
    Check { what, seen, outcome: Outcome::Holds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use rialto_load::scenario::Faults;

    fn outcomes(measurements: &[Measurement]) -> Vec<(String, Outcome)> {
        let measured = Measured { rounds: 1, measurements, idle: &[], plugins: &[] };
        checks(&measured).into_iter().map(|check| (check.what, check.outcome)).collect()
    }

    #[test]
    fn a_lost_message_is_reported_with_its_cause() {
        for (server, outcome) in
            [(RIALTO, Outcome::Broken), ("floor, batched", Outcome::Broken), ("x", Outcome::Theirs)]
        {
            let mut run = sample::measurement(server, SATURATED, 0, 1.0, 1.0);
            assert_eq!(outcomes(std::slice::from_ref(&run))[0].1, Outcome::Holds);
            run.faults = Faults { lost: 1, ..Faults::default() };
            assert_eq!(outcomes(&[run])[0].1, outcome, "{server}");
        }
    }

    #[test]
    fn the_latest_policy_has_to_skip_to_be_shown() {
        let mut run = sample::measurement(RIALTO_TWO, LATEST, 0, 1.0, 1.0);
        let outcome = |run: &Measurement| {
            let all = outcomes(std::slice::from_ref(run));
            all.into_iter().find(|(what, _)| what.contains("latest")).expect("it is checked").1
        };
        assert_eq!(outcome(&run), Outcome::NotMeasured);
        run.skipped = 5;
        assert_eq!(outcome(&run), Outcome::Holds);
        run.faults.lost = 1;
        assert_eq!(outcome(&run), Outcome::Broken);
    }

    #[test]
    fn a_busy_machine_is_told() {
        assert_eq!(alone(&[0.02, 0.05]).outcome, Outcome::Holds);
        let check = alone(&[0.02, 1.4]);
        assert_eq!(
            (check.outcome, check.seen.as_str()),
            (Outcome::Theirs, "in 1 of 2 runs others did, with up to 1.40 cores")
        );
    }
}
