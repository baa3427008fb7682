//! Hears one fact after the other and asks whoever knows about it; what none of them can see alone is put together here.

use std::collections::BTreeMap;

use crate::ending::Ending;
use crate::event::{Event, Fact, Position};
use crate::order::{Orders, Sight};
use crate::publications::{Outcome, Publications};
use crate::subscriptions::{Answer, Arrival, Subscriptions};
use crate::summary::Summary;
use crate::violation::Invariant::{self, NoDouble};
use crate::violation::Violation;

/// What the rules of the topics say.
#[derive(Debug, Default)]
pub(crate) struct Rules(BTreeMap<String, (u64, u64)>);

impl Rules {
    /// How many messages a topic keeps; a topic that was not spoken of keeps none.
    pub(crate) fn keeps(&self, topic: &str) -> u64 {
        self.0.get(topic).map_or(0, |rule| rule.0)
    }

    /// How long a topic knows a key.
    pub(crate) fn keys_ms(&self, topic: &str) -> u64 {
        self.0.get(topic).map_or(0, |rule| rule.1)
    }
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Reporter(Vec<Violation>);

impl Reporter {
    pub(crate) fn add(&mut self, invariant: Invariant, what: String, clients: &[u64], events: &[usize]) {
        let (mut clients, mut events) = (clients.to_vec(), events.to_vec());
        clients.sort_unstable();
        clients.dedup();
        events.sort_unstable();
        events.dedup();
        self.0.push(Violation { invariant, what, clients, events });
    }
}

/// A session of the log.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) client: u64,
    pub(crate) node: String,
}

/// All that is known so far.
#[derive(Debug, Default)]
pub(crate) struct Court {
    rules: Rules,
    sessions: BTreeMap<u64, Session>,
    orders: Orders,
    publications: Publications,
    subscriptions: Subscriptions,
    ending: Ending,
    report: Reporter,
    summary: Summary,
}

impl Court {
    /// The next fact of the log.
    pub(crate) fn hear(&mut self, index: usize, event: &Event) {
        let now = event.at_ms;
        self.summary.events += 1;
        match &event.fact {
            Fact::Topic { topic, keeps, keys_ms } => {
                self.rules.0.insert(topic.clone(), (*keeps, *keys_ms));
            }
            Fact::Started => {}
            Fact::Killed => self.summary.kills += 1,
            Fact::Connected { session, client, node } => {
                self.summary.sessions += 1;
                self.sessions.insert(*session, Session { client: *client, node: node.clone() });
                self.ending.connected(*session, *client, node, now);
            }
            Fact::Disconnected { session } => {
                self.subscriptions.disconnected(*session);
                self.ending.disconnected(*session);
            }
            Fact::Publishing { attempt, session, topic, key, payload } => {
                let Some(Session { client, node }) = self.sessions.get(session).cloned() else {
                    return self.nobody(*session, index);
                };
                let attempted = crate::publications::Attempt {
                    session: *session,
                    client,
                    node,
                    topic: topic.clone(),
                    key: key.clone(),
                    payload: *payload,
                    begun: (index, now),
                    outcome: Outcome::Unknown,
                };
                self.publications.begin(*attempt, attempted);
            }
            Fact::Published { attempt, position, duplicate } => {
                self.acked(index, now, *attempt, position, *duplicate);
            }
            Fact::Refused { attempt, code } => {
                self.summary.refused += 1;
                let outcome = Outcome::Refused { code: code.clone(), index };
                self.publications.end(*attempt, outcome);
            }
            Fact::Lost { .. } => self.summary.lost += 1,
            Fact::Healed { within_ms } => self.ending.healed(now, *within_ms),
            Fact::Ended => {
                self.ending.judge(&self.subscriptions, &self.orders, index, &mut self.report, &mut self.summary);
                self.publications.judge_open(index, &mut self.report);
            }
            Fact::Gauge { name, value } => {
                self.summary.gauges += 1;
                if *value != 0 {
                    let what = format!("{name} is {value} when everybody has left");
                    self.report.add(Invariant::Balance, what, &[], &[index]);
                }
            }
            fact => self.hear_of_subscription(index, now, fact),
        }
    }

    fn hear_of_subscription(&mut self, index: usize, now: u64, fact: &Fact) {
        let (Fact::Subscribing { session, topic, .. }
        | Fact::Subscribed { session, topic, .. }
        | Fact::Resumed { session, topic, .. }
        | Fact::Unsubscribing { session, topic }
        | Fact::Unsubscribed { session, topic }
        | Fact::Delivered { session, topic, .. }
        | Fact::Gap { session, topic, .. }) = fact
        else {
            return;
        };
        let Some(known) = self.sessions.get(session) else { return self.nobody(*session, index) };
        let sight = Sight { index, client: known.client, node: &known.node };
        let arrival = Arrival { session: *session, topic, sight, now };
        match fact {
            Fact::Subscribing { since, last, .. } => {
                self.ending.wants(known.client, topic);
                self.subscriptions.ask(arrival, since.clone(), *last, &mut self.report);
            }
            Fact::Subscribed { position, recovered, .. } | Fact::Resumed { position, recovered, .. } => {
                if matches!(fact, Fact::Resumed { .. }) {
                    self.ending.wants(known.client, topic);
                    self.subscriptions.resume(arrival);
                }
                self.summary.subscribed += 1;
                self.summary.recovered += u64::from(*recovered == Some(true));
                self.summary.unrecovered += u64::from(*recovered == Some(false));
                self.orders.see(topic, position, sight, &self.rules, &mut self.report);
                let answer = Answer { position, recovered: *recovered };
                self.subscriptions.answer(arrival, &answer, &self.orders, &self.rules, &mut self.report);
            }
            Fact::Unsubscribing { .. } => self.ending.wants_no_more(known.client, topic),
            Fact::Unsubscribed { .. } => self.subscriptions.leave(arrival),
            Fact::Delivered { position, payload, .. } => {
                self.summary.delivered += 1;
                self.orders.see(topic, position, sight, &self.rules, &mut self.report);
                self.orders.read(topic, position, *payload, sight, &mut self.report);
                self.subscriptions.deliver(arrival, position, &mut self.report);
                self.publications.delivered(topic, *payload, sight, &mut self.report);
            }
            Fact::Gap { from, to, reason, .. } => {
                self.summary.gaps += 1;
                self.subscriptions.gap(arrival, (*from, *to), *reason, &mut self.report);
            }
            _ => {}
        }
    }

    fn acked(&mut self, index: usize, now: u64, attempt: u64, position: &Position, duplicate: bool) {
        self.summary.acked += 1;
        self.summary.duplicates += u64::from(duplicate);
        let outcome = Outcome::Acked { position: position.clone(), duplicate, ended: (index, now) };
        let Some(acked) = self.publications.end(attempt, outcome) else { return };
        let sight = Sight { index, client: acked.client, node: &acked.node };
        self.orders.see(&acked.topic, position, sight, &self.rules, &mut self.report);
        self.orders.read(&acked.topic, position, acked.payload, sight, &mut self.report);
    }

    /// A log in which a session speaks that never began is wrong itself.
    fn nobody(&mut self, session: u64, index: usize) {
        let what = format!("session {session} never began");
        self.report.add(NoDouble, what, &[], &[index]);
    }

    /// The verdict.
    pub(crate) fn judge(self) -> Result<Summary, Vec<Violation>> {
        let Self { rules, orders, publications, subscriptions, mut report, summary, .. } = self;
        orders.judge(&mut report);
        publications.judge(&orders, &rules, &mut report);
        subscriptions.judge(&orders, &rules, &mut report);
        let mut found = report.0;
        found.sort_by_key(|violation| violation.events.last().copied());
        if found.is_empty() { Ok(summary) } else { Err(found) }
    }
}
