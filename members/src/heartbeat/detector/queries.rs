// SPDX-License-Identifier: Apache-2.0
//! The detector's knowledge of each member.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Detector, PeerReport};
use crate::heartbeat::peer::Peer;
use crate::heartbeat::wire::Mark;
use crate::quorum::Side;

impl Detector {
    /// True if this member counts as present: it was heard lately, or nothing speaks against it. A stranger does not count.
    #[must_use]
    pub fn is_confirmed(&self, now: Instant, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| self.counts(now, peer))
    }

    /// True if this member was ever heard itself.
    #[must_use]
    pub fn was_heard(&self, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.heard.is_some())
    }

    /// True if this member had been a member for two seconds at that time, and was never heard itself.
    #[must_use]
    pub fn is_stranger(&self, at: Instant, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.is_stranger(at))
    }

    /// True if this member has heard this detector's own member, and counts it.
    #[must_use]
    pub fn is_acquainted(&self, name: &str) -> bool {
        self.peers.get(name).is_some_and(Peer::is_acquainted)
    }

    /// The time since this member was heard itself; none if it never was.
    #[must_use]
    pub fn silent_for(&self, now: Instant, name: &str) -> Option<Duration> {
        self.peers.get(name)?.silent_for(now)
    }

    /// The side of a member by its last word, whether the member is present or not.
    #[must_use]
    pub fn side_of(&self, name: &str) -> Side {
        self.peers.get(name).map_or(Side::default(), |peer| peer.side)
    }

    /// The session of a member's datagrams; none if no datagram has proved to be new.
    #[must_use]
    pub fn session_of(&self, name: &str) -> Option<u64> {
        self.peers.get(name)?.session()
    }

    /// The mark of a member.
    #[must_use]
    pub fn mark_of(&self, name: &str) -> Option<Mark> {
        self.peers.get(name).map(|peer| peer.mark)
    }

    /// A report on all members, for people.
    #[must_use]
    pub fn report(&self, now: Instant) -> Vec<PeerReport> {
        self.peers
            .iter()
            .map(|(name, peer)| PeerReport {
                name: Arc::clone(name),
                silent_for: peer.silent_for(now),
                watched: peer.watched,
                confirmed: self.counts(now, peer),
            })
            .collect()
    }
}
