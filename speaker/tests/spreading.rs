// SPDX-License-Identifier: Apache-2.0
//! The nodes that serve an address together (`spread: nodes`), row by row.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use std::sync::Arc;

use serde_json::{Value, json};
use speaker::{Spreading, Verdict};
use steer::HashBy;
use world::{World, advertisement, node, pool, service, slice, with};

const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

fn usual() -> Vec<Value> {
    let mut objects: Vec<Value> =
        NODES.iter().map(|name| node(name, json!({ "name": name }))).collect();
    objects.push(pool("p", &["10.0.0.0/24"]));
    objects.push(advertisement("ad", json!({ "spread": "nodes" })));
    objects.push(service("web", &["10.0.0.1"]));
    objects.push(slice("web", &NODES));
    objects
}

fn changed(others: &[Value]) -> World {
    World::new(&[usual(), others.to_vec()].concat())
}

fn local(name: &str) -> Value {
    with(service(name, &["10.0.0.1"]), "/spec/externalTrafficPolicy", json!("Local"))
}

/// The nodes and their weights, as every node of the world sees them.
fn spreading(world: &World) -> Option<Arc<Spreading>> {
    let verdicts: Vec<Verdict> = NODES.iter().map(|node| world.verdict(node, "web")).collect();
    assert!(verdicts.iter().all(|verdict| verdict.spreading == verdicts[0].spreading));
    verdicts[0].spreading.clone()
}

fn weights(world: &World) -> String {
    let Some(spreading) = spreading(world) else { return "none".into() };
    let weights = spreading.weights.iter();
    weights.map(|(node, weight)| format!("{} {weight}", &node[5..])).collect::<Vec<_>>().join(", ")
}

#[test]
fn all_nodes_that_may_announce_serve_together_where_the_advertisement_says_so() {
    assert_eq!(weights(&changed(&[])), "a 1, b 1, c 1");
    assert_eq!(weights(&changed(&[advertisement("ad", json!({}))])), "none");
    let selected = json!({ "spread": "nodes", "nodeSelectors": [
        { "matchExpressions": [{ "key": "name", "operator": "In", "values": ["node-a", "node-c"] }] },
    ] });
    assert_eq!(weights(&changed(&[advertisement("ad", selected)])), "a 1, c 1");
    // The node of the other advertisement announces alone if it is elected, and does not serve together with the others.
    let one =
        json!({ "spread": "nodes", "nodeSelectors": [{ "matchLabels": { "name": "node-a" } }] });
    let two = json!({ "nodeSelectors": [{ "matchLabels": { "name": "node-b" } }] });
    assert_eq!(weights(&changed(&[advertisement("ad", one), advertisement("two", two)])), "a 1");
}

#[test]
fn with_the_policy_local_a_node_has_the_weight_of_its_endpoints() {
    let slice = slice("web", &["node-a", "node-b", "node-b"]);
    assert_eq!(weights(&changed(&[local("web"), slice.clone()])), "a 1, b 2");
    assert_eq!(weights(&changed(&[slice])), "a 1, b 1, c 1");
}

#[test]
fn a_drained_node_serves_nothing_new_and_a_preferred_one_not_everything() {
    let drained = with(
        node("node-b", json!({ "name": "node-b" })),
        "/metadata/annotations",
        json!({ "ferrolb.io/drain": "true" }),
    );
    assert_eq!(weights(&changed(&[drained])), "a 1, c 1");
    let web = with(
        service("web", &["10.0.0.1"]),
        "/metadata/annotations",
        json!({ "ferrolb.io/preferred-node": "node-c" }),
    );
    let world = changed(&[web]);
    assert_eq!(weights(&world), "a 1, b 1, c 1");
    assert_eq!(world.verdict("node-a", "web").announcer.as_deref(), Some("node-c"));
}

#[test]
fn services_that_share_an_address_are_served_where_all_of_them_are() {
    let shared = |service: Value| {
        with(service, "/metadata/annotations", json!({ "metallb.io/allow-shared-ip": "key" }))
    };
    let mail = slice("mail", &["node-a", "node-a", "node-b"]);
    let web = slice("web", &["node-a", "node-a", "node-a", "node-b", "node-c"]);
    let world = changed(&[shared(local("web")), shared(local("mail")), mail, web]);
    assert_eq!(weights(&world), "a 2, b 1");
}

#[test]
fn session_affinity_leads_all_of_a_client_to_one_node() {
    let hash = |world: &World| spreading(world).unwrap().hash;
    assert_eq!(hash(&changed(&[])), HashBy::Connection);
    let web = with(service("web", &["10.0.0.1"]), "/spec/sessionAffinity", json!("ClientIP"));
    assert_eq!(hash(&changed(&[web])), HashBy::Client);
}
