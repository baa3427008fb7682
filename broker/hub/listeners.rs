//! Who is subscribed to one stream, apart by what a delivery must do for them. It knows sessions by their slots only.

use rialto_protocol::{Codec, Delivery};

/// The slots of those who are subscribed to one stream, so that a delivery is one plain loop over each list.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    lists: [Vec<u32>; List::COUNT],
}

/// The lists of [`Listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Gets everything.
    Plain(Codec),
    /// Gets everything unless its socket is full.
    Choosy(Codec),
    /// Gets a message now and then.
    Sampled,
}

impl List {
    const COUNT: usize = 5;

    const ALL: [Self; Self::COUNT] = [
        Self::Plain(Codec::ALL[0]),
        Self::Plain(Codec::ALL[1]),
        Self::Choosy(Codec::ALL[0]),
        Self::Choosy(Codec::ALL[1]),
        Self::Sampled,
    ];

    pub(super) fn of(delivery: &Delivery, codec: Codec) -> Self {
        match delivery {
            Delivery::Queue => Self::Plain(codec),
            Delivery::DropOldest | Delivery::Latest | Delivery::LatestBy(_) => Self::Choosy(codec),
            Delivery::Sample { .. } => Self::Sampled,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Plain(codec) => codec.index(),
            Self::Choosy(codec) => 2 + codec.index(),
            Self::Sampled => 4,
        }
    }
}

impl Listeners {
    /// One alone.
    pub(super) fn only(slot: u32, list: List) -> Self {
        let mut only = Self::default();
        only.list_mut(list).push(slot);
        only
    }

    /// Those that get everything.
    pub(super) fn plain(&self, codec: Codec) -> &[u32] {
        &self.lists[List::Plain(codec).index()]
    }

    /// Those that get everything unless their socket is full.
    pub(super) fn choosy(&self, codec: Codec) -> &[u32] {
        &self.lists[List::Choosy(codec).index()]
    }

    /// Those that get a message now and then.
    pub(super) fn sampled(&self) -> &[u32] {
        &self.lists[List::Sampled.index()]
    }

    /// All, each with its list.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, List)> {
        let slots = |list: List| self.lists[list.index()].iter().map(move |slot| (*slot, list));
        List::ALL.into_iter().flat_map(slots)
    }

    pub(super) fn list_mut(&mut self, list: List) -> &mut Vec<u32> {
        &mut self.lists[list.index()]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lists.iter().all(Vec::is_empty)
    }

    /// Forgets all and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.lists.iter_mut().for_each(Vec::clear);
    }
}
