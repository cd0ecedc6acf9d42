// SPDX-License-Identifier: Apache-2.0
//! The datagrams that were sent a moment ago, by which an ICMP error about one of them is told from one that a stranger made up: the kernel
//! compares only addresses and ports, which are no secret. An error quotes its datagram, and only a station that has got the datagram knows
//! the octets: a sealed one begins with a nonce of twelve random octets, a heartbeat in the clear with the random session of its process.
//!
//! A ring without a key has no such protection: a station that reads the traffic can quote.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The time for which a datagram is remembered. An error comes back within one round trip.
const MEMORY: Duration = Duration::from_millis(500);
/// The number of octets that an error has to quote of a longer datagram: the longest label or name, and octets that cannot be guessed. Linux
/// quotes 520 octets of an IPv4 datagram and 1,184 of an IPv6 datagram.
pub(super) const QUOTE: usize = 320;
/// The number of datagrams to one address that are remembered, at most; the newest stay.
const EACH: usize = 256;
/// The number of addresses that are remembered, at most; as many as there may be members.
const ADDRESSES: usize = crate::MEMBERS;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Hashes of the datagrams sent, under a key of this process, with their times.
    recent: BTreeMap<SocketAddr, VecDeque<(u64, Instant)>>,
    hasher: RandomState,
    /// The time when unused addresses were last forgotten.
    swept: Option<Instant>,
}

impl Sent {
    /// Remembers a datagram that is being sent.
    pub(super) fn note(&mut self, now: Instant, to: SocketAddr, datagram: &[u8]) {
        if self.swept.is_none_or(|last| now >= last + MEMORY * 20) {
            self.swept = Some(now);
            self.recent.retain(|_, sent| sent.back().is_some_and(|(_, at)| now < *at + MEMORY));
        }
        if self.recent.len() >= ADDRESSES && !self.recent.contains_key(&to) {
            return;
        }
        let hash = self.hash(datagram);
        let sent = self.recent.entry(to).or_default();
        while sent.len() >= EACH || sent.front().is_some_and(|(_, at)| now >= *at + MEMORY) {
            sent.pop_front();
        }
        sent.push_back((hash, now));
    }

    /// True if `quoted` is the beginning of a datagram that was sent to this address a moment ago.
    pub(super) fn includes(&self, now: Instant, to: SocketAddr, quoted: &[u8]) -> bool {
        let Some(sent) = self.recent.get(&to).filter(|_| !quoted.is_empty()) else { return false };
        let hash = self.hash(quoted);
        sent.iter().any(|(known, at)| *known == hash && now < *at + MEMORY)
    }

    fn hash(&self, octets: &[u8]) -> u64 {
        self.hasher.hash_one(octets.get(..QUOTE).unwrap_or(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 7946).into()
    }

    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn beginning() -> Instant {
        Instant::now()
    }

    #[test]
    fn only_a_quote_of_what_was_sent_there_a_moment_ago_counts() {
        let now = beginning();
        let mut sent = Sent::default();
        let long: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        sent.note(now, to(1), b"a heartbeat");
        sent.note(now, to(1), &long);
        assert!(sent.includes(now, to(1), b"a heartbeat"));
        assert!(sent.includes(now, to(1), &long));
        assert!(sent.includes(now, to(1), &long[..QUOTE]), "a router quotes the beginning");
        assert!(!sent.includes(now, to(1), &long[..QUOTE - 1]), "too little to tell");
        assert!(!sent.includes(now, to(1), b"a heartbeaT"));
        assert!(!sent.includes(now, to(1), b""));
        assert!(!sent.includes(now, to(2), b"a heartbeat"), "it went to another one");
        assert!(!sent.includes(now + MEMORY, to(1), b"a heartbeat"), "it is too old");
    }

    #[test]
    fn memory_is_bounded_for_each_address_and_in_all() {
        let mut now = beginning();
        let mut sent = Sent::default();
        for number in 0..10_000_u32 {
            sent.note(now, to(1), &number.to_be_bytes());
        }
        assert_eq!(sent.recent[&to(1)].len(), EACH);
        assert!(sent.includes(now, to(1), &9_999_u32.to_be_bytes()), "the newest ones are kept");
        for number in 0..10_000_u32 {
            let to = (std::net::Ipv4Addr::from(number), 7946).into();
            sent.note(now, to, b"x");
        }
        assert_eq!(sent.recent.len(), ADDRESSES);
        now += MEMORY * 20;
        sent.note(now, to(9), b"y");
        assert_eq!(sent.recent.len(), 1, "those that are used no more are forgotten");
        assert!(sent.includes(now, to(9), b"y"));
    }
}
