// SPDX-License-Identifier: Apache-2.0
//! Counts what is left on this node of the connections of addresses that other nodes have now (`--keep-connections`). On a thread of its own:
//! conntrack's list may be long, and the tables of a move must not wait for it. Without such addresses the thread sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use steer::net::Error;
use steer::net::conntrack::{Open, count};
use tokio::sync::watch;

use super::connections::KeptConnections;

/// The time between two counts.
const INTERVAL: Duration = Duration::from_secs(5);
/// The time from an address's move to its first count. Until the new owner has announced, and clients have heard it, new connections still
/// come here: a count that shows none says that none is left.
const FIRST: Duration = Duration::from_secs(2);
/// A count may take one part of so many of a core's time.
const SHARE: u32 = 20;

/// The times of the counts.
#[derive(Debug, Default)]
struct Schedule {
    /// The addresses that drain, each with the time of its first count.
    addresses: BTreeMap<IpAddr, Instant>,
    /// The beginning of the last count, and the time before which the next one does not begin.
    last: Option<(Instant, Instant)>,
}

impl Schedule {
    /// These addresses drain now.
    fn set(&mut self, now: Instant, addresses: &BTreeSet<IpAddr>) {
        self.addresses.retain(|address, _| addresses.contains(address));
        for address in addresses {
            self.addresses.entry(*address).or_insert(now + FIRST);
        }
    }

    /// The time of the next count; none without addresses.
    fn due(&self) -> Option<Instant> {
        let first = self.addresses.values().min()?;
        let Some((began, rest)) = self.last else { return Some(*first) };
        // The first count of an address does not wait for the next count of the others.
        let new = self.addresses.values().filter(|first| **first > began).min();
        let next = began + INTERVAL;
        Some(new.map_or(next, |new| next.min(*new)).max(rest))
    }

    /// The addresses to count now.
    fn ripe(&self, now: Instant) -> BTreeSet<IpAddr> {
        let ripe = self.addresses.iter().filter(|(_, first)| **first <= now);
        ripe.map(|(address, _)| *address).collect()
    }

    /// A count has begun and ended at these times.
    fn counted(&mut self, began: Instant, ended: Instant) {
        self.last = Some((began, began + ended.saturating_duration_since(began) * SHARE));
    }
}

/// Starts the thread. It ends with the sender of `wishes`, the addresses that drain.
///
/// # Errors
/// The system has no thread left.
pub(super) fn start(
    wishes: mpsc::Receiver<BTreeSet<IpAddr>>,
    told: watch::Sender<KeptConnections>,
) -> Result<(), Error> {
    let thread = std::thread::Builder::new().name("draining".to_owned());
    let spawned = thread.spawn(move || follow(&wishes, &told));
    spawned.map(drop).map_err(|source| Error::Socket { doing: "starting a thread", source })
}

fn follow(wishes: &mpsc::Receiver<BTreeSet<IpAddr>>, told: &watch::Sender<KeptConnections>) {
    let mut schedule = Schedule::default();
    loop {
        let received = match schedule.due() {
            Some(due) => wishes.recv_timeout(due.saturating_duration_since(clock::now())),
            None => wishes.recv().map_err(RecvTimeoutError::from),
        };
        match received {
            Ok(first) => {
                let addresses = wishes.try_iter().last().unwrap_or(first);
                schedule.set(clock::now(), &addresses);
                told.send_if_modified(|told| told.retain(&addresses));
            }
            Err(RecvTimeoutError::Timeout) => {
                let began = clock::now();
                let result = count(&schedule.ripe(began));
                schedule.counted(began, clock::now());
                tell(result, told);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Logs a trouble once.
fn tell(result: Result<BTreeMap<IpAddr, Open>, Error>, told: &watch::Sender<KeptConnections>) {
    let trouble = result.as_ref().err().map(ToString::to_string);
    told.send_if_modified(|told| {
        if let Some(error) = &trouble
            && told.uncounted.as_ref() != Some(error)
        {
            tracing::warn!(
                event = "drainingUncounted",
                error,
                "open connections of addresses that have moved away cannot be counted"
            );
        }
        told.counted(result.ok(), trouble)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(numbers: &[u8]) -> BTreeSet<IpAddr> {
        numbers.iter().map(|number| IpAddr::from([192, 0, 2, *number])).collect()
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn an_address_is_counted_once_its_move_is_over_and_then_every_five_seconds() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut schedule = Schedule::default();
        assert_eq!(schedule.due(), None);
        schedule.set(at(0), &addresses(&[1]));
        assert_eq!(schedule.due(), Some(at(2_000)));
        assert!(schedule.ripe(at(1_999)).is_empty());
        assert_eq!(schedule.ripe(at(2_000)), addresses(&[1]));
        schedule.counted(at(2_000), at(2_010));
        assert_eq!(schedule.due(), Some(at(7_000)));
        // Another one moves: its first count comes in between, and the one before is counted with it.
        schedule.set(at(3_000), &addresses(&[1, 2]));
        assert_eq!(schedule.due(), Some(at(5_000)));
        assert_eq!(schedule.ripe(at(4_999)), addresses(&[1]));
        assert_eq!(schedule.ripe(at(5_000)), addresses(&[1, 2]));
        schedule.counted(at(5_000), at(5_010));
        assert_eq!(schedule.due(), Some(at(10_000)));
        schedule.set(at(6_000), &addresses(&[]));
        assert_eq!(schedule.due(), None);
        // One that comes back and moves away again is new.
        schedule.set(at(7_000), &addresses(&[1]));
        assert_eq!(schedule.due(), Some(at(9_000)));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn counts_that_take_long_are_rare_and_moves_do_not_make_them_more() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut schedule = Schedule::default();
        schedule.set(at(0), &addresses(&[1]));
        schedule.counted(at(2_000), at(3_000));
        assert_eq!(schedule.due(), Some(at(22_000)), "a twentieth of the time");
        schedule.set(at(4_000), &addresses(&[1, 2]));
        assert_eq!(schedule.due(), Some(at(22_000)));
    }
}
