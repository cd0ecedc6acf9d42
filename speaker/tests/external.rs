// SPDX-License-Identifier: Apache-2.0
//! Contract C.6 and C.7: which node announces a Service of Antrea's world, and on what; and BGP where an advertisement names its pool.
//!
//! Of node-1, node-2 and node-3 the address 10.10.0.2 goes to node-1, 10.10.0.3 to node-3, and without that one to node-1.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use std::collections::BTreeSet;

use l2::Scope;
use serde_json::{Value, json};
use speaker::election::RingPlaces;
use speaker::{
    Circumstances, NodeMetadata, PoolOrder, RingSpeaker, RingSpeakers, Withhold, advertise,
    announce,
};
use world::{World, key, node, options, with};

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

fn pool(selector: Value) -> Value {
    json!({
        "kind": "ExternalIPPool",
        "metadata": { "name": "p" },
        "spec": {
            "ipRanges": [{ "start": "10.10.0.2", "end": "10.10.0.10" }, { "cidr": "fd00:10::/120" }],
            "nodeSelector": selector,
        },
    })
}

/// A Service that our controller gave this address.
fn web(address: &str) -> Value {
    let mut web = world::service("web", &[address]);
    web["metadata"]["annotations"] = json!({ "service.antrea.io/external-ip-pool": "p" });
    web["status"]["conditions"] = json!([{
        "type": "ferrolb.io/Allocated", "status": "True", "reason": "Assigned", "message": "m",
    }]);
    web
}

/// Three nodes, of which the first two are for ingress, a pool for those, and a Service without any endpoint.
fn usual(address: &str) -> Vec<Value> {
    let roles = ["ingress-node", "ingress-node", "worker"];
    let mut objects: Vec<Value> = NODES
        .iter()
        .zip(roles)
        .map(|(name, role)| node(name, json!({ "network-role": role })))
        .collect();
    objects.push(pool(json!({})));
    objects.push(web(address));
    objects
}

fn changed(address: &str, others: &[Value]) -> World {
    let mut objects = usual(address);
    objects.extend_from_slice(others);
    World::new(&objects)
}

fn slice(family: &str, endpoints: Value) -> Value {
    json!({
        "kind": "EndpointSlice", "addressType": family, "endpoints": endpoints,
        "metadata": { "name": format!("web-{family}"), "namespace": "default",
            "labels": { "kubernetes.io/service-name": "web" } },
    })
}

#[test]
fn the_owner_is_antreas_and_no_endpoint_is_needed() {
    for (address, owner) in [
        ("10.10.0.2", "node-1"),
        ("10.10.0.3", "node-3"),
        ("10.10.0.10", "node-1"),
        ("fd00:10::2", "node-3"),
    ] {
        let world = changed(address, &[]);
        assert_eq!(world.announcers("web"), [owner], "{address}");
        let announcer = world.verdict("node-2", "web").announcer;
        assert_eq!(announcer.as_deref(), Some(owner));
    }
}

#[test]
fn only_nodes_that_the_pool_selects_take_part() {
    let edge = pool(json!({ "matchLabels": { "network-role": "ingress-node" } }));
    let world = changed("10.10.0.3", std::slice::from_ref(&edge));
    assert_eq!(world.announcers("web"), ["node-1"]);
    assert_eq!(
        world.verdict("node-3", "web").local.unwrap_err(),
        Withhold::NotInNodeSelector("p".into())
    );
    // A label moves it, and without any such node it is silent (C.14).
    let world = changed("10.10.0.3", &[edge.clone(), node("node-1", json!({}))]);
    assert_eq!(world.announcers("web"), ["node-2"]);
    let world = changed("10.10.0.3", &[edge, node("node-1", json!({})), node("node-2", json!({}))]);
    assert!(world.announcers("web").is_empty());
}

#[test]
fn a_local_service_is_announced_from_nodes_with_an_endpoint_of_the_addresss_family() {
    let local = with(web("10.10.0.3"), "/spec/externalTrafficPolicy", json!("Local"));
    let on = |node: &str, conditions: Value| json!({ "addresses": ["10.1.0.1"], "nodeName": node, "conditions": conditions });
    for (case, family, endpoints, announcers) in [
        ("ready", "IPv4", json!([on("node-2", json!({ "ready": true }))]), vec!["node-2"]),
        ("nothing said", "IPv4", json!([on("node-2", json!({}))]), vec!["node-2"]),
        (
            "terminating but serving",
            "IPv4",
            json!([on("node-2", json!({ "ready": false, "serving": true, "terminating": true }))]),
            vec!["node-2"],
        ),
        (
            "not ready, nothing said of serving",
            "IPv4",
            json!([on("node-2", json!({ "ready": false }))]),
            vec!["node-2"],
        ),
        (
            "neither",
            "IPv4",
            json!([on("node-2", json!({ "ready": false, "serving": false }))]),
            vec![],
        ),
        ("another family", "IPv6", json!([on("node-2", json!({}))]), vec![]),
        ("no node", "IPv4", json!([{ "addresses": ["10.1.0.1"] }]), vec![]),
        ("two", "IPv4", json!([on("node-2", json!({})), on("node-3", json!({}))]), vec!["node-3"]),
    ] {
        let world = changed("10.10.0.3", &[local.clone(), slice(family, endpoints)]);
        assert_eq!(world.announcers("web"), announcers, "{case}");
    }
}

#[test]
fn the_exclude_label_a_drain_and_membership_are_honoured() {
    let excluded = json!({ "node.kubernetes.io/exclude-from-external-load-balancers": "" });
    assert_eq!(changed("10.10.0.3", &[node("node-3", excluded)]).announcers("web"), ["node-1"]);
    let mut drained = node("node-3", json!({}));
    drained["metadata"]["annotations"] = json!({ "ferrolb.io/drain": "" });
    assert_eq!(changed("10.10.0.3", &[drained]).announcers("web"), ["node-1"]);
    let ferrolb = |name: &str| (name.into(), RingSpeaker::Ferrolb(NodeMetadata::default()));
    let mut world = changed("10.10.0.3", &[]);
    world.members = RingSpeakers::Alive([ferrolb("node-1"), ferrolb("node-2")].into());
    assert_eq!(world.announcers("web"), ["node-1"], "node-3 is dead");
    // MetalLB's speaker on node-3 knows nothing of this.
    world.members = RingSpeakers::Alive(
        [ferrolb("node-1"), ferrolb("node-2"), ("node-3".into(), RingSpeaker::MetalLb)].into(),
    );
    assert_eq!(world.announcers("web"), ["node-1"]);
}

#[test]
fn what_another_controller_gave_is_left_to_its_own_agents() {
    let mut others = web("10.10.0.2");
    others["status"]["conditions"] = json!([]);
    let world = changed("10.10.0.2", &[others]);
    assert_eq!(world.verdict("node-1", "web").local.unwrap_err(), Withhold::NotGivenHere);
}

#[test]
fn l2_advertisements_and_classes_are_of_the_other_world() {
    let advertisement = world::advertisement("all", json!({ "interfaces": ["eth7"] }));
    let classed = with(web("10.10.0.2"), "/spec/loadBalancerClass", json!("other"));
    assert_eq!(changed("10.10.0.2", &[advertisement, classed]).announcers("web"), ["node-1"]);
}

#[test]
fn it_is_announced_on_the_interface_with_the_nodes_address() {
    let world = changed("10.10.0.2", &[]);
    let on = |names: &[&str]| {
        let transport: BTreeSet<Box<str>> = names.iter().map(|name| (*name).into()).collect();
        let circumstances = Circumstances {
            members: &world.members,
            interfaces: &world.interfaces,
            transport: Some(&transport),
            pools: &PoolOrder::of(world.snapshot.config()),
            places: &RingPlaces::default(),
            time: world.time,
            placement: None,
        };
        let service = world.snapshot.service(&key("web")).unwrap();
        announce(&key("web"), service, &world.snapshot, &circumstances, &options("node-1")).local
    };
    assert_eq!(on(&["eth1"]).unwrap().scope, Scope::Interfaces(["eth1".into()].into()));
    assert!(matches!(on(&[]), Err(Withhold::NoInterface(_))));
    assert!(matches!(on(&["gone"]), Err(Withhold::NoInterface(_))));
}

#[test]
fn bgp_only_where_an_advertisement_names_the_pool() {
    let routes = |advertisement: Value| {
        let everything = json!([{ "addresses": ["10.1.0.1"], "nodeName": "node-2" }]);
        let world = changed("10.10.0.2", &[slice("IPv4", everything), advertisement]);
        let service = world.snapshot.service(&key("web")).unwrap();
        let paths = advertise(&key("web"), service, &world.snapshot, &options("node-2"));
        paths.map(|paths| paths.iter().map(|path| path.prefix.to_string()).collect::<Vec<_>>())
    };
    let advertisement = |spec: Value| json!({ "kind": "BGPAdvertisement", "metadata": { "name": "b" }, "spec": spec });
    assert!(routes(advertisement(json!({}))).is_err(), "every pool means every IPAddressPool");
    assert_eq!(
        routes(advertisement(json!({ "externalIPPools": ["p"] }))).unwrap(),
        ["10.10.0.2/32"]
    );
}
