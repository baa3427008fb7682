//! The subscribers of one stream, in one list for each way of delivery. It knows sessions by their slots only.

use crate::message::Wire;
use rialto_protocol::Delivery;

/// The slots of the sessions that are subscribed to one stream, so that a delivery is a plain loop over each list.
#[derive(Debug, Default)]
pub(in crate::hub) struct Listeners {
    lists: [Vec<u32>; List::COUNT],
}

/// The lists of [`Listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum List {
    /// Policy `queue`: receives every message.
    Plain(Wire),
    /// May skip messages while its socket is full.
    Lossy(Wire),
    /// Policy `sample`: receives the latest message at an interval.
    Sampled,
}

impl List {
    const COUNT: usize = 7;

    const ALL: [Self; Self::COUNT] = [
        Self::Plain(Wire::ALL[0]),
        Self::Plain(Wire::ALL[1]),
        Self::Plain(Wire::ALL[2]),
        Self::Lossy(Wire::ALL[0]),
        Self::Lossy(Wire::ALL[1]),
        Self::Lossy(Wire::ALL[2]),
        Self::Sampled,
    ];

    pub(in crate::hub) fn of(delivery: &Delivery, wire: Wire) -> Self {
        match delivery {
            Delivery::Queue => Self::Plain(wire),
            Delivery::DropOldest | Delivery::Latest | Delivery::LatestBy(_) => Self::Lossy(wire),
            Delivery::Sample { .. } => Self::Sampled,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Plain(wire) => wire.index(),
            Self::Lossy(wire) => 3 + wire.index(),
            Self::Sampled => 6,
        }
    }
}

impl Listeners {
    /// A single subscriber.
    pub(in crate::hub) fn only(slot: u32, list: List) -> Self {
        let mut only = Self::default();
        only.list_mut(list).push(slot);
        only
    }

    /// The subscribers with policy `queue`.
    pub(in crate::hub) fn plain(&self, wire: Wire) -> &[u32] {
        &self.lists[List::Plain(wire).index()]
    }

    /// The subscribers that may skip messages while their socket is full.
    pub(in crate::hub) fn lossy(&self, wire: Wire) -> &[u32] {
        &self.lists[List::Lossy(wire).index()]
    }

    /// The sampled subscribers.
    pub(in crate::hub) fn sampled(&self) -> &[u32] {
        &self.lists[List::Sampled.index()]
    }

    /// All subscribers, each with its list.
    pub(in crate::hub) fn iter(&self) -> impl Iterator<Item = (u32, List)> {
        let slots = |list: List| self.lists[list.index()].iter().map(move |slot| (*slot, list));
        List::ALL.into_iter().flat_map(slots)
    }

    pub(in crate::hub) fn list_mut(&mut self, list: List) -> &mut Vec<u32> {
        &mut self.lists[list.index()]
    }

    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.lists.iter().all(Vec::is_empty)
    }

    /// Removes all and keeps the memory.
    pub(in crate::hub) fn clear(&mut self) {
        self.lists.iter_mut().for_each(Vec::clear);
    }
}
