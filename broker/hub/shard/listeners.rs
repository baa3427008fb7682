//! Who is subscribed to one stream, apart by what a delivery must do for them. It knows sessions by their slots only.

use crate::message::Wire;
use rialto_protocol::Delivery;

/// The slots of those who are subscribed to one stream, so that a delivery is one plain loop over each list.
#[derive(Debug, Default)]
pub(in crate::hub) struct Listeners {
    lists: [Vec<u32>; List::COUNT],
}

/// The lists of [`Listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum List {
    /// Gets everything.
    Plain(Wire),
    /// Gets everything unless its socket is full.
    Choosy(Wire),
    /// Gets a message now and then.
    Sampled,
}

impl List {
    const COUNT: usize = 7;

    const ALL: [Self; Self::COUNT] = [
        Self::Plain(Wire::ALL[0]),
        Self::Plain(Wire::ALL[1]),
        Self::Plain(Wire::ALL[2]),
        Self::Choosy(Wire::ALL[0]),
        Self::Choosy(Wire::ALL[1]),
        Self::Choosy(Wire::ALL[2]),
        Self::Sampled,
    ];

    pub(in crate::hub) fn of(delivery: &Delivery, wire: Wire) -> Self {
        match delivery {
            Delivery::Queue => Self::Plain(wire),
            Delivery::DropOldest | Delivery::Latest | Delivery::LatestBy(_) => Self::Choosy(wire),
            Delivery::Sample { .. } => Self::Sampled,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Plain(wire) => wire.index(),
            Self::Choosy(wire) => 3 + wire.index(),
            Self::Sampled => 6,
        }
    }
}

impl Listeners {
    /// One alone.
    pub(in crate::hub) fn only(slot: u32, list: List) -> Self {
        let mut only = Self::default();
        only.list_mut(list).push(slot);
        only
    }

    /// Those that get everything.
    pub(in crate::hub) fn plain(&self, wire: Wire) -> &[u32] {
        &self.lists[List::Plain(wire).index()]
    }

    /// Those that get everything unless their socket is full.
    pub(in crate::hub) fn choosy(&self, wire: Wire) -> &[u32] {
        &self.lists[List::Choosy(wire).index()]
    }

    /// Those that get a message now and then.
    pub(in crate::hub) fn sampled(&self) -> &[u32] {
        &self.lists[List::Sampled.index()]
    }

    /// All, each with its list.
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

    /// Forgets all and keeps the memory.
    pub(in crate::hub) fn clear(&mut self) {
        self.lists.iter_mut().for_each(Vec::clear);
    }
}
