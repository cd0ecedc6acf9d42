// SPDX-License-Identifier: Apache-2.0
//! A sequence of numbers from an injected seed (SplitMix64), for the choice of members and times. Not for nonces or secrets.

use std::time::Duration;

/// The sequence.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from zero up to `bound`, which is included.
    pub(crate) const fn up_to(&mut self, bound: u32) -> u32 {
        let high = self.next() >> 32;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the product is below bound + 1 after the shift"
        )]
        {
            ((high * (bound as u64 + 1)) >> 32) as u32
        }
    }

    /// An index into a list of that length; `None` if the list is empty.
    pub(crate) fn index(&mut self, length: usize) -> Option<usize> {
        let last = u32::try_from(length.checked_sub(1)?).unwrap_or(u32::MAX);
        usize::try_from(self.up_to(last)).ok()
    }

    /// A time from zero up to `bound`, to the microsecond.
    pub(crate) fn time(&mut self, bound: Duration) -> Duration {
        let microseconds = u32::try_from(bound.as_micros()).unwrap_or(u32::MAX);
        Duration::from_micros(self.up_to(microseconds).into())
    }

    /// Brings a list into any order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            if let Some(other) = self.index(last + 1) {
                list.swap(last, other);
            }
        }
    }
}
