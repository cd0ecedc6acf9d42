// SPDX-License-Identifier: Apache-2.0
//! When those are joined of whom it is known where they should be, by `--join` or by the API's last word. A synchronous value.
//!
//! It never ends: of two parts of a ring that have forgotten one another the ring alone makes none, however long the network is whole
//! again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often they are joined (contract 3.4).
const JOIN: Duration = Duration::from_secs(60);
/// The pauses before the first joins, and the first lists of whom to join, are repeated: hosts that start together are not there yet, their
/// switch does not forward yet, and pods of a fresh cluster get their addresses one by one.
pub(crate) const FIRST: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    addresses: Vec<SocketAddr>,
    /// How often they were joined since they are these.
    round: usize,
    next: Option<Instant>,
}

impl Joining {
    /// From now the others should be there. If that is no news everything goes on as it was.
    pub(crate) fn find(&mut self, now: Instant, addresses: &[SocketAddr]) {
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        if self.addresses != addresses {
            self.next = (!addresses.is_empty()).then_some(now);
            self.round = 0;
            self.addresses = addresses;
        }
    }

    /// Whom to join now, members among them.
    pub(crate) fn due(&mut self, now: Instant) -> &[SocketAddr] {
        if self.next.is_none_or(|at| now < at) {
            return &[];
        }
        self.next = Some(now + FIRST.get(self.round).copied().unwrap_or(JOIN));
        self.round = self.round.saturating_add(1);
        &self.addresses
    }

    /// When [`Self::due`] has something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 7946).into()
    }

    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn beginning() -> Instant {
        Instant::now()
    }

    /// The times of all joins within so many seconds, in milliseconds.
    fn joins(joining: &mut Joining, start: Instant, seconds: u64) -> Vec<u128> {
        let mut times = Vec::new();
        while let Some(at) = joining.deadline().filter(|at| *at < start + JOIN * 60)
            && at <= start + Duration::from_secs(seconds)
        {
            assert_eq!(joining.due(at - Duration::from_nanos(1)), []);
            assert!(!joining.due(at).is_empty());
            times.push((at - start).as_millis());
        }
        times
    }

    #[test]
    fn joins_are_repeated_quickly_at_first_and_then_each_minute_for_ever() {
        let start = beginning();
        let mut joining = Joining::default();
        assert_eq!(joining.deadline(), None);
        joining.find(start, &[address(2), address(1), address(2)]);
        let first = [0, 500, 1_500, 3_500, 7_500, 15_500, 75_500, 135_500];
        assert_eq!(joins(&mut joining, start, 140), first);
        assert_eq!(joins(&mut joining, start, 600).len(), 7);
    }

    #[test]
    fn the_same_word_again_changes_nothing_and_another_begins_anew() {
        let start = beginning();
        let mut joining = Joining::default();
        joining.find(start, &[address(1), address(2)]);
        joins(&mut joining, start, 60);
        let next = joining.deadline();
        joining.find(start + JOIN, &[address(2), address(1)]);
        assert_eq!(joining.deadline(), next);
        joining.find(start + JOIN, &[address(1), address(3)]);
        assert_eq!(joining.due(start + JOIN), [address(1), address(3)]);
        assert_eq!(joining.deadline(), Some(start + JOIN + FIRST[0]));
        joining.find(start + JOIN, &[]);
        assert_eq!(joining.deadline(), None);
    }
}
