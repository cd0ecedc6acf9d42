// SPDX-License-Identifier: Apache-2.0
//! A sequence of numbers from an injected seed, for jitter, discriminators and Echo cookies. Whoever sees some of the numbers cannot
//! tell the others: they are SipHash (Aumasson and Bernstein, 2012) of a count, keyed with the seed.

use std::hash::{DefaultHasher, Hasher};

/// The sequence.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    seed: u64,
    count: u64,
}

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.count = self.count.wrapping_add(1);
        let mut hasher = DefaultHasher::new();
        for word in [self.seed, self.count, self.seed] {
            hasher.write_u64(word);
        }
        hasher.finish()
    }

    /// A number from zero up to `bound`, which is included.
    pub(crate) fn up_to(&mut self, bound: u32) -> u32 {
        let high = self.next() >> 32;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the product is below bound + 1 after the shift"
        )]
        {
            ((high * (u64::from(bound) + 1)) >> 32) as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_alone_decides_and_no_number_comes_twice() {
        let of = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| random.next()).collect::<std::collections::BTreeSet<u64>>()
        };
        assert_eq!(of(7), of(7));
        assert_eq!(of(7).union(&of(8)).count(), 2000);
        let mut random = Random::new(7);
        let below: Vec<u32> = (0..1000).map(|_| random.up_to(3)).collect();
        assert!((0..=3).all(|number| below.contains(&number)) && below.iter().all(|n| *n <= 3));
    }
}
