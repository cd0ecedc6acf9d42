// SPDX-License-Identifier: Apache-2.0
//! Planned moves: the old owner of an address answers for it until the new one says that it does. A synchronous value.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The longest time that the old owner goes on answering while the next owner has claimed nothing.
const CLAIM_WAIT: Duration = Duration::from_secs(1);
/// The same time if the next owner has claimed the address already: the claim may be older than this node's last ownership of the address.
const CLAIM_LINGER: Duration = Duration::from_millis(100);

/// The addresses that pass to other nodes.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    passing: BTreeMap<IpAddr, Instant>,
    /// Addresses that another node claimed before this node decided to give them away, and the time until which the claim counts.
    early: BTreeMap<IpAddr, Instant>,
}

impl Pending {
    /// This address goes to another node that is alive and will claim it, or has just done so.
    pub fn begin(&mut self, now: Instant, address: IpAddr) {
        let spoken = self.early.remove(&address).is_some_and(|until| now < until);
        let longest = if spoken { CLAIM_LINGER } else { CLAIM_WAIT };
        self.passing.entry(address).or_insert(now + longest);
    }

    /// This address belongs to this node again, or to nobody. Returns true if the address was passing.
    pub fn end(&mut self, address: IpAddr) -> bool {
        self.early.remove(&address);
        self.passing.remove(&address).is_some()
    }

    /// Another node answers for these addresses now. Returns the ones that this node is to stop answering for. `owned` tells whether this
    /// node announces an address: a claim to such an address is remembered for a moment, because the claim may come before the news that
    /// leads to the same decision here.
    pub fn claimed(
        &mut self,
        now: Instant,
        addresses: &[IpAddr],
        owned: impl Fn(IpAddr) -> bool,
    ) -> Vec<IpAddr> {
        self.early.retain(|_, until| now < *until);
        let mut released = Vec::new();
        for address in addresses {
            if self.passing.remove(address).is_some() {
                released.push(*address);
            } else if owned(*address) {
                self.early.insert(*address, now + CLAIM_WAIT);
            }
        }
        released
    }

    /// The addresses that nobody claimed in time; they stop passing.
    pub fn expired(&mut self, now: Instant) -> Vec<IpAddr> {
        let due = self.passing.iter().filter(|(_, until)| **until <= now);
        let due: Vec<IpAddr> = due.map(|(address, _)| *address).collect();
        for address in &due {
            self.passing.remove(address);
        }
        due
    }

    /// The time at which [`Self::expired`] has something to return.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.passing.values().min().copied()
    }

    /// The addresses that pass to other nodes.
    pub fn passing(&self) -> impl Iterator<Item = IpAddr> {
        self.passing.keys().copied()
    }

    /// True if no address passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.passing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_a_claim_or_by_time() {
        #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
        let now = Instant::now();
        let [a, b, c] = ["10.0.0.1", "10.0.0.2", "fd00::1"].map(|text| text.parse().unwrap());
        let mut handover = Pending::default();
        handover.begin(now, a);
        handover.begin(now, b);
        handover.begin(now + CLAIM_WAIT / 2, b);
        handover.begin(now, c);
        assert_eq!(handover.claimed(now, &[a, "10.9.9.9".parse().unwrap()], |_| false), [a]);
        assert!(handover.claimed(now, &[a], |_| false).is_empty());
        assert!(handover.end(c) && !handover.end(c));
        assert_eq!(
            handover.deadline(),
            Some(now + CLAIM_WAIT),
            "a second wish gives no second second"
        );
        assert!(handover.expired(now).is_empty());
        assert_eq!(handover.expired(now + CLAIM_WAIT), [b]);
        assert!(handover.is_empty());
    }

    #[test]
    fn a_claim_may_come_before_the_decision() {
        #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
        let now = Instant::now();
        let [a, b, c, d] =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"].map(|text| text.parse().unwrap());
        let mut handover = Pending::default();
        assert!(handover.claimed(now, &[a, b, c, d], |address| address != d).is_empty());
        let mut lasts = |at, address| {
            handover.begin(at, address);
            let until = handover.deadline().unwrap();
            handover.end(address);
            until - at
        };
        assert_eq!(lasts(now + CLAIM_WAIT / 2, a), CLAIM_LINGER, "the other has said so");
        assert_eq!(lasts(now + CLAIM_WAIT, b), CLAIM_WAIT, "that was too long ago");
        assert_eq!(lasts(now, d), CLAIM_WAIT, "it was not announced here when it was claimed");
        handover.end(c);
        handover.begin(now, c);
        assert_eq!(handover.deadline(), Some(now + CLAIM_WAIT), "it came back meanwhile");
    }
}
