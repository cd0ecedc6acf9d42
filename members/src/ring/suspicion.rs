// SPDX-License-Identifier: Apache-2.0
//! The time that a suspicion lasts: long if only one member has it, shorter the more confirm it (Lifeguard's dynamic suspicion). The formulas
//! are the library's, with whole milliseconds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Suspicion {
    /// The member that had the suspicion first; its own confirmation does not count.
    pub(super) from: Arc<str>,
    start: Instant,
    minimum: Duration,
    maximum: Duration,
    /// The number of confirmations that bring the time to the minimum.
    wanted: u32,
    confirmed_by: BTreeSet<Arc<str>>,
}

impl Suspicion {
    /// Begins a suspicion now, in a ring of `count` members.
    pub(super) fn new(now: Instant, from: &str, count: usize, settings: &crate::Settings) -> Self {
        let minimum = timeout(settings.suspicion_mult, count, settings.probe_interval);
        let wanted = settings.suspicion_mult.saturating_sub(2);
        // The members without this one and the suspect may be too few to confirm.
        let others = count.saturating_sub(2);
        let enough = usize::try_from(wanted).is_ok_and(|wanted| others >= wanted);
        Self {
            from: from.into(),
            start: now,
            minimum,
            maximum: minimum.saturating_mul(settings.suspicion_max_timeout_mult),
            wanted: if enough { wanted } else { 0 },
            confirmed_by: BTreeSet::new(),
        }
    }

    /// The time at which the suspicion ends.
    pub(super) fn end(&self) -> Instant {
        self.start + self.duration()
    }

    /// Nothing could be heard for that long.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.start += by;
    }

    /// Returns true if this is a confirmation that still counts and was not there yet.
    pub(super) fn confirm(&mut self, from: &str) -> bool {
        if self.confirmations() >= self.wanted || *self.from == *from {
            return false;
        }
        self.confirmed_by.insert(from.into())
    }

    fn confirmations(&self) -> u32 {
        u32::try_from(self.confirmed_by.len()).unwrap_or(u32::MAX)
    }

    fn duration(&self) -> Duration {
        if self.wanted == 0 {
            return self.minimum;
        }
        let fraction =
            (f64::from(self.confirmations()) + 1.0).ln() / (f64::from(self.wanted) + 1.0).ln();
        let (maximum, minimum) = (self.maximum.as_secs_f64(), self.minimum.as_secs_f64());
        let seconds = maximum - fraction * (maximum - minimum);
        let milliseconds = (1000.0 * seconds).floor().max(0.0) / 1000.0;
        Duration::try_from_secs_f64(milliseconds).unwrap_or(Duration::MAX).max(self.minimum)
    }
}

/// The shortest time that a suspicion lasts in a ring of `count` members.
fn timeout(mult: u32, count: usize, interval: Duration) -> Duration {
    let count = f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX));
    let scale = (count.log10().max(1.0) * 1000.0).floor();
    // The value is at most 9,632 for all counts.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let scale = scale as u32;
    interval.saturating_mul(mult).saturating_mul(scale) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn in_a_ring_of_three_nobody_is_waited_for() {
        // MetalLB's three nodes: exactly four seconds.
        let now = now();
        let mut suspicion = Suspicion::new(now, "a", 3, &Settings::lan());
        assert_eq!(suspicion.end() - now, Duration::from_secs(4));
        assert!(!suspicion.confirm("b"));
    }

    #[test]
    fn confirmations_shorten_it_by_their_logarithm() {
        let now = now();
        let mut suspicion = Suspicion::new(now, "a", 4, &Settings::lan());
        let duration = |suspicion: &Suspicion| (suspicion.end() - now).as_millis();
        assert_eq!(duration(&suspicion), 24_000);
        assert!(!suspicion.confirm("a"));
        assert!(suspicion.confirm("b"));
        assert!(!suspicion.confirm("b"));
        // 24 - ln 2 / ln 3 * 20
        assert_eq!(duration(&suspicion), 11_381);
        assert!(suspicion.confirm("c"));
        assert_eq!(duration(&suspicion), 4_000);
        assert!(!suspicion.confirm("d"));
    }

    #[test]
    fn it_grows_with_the_logarithm_of_the_ring() {
        let of = |count| timeout(4, count, Duration::from_secs(1)).as_millis();
        assert_eq!([0, 1, 10, 11, 100, 500].map(of), [4000, 4000, 4000, 4164, 8000, 10_792]);
    }
}
