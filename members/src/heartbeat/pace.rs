// SPDX-License-Identifier: Apache-2.0
//! The times of heartbeats. Members whose time of day agrees (NTP) send at the same moments, the multiples of the interval since the epoch,
//! so that each is woken once for the heartbeats of all others, instead of once for each. Nothing depends on that agreement: a member without
//! it sends as often, at moments of its own.

use std::time::{Duration, Instant};

/// The part of the interval (one in so many) by which a heartbeat comes earlier, at most, on the way to the common moments.
const HASTE: u32 = 10;
/// The part of the interval (one in so many) by which a heartbeat comes later, at most: as much as a clock may be slewed meanwhile. Other
/// members count the intervals that they miss.
const DELAY: u32 = 200;
/// The part of the interval (one in so many) that it is worth to wait for the heartbeats of others.
const GATHERING: u32 = 20;

/// See the module's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    interval: Duration,
    next: Instant,
    last: Option<Instant>,
    /// A moment, and the time of day at that moment.
    time_of_day: Option<(Instant, Duration)>,
}

impl Pace {
    /// The first heartbeat is due within an interval, at `share` of it (0 to 1), so that members that start together do not all send at the
    /// same moment.
    pub(crate) fn new(interval: Duration, share: f64, now: Instant) -> Self {
        let next = now + interval.mul_f64(share);
        Self { interval, next, last: None, time_of_day: None }
    }

    /// Sets the time since the epoch by the clock that members may have in common.
    pub(crate) fn set_time_of_day(&mut self, now: Instant, since_epoch: Duration) {
        self.time_of_day = Some((now, since_epoch));
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Delays the next heartbeat until this moment, at least.
    pub(crate) fn postpone(&mut self, until: Instant) {
        self.next = self.next.max(until);
    }

    /// Returns true if a heartbeat is due; the next one is then an interval later, or a little less, or a very little more.
    pub(crate) fn advance(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.last = Some(now);
        self.next += self.interval;
        if self.next <= now {
            self.next = now + self.interval;
        }
        if let Some(after) = self.after_common_moment(self.next) {
            let before = self.interval.saturating_sub(after);
            if before <= self.interval / DELAY {
                self.next += before;
            } else {
                self.next -= after.min(self.interval / HASTE);
            }
        }
        true
    }

    /// The time from the last common moment to this one.
    fn after_common_moment(&self, moment: Instant) -> Option<Duration> {
        let (at, time) = self.time_of_day?;
        let time = time + moment.checked_duration_since(at)?;
        let after = time.as_nanos().checked_rem(self.interval.as_nanos())?;
        u64::try_from(after).ok().map(Duration::from_nanos)
    }

    /// The time until which the heartbeats of others may be gathered, to be read all at once: they are expected around the own heartbeat.
    pub(crate) fn gathers_until(&self, now: Instant) -> Option<Instant> {
        let gathering = self.interval / GATHERING;
        let after = self.last.map(|last| last + gathering).filter(|until| now < *until);
        after.or_else(|| (now < self.next && self.next <= now + gathering).then_some(self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn beginning() -> Instant {
        Instant::now()
    }

    /// The moments of `count` heartbeats, by a clock that shows `time` at the beginning and then runs at `rate` millionths of true time.
    fn moments(share: f64, time: Duration, rate: u32, count: usize) -> Vec<Duration> {
        let start = beginning();
        let mut pace = Pace::new(INTERVAL, share, start);
        let mut moments = Vec::new();
        for _ in 0..count {
            let now = pace.next();
            pace.set_time_of_day(now, time + (now - start) * rate / 1_000_000);
            assert!(pace.advance(now));
            assert!(!pace.advance(now), "it is due once");
            moments.push(now - start);
        }
        moments
    }

    fn gaps(moments: &[Duration]) -> Vec<Duration> {
        moments.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn whatever_they_begin_with_they_come_together_and_stay() {
        for share in [0.0, 0.003, 0.3, 0.999] {
            for rate in [1_000_000, 1_000_400, 999_600] {
                let time = Duration::from_millis(1_234_567);
                let moments = moments(share, time, rate, 1_000);
                for moment in &moments[12..] {
                    let shown = time + *moment * rate / 1_000_000;
                    let after = shown.as_micros() % INTERVAL.as_micros();
                    let apart = after.min(INTERVAL.as_micros() - after);
                    assert!(apart < 100, "{share} {rate}: {apart} us apart at {moment:?}");
                }
            }
        }
    }

    #[test]
    fn no_heartbeat_is_much_later_than_an_interval_or_much_earlier() {
        for share in [0.0, 0.25, 0.995] {
            for gap in gaps(&moments(share, Duration::from_secs(5), 1_000_300, 100)) {
                assert!(gap <= Duration::from_micros(100_500), "{gap:?}");
                assert!(gap >= Duration::from_millis(90), "{gap:?}");
            }
        }
    }

    #[test]
    fn without_a_time_of_day_they_stay_where_they_are() {
        let start = beginning();
        let mut pace = Pace::new(INTERVAL, 0.5, start);
        for number in 0..10 {
            let now = start + INTERVAL / 2 + INTERVAL * number;
            assert_eq!(pace.next(), now);
            assert!(!pace.advance(now - Duration::from_millis(1)));
            assert!(pace.advance(now));
        }
        let late = start + INTERVAL * 20;
        assert!(pace.advance(late), "one of those that were missed");
        assert_eq!(pace.next(), late + INTERVAL);
    }

    #[test]
    fn what_comes_around_the_own_heartbeat_is_gathered() {
        let start = beginning();
        let mut pace = Pace::new(INTERVAL, 0.5, start);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(pace.gathers_until(at(40)), None);
        assert_eq!(pace.gathers_until(at(46)), Some(at(50)));
        assert_eq!(pace.gathers_until(at(50)), None, "it is due");
        assert!(pace.advance(at(51)));
        assert_eq!(pace.gathers_until(at(52)), Some(at(56)));
        assert_eq!(pace.gathers_until(at(56)), None);
        assert_eq!(pace.gathers_until(at(147)), Some(at(150)));
    }
}
