//! How a symbol stands: its price, where the day began, and how its walk goes on.

use crate::chance::Chance;
use crate::price::Price;
use crate::symbol::Symbol;
use crate::tick::Tick;
use crate::walk;
use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 86_400_000;

/// The quote of one symbol, as it is kept in the plugin's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quote {
    price: Price,
    /// The last price of the day before, or the first one ever: what changes are counted from.
    open: Price,
    /// The time of the last tick, in Unix milliseconds. It rises from tick to tick, also within a millisecond.
    time: u64,
    chance: Chance,
    /// The walk rests until then, because a feed has spoken.
    rests_until: u64,
}

impl Quote {
    /// A symbol that is quoted for the first time.
    pub(crate) fn new(price: Price, chance: Chance, now: u64) -> Self {
        Self { price, open: price, time: now, chance, rests_until: 0 }
    }

    pub(crate) fn price(&self) -> Price {
        self.price
    }

    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// Takes one step of the walk. It goes on from the last price however long ago that was: while nobody looks, the
    /// market is closed.
    pub(crate) fn walk(&mut self, swing: u32, now: u64) {
        let price = walk::step(self.price, swing, &mut self.chance);
        self.turn(price, now);
    }

    /// Takes the price of a feed, after which the walk rests for `rest_ms`, or for good if that is 0.
    pub(crate) fn feed(&mut self, price: Price, rest_ms: u64, now: u64) {
        self.turn(price, now);
        self.rests_until = if rest_ms == 0 { u64::MAX } else { now.saturating_add(rest_ms) };
    }

    pub(crate) fn is_resting(&self, now: u64) -> bool {
        self.rests_until > now
    }

    /// In how many milliseconds the next step is due; none if never. Steps fall on every `every_ms` since 1970, and
    /// `phase_ms` after that: however often the timer is set anew, there are no more of them.
    pub(crate) fn next_step_ms(&self, every_ms: u64, phase_ms: u64, now: u64) -> Option<u64> {
        if self.rests_until == u64::MAX {
            return None;
        }
        if self.is_resting(now) {
            return Some(self.rests_until - now);
        }
        Some(every_ms - (now + every_ms - phase_ms % every_ms) % every_ms)
    }

    /// What subscribers get to see.
    pub(crate) fn tick<'a>(&self, symbol: &'a Symbol) -> Tick<'a> {
        let change = self.price.change_since(self.open);
        Tick {
            symbol: symbol.as_str(),
            price: self.price.shown(),
            change: change.shown(),
            percent: change.percent(),
            time: self.time,
        }
    }

    fn turn(&mut self, price: Price, now: u64) {
        if now / DAY_MS > self.time / DAY_MS {
            self.open = self.price;
        }
        self.time = now.max(self.time + 1);
        self.price = price;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn quote(cents: i64) -> Quote {
        Quote::new(Price::from_cents(cents), Chance::of(1, "SALT"), NOON)
    }

    fn change(quote: &Quote) -> f64 {
        quote.tick(&Symbol::try_from("SALT".to_owned()).expect("a symbol")).change
    }

    #[test]
    fn a_change_is_since_the_last_price_of_the_day_before() {
        let mut quote = quote(10_000);
        for (cents, now, expected) in [
            (10_100, NOON, 1.0),
            (9900, NOON + DAY_MS / 2 - 1, -1.0),
            (10_200, NOON + DAY_MS / 2, 3.0),
            (9800, NOON + DAY_MS, -1.0),
            (9700, NOON + 9 * DAY_MS, -1.0),
            (9700, NOON, -1.0),
        ] {
            quote.feed(Price::from_cents(cents), 1, now);
            assert_eq!(change(&quote), expected, "{cents} at {now}");
        }
    }

    #[test]
    fn a_walk_rests_after_a_feed() {
        let mut quote = quote(10_000);
        assert_eq!(quote.next_step_ms(1000, 0, NOON), Some(1000));
        quote.feed(Price::from_cents(10_100), 60_000, NOON);
        assert_eq!(quote.next_step_ms(1000, 0, NOON), Some(60_000));
        assert_eq!(quote.next_step_ms(1000, 0, NOON + 59_999), Some(1));
        assert_eq!(quote.next_step_ms(1000, 0, NOON + 60_000), Some(1000));
        quote.feed(Price::from_cents(10_100), 0, NOON);
        assert_eq!(quote.next_step_ms(1000, 0, NOON + 900 * DAY_MS), None);
    }

    proptest! {
        #[test]
        fn steps_fall_on_the_same_moments_whenever_one_asks(
            every in 1..=3_600_000_u64, phase in any::<u32>(), now in NOON..NOON + DAY_MS,
        ) {
            let phase = u64::from(phase) % every;
            let quote = quote(10_000);
            let delay = quote.next_step_ms(every, phase, now).expect("it walks");
            prop_assert!((1..=every).contains(&delay));
            prop_assert_eq!((now + delay) % every, phase);
        }

        #[test]
        fn times_rise_whatever_the_clock_does(nows in prop::collection::vec(NOON - 3..NOON + 3, 1..20)) {
            let mut quote = quote(10_000);
            for now in nows {
                let before = quote.time();
                quote.walk(4, now);
                prop_assert!(quote.time() > before);
            }
        }
    }
}
