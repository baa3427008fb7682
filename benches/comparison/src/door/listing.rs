//! The rounds as text and tables, for a terminal. It computes nothing but what is shown.

use std::time::Duration;

use super::caller::{Act, Waits};
use super::hostile::Deadlines;
use super::{Round, SLACK, outcome};
use crate::bystanders::DISTURBING_CORES;
use crate::check::Outcome;
use crate::holding::Holding;
use crate::row::Verdict;
use rialto_load::number::{bytes, digits, micros, ratio};
use rialto_load::statistics::median;
use rialto_load::table::Side::{Left, Right};
use rialto_load::table::Table;

const WORDS_WIDTH_MAX: u16 = 44;

/// All of it. `head` are the lines to begin with.
pub fn text(head: &[String], rounds: &[Round], deadlines: &Deadlines, sockets: usize) -> String {
    let mut text: String = head.iter().map(|line| format!("{line}\n")).collect();
    text.push_str("\nWhat one healthy client waits for, one after another; median of the rounds:\n");
    text.push_str(&waits(rounds).text(WORDS_WIDTH_MAX));
    let busy: Vec<String> = rounds.iter().map(|round| format!("{:.2}", round.others_cores)).collect();
    let most = DISTURBING_CORES;
    text.push_str(&format!("Others kept {} cores busy; ratios are of rounds with at most {most}.\n", busy.join(", ")));
    text.push_str(&format!(
        "\nWhen {sockets} hostile sockets are gone, deadline and {} s for sweeps:\n",
        SLACK.as_secs_f64()
    ));
    text.push_str(&gone(rounds, deadlines).text(WORDS_WIDTH_MAX));
    text.push_str("\nWhat it costs, round by round:\n");
    text.push_str(&costs(rounds).text(WORDS_WIDTH_MAX));
    text.push('\n');
    for check in outcome::checks(rounds, sockets) {
        text.push_str(&format!("{}: {} ({})\n", word(check.outcome), check.what, check.seen));
    }
    text
}

fn waits(rounds: &[Round]) -> Table {
    let mut table = Table::new(&[
        ("healthy", Left),
        ("times", Right),
        ("idle p50", Right),
        ("p99", Right),
        ("max", Right),
        ("hostile p50", Right),
        ("p99", Right),
        ("max", Right),
        ("p99 ÷ idle", Right),
        ("rounds", Right),
        ("must", Right),
        ("verdict", Left),
    ]);
    let idle: Vec<&Waits> = rounds.iter().map(|round| &round.idle.waits).collect();
    let hostile: Vec<&Waits> = rounds.iter().map(|round| &round.hostile.waits).collect();
    for (act, row) in Act::ALL.into_iter().zip(outcome::rows(rounds)) {
        let times: u64 = idle.iter().chain(&hostile).map(|waits| waits.count(act)).sum();
        let spread = row.spread.map(|spread| format!("{} … {}", ratio(spread.min), ratio(spread.max)));
        table.push(vec![
            act.name().to_owned(),
            times.to_string(),
            over(&idle, act, 0.5),
            over(&idle, act, 0.99),
            over(&idle, act, 1.0),
            over(&hostile, act, 0.5),
            over(&hostile, act, 0.99),
            over(&hostile, act, 1.0),
            row.median.map_or_else(String::new, ratio),
            spread.unwrap_or_default(),
            "≤ 2".to_owned(),
            word(match row.verdict {
                Verdict::Holds => Outcome::Holds,
                Verdict::Broken => Outcome::Broken,
                _ => Outcome::NotMeasured,
            })
            .to_owned(),
        ]);
    }
    table
}

/// The median over the rounds.
fn over(waits: &[&Waits], act: Act, part: f64) -> String {
    let all: Vec<f64> = waits.iter().map(|waits| waits.micros(act, part)).collect();
    median(&all).map_or_else(String::new, micros)
}

fn gone(rounds: &[Round], deadlines: &Deadlines) -> Table {
    let mut table = Table::new(&[
        ("hostile", Left),
        ("ended", Right),
        ("first", Right),
        ("median", Right),
        ("last", Right),
        ("must", Right),
        ("left", Right),
        ("refused", Right),
        ("verdict", Left),
    ]);
    for gone in outcome::gone(rounds, deadlines) {
        let [first, middle, last] = gone.after.map_or_else(Default::default, |after| after.map(seconds));
        table.push(vec![
            gone.kind.name().to_owned(),
            gone.count.to_string(),
            first,
            middle,
            last,
            format!("≤ {}", seconds(gone.deadline + SLACK)),
            gone.left.to_string(),
            gone.refused.to_string(),
            word(gone.outcome).to_owned(),
        ]);
    }
    table
}

fn costs(rounds: &[Round]) -> Table {
    let mut table = Table::new(&[
        ("round", Left),
        ("descriptors before", Right),
        ("during", Right),
        ("after", Right),
        ("resident before", Right),
        ("during", Right),
        ("after", Right),
        ("server cores idle", Right),
        ("hostile", Right),
        ("load cores idle", Right),
        ("hostile", Right),
        ("of it the hostile", Right),
    ]);
    for (number, round) in rounds.iter().enumerate() {
        let mut cells = vec![(number + 1).to_string()];
        let held = [round.before, round.during, round.after];
        cells.extend(held.iter().map(|holding: &Holding| holding.descriptors.to_string()));
        cells.extend(held.iter().map(|holding| bytes(holding.resident_bytes as f64)));
        let (idle, hostile) = (&round.idle, &round.hostile);
        let cores = [idle.server_cores, hostile.server_cores, idle.load_cores, hostile.load_cores, round.attack_cores];
        cells.extend(cores.map(digits));
        table.push(cells);
    }
    table
}

fn seconds(time: Duration) -> String {
    format!("{} s", digits(time.as_secs_f64()))
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Holds => "holds",
        Outcome::Broken | Outcome::Theirs => "BROKEN",
        Outcome::NotMeasured => "NOT JUDGED",
    }
}
