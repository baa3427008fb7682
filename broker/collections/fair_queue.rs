//! A queue with a lane for each of those who put something into it, which are served in turn (round robin; RFC 970, section 4):
//! an owner of many items waits for them itself, and others do not.

use std::collections::VecDeque;
use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Items in lanes: in order within a lane, one of each lane in turn.
#[derive(Debug)]
pub(crate) struct FairQueue<K, T> {
    /// Those with items.
    lanes: FxHashMap<K, VecDeque<T>>,
    /// The lanes with items, the one whose turn is next first.
    turns: VecDeque<K>,
}

impl<K, T> Default for FairQueue<K, T> {
    fn default() -> Self {
        Self { lanes: FxHashMap::default(), turns: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, T> FairQueue<K, T> {
    /// Adds an item at the end of a lane.
    pub(crate) fn push(&mut self, lane: K, item: T) {
        if !self.lanes.contains_key(&lane) {
            self.turns.push_back(lane.clone());
        }
        self.lanes.entry(lane).or_default().push_back(item);
    }

    /// The next item, and its lane, whose next turn is behind those of all others.
    pub(crate) fn pop(&mut self) -> Option<(K, T)> {
        let lane = self.turns.pop_front()?;
        let items = self.lanes.get_mut(&lane)?;
        let item = items.pop_front()?;
        if items.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.turns.push_back(lane.clone());
        }
        Some((lane, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_served_in_turn_and_in_order() {
        let mut queue = FairQueue::default();
        for number in 0..4 {
            queue.push("much", number);
        }
        queue.push("little", 10);
        queue.push("some", 20);
        queue.push("some", 21);
        assert_eq!(queue.pop(), Some(("much", 0)));
        // Who comes later has one turn for one of each of the others.
        queue.push("late", 30);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, item)| item).collect();
        assert_eq!(rest, [10, 20, 1, 30, 21, 2, 3]);
        assert!(queue.lanes.is_empty());
    }
}
