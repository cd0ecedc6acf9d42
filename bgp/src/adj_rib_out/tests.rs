// SPDX-License-Identifier: Apache-2.0
//! Which messages come of which change, and what stands in them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::wire::{Attribute, Context, DecodedUpdate, MessageType, NextHop, Update, next_message};
use bytes::BytesMut;
use proptest::prelude::*;

const V4: &str = "192.0.2.1/32";
const V6: &str = "2001:db8::1/128";

fn egress() -> Egress {
    Egress {
        local_asn: 64500,
        internal: false,
        four_octet_asn: true,
        offered: Families::BOTH,
        families: Families::BOTH,
        next_hop_ipv4: Some(NextHop::Ipv4(Ipv4Addr::new(192, 0, 2, 7))),
        next_hop_ipv6: Some(NextHop::Ipv6 {
            global: "2001:db8::7".parse().unwrap(),
            link_local: None,
        }),
        only_to_customer: false,
        drain: false,
        enhanced_route_refresh: false,
        longest: 4096,
    }
}

fn table(entries: &[(&str, Attributes)]) -> Arc<Routes> {
    let entry =
        |(prefix, path): &(&str, Attributes)| (prefix.parse().unwrap(), Arc::new(path.clone()));
    Arc::new(entries.iter().map(entry).collect())
}

/// Everything that is due, as text: `+` announced, `-` withdrawn, `=` End-of-RIB, `r1`, `r2` marks of a refresh.
fn due(rib: &mut AdjRibOut, context: Context) -> Vec<String> {
    let mut texts = Vec::new();
    let mut out = Vec::new();
    while rib.fill(&mut out).is_some() {
        let mut buffer = BytesMut::from(&out[..]);
        out.clear();
        let (kind, body) = next_message(&mut buffer, true).unwrap().unwrap();
        assert!(buffer.is_empty());
        if kind == MessageType::RouteRefresh {
            texts.push(format!("r{}", body[2]));
            continue;
        }
        let DecodedUpdate { update, flaws } = Update::decode(body, context).unwrap();
        assert_eq!(flaws, []);
        if let Some(family) = update.ends_rib_of() {
            texts.push(format!("={family}"));
            continue;
        }
        let mut text = String::new();
        let mut list = |sign, prefixes: &crate::wire::Prefixes| {
            for prefix in prefixes.iter() {
                text.push_str(&format!("{sign}{prefix} "));
            }
        };
        list('-', &update.withdrawn);
        list('+', &update.announced);
        for attribute in &update.attributes {
            match attribute {
                Attribute::MpReach(reach) => list('+', &reach.prefixes),
                Attribute::MpUnreach(prefixes) => list('-', prefixes),
                _ => {}
            }
        }
        texts.push(text.trim_end().to_owned());
    }
    texts
}

fn texts(rib: &mut AdjRibOut) -> Vec<String> {
    due(rib, Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false })
}

fn attributes_of(rib: &mut AdjRibOut, context: Context) -> Vec<Attribute> {
    let mut out = Vec::new();
    rib.fill(&mut out).unwrap();
    let (_, body) = next_message(&mut BytesMut::from(&out[..]), true).unwrap().unwrap();
    Update::decode(body, context).unwrap().update.attributes
}

fn up(routes: Arc<Routes>, egress: Egress) -> AdjRibOut {
    let mut rib = AdjRibOut::default();
    rib.set_routes(routes);
    rib.begin(egress);
    rib
}

#[test]
fn announcements_come_before_withdrawals_and_equal_attributes_together() {
    let plain = Attributes::default;
    let mut rib =
        up(table(&[("10.0.0.1/32", plain()), ("10.0.0.2/32", plain()), (V6, plain())]), egress());
    rib.set_complete();
    assert_eq!(
        texts(&mut rib),
        ["+10.0.0.1/32 +10.0.0.2/32", "+2001:db8::1/128", "=IPv4", "=IPv6"]
    );
    assert_eq!((rib.announced(), rib.queued()), (3, 0));
    let other = plain().with_med(1);
    rib.set_routes(table(&[
        ("10.0.0.1/32", other.clone()),
        ("10.0.0.3/32", other),
        ("10.0.0.4/32", plain()),
    ]));
    assert_eq!(
        texts(&mut rib),
        ["+10.0.0.4/32", "+10.0.0.1/32 +10.0.0.3/32", "-10.0.0.2/32", "-2001:db8::1/128"]
    );
    assert_eq!(rib.announced(), 3);
}

fn prefixes(n: u8) -> IpNet {
    if n.is_multiple_of(2) {
        IpNet::new(Ipv4Addr::new(192, 0, 2, n).into(), 32).unwrap()
    } else {
        IpNet::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).into(), 128).unwrap()
    }
}

/// Some that fit and one kind that does not.
fn path(n: u8) -> Arc<Attributes> {
    let plain = Attributes::default();
    Arc::new(if n == 3 { plain.with_communities(0..2000) } else { plain.with_med(n.into()) })
}

/// What there is to count, found by walking the table.
fn walked(rib: &AdjRibOut) -> (usize, Vec<Withheld>) {
    let Some(egress) = &rib.egress else { return (rib.desired.len(), vec![]) };
    let mut all: Vec<Withheld> = Vec::new();
    for (prefix, attributes) in rib.desired.iter() {
        let family = Family::of(prefix);
        if egress.wanted(prefix, attributes).is_none() {
            let reason = egress.withholds(family).unwrap_or(WithheldReason::AttributesTooLong);
            match all.iter_mut().find(|one| one.family == family && one.reason == reason) {
                Some(one) => one.prefixes += 1,
                None => all.push(Withheld { family, prefixes: 1, reason }),
            }
        }
    }
    all.sort_by_key(|one| one.family == Family::Ipv6);
    (rib.desired.len(), all)
}

fn change() -> impl Strategy<Value = (u8, Option<u8>)> {
    (0u8..12, prop::option::of(0u8..4))
}

proptest! {
    #[test]
    fn changes_in_any_order_equal_the_table_that_results(
        history in prop::collection::vec((prop::collection::vec(change(), 0..12), 0u8..6), 0..12),
        order in prop::collection::vec(any::<u16>(), 12),
        session in any::<bool>(),
    ) {
        let mut changed = AdjRibOut::default();
        let mut whole = AdjRibOut::default();
        if session {
            changed.begin(egress());
            whole.begin(egress());
        }
        let mut table = Routes::new();
        let mut out = Vec::new();
        for (changes, sends) in history {
            // The last word on each prefix, in any order.
            let last: BTreeMap<u8, Option<u8>> = changes.into_iter().collect();
            let mut list: Vec<(u8, Option<u8>)> = last.into_iter().collect();
            list.sort_by_key(|(n, _)| order.get(usize::from(*n)).copied());
            let list: Vec<_> = list.into_iter().map(|(n, to)| (prefixes(n), to.map(path))).collect();
            for (prefix, to) in &list {
                match to {
                    Some(to) => table.insert(*prefix, Arc::clone(to)),
                    None => table.remove(prefix),
                };
            }
            changed.change_routes(list);
            whole.set_routes(Arc::new(table.clone()));
            match sends {
                0..3 => for _ in 0..sends {
                    prop_assert_eq!(changed.fill(&mut out), whole.fill(&mut out));
                },
                3 => for rib in [&mut changed, &mut whole] {
                    rib.end();
                    rib.begin(Egress { families: Families::IPV4, ..egress() });
                },
                4 => for rib in [&mut changed, &mut whole] {
                    rib.set_egress(Egress { longest: 65_535, next_hop_ipv6: None, ..egress() });
                },
                _ => for rib in [&mut changed, &mut whole] { rib.set_egress(egress()) },
            }
            prop_assert_eq!(&*changed.desired, &table);
            for rib in [&changed, &whole] {
                prop_assert_eq!((rib.desired(Families::BOTH), rib.withheld()), walked(rib));
            }
            prop_assert_eq!(changed.queued(), whole.queued());
        }
        prop_assert_eq!(texts(&mut changed), texts(&mut whole));
        prop_assert_eq!(changed.announced(), whole.announced());
    }
}

#[test]
fn changes_do_not_copy_a_table_that_is_not_shared() {
    let mut rib = up(table(&[("10.0.0.1/32", Attributes::default())]), egress());
    let before = Arc::as_ptr(&rib.desired);
    rib.change_routes(vec![(V4.parse().unwrap(), Some(path(1)))]);
    assert_eq!(Arc::as_ptr(&rib.desired), before);
    assert_eq!(texts(&mut rib).concat(), "+10.0.0.1/32+192.0.2.1/32");
}

#[test]
fn only_families_that_are_offered_are_counted() {
    let plain = Attributes::default;
    let mut rib = AdjRibOut::default();
    rib.set_routes(table(&[(V4, plain()), ("192.0.2.2/32", plain()), (V6, plain())]));
    assert_eq!((rib.desired(Families::BOTH), rib.desired(Families::IPV4)), (3, 2));
    rib.begin(Egress { offered: Families::IPV6, families: Families::IPV6, ..egress() });
    assert_eq!(rib.desired(Families::IPV6), 1);
    let reason = WithheldReason::NotOffered;
    assert_eq!(rib.withheld(), [Withheld { family: Family::Ipv4, prefixes: 2, reason }]);
}

#[test]
fn what_was_taken_back_before_it_was_sent_is_never_sent() {
    let plain = Attributes::default;
    let mut rib = up(table(&[(V4, plain())]), egress());
    texts(&mut rib);
    rib.set_routes(table(&[(V4, plain().with_med(1)), (V6, plain())]));
    assert_eq!(rib.queued(), 2);
    rib.set_routes(table(&[(V4, plain())]));
    assert_eq!(rib.queued(), 0);
    rib.set_routes(table(&[]));
    rib.set_routes(table(&[(V4, plain())]));
    assert_eq!(texts(&mut rib), [] as [String; 0]);
}

#[test]
fn end_of_rib_waits_for_the_caller_and_is_sent_once() {
    let mut rib = up(table(&[]), egress());
    assert_eq!(texts(&mut rib), [] as [String; 0]);
    assert!(!rib.initial_update_sent());
    rib.set_complete();
    assert_eq!(texts(&mut rib), ["=IPv4", "=IPv6"]);
    assert!(rib.initial_update_sent());
    rib.begin(Egress { families: Families::IPV6, ..egress() });
    assert_eq!(texts(&mut rib), ["=IPv6"], "only what was negotiated");
}

#[test]
fn a_refresh_sends_everything_of_the_family_again_between_its_marks() {
    let plain = Attributes::default;
    let mut rib = up(table(&[(V4, plain()), (V6, plain())]), egress());
    rib.refresh(Family::Ipv4);
    assert_eq!(texts(&mut rib).len(), 2, "it was about to be sent anyway");
    rib.refresh(Family::Ipv6);
    assert_eq!(texts(&mut rib), ["+2001:db8::1/128"]);
    assert_eq!(rib.announced(), 2);
    let mut rib = up(table(&[(V4, plain())]), Egress { enhanced_route_refresh: true, ..egress() });
    rib.set_complete();
    texts(&mut rib);
    rib.refresh(Family::Ipv4);
    rib.set_routes(table(&[]));
    assert_eq!(texts(&mut rib), ["r1", "-192.0.2.1/32", "r2"]);
}

#[test]
fn external_and_internal_sessions_carry_what_they_must() {
    let path = Attributes::default()
        .with_local_pref(200)
        .with_med(5)
        .with_as_path_prepend(2)
        .with_communities([7])
        .with_extended_communities([[1; 8]])
        .with_large_communities([[1, 2, 3]]);
    let external = Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false };
    let mut rib = up(table(&[(V4, path.clone())]), egress());
    let common = |path: Attribute| {
        vec![
            Attribute::Origin(crate::wire::Origin::Igp),
            path,
            Attribute::NextHop(Ipv4Addr::new(192, 0, 2, 7)),
            Attribute::MultiExitDisc(5),
        ]
    };
    let lists = || {
        vec![
            Attribute::Communities(vec![7]),
            Attribute::ExtendedCommunities(vec![[1; 8]]),
            Attribute::LargeCommunities(vec![[1, 2, 3]]),
        ]
    };
    let as_path = |times| Attribute::AsPath(crate::wire::AsPath::sequence(64500, times));
    assert_eq!(attributes_of(&mut rib, external), [common(as_path(3)), lists()].concat());
    let internal = Context { four_octet_asn: true, internal: true, enhanced_route_refresh: false };
    let mut rib = up(table(&[(V4, path)]), Egress { internal: true, ..egress() });
    assert_eq!(
        attributes_of(&mut rib, internal),
        [common(as_path(0)), vec![Attribute::LocalPref(200)], lists()].concat()
    );
    let mut rib = up(table(&[(V4, Attributes::default())]), Egress { internal: true, ..egress() });
    assert!(attributes_of(&mut rib, internal).contains(&Attribute::LocalPref(100)));
}

#[test]
fn a_peer_of_two_octets_gets_as_trans_and_as4_path() {
    let long = Egress { local_asn: 4_200_000_000, four_octet_asn: false, ..egress() };
    let mut rib = up(table(&[(V4, Attributes::default())]), long);
    let sent = attributes_of(
        &mut rib,
        Context { four_octet_asn: false, internal: false, enhanced_route_refresh: false },
    );
    let path = |asn| crate::wire::AsPath::sequence(asn, 1);
    assert!(sent.contains(&Attribute::AsPath(path(23456))));
    assert!(sent.contains(&Attribute::As4Path(path(4_200_000_000))));
}

#[test]
fn ipv6_comes_first_of_all_attributes_and_ipv4_may_have_an_ipv6_next_hop() {
    let external = Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false };
    for (prefix, egress) in
        [(V6, egress()), (V4, Egress { next_hop_ipv4: egress().next_hop_ipv6, ..egress() })]
    {
        let mut rib = up(table(&[(prefix, Attributes::default())]), egress.clone());
        let sent = attributes_of(&mut rib, external);
        let Attribute::MpReach(reach) = &sent[0] else { panic!("{sent:?}") };
        assert_eq!(Some(reach.next_hop), egress.next_hop_ipv6);
        assert_eq!(reach.prefixes.iter().next(), Some(prefix.parse().unwrap()));
        assert!(!sent.iter().any(|attribute| matches!(attribute, Attribute::NextHop(_))));
        rib.set_routes(table(&[]));
        assert_eq!(texts(&mut rib), [format!("-{prefix}")]);
    }
}

#[test]
fn draining_sends_everything_again_with_graceful_shutdown() {
    let internal = Context { four_octet_asn: true, internal: true, enhanced_route_refresh: false };
    let start = Egress { internal: true, ..egress() };
    let path = Attributes::default().with_communities([1, 0xffff_ff01]).with_local_pref(300);
    let mut rib = up(table(&[(V4, path)]), start.clone());
    due(&mut rib, internal);
    rib.set_egress(Egress { drain: true, ..start.clone() });
    let sent = attributes_of(&mut rib, internal);
    assert!(sent.contains(&Attribute::Communities(vec![1, 0xffff_0000, 0xffff_ff01])));
    assert!(sent.contains(&Attribute::LocalPref(0)));
    rib.set_egress(start);
    assert_eq!(rib.queued(), 1);
}

#[test]
fn only_to_customer_is_added_where_the_role_asks_for_it() {
    let external = Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false };
    let marked = Egress { only_to_customer: true, ..egress() };
    let mut rib = up(table(&[(V4, Attributes::default())]), marked);
    assert!(attributes_of(&mut rib, external).contains(&Attribute::OnlyToCustomer(64500)));
}

#[test]
fn what_cannot_be_sent_is_withheld_with_its_reason_and_sent_when_it_can() {
    let plain = Attributes::default;
    let none = Egress { next_hop_ipv6: None, ..egress() };
    let huge = plain().with_communities(0..1000);
    let mut rib = up(table(&[(V4, huge.clone()), (V6, plain())]), none.clone());
    assert_eq!(texts(&mut rib), [] as [String; 0]);
    let reasons: Vec<_> =
        rib.withheld().iter().map(|one| (one.family, one.prefixes, one.reason)).collect();
    assert_eq!(
        reasons,
        [
            (Family::Ipv4, 1, WithheldReason::AttributesTooLong),
            (Family::Ipv6, 1, WithheldReason::NoNextHop)
        ]
    );
    rib.set_egress(egress());
    assert_eq!(texts(&mut rib), ["+2001:db8::1/128"]);
    rib.set_egress(none);
    assert_eq!(texts(&mut rib), ["-2001:db8::1/128"], "no next hop any more");
    let mut rib = up(table(&[(V4, huge)]), Egress { longest: 65535, ..egress() });
    assert_eq!(texts(&mut rib), ["+192.0.2.1/32"]);
    for (offered, reason) in [
        (Families::BOTH, WithheldReason::NotNegotiated),
        (Families::IPV4, WithheldReason::NotOffered),
    ] {
        let mut rib =
            up(table(&[(V6, plain())]), Egress { offered, families: Families::IPV4, ..egress() });
        assert_eq!(texts(&mut rib), [] as [String; 0]);
        assert_eq!(rib.withheld()[0].reason, reason);
    }
}

#[test]
fn the_most_communities_that_count_as_fitting_do_fit() {
    let path = |count: u32| {
        Attributes::default()
            .with_communities(0..count)
            .with_as_path_prepend(255)
            .with_med(1)
            .with_local_pref(1)
    };
    let worst = Egress { internal: true, only_to_customer: true, drain: true, ..egress() };
    let most = (0..1000).take_while(|count| encode::fits(&worst, &path(*count))).last().unwrap();
    assert!(most > 400, "{most}");
    for prefix in [V4, V6] {
        let mut rib = up(table(&[(prefix, path(most))]), worst.clone());
        let mut out = Vec::new();
        assert!(rib.fill(&mut out).is_some());
        assert!(out.len() <= 4096, "{}", out.len());
        assert_eq!((rib.queued(), rib.announced()), (0, 1));
    }
}
