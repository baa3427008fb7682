//! The chance of the model log: the same sequence for the same seed.

/// A xorshift generator.
#[derive(Debug, Default)]
pub(super) struct ModelRandom(u64);

impl ModelRandom {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
}
