// SPDX-License-Identifier: Apache-2.0
//! The health of this member itself (Lifeguard's local health): a member that misses many answers, or has to refute, takes more time before
//! it suspects others.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Awareness {
    score: u32,
    most: u32,
}

impl Awareness {
    /// The score stays below `multiplier`.
    pub(super) const fn new(multiplier: u32) -> Self {
        Self { score: 0, most: multiplier.saturating_sub(1) }
    }

    pub(super) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(super) fn worse(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.most);
    }

    /// The score; zero is best.
    pub(super) const fn score(&self) -> u32 {
        self.score
    }

    pub(super) fn scale(&self, time: Duration) -> Duration {
        time.saturating_mul(self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_stays_in_its_bounds_and_scales_times() {
        let mut awareness = Awareness::new(3);
        awareness.better();
        assert_eq!(
            (awareness.score(), awareness.scale(Duration::from_secs(1))),
            (0, Duration::from_secs(1))
        );
        awareness.worse(7);
        assert_eq!(
            (awareness.score(), awareness.scale(Duration::from_secs(1))),
            (2, Duration::from_secs(3))
        );
        awareness.better();
        assert_eq!(awareness.score(), 1);
        let mut none = Awareness::new(0);
        none.worse(1);
        assert_eq!(none.score(), 0);
    }
}
