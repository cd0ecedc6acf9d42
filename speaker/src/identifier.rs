// SPDX-License-Identifier: Apache-2.0
//! The BGP identifier of a node (contract 5.6, RFC 6286). Pure.
//!
//! RFC 6286 takes every number but zero. Before it an identifier was an address of a host (RFC 4271 §6.2), and routers of then
//! (FRR up to 7.4 among them) answer others with NOTIFICATION 2/3. So only such numbers are chosen here.

use std::net::{IpAddr, Ipv4Addr};

use crds::config::Peer;

use crate::sessions::Way;
use ownership::fnv::fnv1a;

/// How many identifiers all routers take: 1.0.0.0 to 223.255.255.255 without 127.0.0.0/8.
const TAKEN: u64 = 222 << 24;

/// The peer's routerID, else our address towards it, else the first IPv4 address of that interface, else a number made from
/// the node's name ([`identifier_of_name`]). Of addresses only such as all routers take.
#[must_use]
pub fn identifier(peer: &Peer, way: &Way, node: &str) -> Ipv4Addr {
    let local = match way.local {
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(_)) | None => None,
    };
    let usable = |address: &Ipv4Addr| routers_take(*address);
    peer.router_id
        .or(local.filter(usable))
        .or(way.first_ipv4.filter(usable))
        .unwrap_or_else(|| identifier_of_name(node))
}

/// Whether routers of any age take it as an identifier.
#[must_use]
pub const fn routers_take(identifier: Ipv4Addr) -> bool {
    let [first, ..] = identifier.octets();
    matches!(first, 1..=126 | 128..=223)
}

/// The identifier of a node that has no IPv4 address. It depends on nothing but the name: MetalLB's number (CRC-32, little
/// endian) where all routers take it, which is so for 222 names of 256, else one of another hash (FNV-1a). Two names have the same
/// with a chance of 1 in 3.7 thousand million, so two of 1,000 nodes with one of 1 in 7,500 (0.013 %).
#[must_use]
pub fn identifier_of_name(node: &str) -> Ipv4Addr {
    let number = Ipv4Addr::from(crc32fast::hash(node.as_bytes()).to_le_bytes());
    if routers_take(number) { number } else { taken(fnv1a(node.bytes())) }
}

/// Spreads all numbers over the identifiers that all routers take.
fn taken(hash: u32) -> Ipv4Addr {
    let place = u32::try_from((u64::from(hash) * TAKEN) >> 32).unwrap_or(0);
    let from_one = place + (1 << 24);
    // Without 127.0.0.0/8.
    Ipv4Addr::from(if from_one < 127 << 24 { from_one } else { from_one + (1 << 24) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_ends_of_what_routers_take_are_reached_and_not_passed() {
        let first = |hash| taken(hash).octets()[0];
        assert_eq!(taken(0), Ipv4Addr::new(1, 0, 0, 0));
        assert_eq!(taken(u32::MAX), Ipv4Addr::new(223, 255, 255, 255));
        let firsts: BTreeSet<u8> = (0..=0xffff).map(|high| first(high << 16)).collect();
        assert_eq!(firsts.len(), 222);
        assert!((0..=0xffff).all(|high| routers_take(taken(high << 16 | 0xffff))));
        for (address, taken) in [
            ("0.0.0.0", false),
            ("0.255.255.255", false),
            ("1.0.0.0", true),
            ("126.255.255.255", true),
            ("127.0.0.1", false),
            ("128.0.0.0", true),
            ("223.255.255.255", true),
            ("224.0.0.0", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(routers_take(address.parse().unwrap()), taken, "{address}");
        }
    }

    #[test]
    fn names_have_identifiers_that_all_routers_take_and_hardly_two_the_same() {
        let patterns: [fn(u32) -> String; 4] = [
            |n| format!("node-{n}"),
            |n| {
                format!(
                    "ip-10-{}-{}-{}.eu-central-1.compute.internal",
                    n >> 16,
                    n >> 8 & 255,
                    n & 255
                )
            },
            |n| format!("worker{n:05}"),
            |n| format!("{:08x}-pool-a", n.wrapping_mul(0x9e37_79b9)),
        ];
        for name in patterns {
            let names = 20_000;
            let all: BTreeSet<Ipv4Addr> =
                (0..names).map(|n| identifier_of_name(&name(n))).collect();
            assert!(all.iter().all(|identifier| routers_take(*identifier)));
            // 0.05 pairs are to be expected.
            assert!(all.len() + 3 > names as usize, "{} of {}: {}", all.len(), names, name(0));
        }
    }

    #[test]
    fn it_stays_that_of_metallb_where_all_routers_take_it() {
        // CRC-32 of "node" is 0x857fe845; of "node-2" it is 0x8afb4de5, whose first octet here would be 229.
        assert_eq!(identifier_of_name("node"), Ipv4Addr::new(69, 232, 127, 133));
        let moved = identifier_of_name("node-2");
        assert_ne!(moved, Ipv4Addr::new(229, 77, 251, 138));
        assert_eq!(
            moved,
            taken(fnv1a("node-2".bytes())),
            "the same on every host and after every restart"
        );
    }
}
