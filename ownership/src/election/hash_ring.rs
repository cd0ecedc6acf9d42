// SPDX-License-Identifier: Apache-2.0
//! Antrea's ring (contract C.6): consistent hashing, so that a node that goes moves only its own addresses.
//!
//! Each node has 50 places on a circle of 2^32; an address belongs to the node at the first taken place from its own place on.

use std::cell::RefCell;
use std::collections::HashMap;

/// The number of places that a node has on the circle.
const PLACES_PER_NODE: usize = 50;

/// The number of nodes whose places are remembered, which is more than a cluster has; beyond it all are forgotten.
const REMEMBERED_NODES: usize = 10_000;

/// The place of an address on the circle, by its canonical text.
pub(super) fn place(address: &str) -> u32 {
    crc32fast::hash(address.as_bytes())
}

/// The places of nodes on Antrea's ring, each computed when it is first asked for. They depend on nothing but the
/// node's name, so this value may live as long as the process; without it each candidate of each Service would cost 50
/// checksums.
#[derive(Debug, Default)]
pub struct RingPlaces {
    known: RefCell<HashMap<Box<str>, [u32; PLACES_PER_NODE]>>,
}

impl RingPlaces {
    /// The distance from `from` to the next place of the node, clockwise.
    pub(super) fn distance(&self, node: &str, from: u32) -> u32 {
        let mut known = self.known.borrow_mut();
        if let Some(places) = known.get(node) {
            return distance(places, from);
        }
        if known.len() >= REMEMBERED_NODES {
            known.clear();
        }
        let places = places(node);
        known.insert(node.into(), places);
        distance(&places, from)
    }
}

/// The places of a node, ascending.
fn places(node: &str) -> [u32; PLACES_PER_NODE] {
    let mut places =
        std::array::from_fn(|number| crc32fast::hash(format!("{number}{node}").as_bytes()));
    places.sort_unstable();
    places
}

/// The distance from `from` to the next of these places, clockwise.
fn distance(places: &[u32; PLACES_PER_NODE], from: u32) -> u32 {
    let next = places.partition_point(|place| *place < from);
    let next = places.get(next).or_else(|| places.first()).copied().unwrap_or(from);
    next.wrapping_sub(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_contract() {
        assert_eq!(crc32fast::hash(b"0node-1"), 0x973f_c7d0);
        assert_eq!(crc32fast::hash(b"10.10.0.2"), 0x0c5d_d83c);
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926, "the check value of CRC-32");
    }

    #[test]
    fn the_circle_closes() {
        let last = places("node-1").last().copied().unwrap();
        let first = places("node-1").first().copied().unwrap();
        let ring = RingPlaces::default();
        for _ in 0..2 {
            assert_eq!(ring.distance("node-1", last), 0);
            assert_eq!(ring.distance("node-1", last + 1), first.wrapping_sub(last + 1));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let ring = RingPlaces::default();
        let first = ring.distance("node-0", 7);
        for number in 0..=REMEMBERED_NODES {
            ring.distance(&format!("node-{number}"), 7);
            assert!(ring.known.borrow().len() <= REMEMBERED_NODES);
        }
        assert_eq!(ring.distance("node-0", 7), first);
    }
}
