//! Randomness for pauses and keys. Seeded once, so that a test can repeat what a client did.

/// A generator of numbers that need not be secret (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        // The bias of the remainder is far below what a pause of milliseconds could show.
        let drawn = self.next();
        most.checked_add(1).map_or(drawn, |count| drawn % count)
    }
}

/// Makes idempotency keys: a random part for the client and a number for the request, so that no two clients and no two
/// requests share one.
#[derive(Debug)]
pub(crate) struct Keys {
    prefix: String,
    next: u64,
}

impl Keys {
    pub(crate) fn new(seed: u128) -> Self {
        Self { prefix: format!("{seed:032x}"), next: 1 }
    }

    pub(crate) fn make(&mut self) -> String {
        let key = format!("{}-{:x}", self.prefix, self.next);
        self.next += 1;
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_range_and_reach_both_ends() {
        let mut random = Random::new(7);
        let drawn: Vec<u64> = (0..1_000).map(|_| random.up_to(9)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&0), Some(&9)));
        assert_eq!(random.up_to(0), 0);
        assert_ne!(random.up_to(u64::MAX), random.up_to(u64::MAX));
    }

    #[test]
    fn keys_differ_and_are_short_enough_for_the_broker() {
        let mut keys = Keys::new(u128::MAX);
        let (one, other) = (keys.make(), keys.make());
        assert_ne!(one, other);
        assert_ne!(one, Keys::new(1).make());
        assert!(one.len() <= 64, "{one}");
    }
}
