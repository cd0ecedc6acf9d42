// SPDX-License-Identifier: Apache-2.0
//! Which node announces an address by L2 (contract 4.3): a pure order, the same on every speaker.

use std::cmp::Reverse;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

/// A node that may announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The sum of the weights of the preferences that match it.
    pub score: u64,
}

/// The candidates in the order in which they get the address: the highest score first, then the smallest
/// SHA-256 of `node#address`. The address is the first one of the Service, in its canonical text.
#[must_use]
pub fn order<'a>(candidates: &[Candidate<'a>], address: IpAddr) -> Vec<Candidate<'a>> {
    let mut ordered = candidates.to_vec();
    ordered.sort_by_cached_key(|candidate| key(candidate, address));
    ordered
}

/// The first of [`order`].
#[must_use]
pub fn winner<'a>(candidates: &[Candidate<'a>], address: IpAddr) -> Option<Candidate<'a>> {
    match candidates {
        [only] => Some(*only),
        _ => candidates.iter().copied().min_by_key(|candidate| key(candidate, address)),
    }
}

fn key(candidate: &Candidate<'_>, address: IpAddr) -> (Reverse<u64>, [u8; 32]) {
    let digest = Sha256::digest(format!("{}#{address}", candidate.node));
    (Reverse(candidate.score), digest.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(nodes: &[&'static str], address: &str) -> Vec<&'static str> {
        let candidates: Vec<Candidate<'static>> =
            nodes.iter().map(|node| Candidate { node, score: 0 }).collect();
        let address = address.parse().unwrap();
        let ordered: Vec<&str> = order(&candidates, address).iter().map(|c| c.node).collect();
        assert_eq!(winner(&candidates, address).map(|c| c.node), ordered.first().copied());
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

    #[test]
    fn a_higher_score_beats_the_hash() {
        let candidates =
            [Candidate { node: "node-b", score: 1 }, Candidate { node: "node-c", score: 2 }];
        let winner = winner(&candidates, "10.0.0.1".parse().unwrap());
        assert_eq!(winner.map(|c| c.node), Some("node-c"));
    }

    #[test]
    fn nobody_wins_among_nobody() {
        assert_eq!(winner(&[], "10.0.0.1".parse().unwrap()), None);
    }
}
