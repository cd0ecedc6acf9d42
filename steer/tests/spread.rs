// SPDX-License-Identifier: Apache-2.0
//! The tables for addresses that several nodes serve, in a network namespace, with the eyes of nft (1.0.6).
#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "parts of tests, which fail by panicking"
)]

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use lab::{Lab, keep, parts, spread, station};
use steer::net::{Applied, Error, Family, Keep, Missing, Part};
use steer::{BUCKETS, HashBy, Spread, Steps};

const IP: &str = include_str!("lab/spread-ip.nft");
const IP6: &str = include_str!("lab/spread-ip6.nft");
const NETDEV: &str = include_str!("lab/spread-netdev.nft");

/// Buckets in turn for `b`, for `c` and for the node itself.
fn in_turn() -> Vec<Option<Arc<str>>> {
    (0..BUCKETS)
        .map(|bucket| ["b", "c"].get(usize::from(bucket % 3)).map(|it| (*it).into()))
        .collect()
}

fn with(addresses: impl IntoIterator<Item = IpAddr>, spread: &Arc<Spread>) -> Keep {
    let addresses = addresses.into_iter().map(|address| (address, Arc::clone(spread)));
    Keep { spread: addresses.collect(), addresses: BTreeMap::new(), ..keep() }
}

fn many(count: u8) -> impl Iterator<Item = IpAddr> {
    (0..count).map(|last| Ipv4Addr::new(192, 0, 2, last).into())
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn nft_shows_the_rules_and_the_second_time_nothing_is_sent() {
    let lab = Lab::new();
    let applied = lab.apply(&spread());
    assert!(applied.operations > 0 && applied.left_out.is_empty(), "{applied:?}");
    assert_eq!(lab.apply(&spread()), Applied::default());
    for (family, wanted) in [("ip", IP), ("ip6", IP6), ("netdev", NETDEV)] {
        let table = lab.table(family);
        assert_eq!(table, wanted);
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn addresses_with_equal_content_share_a_map() {
    const COUNT: u8 = 200;
    let lab = Lab::new();
    let steps = Steps { client: Some("c".into()), ..Steps::default() };
    let steps = BTreeMap::from([(steps, (0..BUCKETS).filter(|it| it % 3 == 0).collect())]);
    let spread = Spread { buckets: in_turn(), steps, hash: HashBy::Connection };
    let keep = with(many(COUNT), &Arc::new(spread.clone()));
    let begin = testlab::now();
    let applied = lab.apply(&keep);
    let made = begin.elapsed();
    assert_eq!(lab.apply(&keep), Applied::default());
    let looked = begin.elapsed() - made;
    println!(
        "{COUNT} addresses: {} operations in {made:?}, and {looked:?} to find nothing",
        applied.operations
    );
    let maps =
        |family: &str, name: &str| lab.table(family).matches(&format!("\tmap {name}")).count();
    assert_eq!((maps("netdev", "buckets4_"), maps("ip", "clients_")), (1, 1));
    // As many operations as for one address: content is there once, and elements of a set are one operation.
    let other = Lab::new();
    assert_eq!(
        other.apply(&with(many(1), &Arc::new(spread.clone()))).operations,
        applied.operations
    );
    // Values that are equal without being the same one share, too.
    let mut keep = keep;
    keep.spread.values_mut().for_each(|it| *it = Arc::new(spread.clone()));
    assert_eq!(lab.apply(&keep), Applied::default());
    // One way to hash is not another one.
    let client = Arc::new(Spread { hash: HashBy::Client, ..spread });
    keep.spread.insert("192.0.2.7".parse().unwrap(), client);
    let begin = testlab::now();
    let applied = lab.apply(&keep);
    println!("one of them changes: {} operations in {:?}", applied.operations, begin.elapsed());
    assert_eq!((maps("netdev", "buckets4_"), maps("ip", "clients_")), (2, 2));
    keep.spread.remove(&IpAddr::from([192, 0, 2, 7]));
    lab.apply(&keep);
    assert_eq!(
        (maps("netdev", "buckets4_"), maps("ip", "clients_")),
        (1, 1),
        "what is not needed goes"
    );
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_table_without_need_is_not_there() {
    let lab = Lab::new();
    let tables = || lab.nft("list tables");
    lab.apply(&keep());
    assert!(!tables().contains("netdev"));
    lab.apply(&spread());
    assert!(tables().contains("netdev"));
    // Nothing is led on: no frame has to be looked at.
    let mut quiet = spread();
    quiet.spread.values_mut().for_each(|it| Arc::make_mut(it).buckets.clear());
    assert!(lab.apply(&quiet).repaired.is_empty());
    assert!(!tables().contains("netdev"));
    assert!(lab.table("ip").contains("goto spread_"), "the steps by bucket stay");
    lab.nft("add table netdev ferrolb { comment \"made by ferrolb, format 1\"; }");
    assert_eq!(lab.repaired(&quiet), ["table netdev ferrolb was there without need"]);
    assert!(!tables().contains("netdev"));
    lab.apply(&spread());
    lab.with(|kernel| kernel.clear()).unwrap();
    assert_eq!(tables(), "");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_table_of_our_name_without_our_mark_is_not_touched() {
    let lab = Lab::new();
    lab.nft("add table netdev ferrolb { comment \"mine\"; }");
    let error = lab.try_apply(&spread()).unwrap_err();
    assert!(matches!(error, Error::Foreign(Family::Netdev)), "{error}");
    assert_eq!(lab.nft("list ruleset"), "table netdev ferrolb {\n\tcomment \"mine\"\n}\n");
    // It is in nobody's way while it is not needed.
    lab.apply(&keep());
    assert_eq!(lab.table("netdev"), "table netdev ferrolb {\n\tcomment \"mine\"\n}\n");
    let cleared = lab.with(|kernel| kernel.clear()).unwrap();
    assert_eq!(cleared.foreign, [Family::Netdev]);
    assert_eq!(lab.table("netdev"), "table netdev ferrolb {\n\tcomment \"mine\"\n}\n");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn whatever_others_do_to_our_tables_is_repaired_and_told() {
    let lab = Lab::new();
    lab.apply(&spread());
    let name = |family: &str, begin: &str| -> String {
        let table = lab.table(family);
        let mut words = table.split_whitespace().filter(|word| word.starts_with(begin));
        words.next().unwrap().to_owned()
    };
    let (map, chain) = (name("netdev", "buckets4_"), name("netdev", "spread4_"));
    let steps = name("ip", "clients_");
    let told = |text: &str| vec![format!("table netdev ferrolb: {text}")];
    let cases: [(String, Vec<String>); 9] = [
        ("delete table netdev ferrolb".into(), vec!["table netdev ferrolb was gone".into()]),
        ("delete chain netdev ferrolb in_eth0".into(), told("the chain in_eth0 was gone")),
        (
            "chain netdev ferrolb in_eth0 { policy drop; }".into(),
            vec![
                "table netdev ferrolb was made anew: a chain has another hook, priority or policy"
                    .into(),
            ],
        ),
        (
            "add chain netdev ferrolb other { type filter hook ingress device lo priority 0; }"
                .into(),
            told("the chain other is not ours"),
        ),
        (
            format!("flush chain netdev ferrolb {chain}"),
            told(&format!("the chain {chain} had other rules")),
        ),
        ("add rule netdev ferrolb to4_b accept".into(), told("the chain to4_b had other rules")),
        (
            format!("delete element netdev ferrolb {map} {{ 1 }}"),
            told(&format!("the set {map} lacked 1 elements and had 0 others")),
        ),
        (
            "flush map netdev ferrolb spread6".into(),
            told("the set spread6 lacked 1 elements and had 0 others"),
        ),
        (
            format!("add element ip ferrolb {steps} {{ 7 : accept }}"),
            vec![format!("table ip ferrolb: the set {steps} lacked 0 elements and had 1 others")],
        ),
    ];
    for (done, wanted) in cases {
        lab.nft(&done);
        assert_eq!(lab.repaired(&spread()), wanted, "{done}");
        for (family, wanted) in [("ip", IP), ("ip6", IP6), ("netdev", NETDEV)] {
            assert_eq!(parts(&lab.table(family)), parts(wanted), "{done}");
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn the_old_content_goes_with_a_change() {
    let lab = Lab::new();
    let before = with(many(3), &Arc::new(Spread { buckets: in_turn(), ..Spread::default() }));
    lab.apply(&before);
    let mut after = before.clone();
    let turned = in_turn().into_iter().rev().collect();
    let turned = Arc::new(Spread { buckets: turned, ..Spread::default() });
    after.spread.values_mut().for_each(|it| *it = Arc::clone(&turned));
    let applied = lab.apply(&after);
    println!("new content of 3 addresses: {} operations", applied.operations);
    assert!(applied.repaired.is_empty());
    assert_eq!(lab.table("netdev").matches("\tmap buckets4_").count(), 1);
    assert_eq!(lab.apply(&after), Applied::default());
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn what_cannot_be_led_on_stays_and_is_told() {
    let lab = Lab::new();
    let mut keep = spread();
    keep.fellows.get_mut("b").unwrap().address_v4 = None;
    keep.fellows.get_mut("c").unwrap().interface = "eth9".into();
    for spread in keep.spread.values_mut() {
        let buckets = &mut Arc::make_mut(spread).buckets;
        buckets[3] = Some("c".into());
        buckets[4] = Some("d".into());
    }
    let left_out = lab.apply(&keep).left_out;
    let buckets = left_out.iter().filter_map(|it| match it.part {
        Part::Buckets(count) => Some((it.address.is_ipv4(), &*it.next, count, it.missing.clone())),
        Part::Step | Part::BucketStep(_) => None,
    });
    let device = || Missing::Interface("eth9".into());
    let nobody = || Missing::Station("d".into());
    let wanted = [
        (true, "b", 1, Missing::Address("b".into())),
        (true, "c", 2, device()),
        (true, "d", 1, nobody()),
        (false, "c", 2, device()),
        (false, "d", 1, nobody()),
    ];
    assert_eq!(buckets.collect::<Vec<_>>(), wanted);
    let steps: Vec<_> = left_out.iter().filter(|it| it.part == Part::BucketStep(1)).collect();
    assert_eq!((steps.len(), left_out.len()), (4, 9), "{steps:?}");
    let table = lab.table("netdev");
    assert!(table.contains("goto to6_b") && !table.contains("to4_") && !table.contains("eth9"));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn each_device_that_leads_to_a_fellow_has_a_chain() {
    let lab = Lab::new();
    lab.node.join("eth1", &lab.client, "eth1");
    lab.node.join("eth2", &lab.client, "eth2");
    let mut keep = spread();
    // Only a step leads to `c`, and nothing leads to `d`.
    keep.spread.values_mut().for_each(|it| Arc::make_mut(it).buckets[2] = None);
    keep.fellows.get_mut("c").unwrap().interface = "eth1".into();
    keep.fellows.insert("d".into(), steer::Station { interface: "eth2".into(), ..station(4) });
    lab.apply(&keep);
    let table = lab.table("netdev");
    for (device, wanted) in [("eth0", true), ("eth1", true), ("eth2", false)] {
        assert_eq!(table.contains(&format!("hook ingress device \"{device}\"")), wanted, "{table}");
    }
    lab.node.ip(&["link", "del", "eth1"]);
    let applied = lab.apply(&keep);
    assert!(applied.left_out.iter().all(|it| it.missing == Missing::Interface("eth1".into())));
    assert!(!lab.table("netdev").contains("eth1"));
    lab.node.join("eth1", &lab.client, "eth1");
    lab.apply(&keep);
    assert_eq!(lab.apply(&keep), Applied::default());
    assert!(lab.table("netdev").contains("hook ingress device \"eth1\""));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn the_gate_runs_out_unless_it_is_renewed() {
    const LINGER: Duration = Duration::from_millis(800);
    let lab = Lab::new();
    let addresses: BTreeSet<IpAddr> = spread().spread.into_keys().collect();
    lab.with(|kernel| kernel.apply(&spread(), LINGER)).unwrap();
    let elements = |version| lab.nft(&format!("list map netdev ferrolb spread{version}"));
    let end = testlab::now() + 3 * LINGER;
    while testlab::now() < end {
        let (addresses, begin) = (addresses.clone(), testlab::now());
        lab.with(move |kernel| kernel.renew(&addresses, LINGER)).unwrap();
        // A host that was too busy to look in time proves nothing.
        let there = elements(4).contains("192.0.2.10") && elements(6).contains("2001:db8::10");
        assert!(there || begin.elapsed() >= LINGER, "ran out although renewed");
        std::thread::sleep(LINGER / 8);
    }
    testlab::eventually(20 * LINGER, "the elements run out", || {
        let listed = elements(4) + &elements(6);
        if listed.contains("elements") { Err(listed) } else { Ok(()) }
    });
    let only = addresses.into_iter().filter(IpAddr::is_ipv4).collect();
    lab.with(move |kernel| kernel.renew(&only, LINGER)).unwrap();
    assert!(elements(4).contains("elements") && !elements(6).contains("elements"));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn the_kernel_has_all_and_trying_changes_nothing() {
    let lab = Lab::new();
    let before = lab.nft("--handle list ruleset");
    lab.with(|kernel| kernel.check_spread()).unwrap();
    assert_eq!(lab.nft("--handle list ruleset"), before);
    lab.apply(&spread());
    lab.with(|kernel| kernel.check_spread()).unwrap();
    assert_eq!(lab.apply(&spread()), Applied::default());
}
