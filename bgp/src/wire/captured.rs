// SPDX-License-Identifier: Apache-2.0
//! Messages that real routers sent to us (BIRD 2.0.12, GoBGP 3.10.0 and FRR 8.4.4 of Debian 12, each as AS 4200000000 with the
//! identifier 192.0.2.2, announcing 10.1.0.0/16 and 2001:db8:1::/48), read and, where the form is the one that we use, written
//! again octet by octet.

use bytes::{Bytes, BytesMut};
use hex_literal::hex;

use super::*;
use crate::{Family, HoldTime};

const CONTEXT: Context =
    Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false };
const ASN: u32 = 4_200_000_000;
const V4: AfiSafi = AfiSafi { afi: 1, safi: 1 };
const V6: AfiSafi = AfiSafi { afi: 2, safi: 1 };

// BIRD: local role provider; graceful restart aware; long lived graceful restart; enable extended messages.
const BIRD_OPEN: &[u8] = &hex!(
    "ffffffffffffffffffffffffffffffff 004e 01 04 5ba0 00f0 c0000202 31 022f"
    "010400010001 010400020001 0200 0600 090100 40020078 4104fa56ea00 4600"
    "470e 00010100000e10 00020100000e10"
);
// BIRD: communities (65000,100), large (64502,1,2), extended (rt,65000,100); OTC by its role.
const BIRD_IPV4: &[u8] = &hex!(
    "ffffffffffffffffffffffffffffffff 0056 02 0000 003c"
    "40010100 4002060201fa56ea00 400304c0000202 c00804fde80064 c010080002fde800000064"
    "c0200c0000fbf60000000100000002 c02304fa56ea00 100a01"
);
const BIRD_IPV6: &[u8] = &hex!(
    "ffffffffffffffffffffffffffffffff 005b 02 0000 0044"
    "900e002c 000201 20 20010db8000000000000000000000002 fe80000000000000d8e185fffe2eea50 00 3020010db80001"
    "40010100 4002060201fa56ea00 c02304fa56ea00"
);
// GoBGP: graceful restart with notification for IPv4.
const GOBGP_OPEN: &[u8] = &hex!(
    "ffffffffffffffffffffffffffffffff 004b 01 04 5ba0 005a c0000202 2e 022c"
    "0200 490402766d00 010400010001 010400020001 4104fa56ea00 4006401400010100 4700 0506000100010002"
);
// GoBGP: gobgp global rib add with community, large-community, rt and med.
const GOBGP_IPV4: &[u8] = &hex!(
    "ffffffffffffffffffffffffffffffff 0056 02 0000 003c"
    "40010100 4002060201fa56ea00 400304c0000202 80040400000032 c00804fde80064 c010080002fde800000064"
    "c0200c0000fbf60000000100000002 100a01"
);
// GoBGP: neighbor disable, a Cease without a text.
const GOBGP_NOTIFICATION: &[u8] = &hex!("ffffffffffffffffffffffffffffffff 0015 03 0602");
// FRR: every capability in a parameter of its own, bgp graceful-restart with notification, long-lived stale time 60.
const FRR_OPEN: &[u8] = &hex!(
    "ffffffffffffffffffffffffffffffff 0079 01 04 5ba0 00b4 c0000202 5c"
    "0206010400010001 0206010400020001 02028000 02020200 02024600 02064104fa56ea00 02020600"
    "020a45080001010100020101 0206490402766d00 020c400ac078 00010100 00020100"
    "0210470e 0001018000003c 0002018000003c"
);
// FRR: AS_PATH with an extended length that it does not need.
const FRR_IPV4: &[u8] = &hex!(
    "ffffffffffffffffffffffffffffffff 0036 02 0000 001c"
    "40010100 500200060201fa56ea00 400304c0000202 80040400000000 100a01"
);
// The same octets from all three.
const END_OF_IPV4: &[u8] = &hex!("ffffffffffffffffffffffffffffffff 0017 02 0000 0000");
const END_OF_IPV6: &[u8] = &hex!("ffffffffffffffffffffffffffffffff 001d 02 0000 0006 800f03000201");

fn read(octets: &[u8]) -> Message {
    let mut buffer = BytesMut::from(octets);
    let (kind, body) = next_message(&mut buffer, false).unwrap().unwrap();
    assert!(buffer.is_empty());
    Message::decode(kind, body, CONTEXT).unwrap()
}

fn update(octets: &[u8]) -> Update {
    let Message::Update(decoded) = read(octets) else { panic!("not an UPDATE") };
    assert_eq!(decoded.flaws, []);
    decoded.update
}

fn written(update: &Update) -> Vec<u8> {
    let mut out = Vec::new();
    update.encode(CONTEXT, LONGEST, &mut out).unwrap();
    out
}

fn open(hold_time: u16, capabilities: Vec<Capability>) -> Open {
    let hold_time = HoldTime::from_seconds(hold_time).unwrap();
    Open::new(ASN, hold_time, [192, 0, 2, 2].into(), capabilities)
}

fn restart(
    restarted: bool,
    notification: bool,
    restart_time: u16,
    families: &[AfiSafi],
) -> Capability {
    let family = |family: &AfiSafi| RestartFamily { family: *family, forwarding: false };
    let families = families.iter().map(family).collect();
    Capability::GracefulRestart { restarted, notification, restart_time, families }
}

fn stale(stale_time: u32, forwarding: bool) -> Capability {
    let family = |family| StaleFamily { family, forwarding, stale_time };
    Capability::LongLivedGracefulRestart(vec![family(V4), family(V6)])
}

fn name() -> Capability {
    Capability::Fqdn { host: Bytes::from_static(b"vm"), domain: Bytes::new() }
}

#[test]
fn opens_of_three_implementations_are_understood() {
    let bird = open(
        240,
        vec![
            Capability::Multiprotocol(V4),
            Capability::Multiprotocol(V6),
            Capability::RouteRefresh,
            Capability::ExtendedMessage,
            Capability::Role(0),
            restart(false, false, 120, &[]),
            Capability::FourOctetAsn(ASN),
            Capability::EnhancedRouteRefresh,
            stale(3600, false),
        ],
    );
    let gobgp = open(
        90,
        vec![
            Capability::RouteRefresh,
            name(),
            Capability::Multiprotocol(V4),
            Capability::Multiprotocol(V6),
            Capability::FourOctetAsn(ASN),
            restart(false, true, 20, &[V4]),
            Capability::LongLivedGracefulRestart(vec![]),
            Capability::ExtendedNextHop(vec![(V4, 2)]),
        ],
    );
    for (octets, expected) in [(BIRD_OPEN, bird), (GOBGP_OPEN, gobgp)] {
        let mut out = Vec::new();
        expected.encode(&mut out);
        assert_eq!(out, octets);
        assert_eq!(read(octets), Message::Open(expected));
    }
    let frr = open(
        180,
        vec![
            Capability::Multiprotocol(V4),
            Capability::Multiprotocol(V6),
            Capability::Unknown { code: 128, value: Bytes::new() },
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::FourOctetAsn(ASN),
            Capability::ExtendedMessage,
            Capability::Unknown { code: 69, value: Bytes::from_static(&[0, 1, 1, 1, 0, 2, 1, 1]) },
            name(),
            restart(true, true, 120, &[V4, V6]),
            stale(60, true),
        ],
    );
    assert_eq!(read(FRR_OPEN), Message::Open(frr));
}

#[test]
fn updates_of_three_implementations_are_understood_and_written_the_same() {
    let v4 = || Prefixes::new(Family::Ipv4, ["10.1.0.0/16".parse().unwrap()]);
    let v6 = || Prefixes::new(Family::Ipv6, ["2001:db8:1::/48".parse().unwrap()]);
    let none = || Prefixes::none(Family::Ipv4);
    let origin = || Attribute::Origin(Origin::Igp);
    let path = || Attribute::AsPath(AsPath::sequence(ASN, 1));
    let next_hop = || Attribute::NextHop([192, 0, 2, 2].into());
    let lists = || {
        [
            Attribute::Communities(vec![65000 << 16 | 100]),
            Attribute::ExtendedCommunities(vec![[0, 2, 0xfd, 0xe8, 0, 0, 0, 100]]),
            Attribute::LargeCommunities(vec![[64502, 1, 2]]),
        ]
    };
    let bird = Update {
        withdrawn: none(),
        attributes: [origin(), path(), next_hop()]
            .into_iter()
            .chain(lists())
            .chain([Attribute::OnlyToCustomer(ASN)])
            .collect(),
        announced: v4(),
    };
    let gobgp = Update {
        withdrawn: none(),
        attributes: [origin(), path(), next_hop(), Attribute::MultiExitDisc(50)]
            .into_iter()
            .chain(lists())
            .collect(),
        announced: v4(),
    };
    for (octets, expected) in [(BIRD_IPV4, bird), (GOBGP_IPV4, gobgp)] {
        assert_eq!(update(octets), expected);
        assert_eq!(written(&expected), octets);
    }
    let frr = update(FRR_IPV4);
    assert_eq!(frr.attributes, [origin(), path(), next_hop(), Attribute::MultiExitDisc(0)]);
    assert_eq!(frr.announced, v4());
    let bird = update(BIRD_IPV6);
    let next_hop = NextHop::Ipv6 {
        global: "2001:db8::2".parse().unwrap(),
        link_local: Some("fe80::d8e1:85ff:fe2e:ea50".parse().unwrap()),
    };
    let reach = Attribute::MpReach(MpReach { next_hop, prefixes: v6() });
    assert_eq!(bird.attributes, [reach, origin(), path(), Attribute::OnlyToCustomer(ASN)]);
}

#[test]
fn ends_and_farewells_are_understood_and_written_the_same() {
    for (octets, family) in [(END_OF_IPV4, Family::Ipv4), (END_OF_IPV6, Family::Ipv6)] {
        assert_eq!(update(octets).ends_rib_of(), Some(family));
        assert_eq!(written(&Update::end_of_rib(family)), octets);
    }
    let farewell = Notification::new(6, 2, []);
    let mut out = Vec::new();
    farewell.encode(&mut out);
    assert_eq!(out, GOBGP_NOTIFICATION);
    assert_eq!(read(GOBGP_NOTIFICATION), Message::Notification(farewell));
}
