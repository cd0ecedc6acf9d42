// SPDX-License-Identifier: Apache-2.0
//! Antrea's ring (contract C.6): consistent hashing, so that a node that goes moves only its own addresses.
//!
//! Each node has 50 places on a circle of 2^32; an address belongs to the node at the first taken place from its own place on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The number of places that a node has on the circle.
const PLACES_PER_NODE: usize = 50;

/// The number of nodes whose places are remembered, which is more than a cluster has; beyond it all are forgotten.
const CACHED_NODES: usize = 10_000;

/// The place of an address on the circle, by its canonical text.
pub(super) fn place(address: &str) -> u32 {
    crc32fast::hash(address.as_bytes())
}

/// The places of a node, ascending.
fn places(node: &str) -> Rc<[u32]> {
    thread_local! {
        // The places stay the same as long as the node has its name; 50 checksums for each Service would cost more than all the rest.
        static KNOWN: RefCell<HashMap<Box<str>, Rc<[u32]>>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        if let Some(places) = known.get(node) {
            return Rc::clone(places);
        }
        if known.len() >= CACHED_NODES {
            known.clear();
        }
        let mut places: Vec<u32> = (0..PLACES_PER_NODE)
            .map(|number| crc32fast::hash(format!("{number}{node}").as_bytes()))
            .collect();
        places.sort_unstable();
        let places: Rc<[u32]> = places.into();
        known.insert(node.into(), Rc::clone(&places));
        places
    })
}

/// The distance from `from` to the next place of the node, clockwise.
pub(super) fn distance(node: &str, from: u32) -> u32 {
    let places = places(node);
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
        assert_eq!(distance("node-1", last), 0);
        assert_eq!(distance("node-1", last + 1), first.wrapping_sub(last + 1));
    }
}
