// SPDX-License-Identifier: Apache-2.0
//! Antrea's ring (contract C.6): consistent hashing, so that a node that goes moves only its own addresses.
//!
//! Each node stands on a circle of 2^32 places at 50 of them; an address belongs to the node at the first taken place from its own on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How many places a node has.
const PLACES: usize = 50;

/// Places of so many nodes are remembered, which is more than a cluster has; then all are forgotten.
const REMEMBERED: usize = 10_000;

/// CRC-32 as IEEE 802.3 has it, reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// The checksum of every octet.
const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut octet = 0_u32;
    let mut rest: &mut [u32] = &mut table;
    while let [entry, more @ ..] = rest {
        let (mut crc, mut bit) = (octet, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        *entry = crc;
        octet += 1;
        rest = more;
    }
    table
}

/// CRC-32 (IEEE) of some octets.
#[must_use]
pub fn crc32(octets: impl IntoIterator<Item = u8>) -> u32 {
    !octets.into_iter().fold(u32::MAX, |crc, octet| {
        let [low, ..] = crc.to_le_bytes();
        TABLE.get(usize::from(low ^ octet)).copied().unwrap_or_default() ^ (crc >> 8)
    })
}

/// Where an address stands, by its canonical text.
pub(super) fn place(address: &str) -> u32 {
    crc32(address.bytes())
}

/// The places of a node, ascending.
fn places(node: &str) -> Rc<[u32]> {
    thread_local! {
        // The same for as long as the node has its name: 50 checksums for each Service would cost more than all the rest.
        static KNOWN: RefCell<HashMap<Box<str>, Rc<[u32]>>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        if let Some(places) = known.get(node) {
            return Rc::clone(places);
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let mut places: Vec<u32> = (0..PLACES)
            .map(|number| crc32(number.to_string().bytes().chain(node.bytes())))
            .collect();
        places.sort_unstable();
        let places: Rc<[u32]> = places.into();
        known.insert(node.into(), Rc::clone(&places));
        places
    })
}

/// How far it is from `from` to the next place of the node, clockwise.
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
        assert_eq!(crc32("0node-1".bytes()), 0x973f_c7d0);
        assert_eq!(crc32("10.10.0.2".bytes()), 0x0c5d_d83c);
        assert_eq!(crc32("123456789".bytes()), 0xcbf4_3926, "the check value of CRC-32");
    }

    #[test]
    fn the_circle_closes() {
        let last = places("node-1").last().copied().unwrap();
        let first = places("node-1").first().copied().unwrap();
        assert_eq!(distance("node-1", last), 0);
        assert_eq!(distance("node-1", last + 1), first.wrapping_sub(last + 1));
    }
}
