// SPDX-License-Identifier: Apache-2.0
//! The program on a small interpreter of classic BPF, against the plain meaning of ranges.
#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]

use super::*;
use crate::MacAddress;
use crate::frame::arp::{Arp, Operation};
use crate::frame::ndp::Ndp;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// What the kernel knows of a frame beside its octets.
#[derive(Clone, Copy, Default)]
struct Meta {
    packet_type: u32,
    vlan: bool,
}

/// Runs a program as the kernel does: a load beyond the frame drops it. Panics on what the kernel would refuse.
fn accepts(program: &[Instruction], frame: &[u8], meta: Meta) -> bool {
    assert!(program.len() < MOST_INSTRUCTIONS, "{} instructions", program.len());
    let (mut at, mut a) = (0_usize, 0_u32);
    loop {
        let Instruction { code, jump_true, jump_false, k } = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jump_true } else { jump_false });
        let load = |size: usize| {
            let from = usize::try_from(k).unwrap();
            frame
                .get(from..from + size)
                .map(|b| b.iter().fold(0, |sum, b| sum << 8 | u32::from(*b)))
        };
        let loaded = match code {
            LOAD_WORD if k == PACKET_TYPE => Some(meta.packet_type),
            LOAD_WORD if k == VLAN_TAG_PRESENT => Some(meta.vlan.into()),
            LOAD_WORD => load(4),
            LOAD_HALF => load(2),
            LOAD_BYTE => load(1),
            JUMP => {
                at += usize::try_from(k).unwrap();
                Some(a)
            }
            JUMP_EQUAL => {
                at += jump(a == k);
                Some(a)
            }
            JUMP_GREATER => {
                at += jump(a > k);
                Some(a)
            }
            JUMP_NOT_LESS => {
                at += jump(a >= k);
                Some(a)
            }
            RETURN => return k > 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        let Some(value) = loaded else { return false };
        a = value;
    }
}

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);

fn request(target: u32) -> Vec<u8> {
    Arp::probe(MAC, Ipv4Addr::from_bits(target)).emit().as_bytes().to_vec()
}

fn solicitation(low: u32) -> Vec<u8> {
    let target = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(low));
    Ndp::probe(MAC, "fe80::7".parse().unwrap(), target).emit().as_bytes().to_vec()
}

fn inside(ranges: &[Range], key: u32) -> bool {
    ranges.iter().any(|range| range.contains(key))
}

/// Keys worth trying: all edges and their neighbours.
fn edges(ranges: &[Range]) -> Vec<u32> {
    ranges
        .iter()
        .flat_map(|r| [r.first.saturating_sub(1), r.first, r.last, r.last.saturating_add(1)])
        .chain([0, u32::MAX])
        .collect()
}

fn keys() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        prop::collection::vec(any::<u32>(), 0..60),
        prop::collection::vec(0xc0a8_0000_u32..0xc0a8_0400, 0..400),
        prop::collection::vec(any::<u32>(), 900..1600),
        prop::collection::vec(
            prop_oneof![Just(0), Just(1), Just(u32::MAX), Just(u32::MAX - 1)],
            0..4
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_program_accepts_exactly_the_union_of_ranges(keys in keys(), others in prop::collection::vec(any::<u32>(), 20)) {
        let ranges = cover(keys, 0, MOST_RANGES);
        let (arp, ndp) = (program(Protocol::Arp, &ranges), program(Protocol::Ndp, &ranges));
        for key in edges(&ranges).into_iter().chain(others) {
            prop_assert_eq!(accepts(&arp, &request(key), Meta::default()), inside(&ranges, key), "{}", key);
            prop_assert_eq!(accepts(&ndp, &solicitation(key), Meta::default()), inside(&ranges, key), "{}", key);
        }
    }

    #[test]
    fn covering_only_grows_and_is_bounded(keys in keys(), widen in 0_u32..=32, most in 1_usize..50) {
        let exact = cover(keys.clone(), 0, usize::MAX);
        let coarse = cover(keys.clone(), widen, most);
        prop_assert!(coarse.len() <= most);
        prop_assert!(keys.iter().all(|key| inside(&coarse, *key)));
        prop_assert!(exact.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        prop_assert!(coarse.windows(2).all(|pair| pair[0].last < pair[1].first));
        let mut distinct = keys;
        distinct.sort_unstable();
        distinct.dedup();
        let size: u64 = exact.iter().map(|r| u64::from(r.last) - u64::from(r.first) + 1).sum();
        prop_assert_eq!(size, u64::try_from(distinct.len()).unwrap());
    }

    #[test]
    fn arbitrary_octets_never_break_the_program(frame in prop::collection::vec(any::<u8>(), 0..120)) {
        let ranges = cover(vec![1, 5, 9], 0, MOST_RANGES);
        accepts(&program(Protocol::Arp, &ranges), &frame, Meta::default());
        accepts(&program(Protocol::Ndp, &ranges), &frame, Meta::default());
    }
}

#[test]
fn the_largest_program_fits() {
    let scattered: Vec<u32> = (0..5_000).map(|n| n * 100_003).collect();
    let ranges = cover(scattered, 0, MOST_RANGES);
    assert_eq!(ranges.len(), MOST_RANGES);
    let program = program(Protocol::Ndp, &ranges);
    assert!(program.len() < 2_200, "{}", program.len());
    for key in edges(&ranges) {
        assert_eq!(accepts(&program, &solicitation(key), Meta::default()), inside(&ranges, key));
    }
}

#[test]
fn an_empty_set_lets_nothing_through() {
    assert!(!accepts(&program(Protocol::Arp, &[]), &request(1), Meta::default()));
}

#[test]
fn our_own_frames_others_frames_and_tagged_ones_are_dropped() {
    let program = program(Protocol::Arp, &cover(vec![7], 0, MOST_RANGES));
    let meta = |packet_type, vlan| Meta { packet_type, vlan };
    for packet_type in [0, 1, 2] {
        assert!(accepts(&program, &request(7), meta(packet_type, false)));
        assert!(!accepts(&program, &request(7), meta(packet_type, true)));
    }
    for packet_type in [3, 4, 5] {
        assert!(!accepts(&program, &request(7), meta(packet_type, false)));
    }
}

#[test]
fn replies_are_known_by_their_sender_and_other_operations_dropped() {
    let program = program(Protocol::Arp, &cover(vec![7], 0, MOST_RANGES));
    let reply = |sender: u32, target: u32| {
        let arp = Arp {
            target: Ipv4Addr::from_bits(target),
            ..Arp::announcement(Operation::Reply, MAC, Ipv4Addr::from_bits(sender))
        };
        arp.emit().as_bytes().to_vec()
    };
    assert!(accepts(&program, &reply(7, 8), Meta::default()));
    assert!(!accepts(&program, &reply(8, 7), Meta::default()));
    let mut other = request(7);
    other[21] = 3;
    assert!(!accepts(&program, &other, Meta::default()));
}

#[test]
fn other_icmpv6_and_other_headers_are_dropped() {
    let program = program(Protocol::Ndp, &cover(vec![7], 0, MOST_RANGES));
    for (offset, value, passes) in
        [(54, 136, true), (54, 128, false), (54, 134, false), (20, 17, false), (20, 0, false)]
    {
        let mut frame = solicitation(7);
        frame[offset] = value;
        assert_eq!(accepts(&program, &frame, Meta::default()), passes, "{offset} {value}");
    }
}

#[test]
fn a_thousand_addresses_in_a_row_cost_few_filters_and_each_passes_at_once() {
    let (mut plan, start) = (FilterPlan::default(), Instant::now());
    let (mut keys, mut replaced) = (Vec::new(), 0);
    for n in 0..1_000_u32 {
        let now = start + Duration::from_millis(u64::from(n));
        let key = n.wrapping_mul(2_654_435_761);
        keys.push(key);
        plan.add(now, key);
        if plan.is_due(now) && plan.replace(now, keys.clone()).is_some() {
            replaced += 1;
        }
        assert!(plan.passes(key), "{n}");
    }
    assert!(replaced <= 6, "{replaced}");
    let quiet = plan.deadline().unwrap();
    assert!(plan.is_due(quiet));
    let exact = plan.replace(quiet, keys.clone()).unwrap();
    assert_eq!(exact, cover(keys, 0, MOST_RANGES));
    assert_eq!(plan.deadline(), None);
}

#[test]
fn a_kernel_with_little_room_gets_shorter_programs() {
    let (mut plan, now) = (FilterPlan::default(), Instant::now());
    let keys: Vec<u32> = (0..100).map(|n| n * 10).collect();
    keys.iter().for_each(|key| plan.add(now, *key));
    assert_eq!(plan.replace(now, keys.clone()).unwrap().len(), 100);
    assert!(plan.too_long() && plan.is_due(now));
    let shorter = plan.replace(now, keys.clone()).unwrap();
    assert!(shorter.len() <= 50 && keys.iter().all(|key| inside(&shorter, *key)));
    while plan.too_long() {
        plan.replace(now, keys.clone());
    }
    assert_eq!(plan.replace(now, keys).unwrap().len(), 1);
}
