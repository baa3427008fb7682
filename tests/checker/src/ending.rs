//! The end of a run, when nothing disturbs anybody any more: I13.

use std::collections::{BTreeMap, BTreeSet};

use crate::court::Reporter;
use crate::order::Orders;
use crate::subscriptions::Subscriptions;
use crate::summary::Summary;
use crate::violation::Invariant::Liveness;

/// What a client does now.
#[derive(Debug, Default)]
struct Client {
    /// Its session, the broker of it and when it began.
    session: Option<(u64, String, u64)>,
    wanted: BTreeSet<String>,
}

/// All clients, and when the faults were over.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    clients: BTreeMap<u64, Client>,
    healed: Option<(u64, u64)>,
}

impl Ending {
    pub(crate) fn connected(&mut self, session: u64, client: u64, node: &str, now: u64) {
        self.clients.entry(client).or_default().session = Some((session, node.to_owned(), now));
    }

    pub(crate) fn disconnected(&mut self, session: u64) {
        for client in self.clients.values_mut() {
            client.session.take_if(|own| own.0 == session);
        }
    }

    pub(crate) fn wants(&mut self, client: u64, topic: &str) {
        self.clients.entry(client).or_default().wanted.insert(topic.to_owned());
    }

    pub(crate) fn wants_no_more(&mut self, client: u64, topic: &str) {
        self.clients.entry(client).or_default().wanted.remove(topic);
    }

    pub(crate) fn healed(&mut self, now: u64, within_ms: u64) {
        self.healed = Some((now, within_ms));
    }

    pub(crate) fn judge(
        &self,
        subscriptions: &Subscriptions,
        orders: &Orders,
        index: usize,
        report: &mut Reporter,
        summary: &mut Summary,
    ) {
        let (healed, within) = self.healed.unwrap_or((0, u64::MAX));
        let mut last = 0;
        let mut one: Option<&str> = None;
        let mut epochs: BTreeMap<&str, &str> = BTreeMap::new();
        for (id, client) in &self.clients {
            let mut wrong = |what: String| report.add(Liveness, what, &[*id], &[index]);
            let Some((session, node, since)) = &client.session else {
                wrong("a client is not back".to_owned());
                continue;
            };
            if *one.get_or_insert(node) != node {
                wrong(format!("a client is connected to {node}, another one to {one:?}"));
            }
            last = last.max(*since);
            for topic in &client.wanted {
                let Some(run) = subscriptions.run(*session, topic) else {
                    wrong(format!("a client is not subscribed to {topic}"));
                    continue;
                };
                let epoch = *epochs.entry(topic).or_insert(&run.epoch);
                if epoch != run.epoch {
                    wrong(format!("{topic} is at epoch {} for one and {epoch} for another", run.epoch));
                }
                let head = orders.head(topic, &run.epoch);
                if run.next <= head {
                    wrong(format!("{topic}: {} is next and the head is {head}", run.next));
                }
                last = last.max(run.moved_ms);
            }
        }
        let taken = last.saturating_sub(healed);
        if taken > within {
            report.add(Liveness, format!("it took {taken} ms until everybody was back"), &[], &[index]);
        }
        summary.caught_up_ms = Some(taken);
    }
}
