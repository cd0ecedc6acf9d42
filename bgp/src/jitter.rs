// SPDX-License-Identifier: Apache-2.0
//! Randomness for timers (RFC 4271 §10), from a seed, so that a test can repeat it. Not fit for secrets.

use std::time::Duration;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between three quarters of the duration and all of it.
    pub(crate) fn spread(&mut self, duration: Duration) -> Duration {
        let part = u32::try_from(self.next() >> 48).unwrap_or(0);
        duration * 3 / 4 + duration / 4 * part / u32::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shortened_by_at_most_a_quarter() {
        let mut jitter = Jitter::new(7);
        let all: Vec<_> = (0..1000).map(|_| jitter.spread(Duration::from_secs(100))).collect();
        let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert!((75.0..77.0).contains(&least.as_secs_f64()), "{least:?}");
        assert!((98.0..=100.0).contains(&most.as_secs_f64()), "{most:?}");
    }
}
