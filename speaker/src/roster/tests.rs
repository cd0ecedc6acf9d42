// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::*;

#[test]
fn metadata_is_read_back() {
    let facts = Facts {
        generation: 0x0a,
        leaving: true,
        silent: false,
        drained: true,
        behind: true,
        sticky: false,
        spread: true,
        links: PoolLinks { digest: 0x0102_0304, bits: vec![0x80, 1] },
    };
    let bytes = facts.encode();
    assert_eq!(bytes, b"ferrolb\x01\x35\0\0\0\0\0\0\0\x0a\x01\x02\x03\x04\x80\x01");
    assert_eq!(Member::parse(&bytes), Member::Ferrolb(facts));
    for foreign in [&b""[..], b"ferrolb", b"ferrolb\x00\x00\x00\x00\x00\x00", b"something else"] {
        assert_eq!(Member::parse(foreign), Member::MetalLb, "{foreign:?}");
    }
}

/// A fleet is upgraded node by node: builds of two versions are in one ring.
#[test]
fn metadata_of_a_later_build_is_read_as_far_as_it_is_known_here() {
    let links = PoolLinks { digest: 7, bits: vec![0x80] };
    let facts = Facts { generation: 5, silent: true, links, ..Facts::default() };
    let mut later = facts.encode();
    later[MAGIC.len() + 1] |= 0xc0;
    assert_eq!(
        Member::parse(&later),
        Member::Ferrolb(facts.clone()),
        "flags without a meaning here"
    );
    later.extend_from_slice(b"more");
    let Member::Ferrolb(read) = Member::parse(&later) else { panic!("it is one of ours") };
    let known = PoolLinks { digest: 7, bits: read.links.bits[..1].to_vec() };
    assert_eq!(Facts { links: known, ..read }, facts);
}

/// What it says cannot be judged, and it would not understand what is told to it: the memberlist and MetalLB's election are what is left.
#[test]
fn a_speaker_of_another_version_counts_as_one_of_metallb() {
    for version in [0, VERSION + 1, 0xff] {
        let mut other = Facts { generation: 5, silent: true, ..Facts::default() }.encode();
        other[MAGIC.len()] = version;
        assert_eq!(Member::parse(&other), Member::MetalLb, "{version}");
        let members =
            [("a".into(), Member::parse(&other)), ("b".into(), Member::Ferrolb(Facts::default()))];
        let members = Members::Alive(members.into());
        assert!(members.is_mixed() && members.contains("a") && !members.is_ferrolb("a"));
    }
}

proptest! {
    #[test]
    fn no_metadata_panics(bytes in prop::collection::vec(any::<u8>(), 0..520)) {
        let mut marked = MAGIC.to_vec();
        marked.extend(&bytes);
        for bytes in [&bytes, &marked] {
            if let Member::Ferrolb(facts) = Member::parse(bytes) {
                prop_assert_eq!(Facts::decode(&facts.encode()), Some(facts));
            }
        }
    }
}
