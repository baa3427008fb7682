//! Prices, counted in whole millionths so that no walk, however long, drifts by what a float rounds away.

use serde::{Deserialize, Serialize};

/// Millionths in one hundredth, which is as fine as prices are shown.
const MICROS_PER_CENT: i64 = 10_000;

/// A price. The walk moves it by millionths; people and programs see it rounded to hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Price {
    micros: i64,
}

/// Why a number is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpriced {
    /// Infinite, or no number at all.
    NotANumber,
    /// Below 0.
    Negative,
    /// 0, or less than a hundredth.
    Zero,
    /// Above [`Price::MAX`].
    TooLarge,
    /// With more than two decimals.
    TooFine,
}

/// How far a price is from the one it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    cents: i64,
    hundredths_of_percent: i64,
}

impl Price {
    /// The least price, a hundredth.
    pub(crate) const MIN: Self = Self::from_cents(1);
    /// The largest price, a thousand million: its hundredths are exact in a float, and its millionths fit many times.
    pub(crate) const MAX: Self = Self::from_cents(100_000_000_000);

    pub(crate) const fn from_cents(cents: i64) -> Self {
        Self { micros: cents * MICROS_PER_CENT }
    }

    /// The price nearest to so many millionths.
    pub(crate) fn from_micros(micros: i64) -> Self {
        Self { micros: micros.clamp(Self::MIN.micros, Self::MAX.micros) }
    }

    /// Reads a price as people write it.
    pub(crate) fn read(number: f64) -> Result<Self, Unpriced> {
        if !number.is_finite() {
            return Err(Unpriced::NotANumber);
        }
        if number < 0.0 {
            return Err(Unpriced::Negative);
        }
        if number > Self::MAX.shown() {
            return Err(Unpriced::TooLarge);
        }
        // At most 10^11, so it fits, and a float holds it exactly.
        let cents = (number * 100.0).round() as i64;
        if as_decimal(cents) != number {
            return Err(if cents == 0 { Unpriced::Zero } else { Unpriced::TooFine });
        }
        if cents == 0 { Err(Unpriced::Zero) } else { Ok(Self::from_cents(cents)) }
    }

    pub(crate) fn micros(self) -> i64 {
        self.micros
    }

    /// In hundredths, rounded.
    pub(crate) fn cents(self) -> i64 {
        (self.micros + MICROS_PER_CENT / 2) / MICROS_PER_CENT
    }

    /// As it is shown: the float nearest to the rounded price, which is written with two decimals at most.
    pub(crate) fn shown(self) -> f64 {
        as_decimal(self.cents())
    }

    /// How far it is from `open`, as both are shown.
    pub(crate) fn change_since(self, open: Self) -> Change {
        let cents = self.cents() - open.cents();
        Change { cents, hundredths_of_percent: divide_rounded(cents * 10_000, open.cents()) }
    }
}

impl Change {
    /// In the unit of the price.
    pub(crate) fn shown(self) -> f64 {
        as_decimal(self.cents)
    }

    pub(crate) fn percent(self) -> f64 {
        as_decimal(self.hundredths_of_percent)
    }
}

/// The float nearest to so many hundredths: one division of two exact numbers rounds once.
fn as_decimal(hundredths: i64) -> f64 {
    hundredths as f64 / 100.0
}

/// Halves are rounded away from 0. `divisor` is positive.
fn divide_rounded(dividend: i64, divisor: i64) -> i64 {
    let half = divisor / 2;
    (if dividend < 0 { dividend - half } else { dividend + half }) / divisor
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_prices_or_say_why_not() {
        let table = [
            (12.34, Ok(1234)),
            (0.01, Ok(1)),
            (7.0, Ok(700)),
            (0.1 + 0.2, Err(Unpriced::TooFine)),
            (1e9, Ok(100_000_000_000)),
            (999_999_999.99, Ok(99_999_999_999)),
            (1_000_000_000.01, Err(Unpriced::TooLarge)),
            (f64::MAX, Err(Unpriced::TooLarge)),
            (12.345, Err(Unpriced::TooFine)),
            (0.004, Err(Unpriced::Zero)),
            (0.005, Err(Unpriced::TooFine)),
            (0.0, Err(Unpriced::Zero)),
            (-0.0, Err(Unpriced::Zero)),
            (-0.01, Err(Unpriced::Negative)),
            (f64::NAN, Err(Unpriced::NotANumber)),
            (f64::INFINITY, Err(Unpriced::NotANumber)),
            (f64::NEG_INFINITY, Err(Unpriced::NotANumber)),
        ];
        for (number, expected) in table {
            assert_eq!(Price::read(number), expected.map(Price::from_cents), "{number}");
        }
    }

    #[test]
    fn changes_are_rounded_away_from_zero() {
        let table = [
            (10_000, 10_150, 1.5, 1.5),
            (10_000, 9850, -1.5, -1.5),
            (300, 400, 1.0, 33.33),
            (300, 200, -1.0, -33.33),
            (800, 801, 0.01, 0.13),
            (800, 799, -0.01, -0.13),
            (1, 100_000_000_000, 999_999_999.99, 9_999_999_999_900.0),
            (500, 500, 0.0, 0.0),
        ];
        for (open, now, shown, percent) in table {
            let change = Price::from_cents(now).change_since(Price::from_cents(open));
            assert_eq!((change.shown(), change.percent()), (shown, percent), "{open} to {now}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_written_with_two_decimals_and_read_back_exactly(cents in 1..=100_000_000_000_i64) {
            let price = Price::from_cents(cents);
            let text = serde_json::to_string(&price.shown()).expect("a number");
            let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            prop_assert!(decimals <= 2, "{}", text);
            prop_assert_eq!(Price::read(serde_json::from_str(&text).expect("a number")), Ok(price));
        }

        #[test]
        fn a_change_leads_back(open in 1..=10_000_000_i64, now in 1..=10_000_000_i64) {
            let change = Price::from_cents(now).change_since(Price::from_cents(open));
            prop_assert_eq!(open + change.cents, now);
            prop_assert_eq!(change.cents.signum() * change.hundredths_of_percent.signum() >= 0, true);
        }
    }
}
