//! The random walk of a price: one step for each tick, in whole numbers only.

use crate::chance::Chance;
use crate::price::Price;

/// The largest sum of four 16-bit numbers around 0, in halves.
const NOISE_MAX: i128 = 4 * 65_535;
/// Its standard deviation, in halves: twice the root of four times (65,536² - 1) / 12.
const NOISE_DEVIATION: i128 = 75_674;
/// Parts of a price of which `swing` counts some.
const SWING_PARTS: i128 = 10_000;

/// The price after one step. Steps are about normally distributed with a standard deviation of `swing` ten-thousandths
/// of the price, and never larger than 3.5 of those; as often up as down.
pub(crate) fn step(price: Price, swing: u32, chance: &mut Chance) -> Price {
    let moved = i128::from(price.micros()) * noise(chance.next()) * i128::from(swing);
    let micros = i128::from(price.micros()) + moved / (NOISE_DEVIATION * SWING_PARTS);
    Price::from_micros(i64::try_from(micros).expect("a price is at most 10^15 and moves by a part of itself"))
}

/// The sum of four 16-bit numbers, less its mean, in halves.
fn noise(bits: u64) -> i128 {
    let sum: i128 = (0..4).map(|part| i128::from(bits >> (16 * part) & 0xffff)).sum();
    2 * sum - NOISE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_step_stays_within_its_swing_and_the_bounds(
            cents in 1..=100_000_000_000_i64, swing in 1..=1000_u32, seed in any::<u64>(),
        ) {
            let price = Price::from_cents(cents);
            let stepped = step(price, swing, &mut Chance::of(seed, "X"));
            prop_assert!((Price::MIN..=Price::MAX).contains(&stepped));
            let most = i128::from(price.micros()) * i128::from(swing) * 35 / 100_000;
            prop_assert!(i128::from((stepped.micros() - price.micros()).abs()) <= most);
        }

        #[test]
        fn a_seed_decides_the_whole_walk(seed in any::<u64>()) {
            let walk = || {
                let (mut price, mut chance) = (Price::from_cents(10_000), Chance::of(seed, "SALT"));
                [(); 50].map(|()| {
                    price = step(price, 4, &mut chance);
                    price
                })
            };
            prop_assert_eq!(walk(), walk());
        }
    }

    #[test]
    fn steps_spread_as_the_swing_says_and_lean_to_no_side() {
        let (mut chance, start) = (Chance::of(7, "SPREAD"), Price::from_cents(10_000_000));
        let count = 20_000;
        let steps: Vec<f64> = (0..count)
            .map(|_| (step(start, 100, &mut chance).micros() - start.micros()) as f64 / start.micros() as f64)
            .collect();
        let mean = steps.iter().sum::<f64>() / f64::from(count);
        let deviation = (steps.iter().map(|step| (step - mean).powi(2)).sum::<f64>() / f64::from(count)).sqrt();
        // Four standard errors of a mean of 20,000 steps of 1 %.
        assert!(mean.abs() < 0.000_283, "{mean}");
        assert!((deviation - 0.01).abs() < 0.000_2, "{deviation}");
    }

    #[test]
    fn the_cheapest_price_can_rise_again() {
        let (mut price, mut chance) = (Price::MIN, Chance::of(1, "PENNY"));
        let highest = (0..100_000).map(|_| {
            price = step(price, 4, &mut chance);
            price
        });
        assert!(highest.max() > Some(Price::from_cents(1)));
    }
}
