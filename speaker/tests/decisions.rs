// SPDX-License-Identifier: Apache-2.0
//! Contract 4.2 to 4.4 line by line: who announces, on what, and which reason the others have.
//!
//! Of node-a, node-b and node-c the address 10.0.0.1 goes to node-b, then node-a (contract 4.3).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use l2::Scope;
use serde_json::{Value, json};
use speaker::{
    Announcement, NodeMetadata, Options, PoolLinks, PoolOrder, RingSpeaker, RingSpeakers, Withhold,
};
use world::{World, advertisement, node, options, pool, service, slice, with};

const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// Three nodes, one pool for all, and a Service with an endpoint on each node.
fn usual() -> Vec<Value> {
    let mut objects: Vec<Value> =
        NODES.iter().map(|name| node(name, json!({ "name": name }))).collect();
    objects.push(pool("p", &["10.0.0.0/24", "2001:db8::/112"]));
    objects.push(advertisement("ad", json!({})));
    objects.push(service("web", &["10.0.0.1"]));
    objects.push(slice("web", &NODES));
    objects
}

/// The usual world with other objects, which take the place of those with the same kind and name.
fn changed(others: &[Value]) -> World {
    let mut objects = usual();
    objects.extend_from_slice(others);
    World::new(&objects)
}

/// The usual Service, changed.
fn web(pointer: &str, value: Value) -> Value {
    with(service("web", &["10.0.0.1"]), pointer, value)
}

fn selects(key: &str, value: &str) -> Value {
    json!([{ "matchLabels": { key: value } }])
}

/// The reason why a node of the world does not announce `web`.
fn reason(world: &World, node: &str) -> Withhold {
    world.verdict(node, "web").local.unwrap_err()
}

fn announcement(addresses: &[&str], scope: Scope) -> Announcement {
    Announcement { addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(), scope }
}

fn interfaces(names: &[&str]) -> Scope {
    Scope::Interfaces(names.iter().map(|name| (*name).into()).collect())
}

#[test]
fn one_node_announces_and_the_others_name_it() {
    let world = changed(&[]);
    let verdict = world.verdict("node-b", "web");
    assert_eq!(verdict.local, Ok(announcement(&["10.0.0.1"], Scope::AllInterfaces)));
    assert_eq!(verdict.announcer.as_deref(), Some("node-b"));
    for node in ["node-a", "node-c"] {
        let verdict = world.verdict(node, "web");
        assert_eq!(verdict.local, Err(Withhold::NotOwner("node-b".into())));
        assert_eq!(verdict.announcer.as_deref(), Some("node-b"));
    }
}

/// Contract 2.10 and 4.2: what keeps every node from announcing, with the word of the log.
#[test]
fn what_a_service_lacks_withholds_it_everywhere() {
    let with_ingress = |ingress: Value| web("/status/loadBalancer/ingress", ingress);
    let shared = |prefix: &str, value: &str| {
        web("/metadata/annotations", json!({ format!("{prefix}/allow-shared-ip"): value }))
    };
    let selective = || advertisement("ad", json!({ "serviceSelectors": selects("app", "web") }));
    let rows: Vec<(&str, Vec<Value>, Withhold, &str)> = vec![
        (
            "another class",
            vec![web("/spec/loadBalancerClass", json!("other"))],
            Withhold::ServiceDeleted,
            "serviceDeleted",
        ),
        ("no ingress", vec![with_ingress(json!([]))], Withhold::NoAddress, "noIPAllocated"),
        (
            "an ingress that is no address",
            vec![with_ingress(json!([{ "ip": "10.0.0.1" }, { "ip": "what" }]))],
            Withhold::InvalidAddress("what".into()),
            "invalidIP",
        ),
        (
            "an ingress with a hostname only",
            vec![with_ingress(json!([{ "hostname": "a.example" }]))],
            Withhold::InvalidAddress("a.example".into()),
            "invalidIP",
        ),
        (
            "an address of no pool",
            vec![with_ingress(json!([{ "ip": "192.0.2.1" }]))],
            Withhold::NotAllowed("192.0.2.1".parse().unwrap()),
            "ipNotAllowed",
        ),
        (
            "addresses of two pools",
            vec![
                pool("q", &["10.1.0.0/24"]),
                with_ingress(json!([{ "ip": "10.0.0.1" }, { "ip": "10.1.0.1" }])),
            ],
            Withhold::NotAllowed("10.1.0.1".parse().unwrap()),
            "ipNotAllowed",
        ),
        ("no endpoint", vec![slice("web", &[])], Withhold::NoEndpoints, "notOwner"),
        (
            "no endpoint, and no advertisement either",
            vec![slice("web", &[]), advertisement("ad", json!({ "ipAddressPools": ["q"] }))],
            Withhold::NoEndpoints,
            "notOwner",
        ),
        (
            "sharing and serviceSelectors",
            vec![selective(), shared("metallb.io", "k")],
            Withhold::SharedWithServiceSelector,
            "sharedIPWithServiceSelector",
        ),
        (
            "sharing by the deprecated prefix",
            vec![selective(), shared("metallb.universe.tf", "k")],
            Withhold::SharedWithServiceSelector,
            "sharedIPWithServiceSelector",
        ),
        (
            "sharing by an empty key",
            vec![selective(), shared("metallb.io", "")],
            Withhold::SharedWithServiceSelector,
            "sharedIPWithServiceSelector",
        ),
        (
            "sharing, and one advertisement of several has serviceSelectors",
            vec![
                advertisement("more", json!({ "serviceSelectors": selects("app", "web") })),
                shared("metallb.io", "k"),
            ],
            Withhold::SharedWithServiceSelector,
            "sharedIPWithServiceSelector",
        ),
        (
            "advertisements of other pools",
            vec![advertisement("ad", json!({ "ipAddressPools": ["q"] }))],
            Withhold::NotAdvertised("p".into()),
            "noMatchingAdvertisement",
        ),
        (
            "advertisements of other Services",
            vec![advertisement("ad", json!({ "serviceSelectors": selects("app", "db") }))],
            Withhold::NotAdvertised("p".into()),
            "noMatchingAdvertisement",
        ),
        (
            "advertisements for no node",
            vec![advertisement("ad", json!({ "nodeSelectors": selects("name", "nobody") }))],
            Withhold::NoMatchingAdvertisement,
            "noMatchingAdvertisement",
        ),
    ];
    for (case, objects, expected, word) in rows {
        let world = changed(&objects);
        for name in NODES {
            let verdict = world.verdict(name, "web");
            assert_eq!(verdict.local, Err(expected.clone()), "{case}");
            assert_eq!(verdict.announcer, None, "{case}");
        }
        assert_eq!(expected.name(), word, "{case}");
    }
}

#[test]
fn sharing_alone_and_service_selectors_alone_do_no_harm() {
    let shared = web("/metadata/annotations", json!({ "metallb.io/allow-shared-ip": "k" }));
    assert_eq!(changed(std::slice::from_ref(&shared)).announcers("web"), ["node-b"]);
    let selective = advertisement("ad", json!({ "serviceSelectors": selects("app", "web") }));
    assert_eq!(changed(&[selective]).announcers("web"), ["node-b"]);
    // An advertisement that does not select the Service does not count, with its selectors.
    let others = advertisement("more", json!({ "serviceSelectors": selects("app", "db") }));
    assert_eq!(changed(&[others, shared]).announcers("web"), ["node-b"]);
}

#[test]
fn a_service_of_the_served_class_is_announced_and_one_without_is_not() {
    let world = changed(&[web("/spec/loadBalancerClass", json!("ours"))]);
    let serving = Options { class: Some("ours".into()), ..options("node-b") };
    assert!(world.verdict_with(&serving, "web").local.is_ok());
    let verdict = changed(&[]).verdict_with(&serving, "web");
    assert_eq!(verdict.local, Err(Withhold::ServiceDeleted));
}

/// Contract 3.5: what takes a node out, and the next one in.
#[test]
fn a_node_that_must_not_announce_is_no_candidate() {
    let excluded = |value: &str| {
        node(
            "node-b",
            json!({ "name": "node-b", "node.kubernetes.io/exclude-from-external-load-balancers": value }),
        )
    };
    let unavailable = |status: &str| {
        let conditions = json!([{ "type": "NetworkUnavailable", "status": status }]);
        with(node("node-b", json!({})), "/status", json!({ "conditions": conditions }))
    };
    let elsewhere = json!({ "nodeSelectors": [{ "matchExpressions": [
        { "key": "name", "operator": "NotIn", "values": ["node-b"] }] }] });
    let rows = [
        (excluded(""), Withhold::NodeExcluded, "nodeLabeledExcludeBalancers"),
        (excluded("false"), Withhold::NodeExcluded, "nodeLabeledExcludeBalancers"),
        (unavailable("True"), Withhold::NodeNetworkUnavailable, "nodeNetworkUnavailable"),
        (
            advertisement("ad", elsewhere),
            Withhold::NoMatchingAdvertisement,
            "noMatchingAdvertisement",
        ),
    ];
    for (object, expected, word) in rows {
        let world = changed(&[object]);
        assert_eq!(world.announcers("web"), ["node-a"]);
        assert_eq!(reason(&world, "node-b"), expected);
        assert_eq!(expected.name(), word);
        assert_eq!(reason(&world, "node-c"), Withhold::NotOwner("node-a".into()));
    }
    for status in ["False", "Unknown"] {
        assert_eq!(changed(&[unavailable(status)]).announcers("web"), ["node-b"]);
    }
    let world = changed(&[excluded("")]);
    let ignoring = Options { ignore_exclude_label: true, ..options("node-b") };
    assert!(world.verdict_with(&ignoring, "web").local.is_ok());
}

/// A ring of ours that all stay and have every link.
fn ring(names: &[&str]) -> RingSpeakers {
    let ours = |name: &&str| ((*name).into(), RingSpeaker::Ferrolb(NodeMetadata::default()));
    RingSpeakers::Alive(names.iter().map(ours).collect())
}

/// The ring, with one speaker of MetalLB in it.
fn mixed(names: &[&str], metallb: &str) -> RingSpeakers {
    let RingSpeakers::Alive(mut members) = ring(names) else { unreachable!() };
    members.insert(metallb.into(), RingSpeaker::MetalLb);
    RingSpeakers::Alive(members)
}

#[test]
fn not_ready_cordon_and_taints_do_not_count() {
    let mut drained = node("node-b", json!({}));
    drained["spec"] =
        json!({ "unschedulable": true, "taints": [{ "key": "a", "effect": "NoExecute" }] });
    drained["status"] = json!({ "conditions": [{ "type": "Ready", "status": "False" }] });
    assert_eq!(changed(&[drained]).announcers("web"), ["node-b"]);
}

#[test]
fn only_members_are_candidates() {
    let mut world = changed(&[]);
    world.members = ring(&["node-a", "node-c"]);
    assert_eq!(world.announcers("web"), ["node-a"]);
    assert_eq!(reason(&world, "node-b"), Withhold::NodeUnknown);
    world.members = ring(&["stranger"]);
    for name in NODES {
        assert!(matches!(reason(&world, name), Withhold::NoCandidates(_)));
    }
}

#[test]
fn a_node_that_the_cluster_does_not_know_announces_nothing() {
    let world = changed(&[]);
    let verdict = world.verdict("stranger", "web");
    assert_eq!(verdict.local, Err(Withhold::NodeUnknown));
    assert_eq!(verdict.announcer.as_deref(), Some("node-b"));
}

#[test]
fn with_the_local_policy_only_nodes_with_an_endpoint_count() {
    let local = web("/spec/externalTrafficPolicy", json!("Local"));
    let world = changed(&[local.clone(), slice("web", &["node-a", "node-c"])]);
    assert_eq!(world.announcers("web"), ["node-a"]);
    assert_eq!(reason(&world, "node-b"), Withhold::NoLocalEndpoints);
    assert_eq!(reason(&world, "node-b").name(), "noLocalEndpoints");

    // An endpoint that names no node is one for Cluster, and for Local on no node.
    let world = changed(&[local.clone(), slice("web", &[""])]);
    for name in NODES {
        assert!(matches!(reason(&world, name), Withhold::NoCandidates(_)));
        assert_eq!(reason(&world, name).name(), "notOwner");
    }
    assert_eq!(changed(&[slice("web", &[""])]).announcers("web"), ["node-b"]);

    // The endpoints are those of all slices together.
    let second = with(slice("web", &["node-b"]), "/metadata/name", json!("web-2"));
    assert_eq!(changed(&[local, slice("web", &["node-c"]), second]).announcers("web"), ["node-b"]);
}

/// Contract 2.10: ready is nil or true, else serving is true.
#[test]
fn endpoints_count_when_ready_or_serving() {
    let rows = [
        (json!(null), true),
        (json!({}), true),
        (json!({ "ready": true }), true),
        (json!({ "ready": false }), false),
        (json!({ "ready": false, "serving": true }), true),
    ];
    for (conditions, usable) in rows {
        let object = with(slice("web", &["node-a"]), "/endpoints/0/conditions", conditions.clone());
        let local = web("/spec/externalTrafficPolicy", json!("Local"));
        let world = changed(&[local, object]);
        let expected: &[&str] = if usable { &["node-a"] } else { &[] };
        assert_eq!(world.announcers("web"), expected, "{conditions}");
    }
}

#[test]
fn without_kubernetes_a_service_without_slices_counts_as_served() {
    let mut objects = usual();
    objects.retain(|object| object["kind"] != "EndpointSlice");
    let world = World::new(&objects);
    assert_eq!(reason(&world, "node-b"), Withhold::NoEndpoints);
    let assuming = Options { assume_endpoints: true, ..options("node-b") };
    assert!(world.verdict_with(&assuming, "web").local.is_ok());
    let empty = changed(&[slice("web", &[])]);
    assert_eq!(empty.verdict_with(&assuming, "web").local, Err(Withhold::NoEndpoints));
}

/// Contract 4.3: the sum of the weights that match; each advertisement scores its own nodes only.
#[test]
fn the_preferred_node_goes_before_the_hash() {
    let prefer = |name: &str, weight: u32| json!({ "weight": weight, "preference": { "matchLabels": { "name": name } } });
    let everywhere = |weight: u32| json!({ "weight": weight, "preference": {} });
    let rows = [
        (vec![json!({ "preferredNodeSelectors": [prefer("node-c", 1)] })], "node-c"),
        (
            vec![json!({ "preferredNodeSelectors": [prefer("node-c", 1), prefer("node-a", 2)] })],
            "node-a",
        ),
        (
            vec![
                json!({ "preferredNodeSelectors": [prefer("node-c", 1), prefer("node-c", 2), prefer("node-a", 2)] }),
            ],
            "node-c",
        ),
        (vec![json!({ "preferredNodeSelectors": [everywhere(100)] })], "node-b"),
        (
            vec![json!({ "preferredNodeSelectors": [everywhere(100), prefer("node-a", 1)] })],
            "node-a",
        ),
        // Two advertisements add up.
        (
            vec![
                json!({ "preferredNodeSelectors": [prefer("node-a", 2)] }),
                json!({ "preferredNodeSelectors": [prefer("node-c", 1)] }),
                json!({ "preferredNodeSelectors": [prefer("node-c", 3), prefer("node-a", 1)] }),
            ],
            "node-c",
        ),
        // It prefers node-c, and does not select it.
        (
            vec![
                json!({}),
                json!({ "nodeSelectors": selects("name", "node-a"),
                    "preferredNodeSelectors": [prefer("node-c", 100)] }),
            ],
            "node-b",
        ),
        // It prefers every node that it selects.
        (
            vec![
                json!({}),
                json!({ "nodeSelectors": selects("name", "node-c"),
                    "preferredNodeSelectors": [everywhere(1)] }),
            ],
            "node-c",
        ),
        // It is another pool's, or for other Services.
        (
            vec![
                json!({}),
                json!({ "ipAddressPools": ["q"], "preferredNodeSelectors": [prefer("node-c", 1)] }),
                json!({ "serviceSelectors": selects("app", "db"),
                    "preferredNodeSelectors": [prefer("node-c", 1)] }),
            ],
            "node-b",
        ),
    ];
    for (specs, expected) in rows {
        let mut objects = usual();
        objects.retain(|object| object["kind"] != "L2Advertisement");
        for (number, spec) in specs.iter().enumerate() {
            objects.push(advertisement(&format!("ad{number}"), spec.clone()));
        }
        assert_eq!(World::new(&objects).announcers("web"), [expected], "{specs:?}");
    }
}

#[test]
fn a_preferred_node_that_is_no_candidate_is_passed_over() {
    let prefer = json!({ "preferredNodeSelectors": [
        { "weight": 100, "preference": { "matchLabels": { "name": "node-c" } } }] });
    let local = web("/spec/externalTrafficPolicy", json!("Local"));
    let world = changed(&[advertisement("ad", prefer), local, slice("web", &["node-a", "node-b"])]);
    assert_eq!(world.announcers("web"), ["node-b"]);
}

#[test]
fn both_addresses_go_where_the_first_one_goes() {
    // Alone, 10.0.0.2 goes to node-b and 10.0.0.3 elsewhere, as any of the second addresses.
    for first in 1..20 {
        let (v4, v6) = (format!("10.0.0.{first}"), format!("2001:db8::{first:x}"));
        let alone = changed(&[service("web", &[&v4])]).announcers("web");
        let world = changed(&[service("web", &[&v4, &v6])]);
        assert_eq!(world.announcers("web"), alone);
        let verdict = world.verdict(&alone[0], "web");
        assert_eq!(verdict.local, Ok(announcement(&[&v4, &v6], Scope::AllInterfaces)));
        let other_way = changed(&[service("web", &[&v6, &v4])]);
        let alone = changed(&[service("web", &[&v6])]).announcers("web");
        assert_eq!(other_way.announcers("web"), alone);
    }
}

#[test]
fn an_address_is_one_however_it_is_written() {
    let world = changed(&[service("web", &["2001:0DB8:0:0::1"])]);
    assert_eq!(
        world.announcers("web"),
        changed(&[service("web", &["2001:db8::1"])]).announcers("web")
    );
}

/// Contract 4.4, on the node that is elected.
#[test]
fn the_interfaces_are_those_of_the_own_nodes_advertisements() {
    let on = |names: &[&str]| json!({ "interfaces": names });
    let here = |names: &[&str], node: &str| json!({ "interfaces": names, "nodeSelectors": selects("name", node) });
    let rows: Vec<(Vec<Value>, Result<Scope, &str>)> = vec![
        (vec![json!({})], Ok(Scope::AllInterfaces)),
        (vec![on(&["eth0"])], Ok(interfaces(&["eth0"]))),
        (vec![on(&["eth0"]), on(&["eth1", "eth7"])], Ok(interfaces(&["eth0", "eth1", "eth7"]))),
        (vec![on(&["eth0"]), json!({})], Ok(Scope::AllInterfaces)),
        (vec![on(&["eth0"]), here(&["eth1"], "node-a")], Ok(interfaces(&["eth0"]))),
        (vec![here(&["eth1"], "node-b"), here(&[], "node-a")], Ok(interfaces(&["eth1"]))),
        (vec![on(&["eth7"])], Err("eth7")),
        (vec![on(&["eth8"]), on(&["eth7"])], Err("eth7, eth8")),
        // An advertisement for other Services lends no interface.
        (
            vec![on(&["eth0"]), json!({ "serviceSelectors": selects("app", "db") })],
            Ok(interfaces(&["eth0"])),
        ),
    ];
    for (specs, expected) in rows {
        let mut objects = usual();
        objects.retain(|object| object["kind"] != "L2Advertisement");
        for (number, spec) in specs.iter().enumerate() {
            objects.push(advertisement(&format!("ad{number}"), spec.clone()));
        }
        let world = World::new(&objects);
        let verdict = world.verdict("node-b", "web");
        let expected = expected
            .map(|scope| announcement(&["10.0.0.1"], scope))
            .map_err(|names| Withhold::NoInterface(names.to_owned()));
        assert_eq!(verdict.local, expected, "{specs:?}");
        // The election knows nothing of interfaces: nobody takes over.
        assert_eq!(verdict.announcer.as_deref(), Some("node-b"));
        assert_eq!(reason(&world, "node-a"), Withhold::NotOwner("node-b".into()));
    }
}

#[test]
fn what_an_invalid_pool_gave_is_still_announced() {
    let given = web("/metadata/annotations", json!({ "metallb.io/ip-allocated-from-pool": "p" }));
    let broken = pool("p", &["10.0.0.0/33"]);
    let mut objects = usual();
    objects.retain(|object| object["kind"] != "IPAddressPool");
    objects.push(broken);
    let world = World::new(&[objects.clone(), vec![given.clone()]].concat());
    assert_eq!(world.announcers("web"), ["node-b"]);
    // By its labels, too.
    let by_label = json!({ "ipAddressPoolSelectors": selects("pool", "p") });
    objects.push(advertisement("ad", by_label));
    let world = World::new(&[objects.clone(), vec![given]].concat());
    assert_eq!(world.announcers("web"), ["node-b"]);
    // Of a Service that does not say so, nothing is known.
    let world = World::new(&objects);
    assert_eq!(reason(&world, "node-b").name(), "ipNotAllowed");
}

#[test]
fn whoever_leaves_is_no_candidate() {
    let mut world = changed(&[]);
    let RingSpeakers::Alive(mut members) = ring(&NODES) else { unreachable!() };
    let leaving = NodeMetadata { leaving: true, ..NodeMetadata::default() };
    members.insert("node-b".into(), RingSpeaker::Ferrolb(leaving));
    world.members = RingSpeakers::Alive(members);
    assert_eq!(world.announcers("web"), ["node-a"]);
    assert_eq!(reason(&world, "node-b"), Withhold::Leaving);
}

#[test]
fn a_drained_node_announces_only_what_nobody_else_can() {
    let drained = |name: &str| {
        let mut node = node(name, json!({}));
        node["metadata"]["annotations"] = json!({ "ferrolb.io/drain": "" });
        node
    };
    let mut world = changed(&[drained("node-b")]);
    assert_eq!(world.announcers("web"), ["node-a"]);
    assert_eq!(reason(&world, "node-b"), Withhold::NodeDrained);
    let all: Vec<Value> = NODES.iter().map(|name| drained(name)).collect();
    assert_eq!(changed(&all).announcers("web"), ["node-b"]);
    // MetalLB's speakers know no drain: beside one everything is as with them.
    world.members = mixed(&["node-a", "node-b"], "node-c");
    assert_eq!(world.announcers("web"), ["node-b"]);
}

#[test]
fn a_cordon_counts_as_a_drain_only_by_choice() {
    let mut cordoned = node("node-b", json!({}));
    cordoned["spec"] = json!({ "unschedulable": true });
    let world = changed(&[cordoned]);
    assert_eq!(world.announcers("web"), ["node-b"]);
    let options = Options { drain_on_cordon: true, ..options("node-a") };
    assert!(world.verdict_with(&options, "web").local.is_ok());
}

#[test]
fn a_node_that_is_asked_for_gets_it_while_it_can() {
    let asks = |text: &str| {
        let mut service = service("web", &["10.0.0.1"]);
        service["metadata"]["annotations"] = json!({ "ferrolb.io/preferred-node": text });
        service
    };
    assert_eq!(changed(&[asks("node-c")]).announcers("web"), ["node-c"]);
    assert_eq!(changed(&[asks("stranger")]).announcers("web"), ["node-b"]);
    let mut world = changed(&[asks("node-c@1970-01-01T00:01:00Z")]);
    assert_eq!(world.announcers("web"), ["node-c"]);
    world.time = "1970-01-01T00:01:00Z".parse().unwrap();
    assert_eq!(world.announcers("web"), ["node-b"], "its time is over");
    assert_eq!(changed(&[asks("node-c@tomorrow")]).announcers("web"), ["node-b"]);
    let mut world = changed(&[asks("node-c")]);
    world.members = mixed(&["node-b", "node-c"], "node-a");
    assert_eq!(world.announcers("web"), ["node-b"]);
}

fn link(name: &str, carrier: bool, addresses: &[(&str, u8)]) -> l2::LinkReport {
    let addresses = addresses.iter().map(|(address, length)| (address.parse().unwrap(), *length));
    l2::LinkReport {
        name: name.into(),
        index: 1,
        hardware_address: None,
        up: true,
        carrier,
        addresses: addresses.collect(),
        arp: true,
        ndp: true,
        arp_reason: None,
        ndp_reason: None,
    }
}

/// The world in which node-b says that its links are these.
fn with_links(advertisement_spec: Value, links: &[l2::LinkReport]) -> World {
    let mut world = changed(&[advertisement("ad", advertisement_spec)]);
    let RingSpeakers::Alive(mut members) = ring(&NODES) else { unreachable!() };
    let config = world.snapshot.config();
    let links = PoolLinks::of(&PoolOrder::of(config), config, links, |_| true);
    members.insert(
        "node-b".into(),
        RingSpeaker::Ferrolb(NodeMetadata { links, ..NodeMetadata::default() }),
    );
    world.members = RingSpeakers::Alive(members);
    world
}

#[test]
fn an_owner_without_a_link_makes_way() {
    let up = with_links(json!({}), &[link("eth0", true, &[("10.0.0.9", 24)])]);
    assert_eq!(up.announcers("web"), ["node-b"]);
    let down = with_links(json!({}), &[link("eth0", false, &[("10.0.0.9", 24)])]);
    assert_eq!(down.announcers("web"), ["node-a"]);
    assert_eq!(reason(&down, "node-b"), Withhold::NoLink("p".into()));
    let none = with_links(json!({}), &[]);
    assert_eq!(none.announcers("web"), ["node-a"]);
}

#[test]
fn the_link_that_counts_is_the_one_with_the_subnet() {
    let home = |carrier| link("eth0", carrier, &[("10.0.0.9", 24)]);
    let other = |carrier| link("eth1", carrier, &[("192.0.2.9", 24)]);
    assert_eq!(with_links(json!({}), &[home(true), other(false)]).announcers("web"), ["node-b"]);
    assert_eq!(with_links(json!({}), &[home(false), other(true)]).announcers("web"), ["node-a"]);
    // Without one in the subnet, any.
    assert_eq!(with_links(json!({}), &[other(true)]).announcers("web"), ["node-b"]);
    // The advertisement may leave only the other.
    let named = json!({ "interfaces": ["eth1"] });
    assert_eq!(
        with_links(named.clone(), &[home(false), other(true)]).announcers("web"),
        ["node-b"]
    );
    assert_eq!(with_links(named, &[home(true), other(false)]).announcers("web"), ["node-a"]);
}

#[test]
fn links_say_nothing_to_those_who_know_other_pools() {
    let mut world = with_links(json!({}), &[]);
    assert_eq!(world.announcers("web"), ["node-a"]);
    world.stage(&pool("another", &["10.9.0.0/24"]));
    world.snapshot.take_dirty();
    assert_eq!(world.announcers("web"), ["node-b"]);
}
