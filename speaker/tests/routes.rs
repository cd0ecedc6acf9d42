// SPDX-License-Identifier: Apache-2.0
//! Contract 5.3, 5.4 and 5.8 line by line: what is advertised with which attributes to which peers, or why not; and that the
//! books say the same whatever way they came to it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bgp::{Attributes, Families};
use cluster::Dirty;
use proptest::prelude::*;
use serde_json::{Value, json};
use speaker::{BgpMode, Options, Path, RouteBooks, RouteOutput, Withhold, advertise};
use world::{World, key, node, options, pool, service, slice, with};

fn advertisement(name: &str, spec: Value) -> Value {
    json!({ "kind": "BGPAdvertisement", "metadata": { "name": name }, "spec": spec })
}

/// Two nodes, a pool, an advertisement for all, and a Service with an endpoint on node-a.
fn usual() -> Vec<Value> {
    vec![
        node("node-a", json!({ "name": "node-a" })),
        node("node-b", json!({ "name": "node-b" })),
        pool("p", &["10.0.0.0/24", "2001:db8::/64"]),
        advertisement("ad", json!({})),
        service("web", &["10.0.0.1", "2001:db8::1"]),
        slice("web", &["node-a"]),
    ]
}

fn changed(others: &[Value]) -> World {
    let mut objects = usual();
    objects.extend_from_slice(others);
    World::new(&objects)
}

fn paths(world: &World, options: &Options) -> Result<Vec<Path>, Withhold> {
    let key = key("web");
    advertise(&key, world.snapshot.service(&key).unwrap(), &world.snapshot, options)
}

fn reason(world: &World, node: &str) -> &'static str {
    paths(world, &options(node)).unwrap_err().name_by_bgp()
}

fn prefixes(world: &World) -> Vec<String> {
    let paths = paths(world, &options("node-a")).unwrap();
    paths.iter().map(|path| path.prefix.to_string()).collect()
}

#[test]
fn every_node_advertises_every_address_with_the_modes_local_pref() {
    let world = changed(&[]);
    for node in ["node-a", "node-b"] {
        let native = paths(&world, &options(node)).unwrap();
        let expected: Vec<Path> = ["10.0.0.1/32", "2001:db8::1/128"]
            .iter()
            .map(|prefix| Path {
                prefix: prefix.parse().unwrap(),
                attributes: Arc::new(Attributes::default().with_local_pref(0)),
                peers: BTreeSet::new(),
            })
            .collect();
        assert_eq!(native, expected);
        let frr = Options { bgp_mode: BgpMode::Frr, ..options(node) };
        let paths = paths(&world, &frr).unwrap();
        assert!(paths.iter().all(|path| path.attributes.local_pref().is_none()));
    }
}

#[test]
fn the_reasons_come_in_the_contracts_order() {
    let ad = |spec| advertisement("ad", spec);
    let selects = |label: &str, value: &str| json!([{ "matchLabels": { label: value } }]);
    let unavailable = with(
        node("node-a", json!({ "name": "node-a" })),
        "/status",
        json!({ "conditions": [{ "type": "NetworkUnavailable", "status": "True" }] }),
    );
    let excluded =
        node("node-a", json!({ "node.kubernetes.io/exclude-from-external-load-balancers": "" }));
    let local = with(service("web", &["10.0.0.1"]), "/spec/externalTrafficPolicy", json!("Local"));
    let two = [
        ad(json!({ "localPref": 1 })),
        advertisement(
            "other",
            json!({ "localPref": 2, "serviceSelectors": selects("app", "web") }),
        ),
    ];
    let nowhere = slice("web", &[]);
    let rows: [(&str, Vec<Value>); 8] = [
        (
            "notOwner",
            vec![ad(json!({ "nodeSelectors": selects("name", "node-b") })), nowhere.clone()],
        ),
        ("notOwner", vec![ad(json!({ "ipAddressPools": ["other"] }))]),
        (
            "noMatchingAdvertisement",
            vec![ad(json!({ "serviceSelectors": selects("app", "x") })), unavailable.clone()],
        ),
        ("conflictingAdvertisements", [&two[..], std::slice::from_ref(&unavailable)].concat()),
        (
            "nodeNetworkUnavailable",
            vec![
                with(
                    unavailable,
                    "/metadata/labels",
                    json!({ "node.kubernetes.io/exclude-from-external-load-balancers": "" }),
                ),
                nowhere.clone(),
            ],
        ),
        ("nodeLabeledExcludeBalancers", vec![excluded, nowhere.clone()]),
        ("noLocalEndpoints", vec![local.clone(), slice("web", &["node-b"])]),
        ("noEndpoints", vec![nowhere]),
    ];
    for (expected, objects) in rows {
        assert_eq!(reason(&changed(&objects), "node-a"), expected, "{objects:?}");
    }
    assert!(paths(&changed(&[local]), &options("node-a")).is_ok());
}

#[test]
fn an_endpoint_counts_only_with_an_address() {
    let mut without = slice("web", &["node-a"]);
    without["endpoints"][0]["addresses"] = json!([]);
    assert_eq!(reason(&changed(&[without]), "node-a"), "noEndpoints");
}

#[test]
fn addresses_are_cut_to_the_advertisements_length() {
    let ad = advertisement("ad", json!({ "aggregationLength": 24, "aggregationLengthV6": 64 }));
    assert_eq!(prefixes(&changed(std::slice::from_ref(&ad))), ["10.0.0.0/24", "2001:db8::/64"]);
    let both = changed(&[ad, advertisement("host", json!({}))]);
    assert_eq!(prefixes(&both), ["10.0.0.0/24", "10.0.0.1/32", "2001:db8::/64", "2001:db8::1/128"]);
}

#[test]
fn every_optional_attribute_is_carried() {
    let ad = advertisement(
        "ad",
        json!({
            "localPref": 250, "communities": ["7:8", "large:1:2:3", "no-export"],
            "asPathPrepend": 2, "med": 30, "peers": ["tor"],
        }),
    );
    let world = changed(&[ad]);
    let paths = paths(&world, &options("node-a")).unwrap();
    let attributes = Attributes::default()
        .with_local_pref(250)
        .with_med(30)
        .with_as_path_prepend(2)
        .with_communities([7 << 16 | 8, 0xffff_ff01])
        .with_large_communities([[1, 2, 3]]);
    assert_eq!(*paths[0].attributes, attributes);
    assert!(paths[0].is_for("tor") && !paths[0].is_for("other"));
}

fn names(peers: &[&str]) -> BTreeMap<Arc<str>, Families> {
    peers.iter().map(|peer| ((*peer).into(), Families::BOTH)).collect()
}

fn everything() -> Dirty {
    Dirty { all: true, ..Dirty::default() }
}

fn table(books: &RouteBooks, peer: &str) -> Vec<String> {
    books.tables()[peer].keys().map(ToString::to_string).collect()
}

#[test]
fn equal_prefixes_are_merged_and_stay_until_the_last_service_goes() {
    let ad = |name: &str, community: &str, peers: Value| {
        advertisement(
            name,
            json!({ "aggregationLength": 24, "aggregationLengthV6": 64, "communities": [community], "peers": peers }),
        )
    };
    let mut world = changed(&[
        ad("ad", "1:1", json!([])),
        ad("more", "2:2", json!(["one"])),
        service("web", &["10.0.0.1"]),
        service("two", &["10.0.0.2"]),
        slice("two", &["node-b"]),
    ]);
    let mut books = RouteBooks::new(options("node-a"));
    let outputs = books.reconcile(&world.snapshot, &everything(), &names(&["one", "two"]));
    let communities = |books: &RouteBooks, peer: &str| {
        books.tables()[peer].values().next().unwrap().communities().to_vec()
    };
    assert_eq!(communities(&books, "one"), [1 << 16 | 1, 2 << 16 | 2]);
    assert_eq!(communities(&books, "two"), [1 << 16 | 1]);
    assert_eq!(books.aggregates(), ["10.0.0.0/24".parse().unwrap()].into());
    assert_eq!(books.take_changes().len(), 2);
    assert!(books.take_changes().is_empty());
    let peers = vec!["one".into(), "two".into()];
    assert!(outputs.contains(&RouteOutput::Peers { service: key("web"), peers }));

    world.unstage(&service("web", &[]));
    let dirty = world.snapshot.take_dirty();
    let outputs = books.reconcile(&world.snapshot, &dirty, &names(&["one", "two"]));
    assert_eq!(
        outputs,
        [
            RouteOutput::Withdrawn {
                service: key("web"),
                addresses: vec!["10.0.0.1".parse().unwrap()],
                reason: Withhold::ServiceDeleted
            },
            RouteOutput::Peers { service: key("web"), peers: Vec::new() },
        ]
    );
    assert_eq!(table(&books, "two"), ["10.0.0.0/24"]);
    assert!(books.take_changes().is_empty(), "nothing changed for the peers");

    world.unstage(&service("two", &[]));
    let dirty = world.snapshot.take_dirty();
    books.reconcile(&world.snapshot, &dirty, &names(&["one", "two"]));
    assert!(table(&books, "two").is_empty());
}

#[test]
fn services_that_want_different_local_prefs_for_a_prefix_get_the_highest_and_a_warning_once() {
    let ad = |name: &str, preference: u32, app: &str| {
        advertisement(
            name,
            json!({ "localPref": preference, "serviceSelectors": [{ "matchLabels": { "app": app } }] }),
        )
    };
    let shared = |name: &str| {
        with(
            service(name, &["10.0.0.1"]),
            "/metadata/annotations",
            json!({ "metallb.io/allow-shared-ip": "k" }),
        )
    };
    let world = changed(&[
        ad("ad", 100, "web"),
        ad("more", 200, "two"),
        shared("web"),
        shared("two"),
        slice("two", &["node-a"]),
    ]);
    let mut books = RouteBooks::new(options("node-a"));
    let outputs = books.reconcile(&world.snapshot, &everything(), &names(&["one"]));
    let prefix = "10.0.0.1/32".parse().unwrap();
    assert_eq!(books.tables()["one"][&prefix].local_pref(), Some(200));
    let told = RouteOutput::LocalPrefDiffers { prefix };
    assert_eq!(outputs.iter().filter(|output| **output == told).count(), 1);
    assert!(!books.reconcile(&world.snapshot, &everything(), &names(&["one"])).contains(&told));
}

#[test]
fn a_peer_that_comes_gets_the_whole_table() {
    let world = changed(&[]);
    let mut books = RouteBooks::new(options("node-a"));
    books.reconcile(&world.snapshot, &everything(), &names(&[]));
    assert!(books.take_changes().is_empty());
    let outputs = books.reconcile(&world.snapshot, &Dirty::default(), &names(&["one"]));
    assert_eq!(outputs, [RouteOutput::Peers { service: key("web"), peers: vec!["one".into()] }]);
    let changes = books.take_changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes["one"].len(), 2);
    let outputs = books.reconcile(&world.snapshot, &Dirty::default(), &names(&[]));
    assert_eq!(outputs, [RouteOutput::Peers { service: key("web"), peers: Vec::new() }]);
}

#[test]
fn a_peer_gets_only_the_families_that_it_carries() {
    let world = changed(&[]);
    let mut books = RouteBooks::new(options("node-a"));
    let peers = [("one".into(), Families::IPV4), ("two".into(), Families::IPV6)].into();
    books.reconcile(&world.snapshot, &everything(), &peers);
    assert_eq!(table(&books, "one"), ["10.0.0.1/32"]);
    assert_eq!(table(&books, "two"), ["2001:db8::1/128"]);
}

#[test]
fn a_closed_node_withdraws_everything_with_its_reason() {
    let world = changed(&[]);
    let mut books = RouteBooks::new(options("node-a"));
    books.reconcile(&world.snapshot, &everything(), &names(&["one"]));
    books.set_closed(Some(Withhold::NodeDrained));
    let outputs = books.reconcile(&world.snapshot, &everything(), &names(&["one"]));
    assert!(outputs.contains(&RouteOutput::Withdrawn {
        service: key("web"),
        addresses: vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        reason: Withhold::NodeDrained
    }));
    assert!(table(&books, "one").is_empty());
}

#[test]
fn another_address_within_an_aggregate_is_told() {
    let ad = advertisement("ad", json!({ "aggregationLength": 24, "aggregationLengthV6": 64 }));
    let mut world = changed(&[ad, service("web", &["10.0.0.1"])]);
    let mut books = RouteBooks::new(options("node-a"));
    books.reconcile(&world.snapshot, &everything(), &names(&["one"]));
    world.stage(&service("web", &["10.0.0.9"]));
    let dirty = world.snapshot.take_dirty();
    let outputs = books.reconcile(&world.snapshot, &dirty, &names(&["one"]));
    let [RouteOutput::Advertised { addresses, former, .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(*addresses, ["10.0.0.9".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(*former, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
}

#[derive(Clone, Debug)]
enum Step {
    Stage(Value),
    Unstage(Value),
    Peers(Vec<&'static str>),
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop::sample::select(vec!["s0", "s1", "s2", "s3"]);
    let address = prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "2001:db8::1", "10.9.9.9"]);
    let ad = (
        prop::sample::select(vec!["a0", "a1", "a2"]),
        prop::sample::select(vec![24_u8, 32]),
        0_u32..3,
        prop::sample::subsequence(vec!["p0", "p1"], 0..=2),
        prop::option::of(prop::sample::select(vec!["s0", "s1"])),
    )
        .prop_map(|(name, length, preference, peers, app)| {
            let selectors = app.map(|app| json!([{ "matchLabels": { "app": app } }]));
            let length = if selectors.is_some() { 32 } else { length };
            advertisement(
                name,
                json!({ "aggregationLength": length, "localPref": preference, "peers": peers,
                    "communities": [format!("{preference}:1")],
                    "serviceSelectors": selectors.unwrap_or(json!([])) }),
            )
        });
    prop_oneof![
        4 => (name.clone(), prop::collection::vec(address, 0..3))
            .prop_map(|(name, addresses)| Step::Stage(service(name, &addresses))),
        2 => (name.clone(), prop::sample::subsequence(vec!["node-a", "node-b"], 0..=2))
            .prop_map(|(name, nodes)| Step::Stage(slice(name, &nodes))),
        2 => name.prop_map(|name| Step::Unstage(service(name, &[]))),
        3 => ad.prop_map(Step::Stage),
        1 => prop::sample::select(vec!["a0", "a1", "a2"])
            .prop_map(|name| Step::Unstage(advertisement(name, json!({})))),
        1 => prop::sample::subsequence(vec!["p0", "p1", "p2"], 0..=3).prop_map(Step::Peers),
        3 => Just(Step::Settle),
    ]
}

proptest! {
    #[test]
    fn step_by_step_is_as_from_scratch(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = changed(&[]);
        let mut books = RouteBooks::new(options("node-a"));
        let mut dirty = everything();
        let mut peers = names(&["p0"]);
        let mut told: BTreeMap<Arc<str>, bgp::Routes> = BTreeMap::new();
        for step in steps.iter().chain([&Step::Settle]) {
            match step {
                Step::Stage(object) => world.stage(object),
                Step::Unstage(object) => world.unstage(object),
                Step::Peers(now) => peers = names(now),
                Step::Settle => {
                    let more = world.snapshot.take_dirty();
                    dirty.all |= more.all;
                    dirty.services.extend(more.services);
                    books.reconcile(&world.snapshot, &std::mem::take(&mut dirty), &peers);
                    told.retain(|peer, _| peers.contains_key(peer));
                    for peer in peers.keys() {
                        told.entry(Arc::clone(peer)).or_default();
                    }
                    for (peer, changes) in books.take_changes() {
                        let table = told.entry(peer).or_default();
                        for (prefix, attributes) in changes {
                            match attributes {
                                Some(attributes) => table.insert(prefix, attributes),
                                None => table.remove(&prefix),
                            };
                        }
                    }
                    let mut fresh = RouteBooks::new(options("node-a"));
                    fresh.reconcile(&world.snapshot, &everything(), &peers);
                    prop_assert_eq!(books.advertised(), fresh.advertised());
                    prop_assert_eq!(books.tables(), fresh.tables());
                    // Whoever follows the changes has all of it.
                    prop_assert_eq!(&told, fresh.tables());
                    for service in world.snapshot.services().keys() {
                        prop_assert_eq!(books.peers_of(service), fresh.peers_of(service));
                    }
                }
            }
        }
    }
}
