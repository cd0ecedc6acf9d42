// SPDX-License-Identifier: Apache-2.0
//! The tables of values, and what they leave out.

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::super::expression::Expression;
use super::*;
use crate::spread::HashBy;

fn station(number: u8) -> Station {
    Station {
        interface: "eth0".into(),
        hardware_address: [2, 0, 0, 0, 0, number],
        address_v4: Some([198, 51, 100, number].into()),
        address_v6: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number.into())),
    }
}

fn steps(client: Option<&str>, fellows: &[(&str, &str)]) -> Steps {
    let fellows = fellows.iter().map(|(origin, next)| ((*origin).into(), (*next).into()));
    Steps { client: client.map(Into::into), fellows: fellows.collect() }
}

fn keep(addresses: &[(&str, Steps)]) -> Keep {
    let addresses = addresses.iter().map(|(it, steps)| (it.parse().unwrap(), steps.clone()));
    let fellows = [("b", 2), ("c", 3)].map(|(name, number)| (name.into(), station(number)));
    Keep { fellows: fellows.into(), addresses: addresses.collect(), loose: true, ..Keep::default() }
}

fn made(keep: &Keep) -> (Ruleset, Vec<LeftOut>) {
    keep.ruleset(&|name| (name == "eth0").then_some(7))
}

fn elements(ruleset: &Ruleset, family: Family, set: &str) -> Vec<(Vec<u8>, Option<Verdict>)> {
    let table = &ruleset.tables[&family];
    table.sets[set].elements.clone().into_iter().collect()
}

fn to(chain: &str) -> Option<Verdict> {
    Some(Verdict::Goto(chain.to_owned()))
}

#[test]
fn steps_become_elements_of_their_family() {
    let keep = keep(&[("192.0.2.10", steps(Some("b"), &[("b", "c")]))]);
    let (ruleset, left_out) = made(&keep);
    assert_eq!(left_out, []);
    let address = vec![192, 0, 2, 10];
    let key = vec![192, 0, 2, 10, 2, 0, 0, 0, 0, 2, 0, 0];
    assert_eq!(elements(&ruleset, Family::V4, SERVED), [(address.clone(), None)]);
    assert_eq!(elements(&ruleset, Family::V4, CLIENTS), [(address, to("first_b"))]);
    assert_eq!(elements(&ruleset, Family::V4, STEPS), [(key, to("to_c"))]);
    for set in [SERVED, CLIENTS, STEPS] {
        assert_eq!(elements(&ruleset, Family::V6, set), []);
    }
    assert_eq!(elements(&ruleset, Family::V6, FELLOWS).len(), 2);
}

#[test]
fn an_address_without_any_step_is_not_behind_the_gate() {
    let keep = keep(&[
        ("192.0.2.10", Steps::default()),
        ("192.0.2.11", steps(Some("nobody"), &[])),
        ("2001:db8::10", steps(None, &[("c", "b")])),
    ]);
    let (ruleset, left_out) = made(&keep);
    assert_eq!(elements(&ruleset, Family::V4, SERVED), []);
    assert_eq!(elements(&ruleset, Family::V6, SERVED).len(), 1);
    let [left_out] = left_out.as_slice() else { panic!("{left_out:?}") };
    assert_eq!(left_out.missing, Missing::Station("nobody".into()));
    assert_eq!((left_out.origin.clone(), &*left_out.next), (None, "nobody"));
}

#[test]
fn what_is_missing_is_named() {
    let mut keep = keep(&[
        ("192.0.2.10", steps(Some("b"), &[("c", "b"), ("d", "c"), ("b", "c")])),
        ("2001:db8::10", steps(Some("b"), &[("b", "c")])),
    ]);
    keep.fellows.get_mut("b").unwrap().address_v4 = None;
    keep.fellows.get_mut("c").unwrap().interface = "eth9".into();
    let (ruleset, left_out) = made(&keep);
    let missing: Vec<_> = left_out.iter().map(|it| it.missing.clone()).collect();
    let interface = || Missing::Interface("eth9".into());
    let address = || Missing::Address("b".into());
    assert_eq!(missing, [address(), interface(), address(), interface(), interface()]);
    assert_eq!(elements(&ruleset, Family::V4, SERVED), []);
    assert_eq!(elements(&ruleset, Family::V6, CLIENTS).len(), 1);
}

#[test]
fn an_origin_that_is_no_fellow_is_left_out() {
    let keep = keep(&[("192.0.2.10", steps(None, &[("gone", "b")]))]);
    let (_, left_out) = made(&keep);
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0].missing, Missing::Station("gone".into()));
}

#[test]
fn two_fellows_with_one_hardware_address_have_one_step() {
    let mut keep = keep(&[("192.0.2.10", steps(None, &[("b", "c"), ("d", "b")]))]);
    keep.fellows.insert("d".into(), station(2));
    let (ruleset, left_out) = made(&keep);
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0].missing, Missing::HardwareAddress("d".into()));
    assert_eq!(elements(&ruleset, Family::V4, STEPS).len(), 1);
}

#[test]
fn the_rules_are_the_same_for_whatever_addresses() {
    let none = made(&keep(&[])).0;
    let some =
        made(&keep(&[("192.0.2.10", steps(Some("b"), &[])), ("::1", steps(Some("c"), &[]))])).0;
    for (none, some) in none.tables.values().zip(some.tables.values()) {
        assert_eq!(none.chains, some.chains);
        assert_ne!(none.sets, some.sets);
    }
}

#[test]
fn names_of_chains_are_short_and_differ() {
    let long = "n".repeat(253);
    let names =
        [long.clone(), format!("{long}x"), "with space".into(), "withspace".into(), "ü".into()];
    let chains: BTreeSet<String> = names.iter().map(|name| chain_first(name)).collect();
    assert_eq!(chains.len(), names.len());
    assert!(chains.iter().all(|chain| chain.len() < 256), "{chains:?}");
    assert_eq!(chain_to("node-1.example"), "to_node-1.example");
}

fn any_keep() -> impl Strategy<Value = Keep> {
    let station =
        (any::<[u8; 1]>(), any::<Option<[u8; 4]>>(), any::<Option<[u8; 16]>>(), "eth[0-2]")
            .prop_map(|([number], v4, v6, interface)| Station {
                interface: interface.into(),
                hardware_address: [2, 0, 0, 0, 0, number % 4],
                address_v4: v4.map(Into::into),
                address_v6: v6.map(Into::into),
            });
    let name = || "[a-e]".prop_map(Arc::from);
    let next = prop::collection::btree_map(name(), name(), 0..4);
    let steps =
        (prop::option::of(name()), next).prop_map(|(client, fellows)| Steps { client, fellows });
    let address = prop_oneof![
        (0..4_u8).prop_map(|last| IpAddr::from([192, 0, 2, last])),
        (0..4_u16).prop_map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])),
    ];
    let fellows = prop::collection::btree_map(name(), station, 0..5);
    let addresses = prop::collection::btree_map(address.clone(), steps.clone(), 0..6);
    let buckets = prop::collection::vec(prop::option::of(name()), 0..4);
    let by_bucket =
        prop::collection::btree_map(steps, prop::collection::vec(0..2_000_u16, 1..3), 0..3);
    let hash = prop_oneof![
        Just(HashBy::Connection),
        Just(HashBy::ConnectionAndDatagram),
        Just(HashBy::Client)
    ];
    let spread = (buckets, by_bucket, hash)
        .prop_map(|(buckets, steps, hash)| Arc::new(Spread { buckets, steps, hash }));
    let spread = prop::collection::btree_map(address.clone(), spread, 0..4);
    let flow = (address, 0..3_u16).prop_map(|(address, client_port)| Flow {
        address,
        client: if address.is_ipv4() { [10, 0, 0, 1].into() } else { [1; 16].into() },
        client_port,
    });
    let flows = prop::collection::btree_set(flow, 0..4);
    (fellows, addresses, spread, flows, any::<bool>()).prop_map(
        |(fellows, addresses, spread, flows, loose)| Keep {
            fellows,
            addresses,
            spread,
            flows,
            loose,
        },
    )
}

/// A table of the family ip or, where there is one, netdev.
pub(in super::super) fn any_table() -> impl Strategy<Value = Table> {
    (any_keep(), any::<bool>()).prop_map(|(keep, ingress)| {
        let mut tables = keep.ruleset(&|name| (name != "eth2").then_some(7)).0.tables;
        let ingress = tables.remove(&Family::Netdev).filter(|_| ingress);
        ingress.unwrap_or_else(|| tables.remove(&Family::V4).unwrap())
    })
}

proptest! {
    #[test]
    fn every_step_is_there_or_left_out_and_every_chain_exists(keep in any_keep()) {
        let (ruleset, left_out) = keep.ruleset(&|name| (name != "eth2").then_some(7));
        let alone = keep.addresses.iter().filter(|(address, _)| !keep.spread.contains_key(*address));
        let wanted: usize = alone.map(|(_, it)| it).map(|it| it.fellows.len() + usize::from(it.client.is_some())).sum();
        let mut there = 0;
        for table in ruleset.tables.values() {
            let rules = table.chains.values().flat_map(|chain| chain.rules.iter().flat_map(|rule| &rule.0));
            let by_rules = rules.filter_map(|it| if let Expression::Verdict(it) = it { Some(it) } else { None });
            let by_elements = table.sets.values().flat_map(|set| set.elements.values().flatten());
            for verdict in by_rules.chain(by_elements) {
                if let Verdict::Goto(chain) = verdict {
                    prop_assert!(table.chains.contains_key(chain), "no {}", chain);
                }
            }
            let sets = [STEPS, CLIENTS].iter().filter_map(|name| table.sets.get(*name));
            there += sets.map(|set| set.elements.len()).sum::<usize>();
        }
        let left_out: Vec<_> = left_out.iter().filter(|it| it.part == Part::Step).collect();
        // Fellows with the same hardware address and the same step share an element.
        prop_assert!(there + left_out.len() <= wanted);
        prop_assert!(left_out.len() <= wanted && (there > 0) >= (left_out.len() < wanted));
    }
}
