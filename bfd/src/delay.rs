// SPDX-License-Identifier: Apache-2.0
//! The time between the moment a packet was due and the moment it was sent. This is the fault of the host, not the jitter that
//! RFC 5880 section 6.8.7 asks for.

use std::time::Duration;

/// The figures of the last packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Over how many packets `p50` and `p99` are taken; the last 256 at most.
    pub samples: usize,
    /// Half were sent after at most this.
    pub p50: Duration,
    /// 99 of 100 were sent after at most this.
    pub p99: Duration,
    /// The greatest since the session was made.
    pub maximum: Duration,
}

/// How many packets are kept.
const WINDOW: usize = 256;

/// The last delays, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    window: Vec<u32>,
    next: usize,
    maximum: Duration,
}

impl Delays {
    pub(crate) fn add(&mut self, delay: Duration) {
        self.maximum = self.maximum.max(delay);
        let micros = u32::try_from(delay.as_micros()).unwrap_or(u32::MAX);
        match self.window.get_mut(self.next) {
            Some(oldest) => *oldest = micros,
            None => self.window.push(micros),
        }
        self.next = (self.next + 1) % WINDOW;
    }

    pub(crate) fn figures(&self) -> Delay {
        let mut sorted = self.window.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted
                .get(index)
                .map_or(Duration::ZERO, |micros| Duration::from_micros((*micros).into()))
        };
        Delay { samples: sorted.len(), p50: at(50), p99: at(99), maximum: self.maximum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_last_packets_and_the_maximum_of_all() {
        let mut delays = Delays::default();
        delays.add(Duration::from_secs(1));
        for micros in 1..=256 {
            delays.add(Duration::from_micros(micros));
        }
        let figures = delays.figures();
        assert_eq!(figures.samples, 256);
        assert_eq!(figures.p50, Duration::from_micros(128));
        assert_eq!(figures.p99, Duration::from_micros(254));
        assert_eq!(figures.maximum, Duration::from_secs(1));
        assert_eq!(Delays::default().figures(), Delay::default());
    }
}
