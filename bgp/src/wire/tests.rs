// SPDX-License-Identifier: Apache-2.0
//! What was written is read again as it was, whatever it is.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{Bytes, BytesMut};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Family, HoldTime};

fn ipv4() -> impl Strategy<Value = IpNet> {
    (any::<u32>(), 0u8..=32).prop_map(|(address, length)| {
        Ipv4Net::new(Ipv4Addr::from(address), length).unwrap().trunc().into()
    })
}

fn ipv6() -> impl Strategy<Value = IpNet> {
    (any::<u128>(), 0u8..=128).prop_map(|(address, length)| {
        Ipv6Net::new(Ipv6Addr::from(address), length).unwrap().trunc().into()
    })
}

fn prefixes(family: Family) -> impl Strategy<Value = Prefixes> {
    let list = match family {
        Family::Ipv4 => vec(ipv4(), 0..40).boxed(),
        Family::Ipv6 => vec(ipv6(), 0..40).boxed(),
    };
    list.prop_map(move |list| Prefixes::new(family, list))
}

fn octets(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn afi_safi() -> impl Strategy<Value = AfiSafi> {
    (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| AfiSafi { afi, safi })
}

fn capability() -> impl Strategy<Value = Capability> {
    prop_oneof![
        afi_safi().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        vec((afi_safi(), any::<u16>()), 0..5).prop_map(Capability::ExtendedNextHop),
        Just(Capability::ExtendedMessage),
        any::<u8>().prop_map(Capability::Role),
        (any::<bool>(), any::<bool>(), 0u16..4096, vec((afi_safi(), any::<bool>()), 0..5))
            .prop_map(|(restarted, notification, restart_time, families)| {
                Capability::GracefulRestart {
                    restarted,
                    notification,
                    restart_time,
                    families: families
                        .into_iter()
                        .map(|(family, forwarding)| RestartFamily { family, forwarding })
                        .collect(),
                }
            }),
        any::<u32>().prop_filter("RFC 7607", |asn| *asn != 0).prop_map(Capability::FourOctetAsn),
        Just(Capability::EnhancedRouteRefresh),
        vec((afi_safi(), any::<bool>(), 0u32..1 << 24), 0..5).prop_map(|families| {
            Capability::LongLivedGracefulRestart(
                families
                    .into_iter()
                    .map(|(family, forwarding, stale_time)| StaleFamily {
                        family,
                        forwarding,
                        stale_time,
                    })
                    .collect(),
            )
        }),
        (octets(64), octets(64)).prop_map(|(host, domain)| Capability::Fqdn { host, domain }),
        (100u8..=255, octets(100)).prop_map(|(code, value)| Capability::Unknown { code, value }),
    ]
}

fn open() -> impl Strategy<Value = Open> {
    (1u16.., prop_oneof![Just(0u16), 3u16..], 1u32.., vec(capability(), 0..12)).prop_map(
        |(my_as, hold_time, identifier, capabilities)| Open {
            my_as,
            hold_time: HoldTime::from_seconds(hold_time).unwrap(),
            identifier: identifier.into(),
            capabilities,
        },
    )
}

const KINDS: [SegmentKind; 2] = [SegmentKind::Set, SegmentKind::Sequence];
const ALL_KINDS: [SegmentKind; 4] = [
    SegmentKind::Set,
    SegmentKind::Sequence,
    SegmentKind::ConfederationSequence,
    SegmentKind::ConfederationSet,
];

fn as_path(most: u32, kinds: &'static [SegmentKind]) -> impl Strategy<Value = AsPath> {
    let kind = prop::sample::select(kinds);
    let segment = (kind, vec(1..=most, 1..300)).prop_map(|(kind, mut asns)| {
        asns.truncate(255);
        Segment { kind, asns }
    });
    vec(segment, 0..4).prop_map(AsPath)
}

fn next_hop(family: Family) -> impl Strategy<Value = NextHop> {
    let ipv6 = (any::<u128>(), prop::option::of(any::<u128>())).prop_map(|(global, link_local)| {
        NextHop::Ipv6 { global: global.into(), link_local: link_local.map(Ipv6Addr::from) }
    });
    match family {
        Family::Ipv4 => {
            prop_oneof![any::<u32>().prop_map(|address| NextHop::Ipv4(address.into())), ipv6]
                .boxed()
        }
        Family::Ipv6 => ipv6.boxed(),
    }
}

fn reach() -> impl Strategy<Value = Attribute> {
    let family = prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)];
    family
        .prop_flat_map(|family| (next_hop(family), prefixes(family)))
        .prop_map(|(next_hop, prefixes)| Attribute::MpReach(MpReach { next_hop, prefixes }))
}

/// One of each kind at most, as on a session with these numbers.
fn attributes(four_octet_asn: bool) -> impl Strategy<Value = Vec<Attribute>> {
    let most = if four_octet_asn { u32::MAX } else { u32::from(u16::MAX) };
    let common = vec![
        prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)]
            .prop_map(Attribute::Origin)
            .boxed(),
        as_path(most, &ALL_KINDS).prop_map(Attribute::AsPath).boxed(),
        any::<u32>().prop_map(|address| Attribute::NextHop(address.into())).boxed(),
        any::<u32>().prop_map(Attribute::MultiExitDisc).boxed(),
        any::<u32>().prop_map(Attribute::LocalPref).boxed(),
        Just(Attribute::AtomicAggregate).boxed(),
        (0..=most, any::<u32>())
            .prop_map(|(asn, address)| Attribute::Aggregator(asn, address.into()))
            .boxed(),
        vec(any::<u32>(), 1..100).prop_map(Attribute::Communities).boxed(),
        any::<u32>().prop_map(|address| Attribute::OriginatorId(address.into())).boxed(),
        vec(any::<u32>(), 1..10).prop_map(Attribute::ClusterList).boxed(),
        reach().boxed(),
        prefixes(Family::Ipv6).prop_map(Attribute::MpUnreach).boxed(),
        vec(any::<[u8; 8]>(), 1..50).prop_map(Attribute::ExtendedCommunities).boxed(),
        vec(any::<[u32; 3]>(), 1..50).prop_map(Attribute::LargeCommunities).boxed(),
        any::<u32>().prop_map(Attribute::OnlyToCustomer).boxed(),
        (any::<bool>(), any::<bool>(), octets(300))
            .prop_map(|(transitive, partial, value)| Attribute::Unknown {
                transitive,
                partial,
                code: 200,
                value,
            })
            .boxed(),
    ];
    let old = vec![
        as_path(u32::MAX, &KINDS).prop_map(Attribute::As4Path).boxed(),
        (any::<u32>(), any::<u32>())
            .prop_map(|(asn, address)| Attribute::As4Aggregator(asn, address.into()))
            .boxed(),
    ];
    let all = if four_octet_asn { common } else { [common, old].concat() };
    let count = all.len();
    prop::sample::subsequence(all, 0..=count).prop_flat_map(|chosen| chosen)
}

fn update(four_octet_asn: bool) -> impl Strategy<Value = Update> {
    (prefixes(Family::Ipv4), attributes(four_octet_asn), prefixes(Family::Ipv4))
        .prop_map(|(withdrawn, attributes, announced)| Update { withdrawn, attributes, announced })
}

fn again(octets: &[u8], context: Context) -> Message {
    let mut buffer = BytesMut::from(octets);
    let (kind, body) = next_message(&mut buffer, true).unwrap().unwrap();
    assert!(buffer.is_empty());
    Message::decode(kind, body, context).unwrap()
}

const INTERNAL: Context =
    Context { four_octet_asn: true, internal: true, enhanced_route_refresh: true };

proptest! {
    #[test]
    fn open_comes_back(open in open()) {
        let mut out = Vec::new();
        open.encode(&mut out);
        prop_assert_eq!(again(&out, INTERNAL), Message::Open(open));
    }

    #[test]
    fn update_comes_back((four_octet_asn, update) in any::<bool>().prop_flat_map(|wide| (Just(wide), update(wide)))) {
        let context = Context { four_octet_asn, internal: true, enhanced_route_refresh: false };
        let mut out = Vec::new();
        update.encode(context, LONGEST_EXTENDED, &mut out).unwrap();
        let Message::Update(decoded) = again(&out, context) else { panic!("another kind") };
        prop_assert_eq!(&decoded.update, &update);
        // Only a mandatory attribute may be missing.
        prop_assert!(decoded.flaws.len() <= 1);
    }

    #[test]
    fn notification_comes_back(code in any::<u8>(), subcode in any::<u8>(), data in vec(any::<u8>(), 0..300)) {
        let notification = Notification::new(code, subcode, data);
        let mut out = Vec::new();
        notification.encode(&mut out);
        prop_assert_eq!(again(&out, INTERNAL), Message::Notification(notification));
    }

    #[test]
    fn route_refresh_comes_back(family in afi_safi(), kind in 0..3) {
        let kind = [RefreshKind::Request, RefreshKind::Begin, RefreshKind::End][kind as usize];
        let refresh = RouteRefresh { family, kind };
        let mut out = Vec::new();
        refresh.encode(&mut out);
        prop_assert_eq!(again(&out, INTERNAL), Message::RouteRefresh(Some(refresh)));
    }

    #[test]
    fn every_prefix_of_a_message_waits_for_the_rest(update in update(true), cut in any::<prop::sample::Index>()) {
        let mut out = Vec::new();
        update.encode(INTERNAL, LONGEST_EXTENDED, &mut out).unwrap();
        let mut buffer = BytesMut::from(&out[..cut.index(out.len())]);
        prop_assert_eq!(next_message(&mut buffer, true), Ok(None));
    }
}
