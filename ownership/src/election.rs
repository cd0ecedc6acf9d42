// SPDX-License-Identifier: Apache-2.0
//! The election of the node that announces an address by L2: a pure order, the same on every speaker.
//!
//! There is one election, with MetalLB's and Antrea's ways to compare the candidates, so that a cluster that migrates keeps its owners.

mod hash_ring;

use std::cmp::Reverse;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

pub use hash_ring::RingPlaces;

/// A node that may announce the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The sum of the weights of the preferences that match the node.
    pub score: u64,
}

/// The comparison of candidates with equal scores.
#[derive(Clone, Copy, Debug, Default)]
pub enum Strategy<'a> {
    /// MetalLB's (contract 4.3): the smallest SHA-256 of `node#address`.
    #[default]
    Hash,
    /// Antrea's (contract C.6): the next node on a ring of CRC-32 places.
    Ring(&'a RingPlaces),
}

/// The candidates in the order in which they get the address: the highest score first, then as the strategy has it.
/// The address is the first one of the Service, in its canonical text.
#[must_use]
pub fn order<'a>(
    strategy: Strategy<'_>,
    candidates: &[Candidate<'a>],
    address: IpAddr,
) -> Vec<Candidate<'a>> {
    let mut ordered = candidates.to_vec();
    let rank = Rank::new(strategy, address);
    ordered.sort_by_cached_key(|candidate| rank.of(candidate));
    ordered
}

/// The first of [`order`].
#[must_use]
pub fn winner<'a>(
    strategy: Strategy<'_>,
    candidates: &[Candidate<'a>],
    address: IpAddr,
) -> Option<Candidate<'a>> {
    if let [only] = candidates {
        return Some(*only);
    }
    let rank = Rank::new(strategy, address);
    candidates.iter().copied().min_by_key(|candidate| rank.of(candidate))
}

/// The key by which candidates of equal score are compared: the least comes first.
enum Rank<'a> {
    Hash(IpAddr),
    /// The places of the nodes, and that of the address.
    Ring(&'a RingPlaces, u32),
}

/// The digest, or the distance to the node's next place in the first octets.
type Key = [u8; 32];

impl<'a> Rank<'a> {
    fn new(strategy: Strategy<'a>, address: IpAddr) -> Self {
        match strategy {
            Strategy::Hash => Self::Hash(address),
            Strategy::Ring(places) => Self::Ring(places, hash_ring::place(&address.to_string())),
        }
    }

    fn of(&self, candidate: &Candidate<'_>) -> (Reverse<u64>, Key) {
        let key = match self {
            Self::Hash(address) => Sha256::digest(format!("{}#{address}", candidate.node)).into(),
            Self::Ring(places, place) => {
                let mut key = [0; 32];
                let (head, _) = key.split_at_mut(4);
                head.copy_from_slice(&places.distance(candidate.node, *place).to_be_bytes());
                key
            }
        };
        (Reverse(candidate.score), key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(nodes: &[&'static str], address: &str) -> Vec<&'static str> {
        ordered(Strategy::Hash, nodes, address)
    }

    fn ordered(strategy: Strategy<'_>, nodes: &[&'static str], address: &str) -> Vec<&'static str> {
        let candidates: Vec<Candidate<'static>> =
            nodes.iter().map(|node| Candidate { node, score: 0 }).collect();
        let address = address.parse().unwrap();
        let ordered: Vec<&str> =
            order(strategy, &candidates, address).iter().map(|c| c.node).collect();
        let winner = winner(strategy, &candidates, address);
        assert_eq!(winner.map(|c| c.node), ordered.first().copied());
        ordered
    }

    /// Golden vectors of contract 4.3, computed by MetalLB.
    #[test]
    fn nodes_are_ordered_as_by_metallb() {
        let abc = ["node-a", "node-b", "node-c"];
        assert_eq!(names(&abc, "10.0.0.1"), ["node-b", "node-a", "node-c"]);
        assert_eq!(names(&abc, "10.0.0.2"), ["node-b", "node-c", "node-a"]);
        assert_eq!(names(&abc, "2001:db8::1"), ["node-b", "node-a", "node-c"]);
        assert_eq!(names(&["node-a", "node-b"], "10.20.30.1"), ["node-b", "node-a"]);
        assert_eq!(names(&["edge-a", "edge-b"], "10.20.30.1"), ["edge-b", "edge-a"]);
        assert_eq!(names(&["worker-a", "worker-b"], "10.20.30.1"), ["worker-a", "worker-b"]);
        assert_eq!(names(&["iris1", "iris2"], "10.20.30.1"), ["iris2", "iris1"]);
        assert_eq!(names(&["iris1", "iris2"], "10.20.30.2"), ["iris1", "iris2"]);
    }

    /// The vectors of contract C.6.
    #[test]
    fn the_ring_has_antreas_owners() {
        let places = RingPlaces::default();
        let owner = |nodes: &[&'static str], address| {
            ordered(Strategy::Ring(&places), nodes, address).first().copied().unwrap()
        };
        let three = ["node-1", "node-2", "node-3"];
        for (address, node) in [
            ("10.10.0.2", "node-1"),
            ("10.10.0.3", "node-3"),
            ("10.10.0.4", "node-3"),
            ("10.10.0.10", "node-1"),
            ("192.0.2.1", "node-2"),
            ("fd00:10::2", "node-3"),
        ] {
            assert_eq!(owner(&three, address), node, "{address}");
        }
        for (address, node) in
            [("10.10.0.3", "node-1"), ("10.10.0.4", "node-2"), ("fd00:10::2", "node-1")]
        {
            assert_eq!(owner(&["node-1", "node-2"], address), node, "{address}");
        }
        let four = ["node-1", "node-2", "node-3", "node-4"];
        for address in ["10.10.0.3", "10.10.0.4", "fd00:10::2"] {
            assert_eq!(owner(&four, address), "node-4", "{address}");
        }
    }

    #[test]
    fn on_the_ring_only_the_addresses_of_a_node_that_goes_move() {
        let places = RingPlaces::default();
        let ring = Strategy::Ring(&places);
        let four = ["node-1", "node-2", "node-3", "node-4"];
        for last in 1..=254 {
            let address = format!("10.10.0.{last}");
            let before = ordered(ring, &four, &address);
            let after = ordered(ring, &four[..3], &address);
            let expected: Vec<&str> = before.into_iter().filter(|node| *node != "node-4").collect();
            assert_eq!(after, expected, "{address}");
        }
    }

    #[test]
    fn a_higher_score_beats_the_hash() {
        let candidates =
            [Candidate { node: "node-b", score: 1 }, Candidate { node: "node-c", score: 2 }];
        let winner = winner(Strategy::Hash, &candidates, "10.0.0.1".parse().unwrap());
        assert_eq!(winner.map(|c| c.node), Some("node-c"));
    }

    #[test]
    fn nobody_wins_among_nobody() {
        for strategy in [Strategy::Hash, Strategy::Ring(&RingPlaces::default())] {
            assert_eq!(winner(strategy, &[], "10.0.0.1".parse().unwrap()), None);
        }
    }
}
