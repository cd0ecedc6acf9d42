// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::*;
use crate::members::{RingSpeaker, RingSpeakers};

#[test]
fn metadata_is_read_back() {
    let metadata = NodeMetadata {
        generation: 0x0a,
        leaving: true,
        silent: false,
        drained: true,
        unsynchronised: true,
        sticky: false,
        spread: true,
        elects_services: true,
        by_link: false,
        links: PoolLinks { digest: 0x0102_0304, bits: vec![0x80, 1] },
        node_links: NodeLinks::Unknown,
    };
    let bytes = metadata.encode();
    let before = b"ferrolb\x01\x35\0\0\0\0\0\0\0\x0a\x01\x02\x03\x04\x80\x01";
    assert_eq!(bytes, before, "as of builds that say nothing of links");
    assert_eq!(RingSpeaker::parse(&bytes), RingSpeaker::Ferrolb(metadata.clone()));
    let links = b"\x05\x04eth0\x05\x02\x18\x0a\0\x01\x61\x20\x01\x0d\xb8\0\0\0\0\x04eth1\0\0";
    let mut bytes = [&before[..], links, b"\0\x1c"].concat();
    bytes[MAGIC.len() + 1] |= LINKS;
    let node_links = NodeLinks::decode(links);
    assert!(
        matches!(&node_links, NodeLinks::Said(links) if format!("{links:?}").contains("2001:db8::/64"))
    );
    let metadata = NodeMetadata { node_links, ..metadata };
    assert_eq!(RingSpeaker::parse(&bytes), RingSpeaker::Ferrolb(metadata.clone()));
    assert_eq!(metadata.encode(), bytes, "as of builds that elect each Service by itself");
    let metadata = NodeMetadata { elects_services: false, ..metadata };
    bytes[MAGIC.len() + 1] |= MORE;
    bytes.insert(before.len(), ADDRESSES);
    assert_eq!(RingSpeaker::parse(&bytes), RingSpeaker::Ferrolb(metadata.clone()));
    assert_eq!(metadata.encode(), bytes);
    let metadata = NodeMetadata { by_link: true, ..metadata };
    bytes[before.len()] |= BY_LINK;
    assert_eq!(RingSpeaker::parse(&bytes), RingSpeaker::Ferrolb(metadata.clone()));
    assert_eq!(metadata.encode(), bytes);
    for foreign in [&b""[..], b"ferrolb", b"ferrolb\x00\x00\x00\x00\x00\x00", b"something else"] {
        assert_eq!(RingSpeaker::parse(foreign), RingSpeaker::MetalLb, "{foreign:?}");
    }
}

/// A fleet is upgraded node by node: builds of two versions are in one ring.
#[test]
fn metadata_of_a_later_build_is_read_as_far_as_it_is_known_here() {
    let links = PoolLinks { digest: 7, bits: vec![0x80] };
    let metadata = NodeMetadata { generation: 5, silent: true, links, ..NodeMetadata::default() };
    let mut later = metadata.encode();
    // The number of the links' octets stands behind the further flags.
    let further = later.len() - 3;
    later[further] |= !(ADDRESSES | BY_LINK);
    assert_eq!(
        RingSpeaker::parse(&later),
        RingSpeaker::Ferrolb(metadata.clone()),
        "flags without a meaning here"
    );
    let end = further;
    later.splice(end..end, *b"more");
    let RingSpeaker::Ferrolb(read) = RingSpeaker::parse(&later) else {
        panic!("it is one of ours")
    };
    let known = PoolLinks { digest: 7, bits: read.links.bits[..1].to_vec() };
    assert_eq!(NodeMetadata { links: known, ..read }, metadata);
}

/// Metadata of another version cannot be judged, and that speaker would not understand our messages: the memberlist and MetalLB's election
/// are left.
#[test]
fn a_speaker_of_another_version_counts_as_one_of_metallb() {
    for version in [0, VERSION + 1, 0xff] {
        let mut other =
            NodeMetadata { generation: 5, silent: true, ..NodeMetadata::default() }.encode();
        other[MAGIC.len()] = version;
        assert_eq!(RingSpeaker::parse(&other), RingSpeaker::MetalLb, "{version}");
        let members = [
            ("a".into(), RingSpeaker::parse(&other)),
            ("b".into(), RingSpeaker::Ferrolb(NodeMetadata::default())),
        ];
        let members = RingSpeakers::Alive(members.into());
        assert!(members.is_mixed() && members.contains("a") && !members.is_ferrolb("a"));
    }
}

/// Links that do not fit into 512 octets are not published at all: the others would see other links than the node itself.
#[test]
fn what_does_not_fit_is_not_said() {
    let said = |count: usize| {
        let link = |number: usize| format!("\u{6}eth{number:03}\u{1}\u{0}");
        let links: String = (0..count).map(link).collect();
        NodeLinks::decode(&[b"\x03", links.as_bytes()].concat())
    };
    for (bits, links, fits) in
        [(0, 54, true), (0, 55, false), (480, 0, true), (479, 1, false), (478, 1, true)]
    {
        let mut metadata = NodeMetadata::default();
        metadata.set_links(PoolLinks { digest: 7, bits: vec![0xff; bits] }, said(links));
        assert_eq!(matches!(metadata.node_links, NodeLinks::Said(_)), fits, "{bits} {links}");
        let bytes = metadata.encode();
        assert!(bytes.len() <= members::META, "{}", bytes.len());
        assert_eq!(NodeMetadata::decode(&bytes), Some(metadata));
    }
}

proptest! {
    #[test]
    fn no_metadata_panics(bytes in prop::collection::vec(any::<u8>(), 0..520)) {
        let mut marked = MAGIC.to_vec();
        marked.extend(&bytes);
        for bytes in [&bytes, &marked] {
            if let RingSpeaker::Ferrolb(metadata) = RingSpeaker::parse(bytes) {
                prop_assert_eq!(NodeMetadata::decode(&metadata.encode()), Some(metadata));
            }
        }
    }
}
