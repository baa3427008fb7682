//! Which load each server gets, in which order: plain values, so that what is compared can be read in one place.

use rialto_load::scenario::{Codecs, Pace, Scenario};

/// 1,000 subscribers of one topic, 32 messages on their way.
pub const SATURATED: &str = "saturated";
/// The same with MessagePack alone.
pub const SATURATED_MSGPACK: &str = "saturated, MessagePack";
/// The same with both codecs half and half.
pub const SATURATED_BOTH: &str = "saturated, both codecs";
/// The same with a history and with an ack and a key for every message.
pub const SATURATED_KEPT: &str = "saturated, history and acks";
/// The same on two cores, for one shard and for two.
pub const SATURATED_WIDE: &str = "saturated, two cores";
/// 50 messages a second to 1,000 subscribers.
pub const CALM: &str = "50 messages/s";
/// Random publishes to 10,000 topics of 10 subscribers each.
pub const TOPICS: &str = "10,000 topics";
/// Saturated, with one subscriber more that does not read.
pub const ONE_STALLED: &str = "one stalled reader";
/// Saturated, with as many subscribers more that do not read as there are that do.
pub const MANY_STALLED: &str = "every second reader stalled";
/// More than the subscribers can read, who want the latest only.
pub const LATEST: &str = "delivery latest, overloaded";

/// Sessions that only wait.
pub const IDLE: &str = "idle sessions";

/// Who gets a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Rialto, both floors and all peers.
    All,
    /// Rialto alone.
    Rialto,
    /// Rialto with a history for every topic.
    RialtoKeeping,
    /// Rialto with one shard and with two, both allowed on two cores.
    OneAndTwoShards,
    /// Rialto with two shards on two cores: it sends more than one core reads.
    TwoShards,
}

/// One load and who gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The load.
    pub scenario: Scenario,
    /// Who gets it.
    pub who: Who,
}

/// Loads that are compared with one another, several times in turn: what drifts then hits all of them alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// How often in one round. Servers that no row is about get each load once.
    pub repeats: u32,
    /// The loads.
    pub steps: Vec<Step>,
}

/// All that is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How often.
    pub rounds: u32,
    /// What is done in each round.
    pub blocks: Vec<Block>,
    /// Idle sessions of Rialto's memory run, of which heavier peers get fewer; without any there is no such run.
    pub idle_sessions: u32,
    /// Whether its figures are not to be judged.
    pub quick: bool,
}

impl Plan {
    /// The whole comparison.
    pub fn full(rounds: u32) -> Self {
        Self { rounds, blocks: blocks(1_000, 10_000, 3, 2.5), idle_sessions: 10_000, quick: false }
    }

    /// One that shows within two minutes whether everything works.
    pub fn quick() -> Self {
        Self { rounds: 1, blocks: blocks(100, 100, 1, 1.0), idle_sessions: 500, quick: true }
    }

    /// Leaves only loads with one of these texts in their name; all, if there is no text.
    #[must_use]
    pub fn only(mut self, texts: &[String]) -> Self {
        let is_wanted = |name: &str| texts.is_empty() || texts.iter().any(|text| name.contains(text.as_str()));
        for block in &mut self.blocks {
            block.steps.retain(|step| is_wanted(&step.scenario.name));
        }
        if !is_wanted(IDLE) {
            self.idle_sessions = 0;
        }
        self
    }
}

fn blocks(subscribers: u32, topics: u32, repeats: u32, seconds: f64) -> Vec<Block> {
    let saturated = Scenario {
        name: SATURATED.to_owned(),
        topics: 1,
        subscribers,
        topics_per_connection: 1,
        payload_bytes: 128,
        codecs: Codecs::Json,
        delivery: None,
        acks: false,
        pace: Pace::Window(32),
        stalled: 0,
        warm_up_seconds: seconds / 5.0,
        seconds,
    };
    let named = |name: &str| Scenario { name: name.to_owned(), ..saturated.clone() };
    let calm = Scenario { pace: Pace::PerSecond(50), seconds: 2.0 * seconds, ..named(CALM) };
    let many = Scenario { topics, subscribers: 10, topics_per_connection: 100, ..named(TOPICS) };
    // 12 GB/s, which nobody reads.
    let latest = Scenario {
        subscribers: 100,
        payload_bytes: 16_384,
        delivery: Some("\"latest\"".to_owned()),
        pace: Pace::PerSecond(7_500),
        seconds: 1.0,
        ..named(LATEST)
    };
    let step = |who: Who, scenario: Scenario| Step { scenario, who };
    vec![
        Block {
            repeats,
            steps: vec![
                step(Who::All, saturated.clone()),
                step(Who::RialtoKeeping, Scenario { acks: true, ..named(SATURATED_KEPT) }),
                step(Who::Rialto, Scenario { codecs: Codecs::Msgpack, ..named(SATURATED_MSGPACK) }),
                step(Who::Rialto, Scenario { codecs: Codecs::Both, ..named(SATURATED_BOTH) }),
                step(Who::Rialto, Scenario { stalled: 1, ..named(ONE_STALLED) }),
            ],
        },
        Block { repeats, steps: vec![step(Who::OneAndTwoShards, named(SATURATED_WIDE))] },
        Block { repeats, steps: vec![step(Who::All, calm)] },
        Block {
            repeats: 1,
            steps: vec![
                step(Who::Rialto, many),
                step(Who::Rialto, Scenario { stalled: subscribers, ..named(MANY_STALLED) }),
                step(Who::TwoShards, latest),
            ],
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(plan: &Plan) -> Vec<&str> {
        let steps = plan.blocks.iter().flat_map(|block| &block.steps);
        steps.map(|step| step.scenario.name.as_str()).collect()
    }

    #[test]
    fn each_load_has_a_name_of_its_own() {
        let plan = Plan::full(3);
        let names = names(&plan);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn the_quick_plan_is_the_same_but_smaller() {
        assert_eq!(names(&Plan::full(3)), names(&Plan::quick()));
    }

    #[test]
    fn unselected_rows_are_left_out() {
        let plan = Plan::full(1).only(&["both codecs".to_owned(), "idle".to_owned()]);
        assert_eq!((names(&plan), plan.idle_sessions), (vec![SATURATED_BOTH], 10_000));
        assert_eq!(Plan::full(1).only(&["saturated".to_owned()]).idle_sessions, 0);
        assert_eq!(Plan::full(1).only(&[]), Plan::full(1));
    }
}
