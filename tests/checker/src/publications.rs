//! Who published what and what came of it: I2, I4 and I5, and the part of I1 that publishers can see.

use std::collections::BTreeMap;

use crate::court::{Reporter, Rules};
use crate::event::Position;
use crate::order::{Orders, Sight};
use crate::violation::Invariant::{Acked, Liveness, NoInvention, Once, Order};

/// An event and its time.
type Moment = (usize, u64);

/// What is known of a request in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Unknown,
    Acked { position: Position, duplicate: bool, ended: Moment },
    Refused { code: String, index: usize },
}

/// A request to publish.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) session: u64,
    pub(crate) client: u64,
    pub(crate) node: String,
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) payload: u64,
    pub(crate) begun: Moment,
    pub(crate) outcome: Outcome,
}

impl Attempt {
    /// Whether it may have had, or repeated, an effect.
    fn may_count(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused { .. })
    }

    /// The position of a message that this very attempt published.
    fn fresh(&self) -> Option<(&Position, usize)> {
        match &self.outcome {
            Outcome::Acked { position, duplicate: false, ended } => Some((position, ended.0)),
            _ => None,
        }
    }
}

/// All requests to publish.
#[derive(Debug, Default)]
pub(crate) struct Publications {
    attempts: BTreeMap<u64, Attempt>,
    /// Which payloads were published to a topic, by the first attempt.
    first: BTreeMap<(String, u64), usize>,
}

impl Publications {
    pub(crate) fn begin(&mut self, attempt: u64, begun: Attempt) {
        self.first.entry((begun.topic.clone(), begun.payload)).or_insert(begun.begun.0);
        self.attempts.insert(attempt, begun);
    }

    pub(crate) fn end(&mut self, attempt: u64, outcome: Outcome) -> Option<Attempt> {
        let known = self.attempts.get_mut(&attempt)?;
        known.outcome = outcome;
        Some(known.clone())
    }

    /// A message came: somebody must have published it by then.
    pub(crate) fn delivered(&self, topic: &str, payload: u64, sight: Sight<'_>, report: &mut Reporter) {
        if !self.first.contains_key(&(topic.to_owned(), payload)) {
            let what = format!("nobody had published {payload:x} to {topic}");
            report.add(NoInvention, what, &[sight.client], &[sight.index]);
        }
    }

    /// When all is over, what has a key was tried until there was an answer.
    pub(crate) fn judge_open(&self, index: usize, report: &mut Reporter) {
        let mut open: BTreeMap<(&str, &str), Option<&Attempt>> = BTreeMap::new();
        for attempt in self.attempts.values() {
            let Some(key) = &attempt.key else { continue };
            let entry = open.entry((&attempt.topic, key)).or_insert(Some(attempt));
            if attempt.outcome != Outcome::Unknown {
                *entry = None;
            }
        }
        for ((topic, key), attempt) in open {
            let Some(attempt) = attempt else { continue };
            let what = format!("key {key} of {topic} never got an answer");
            report.add(Liveness, what, &[attempt.client], &[attempt.begun.0, index]);
        }
    }

    pub(crate) fn judge(&self, orders: &Orders, rules: &Rules, report: &mut Reporter) {
        self.judge_order(orders, report);
        self.judge_keys(rules, report);
        self.judge_places(orders, rules, report);
    }

    /// What was known before a request began stands before it, and so does what its session asked for earlier.
    fn judge_order(&self, orders: &Orders, report: &mut Reporter) {
        let mut earlier: BTreeMap<(u64, &str, &str), (u64, usize)> = BTreeMap::new();
        let mut in_order: Vec<&Attempt> = self.attempts.values().collect();
        in_order.sort_by_key(|attempt| attempt.begun.0);
        for attempt in in_order {
            let Some((position, index)) = attempt.fresh() else { continue };
            let (topic, epoch) = (attempt.topic.as_str(), position.epoch.as_str());
            if let Some((seen, head)) = orders.head_before(topic, epoch, attempt.begun.0)
                && head >= position.offset
            {
                let what = format!("{topic}/{} was known before {} was asked for", head, position.offset);
                report.add(Order, what, &[attempt.client], &[seen, attempt.begun.0, index]);
            }
            let last = earlier.entry((attempt.session, topic, epoch)).or_insert((0, index));
            if last.0 >= position.offset {
                let what = format!("{topic}/{} was asked for after {} by the same session", position.offset, last.0);
                report.add(Order, what, &[attempt.client], &[last.1, attempt.begun.0, index]);
            }
            *last = (position.offset, index);
        }
    }

    fn judge_keys(&self, rules: &Rules, report: &mut Reporter) {
        let mut groups: BTreeMap<(&str, &str, &str), Vec<&Attempt>> = BTreeMap::new();
        for attempt in self.attempts.values() {
            if let Some(key) = &attempt.key {
                groups.entry((&attempt.node, &attempt.topic, key)).or_default().push(attempt);
            } else if let Outcome::Acked { duplicate: true, ended, .. } = &attempt.outcome {
                let what = format!("a publish to {} without a key is a duplicate", attempt.topic);
                report.add(Once, what, &[attempt.client], &[attempt.begun.0, ended.0]);
            }
        }
        for ((_, topic, _), group) in groups {
            for (index, one) in group.iter().enumerate() {
                judge_lonely(one, &group, report);
                for other in &group[index + 1..] {
                    judge_pair(one, other, rules.keys_ms(topic), report);
                }
            }
        }
    }

    /// Whatever stands anywhere was asked for, and not more often than it was asked for.
    fn judge_places(&self, orders: &Orders, rules: &Rules, report: &mut Reporter) {
        let mut asked: BTreeMap<(&str, &str, u64), Vec<&Attempt>> = BTreeMap::new();
        for attempt in self.attempts.values() {
            asked.entry((&attempt.node, &attempt.topic, attempt.payload)).or_default().push(attempt);
        }
        for (place @ (node, topic, payload), sights) in orders.places() {
            let clients: Vec<u64> = sights.iter().map(|sight| sight.0).collect();
            let events: Vec<usize> = sights.iter().map(|sight| sight.1).collect();
            let Some(attempts) = asked.get(&place) else {
                let what = format!("nobody published {payload:x} to {topic} of broker {node}");
                report.add(NoInvention, what, &clients, &events);
                continue;
            };
            let counting: Vec<&Attempt> = attempts.iter().copied().filter(|attempt| attempt.may_count()).collect();
            if counting.is_empty() {
                let what = format!("{payload:x} of {topic} was refused and is there");
                report.add(Acked, what, &clients, &events);
            } else if sights.len() > allowed(&counting, rules.keys_ms(topic)) {
                let what = format!("{payload:x} of {topic} stands in {} places", sights.len());
                report.add(Once, what, &clients, &events);
            }
        }
    }
}

/// In how many places a payload may stand: once for each attempt without a key, once for each key in its window.
fn allowed(attempts: &[&Attempt], keys_ms: u64) -> usize {
    let mut keys: BTreeMap<&str, (u64, u64, usize)> = BTreeMap::new();
    let mut allowed = 0;
    for attempt in attempts {
        let begun = attempt.begun.1;
        // Of what was never answered only the beginning is known.
        let ended = match &attempt.outcome {
            Outcome::Acked { ended, .. } => ended.1,
            _ => begun,
        };
        match &attempt.key {
            None => allowed += 1,
            Some(key) => {
                let entry = keys.entry(key).or_insert((begun, ended, 0));
                *entry = (entry.0.min(begun), entry.1.max(ended), entry.2 + 1);
            }
        }
    }
    allowed + keys.values().map(|(from, to, count)| if to - from < keys_ms { 1 } else { *count }).sum::<usize>()
}

/// A duplicate is of something, and a key is reused only where it was used.
fn judge_lonely(one: &Attempt, group: &[&Attempt], report: &mut Reporter) {
    let (what, index, same) = match &one.outcome {
        Outcome::Acked { duplicate: true, ended, .. } => ("a duplicate of nothing", ended.0, true),
        Outcome::Refused { code, index } if code == "key_reused" => ("key_reused, but it was not", *index, false),
        _ => return,
    };
    let is_there = group.iter().any(|other| {
        !std::ptr::eq(*other, one)
            && other.begun.0 < index
            && other.may_count()
            && (other.payload == one.payload) == same
    });
    if !is_there {
        let what = format!("{what}: key {:?} of {}", one.key, one.topic);
        report.add(Once, what, &[one.client], &[one.begun.0, index]);
    }
}

/// Two acks of one key in its window are of the same message, and only one of them is the first.
fn judge_pair(one: &Attempt, other: &Attempt, keys_ms: u64, report: &mut Reporter) {
    let Outcome::Acked { position, duplicate, ended } = &one.outcome else { return };
    let Outcome::Acked { position: again, duplicate: is_again, ended: later } = &other.outcome else { return };
    let (from, to) = (one.begun.1.min(other.begun.1), ended.1.max(later.1));
    if to - from >= keys_ms {
        return;
    }
    let wrong = if one.payload != other.payload {
        "stands for two payloads"
    } else if position != again {
        "has two positions"
    } else if !duplicate && !is_again {
        "took effect twice"
    } else {
        return;
    };
    let what = format!("key {:?} of {} {wrong}", one.key, one.topic);
    report.add(Once, what, &[one.client, other.client], &[one.begun.0, other.begun.0, ended.0, later.0]);
}
