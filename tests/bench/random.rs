//! Numbers that are spread well enough to choose rows by, the same in every run.

/// A xorshift generator (Marsaglia 2003, xorshift64).
pub(crate) struct Random(u64);

impl Random {
    /// A sequence of its own for each `seed`.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}
