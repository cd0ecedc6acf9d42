// SPDX-License-Identifier: Apache-2.0
//! The owners that MetalLB 0.16 elected on a cluster of four nodes: `e2e/recorded/l2-owners.json`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use world::{World, advertisement, node, pool, service, slice, with};

type Owners = BTreeMap<String, Vec<String>>;

fn recorded(section: &str) -> Owners {
    let text = include_str!("../../e2e/recorded/l2-owners.json");
    let all: BTreeMap<String, Value> = serde_json::from_str(text).unwrap();
    let (_, owners) = all.into_iter().find(|(name, _)| name.starts_with(section)).unwrap();
    serde_json::from_value(owners).unwrap()
}

const NODES: [&str; 4] = ["node1", "node2", "node3", "node4"];

/// The nodes that announce each address, with these Services in the cluster.
fn owners(services: &[Value], nodes: impl Fn(&str) -> Value) -> Owners {
    let mut world = World::new(&[]);
    NODES.iter().for_each(|name| world.stage(&nodes(name)));
    world.stage(&pool("p", &["10.5.0.128-10.5.0.200", "fd00:5:0:1::/112"]));
    world.stage(&advertisement("ad", json!({})));
    services.iter().for_each(|object| world.stage(object));
    world.snapshot.take_dirty();
    let mut owners = Owners::new();
    for (key, service) in world.snapshot.services() {
        for address in service.ingress_addresses() {
            owners.insert(address.to_string(), world.announcers(key.name()));
        }
    }
    owners
}

fn plain(name: &str) -> Value {
    node(name, json!({}))
}

/// A Service with these addresses and endpoints on these nodes.
fn served(name: &str, addresses: &[&str], nodes: &[&str]) -> [Value; 2] {
    [service(name, addresses), slice(name, nodes)]
}

/// One Service per recorded address, with endpoints everywhere.
fn one_each(owners: &Owners) -> Vec<Value> {
    let addresses = owners.keys().enumerate();
    addresses.flat_map(|(n, address)| served(&format!("s{n}"), &[address], &NODES)).collect()
}

#[test]
fn owners_by_hash() {
    let expected = recorded("hash");
    assert_eq!(expected.len(), 16);
    assert_eq!(owners(&one_each(&expected), plain), expected);
}

#[test]
fn owners_of_ipv6_and_of_two_addresses() {
    let expected = recorded("v6_and_dual");
    let mut services = Vec::new();
    for number in 0..4 {
        let (v4, v6) =
            (format!("10.5.0.{}", 150 + number), format!("fd00:5:0:1::{:x}", 16 + number));
        services.extend(served(&format!("dual{number}"), &[&v4, &v6], &NODES));
        let single = format!("fd00:5:0:1::{}", 1 + number);
        services.extend(served(&format!("six{number}"), &[&single], &NODES));
    }
    assert_eq!(owners(&services, plain), expected);
}

#[test]
fn owners_with_an_excluded_node() {
    let expected = recorded("node2 excluded by label");
    let label = json!({ "node.kubernetes.io/exclude-from-external-load-balancers": "" });
    let nodes = |name: &str| node(name, if name == "node2" { label.clone() } else { json!({}) });
    assert_eq!(owners(&one_each(&expected), nodes), expected);
}

#[test]
fn owners_with_the_local_policy() {
    let expected = recorded("etp Local");
    let mut services = Vec::new();
    for address in expected.keys() {
        let last: u8 = address.rsplit_once('.').unwrap().1.parse().unwrap();
        let (policy, nodes): (&str, &[&str]) = match last {
            130..=135 => ("Local", &["node1", "node4"]),
            140 | 141 => ("Local", &["node3"]),
            145 => ("Local", &[]),
            146 => ("Cluster", &["node2"]),
            other => panic!("unexpected address {other}"),
        };
        let [object, slice] = served(&format!("s{last}"), &[address], nodes);
        services.push(with(object, "/spec/externalTrafficPolicy", json!(policy)));
        services.push(slice);
    }
    assert_eq!(owners(&services, plain), expected);
}
