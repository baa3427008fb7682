//! The last prices of a symbol, for a small chart.

use crate::price::Price;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Times in Unix milliseconds and prices in hundredths, oldest first, as they are kept in the plugin's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Tape(VecDeque<(u64, i64)>);

impl Tape {
    /// Adds a price; of all only the newest `ticks_max` stay.
    pub(crate) fn push(&mut self, time: u64, price: Price, ticks_max: u32) {
        self.0.push_back((time, price.cents()));
        let surplus = self.0.len().saturating_sub(ticks_max as usize);
        self.0.drain(..surplus);
    }

    pub(crate) fn shown(&self) -> Vec<(u64, f64)> {
        self.0.iter().map(|&(time, cents)| (time, Price::from_cents(cents).shown())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_keeps_the_newest() {
        let mut tape = Tape::default();
        for (time, cents) in [(1, 100), (2, 250), (3, 399)] {
            tape.push(time, Price::from_cents(cents), 2);
        }
        assert_eq!(tape.shown(), [(2, 2.5), (3, 3.99)]);
        tape.push(4, Price::from_cents(1), 1);
        assert_eq!(tape.shown(), [(4, 0.01)]);
    }
}
