//! The chance that moves prices: a sequence that a seed decides, the same on every machine and after every restart.

use serde::{Deserialize, Serialize};

/// Where a sequence stands (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The sequence of one name under a seed: those of two names have nothing to do with each other.
    pub(crate) fn of(seed: u64, name: &str) -> Self {
        let mut chance = Self(seed);
        for byte in name.bytes() {
            chance.0 ^= u64::from(byte);
            chance.0 = chance.next();
        }
        chance
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the published implementation for the seed 1234567.
    #[test]
    fn it_is_splitmix() {
        let mut chance = Chance(1_234_567);
        let numbers = [(); 3].map(|()| chance.next());
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn each_name_and_each_seed_has_a_sequence_of_its_own() {
        let mut starts: Vec<u64> = [(1, "SALT"), (2, "SALT"), (1, "SILK"), (1, "TLAS"), (1, "")]
            .into_iter()
            .map(|(seed, name)| Chance::of(seed, name).next())
            .collect();
        assert_eq!(Chance::of(1, "SALT").next(), starts[0]);
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), 5);
    }
}
