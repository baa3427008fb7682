//! The orders of all topics, put together from everything that anybody was told about a position: I1, and what I2 and I4 ask
//! about single positions.

use std::collections::BTreeMap;

use crate::court::{Reporter, Rules};
use crate::event::Position;
use crate::violation::Invariant::{Acked, NoInvention, Order};

/// A topic and an epoch.
type Name = (String, String);

/// Where a payload stands: for each broker and topic the clients and events that showed each of its positions first.
pub(crate) type Places<'a> = BTreeMap<(&'a str, &'a str, u64), Vec<(u64, usize)>>;

/// Who saw something, and where in the log that stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) index: usize,
    pub(crate) client: u64,
    pub(crate) node: &'a str,
}

/// One order of one topic.
#[derive(Debug)]
struct Epoch {
    node: String,
    first_sight: usize,
    /// What stands at an offset, who first said so and where.
    payloads: BTreeMap<u64, (u64, u64, usize)>,
    /// The largest offset that was known from an event on, ascending in both.
    heads: Vec<(usize, u64)>,
}

/// All orders.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    epochs: BTreeMap<Name, Epoch>,
    /// The epochs of a topic.
    of_topic: BTreeMap<String, Vec<String>>,
}

impl Orders {
    /// A position was seen.
    pub(crate) fn see(
        &mut self,
        topic: &str,
        position: &Position,
        sight: Sight<'_>,
        rules: &Rules,
        report: &mut Reporter,
    ) {
        let name = (topic.to_owned(), position.epoch.clone());
        if !self.epochs.contains_key(&name) {
            self.begin(topic, &position.epoch, sight, rules, report);
        }
        let Some(epoch) = self.epochs.get_mut(&name) else { return };
        if epoch.node != sight.node {
            let what = format!("epoch {} of {topic} is of two brokers, {} and {}", name.1, epoch.node, sight.node);
            report.add(Order, what, &[sight.client], &[epoch.first_sight, sight.index]);
        }
        if epoch.heads.last().is_none_or(|(_, head)| position.offset > *head) {
            epoch.heads.push((sight.index, position.offset));
        }
    }

    fn begin(&mut self, topic: &str, epoch: &str, sight: Sight<'_>, rules: &Rules, report: &mut Reporter) {
        let known = self.of_topic.entry(topic.to_owned()).or_default();
        for earlier in known.iter() {
            let Some(other) = self.epochs.get(&(topic.to_owned(), earlier.clone())) else { continue };
            if other.node == sight.node && rules.keeps(topic) > 0 && other.heads.last().is_some_and(|head| head.1 > 0) {
                let what =
                    format!("{topic} has a history and began anew ({earlier}, {epoch}) while its broker went on");
                report.add(Acked, what, &[sight.client], &[other.first_sight, sight.index]);
            }
        }
        known.push(epoch.to_owned());
        let new = Epoch {
            node: sight.node.to_owned(),
            first_sight: sight.index,
            payloads: BTreeMap::new(),
            heads: Vec::new(),
        };
        self.epochs.insert((topic.to_owned(), epoch.to_owned()), new);
    }

    /// A position was seen with what stands there.
    pub(crate) fn read(
        &mut self,
        topic: &str,
        position: &Position,
        payload: u64,
        sight: Sight<'_>,
        report: &mut Reporter,
    ) {
        let Some(epoch) = self.epochs.get_mut(&(topic.to_owned(), position.epoch.clone())) else { return };
        let (other, client, index) =
            *epoch.payloads.entry(position.offset).or_insert((payload, sight.client, sight.index));
        if other != payload {
            let what = format!("at {}/{} of {topic} stands {other:x} and {payload:x}", position.epoch, position.offset);
            report.add(Order, what, &[client, sight.client], &[index, sight.index]);
        }
    }

    /// The largest offset that was known before an event.
    pub(crate) fn head_before(&self, topic: &str, epoch: &str, index: usize) -> Option<(usize, u64)> {
        let heads = &self.epochs.get(&(topic.to_owned(), epoch.to_owned()))?.heads;
        let after = heads.partition_point(|(seen, _)| *seen < index);
        after.checked_sub(1).map(|before| heads[before])
    }

    /// The largest offset that is known at all.
    pub(crate) fn head(&self, topic: &str, epoch: &str) -> u64 {
        self.head_before(topic, epoch, usize::MAX).map_or(0, |(_, head)| head)
    }

    /// For each broker, topic and payload the positions at which it stands, with the event that first showed each.
    pub(crate) fn places(&self) -> Places<'_> {
        let mut places = Places::new();
        for ((topic, _), epoch) in &self.epochs {
            for (payload, client, index) in epoch.payloads.values() {
                let place = (epoch.node.as_str(), topic.as_str(), *payload);
                places.entry(place).or_default().push((*client, *index));
            }
        }
        places
    }

    /// Offsets count from 1: nothing stands before the first message.
    pub(crate) fn judge(&self, report: &mut Reporter) {
        for ((topic, name), epoch) in &self.epochs {
            if let Some((_, client, index)) = epoch.payloads.get(&0) {
                let what = format!("a message at offset 0 of {topic}, epoch {name}");
                report.add(NoInvention, what, &[*client], &[*index]);
            }
        }
    }
}
