// SPDX-License-Identifier: Apache-2.0
//! When those are joined of whom it is known where they should be, by `--join` or by the API's last word. A synchronous value.
//!
//! It never ends: of two parts of a ring that have forgotten one another the ring alone makes none, however long the network is whole
//! again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often they are joined (contract 3.4).
const JOIN_INTERVAL: Duration = Duration::from_secs(60);
/// The pauses before the first joins, and the first lists of whom to join, are repeated: hosts that start together are not there yet, their
/// switch does not forward yet, and pods of a fresh cluster get their addresses one by one.
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
    /// Those of them that are likely to answer.
    likely: BTreeSet<SocketAddr>,
    /// How often they were joined since they are these.
    round: usize,
    next: Option<Instant>,
}

impl JoinSchedule {
    /// From now the others should be there, and these of them are likely to answer. If they are the same as before everything goes on as it
    /// was.
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

    /// Whom to join now, members among them: first those that are likely to answer, then the others.
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
