// SPDX-License-Identifier: Apache-2.0
//! The times at which other speakers are joined, where `--join` or the API's last list tells their places. A synchronous value.
//!
//! The joins never end: the ring alone does not unite two parts that have forgotten one another, however long the network has been whole
//! again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The time between two joins (contract 3.4).
const JOIN_INTERVAL: Duration = Duration::from_secs(60);
/// The pauses after which the first joins, and the first lists of the places to join, are repeated. Hosts that start together are not there
/// yet, their switch does not forward yet, and pods of a fresh cluster get their addresses one by one.
pub const FIRST_PAUSES: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct JoinSchedule {
    addresses: Vec<SocketAddr>,
    /// The addresses that are likely to answer.
    likely: BTreeSet<SocketAddr>,
    /// The number of joins since `addresses` last changed.
    round: usize,
    next: Option<Instant>,
}

impl JoinSchedule {
    /// The others should be at these addresses from now on, and the `likely` ones are likely to answer. If the addresses are the same as
    /// before, the schedule goes on unchanged.
    pub(crate) fn find(
        &mut self,
        now: Instant,
        addresses: &[SocketAddr],
        likely: BTreeSet<SocketAddr>,
    ) {
        self.likely = likely;
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        if self.addresses != addresses {
            self.next = (!addresses.is_empty()).then_some(now);
            self.round = 0;
            self.addresses = addresses;
        }
    }

    /// The addresses to join now, members among them: first the ones that are likely to answer, then the others.
    pub(crate) fn due(&mut self, now: Instant) -> [Vec<SocketAddr>; 2] {
        if self.next.is_none_or(|at| now < at) {
            return [Vec::new(), Vec::new()];
        }
        self.next = Some(now + FIRST_PAUSES.get(self.round).copied().unwrap_or(JOIN_INTERVAL));
        self.round = self.round.saturating_add(1);
        let (likely, others) =
            self.addresses.iter().copied().partition(|address| self.likely.contains(address));
        [likely, others]
    }

    /// The time at which [`Self::due`] has something to return.
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

    /// The times of all joins within this number of seconds, in milliseconds.
    fn joins(join_schedule: &mut JoinSchedule, start: Instant, seconds: u64) -> Vec<u128> {
        let mut times = Vec::new();
        while let Some(at) = join_schedule.deadline().filter(|at| *at < start + JOIN_INTERVAL * 60)
            && at <= start + Duration::from_secs(seconds)
        {
            assert_eq!(join_schedule.due(at - Duration::from_nanos(1)), [vec![], vec![]]);
            assert!(!join_schedule.due(at).concat().is_empty());
            times.push((at - start).as_millis());
        }
        times
    }

    #[test]
    fn joins_are_repeated_quickly_at_first_and_then_each_minute_for_ever() {
        let start = beginning();
        let mut join_schedule = JoinSchedule::default();
        assert_eq!(join_schedule.deadline(), None);
        join_schedule.find(start, &[address(2), address(1), address(2)], BTreeSet::new());
        let first = [0, 500, 1_500, 3_500, 7_500, 15_500, 75_500, 135_500];
        assert_eq!(joins(&mut join_schedule, start, 140), first);
        assert_eq!(joins(&mut join_schedule, start, 600).len(), 7);
    }

    #[test]
    fn the_same_word_again_changes_nothing_and_another_begins_anew() {
        let start = beginning();
        let mut join_schedule = JoinSchedule::default();
        join_schedule.find(start, &[address(1), address(2)], BTreeSet::new());
        joins(&mut join_schedule, start, 60);
        let next = join_schedule.deadline();
        join_schedule.find(start + JOIN_INTERVAL, &[address(2), address(1)], BTreeSet::new());
        assert_eq!(join_schedule.deadline(), next);
        join_schedule.find(start + JOIN_INTERVAL, &[address(1), address(3)], BTreeSet::new());
        assert_eq!(
            join_schedule.due(start + JOIN_INTERVAL),
            [vec![], vec![address(1), address(3)]]
        );
        assert_eq!(join_schedule.deadline(), Some(start + JOIN_INTERVAL + FIRST_PAUSES[0]));
        join_schedule.find(start + JOIN_INTERVAL, &[], BTreeSet::new());
        assert_eq!(join_schedule.deadline(), None);
    }

    #[test]
    fn those_that_are_likely_to_answer_come_first_and_another_likelihood_is_no_news() {
        let start = beginning();
        let mut join_schedule = JoinSchedule::default();
        let addresses = [address(1), address(2), address(3)];
        join_schedule.find(start, &addresses, [address(3), address(9)].into());
        assert_eq!(join_schedule.due(start), [vec![address(3)], vec![address(1), address(2)]]);
        let next = join_schedule.deadline();
        join_schedule.find(start, &addresses, [address(1)].into());
        assert_eq!(join_schedule.deadline(), next);
        assert_eq!(join_schedule.due(start + FIRST_PAUSES[0])[0], [address(1)]);
    }
}
