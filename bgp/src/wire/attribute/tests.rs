// SPDX-License-Identifier: Apache-2.0
//! Every attribute as its RFC writes it, and what RFC 7606 wants where it is written otherwise.

use super::*;
use crate::Family;
use crate::wire::{AttributeAction, Context, Segment, SegmentKind};
use hex_literal::hex;

const EXTERNAL: Context =
    Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false };
const INTERNAL: Context =
    Context { four_octet_asn: true, internal: true, enhanced_route_refresh: false };
const OLD: Context =
    Context { four_octet_asn: false, internal: false, enhanced_route_refresh: false };

fn prefixes(family: Family, text: &[&str]) -> Prefixes {
    Prefixes::new(family, text.iter().map(|text| text.parse().unwrap()))
}

fn both_ways(attribute: Attribute, context: Context, golden: &[u8]) {
    let mut out = vec![0xa5];
    attribute.encode(context, &mut out).unwrap();
    assert_eq!(out[1..], *golden, "{attribute:?}");
    let read = Attributes::decode(Bytes::copy_from_slice(golden), context).unwrap();
    assert_eq!((read.attributes, read.flaws), (vec![attribute], vec![]));
}

#[test]
fn every_attribute_is_the_bytes_of_its_rfc() {
    // Each built by hand from the section that the type names.
    let identifier = Ipv4Addr::new(192, 0, 2, 1);
    let set = Segment { kind: SegmentKind::Set, asns: vec![1, 2] };
    let mut path = AsPath::sequence(4_200_000_000, 2);
    path.0.push(set);
    both_ways(Attribute::Origin(Origin::Igp), EXTERNAL, &hex!("40 01 01 00"));
    both_ways(Attribute::Origin(Origin::Incomplete), EXTERNAL, &hex!("40 01 01 02"));
    both_ways(
        Attribute::AsPath(path.clone()),
        EXTERNAL,
        &hex!("40 02 14" "02 02 fa56ea00 fa56ea00" "01 02 00000001 00000002"),
    );
    both_ways(Attribute::AsPath(AsPath::default()), INTERNAL, &hex!("40 02 00"));
    both_ways(Attribute::AsPath(AsPath::sequence(65000, 1)), OLD, &hex!("40 02 04 02 01 fde8"));
    both_ways(Attribute::NextHop(identifier), EXTERNAL, &hex!("40 03 04 c0000201"));
    both_ways(Attribute::MultiExitDisc(50), EXTERNAL, &hex!("80 04 04 00000032"));
    both_ways(Attribute::LocalPref(100), INTERNAL, &hex!("40 05 04 00000064"));
    both_ways(Attribute::AtomicAggregate, EXTERNAL, &hex!("40 06 00"));
    both_ways(
        Attribute::Aggregator(4_200_000_000, identifier),
        EXTERNAL,
        &hex!("c0 07 08 fa56ea00 c0000201"),
    );
    both_ways(Attribute::Aggregator(65000, identifier), OLD, &hex!("c0 07 06 fde8 c0000201"));
    both_ways(
        Attribute::Communities(vec![0xffff_0000, 0xfde8_0064]),
        EXTERNAL,
        &hex!("c0 08 08 ffff0000 fde80064"),
    );
    both_ways(Attribute::OriginatorId(identifier), INTERNAL, &hex!("80 09 04 c0000201"));
    both_ways(Attribute::ClusterList(vec![1]), INTERNAL, &hex!("80 0a 04 00000001"));
    both_ways(
        Attribute::ExtendedCommunities(vec![hex!("0002 fde8 00000064")]),
        EXTERNAL,
        &hex!("c0 10 08 0002fde800000064"),
    );
    both_ways(
        Attribute::As4Path(AsPath::sequence(4_200_000_000, 1)),
        OLD,
        &hex!("c0 11 06 02 01 fa56ea00"),
    );
    both_ways(
        Attribute::As4Aggregator(4_200_000_000, identifier),
        OLD,
        &hex!("c0 12 08 fa56ea00 c0000201"),
    );
    both_ways(
        Attribute::LargeCommunities(vec![[64496, 1, 2]]),
        EXTERNAL,
        &hex!("c0 20 0c 0000fbf0 00000001 00000002"),
    );
    both_ways(Attribute::OnlyToCustomer(65000), EXTERNAL, &hex!("c0 23 04 0000fde8"));
    both_ways(
        Attribute::Unknown {
            transitive: true,
            partial: true,
            code: 99,
            value: Bytes::from_static(&[7]),
        },
        EXTERNAL,
        &hex!("e0 63 01 07"),
    );
}

#[test]
fn multiprotocol_attributes_are_the_bytes_of_rfc_4760_2545_and_8950() {
    let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
    let v6 = prefixes(Family::Ipv6, &["2001:db8:1::/48"]);
    let reach = |next_hop, prefixes: &Prefixes| {
        Attribute::MpReach(MpReach { next_hop, prefixes: prefixes.clone() })
    };
    // Built by hand: RFC 4760 §3 with the next hop of RFC 2545 §3, once alone and once with the link-local address.
    both_ways(
        reach(NextHop::Ipv6 { global, link_local: None }, &v6),
        EXTERNAL,
        &hex!("80 0e 1c 0002 01 10 20010db8000000000000000000000001 00 30 20010db80001"),
    );
    both_ways(
        reach(NextHop::Ipv6 { global, link_local: Some(link_local) }, &v6),
        EXTERNAL,
        &hex!("80 0e 2c 0002 01 20 20010db8000000000000000000000001"
              "fe800000000000000000000000000001 00 30 20010db80001"),
    );
    // Built by hand: RFC 8950 §3, and the same family with a next hop of its own (RFC 4760 §3).
    let v4 = prefixes(Family::Ipv4, &["192.0.2.1/32"]);
    both_ways(
        reach(NextHop::Ipv6 { global, link_local: None }, &v4),
        EXTERNAL,
        &hex!("80 0e 1a 0001 01 10 20010db8000000000000000000000001 00 20 c0000201"),
    );
    both_ways(
        reach(NextHop::Ipv4(Ipv4Addr::new(192, 0, 2, 7)), &v4),
        EXTERNAL,
        &hex!("80 0e 0e 0001 01 04 c0000207 00 20 c0000201"),
    );
    // Built by hand: RFC 4760 §4.
    both_ways(Attribute::MpUnreach(v6), EXTERNAL, &hex!("80 0f 0a 0002 01 30 20010db80001"));
}

#[test]
fn a_long_attribute_has_two_octets_of_length() {
    let communities: Vec<u32> = (0..64).collect();
    let attribute = Attribute::Communities(communities);
    let mut out = Vec::new();
    attribute.encode(EXTERNAL, &mut out).unwrap();
    assert_eq!(out[..8], hex!("d0 08 0100 00000000"));
    both_ways(attribute, EXTERNAL, &out);
    let endless = Attribute::Communities(vec![0; 16_384]);
    assert_eq!(endless.encode(EXTERNAL, &mut Vec::new()), Err(super::super::TooLong));
}

fn flaw(octets: &[u8], context: Context) -> AttributeAction {
    let read = Attributes::decode(Bytes::copy_from_slice(octets), context).unwrap();
    assert_eq!((read.attributes.len(), read.flaws.len()), (0, 1), "{octets:?}");
    read.flaws[0].action
}

#[test]
fn errors_have_the_action_of_rfc_7606() {
    use AttributeAction::{AfiSafiDisable, Discard, TreatAsWithdraw};
    for (octets, action) in [
        (&hex!("40 01 01 03")[..], TreatAsWithdraw),
        (&hex!("40 01 02 0000"), TreatAsWithdraw),
        (&hex!("c0 01 01 00"), TreatAsWithdraw),
        (&hex!("00 01 01 00"), TreatAsWithdraw),
        (&hex!("40 02 02 02 00"), TreatAsWithdraw),
        (&hex!("40 02 06 02 01 00000000"), TreatAsWithdraw),
        (&hex!("40 03 03 c00002"), TreatAsWithdraw),
        (&hex!("80 04 03 000000"), TreatAsWithdraw),
        (&hex!("40 05 04 00000064"), Discard),
        (&hex!("40 06 01 00"), Discard),
        (&hex!("c0 07 06 fde8 c0000201"), Discard),
        (&hex!("c0 08 00"), TreatAsWithdraw),
        (&hex!("c0 08 05 0000000000"), TreatAsWithdraw),
        (&hex!("80 09 04 c0000201"), Discard),
        (&hex!("80 0a 04 c0000201"), Discard),
        (&hex!("80 0e 02 0002"), AfiSafiDisable),
        (&hex!("80 0e 05 0002 01 04 00"), AfiSafiDisable),
        (&hex!("80 0e 09 0002 01 04 c0000201 00"), AfiSafiDisable),
        (&hex!("80 0e 0a 0001 01 04 c0000201 00 21"), AfiSafiDisable),
        (&hex!("80 0f 02 0001"), AfiSafiDisable),
        (&hex!("80 0f 04 0002 01 81"), AfiSafiDisable),
        (&hex!("c0 10 07 00000000000000"), TreatAsWithdraw),
        (&hex!("c0 11 06 02 01 00000001"), Discard),
        (&hex!("c0 12 08 00000001 c0000201"), Discard),
        (&hex!("c0 20 0b 0000000000000000000000"), TreatAsWithdraw),
        (&hex!("c0 23 03 000000"), TreatAsWithdraw),
        (&hex!("40 01 02 00"), TreatAsWithdraw),
        (&hex!("40 01"), TreatAsWithdraw),
        (&hex!("50 01 00"), TreatAsWithdraw),
    ] {
        assert_eq!(flaw(octets, EXTERNAL), action, "{octets:02x?}");
    }
    assert_eq!(flaw(&hex!("40 05 03 000000"), INTERNAL), TreatAsWithdraw);
    assert_eq!(flaw(&hex!("80 09 03 000000"), INTERNAL), TreatAsWithdraw);
    assert_eq!(flaw(&hex!("80 0a 00"), INTERNAL), TreatAsWithdraw);
    assert_eq!(flaw(&hex!("c0 11 02 02 00"), OLD), Discard);
    assert_eq!(flaw(&hex!("c0 12 06 0001 c0000201"), OLD), Discard);
}

#[test]
fn a_second_attribute_is_dropped_but_a_second_mp_reach_ends_the_session() {
    let twice = hex!("40 01 01 00" "40 01 01 01");
    let read = Attributes::decode(Bytes::copy_from_slice(&twice), EXTERNAL).unwrap();
    assert_eq!(read.attributes, [Attribute::Origin(Origin::Igp)]);
    assert_eq!(read.flaws[0].action, AttributeAction::Discard);
    let twice = hex!("80 0f 03 0002 01" "80 0f 03 0001 01");
    let error = Attributes::decode(Bytes::copy_from_slice(&twice), EXTERNAL).unwrap_err();
    assert_eq!((error.notification().code, error.notification().subcode), (3, 1));
}

#[test]
fn an_unknown_well_known_attribute_ends_the_session_and_is_sent_back() {
    let octets = Bytes::from_static(&hex!("40 63 01 07"));
    let error = Attributes::decode(octets, EXTERNAL).unwrap_err();
    let notification = error.notification();
    assert_eq!((notification.code, notification.subcode), (3, 2));
    assert_eq!(notification.data, hex!("40 63 01 07"), "as it came (RFC 4271 §6.3)");
    let long = Bytes::from_static(&hex!("50 63 0001 07"));
    let error = Attributes::decode(long, EXTERNAL).unwrap_err();
    assert_eq!(error.notification().data, hex!("50 63 0001 07"));
}

#[test]
fn confederation_segments_come_from_inside_the_confederation_only() {
    // Built by hand from RFC 5065 §3: AS_CONFED_SEQUENCE of 65001, AS_CONFED_SET of 65002.
    let octets = hex!("40 02 0c 03 01 0000fde9 04 01 0000fdea");
    let segment = |kind, asn| Segment { kind, asns: vec![asn] };
    let path = AsPath(vec![
        segment(SegmentKind::ConfederationSequence, 65001),
        segment(SegmentKind::ConfederationSet, 65002),
    ]);
    both_ways(Attribute::AsPath(path), INTERNAL, &octets);
    assert_eq!(flaw(&octets, EXTERNAL), AttributeAction::TreatAsWithdraw, "RFC 5065 §5");
    // RFC 6793 §6: left out of AS4_PATH, which stays.
    let octets = Bytes::from_static(&hex!("c0 11 0c 03 01 0000fde9 02 01 fa56ea00"));
    let read = Attributes::decode(octets, OLD).unwrap();
    let path = AsPath::sequence(4_200_000_000, 1);
    assert_eq!((read.attributes, read.flaws), (vec![Attribute::As4Path(path)], vec![]));
}

#[test]
fn prefixes_under_wrong_flags_are_read_to_be_withdrawn() {
    let octets = Bytes::from_static(&hex!("c0 0e 0b 0001 01 04 c0000201 00 08 0a"));
    let read = Attributes::decode(octets, EXTERNAL).unwrap();
    assert!(
        matches!(read.attributes.as_slice(), [Attribute::MpReach(reach)] if reach.prefixes.len() == 1)
    );
    assert_eq!(read.flaws[0].action, AttributeAction::TreatAsWithdraw);
}

#[test]
fn a_family_that_we_do_not_speak_is_kept_as_it_is() {
    let golden = hex!("80 0e 05 0019 46 00 00");
    let read = Attributes::decode(Bytes::copy_from_slice(&golden), EXTERNAL).unwrap();
    assert!(matches!(read.attributes.as_slice(), [Attribute::Unknown { code: 14, .. }]));
    let mut out = Vec::new();
    read.attributes[0].encode(EXTERNAL, &mut out).unwrap();
    assert_eq!(out, golden);
}
