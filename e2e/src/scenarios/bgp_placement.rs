// SPDX-License-Identifier: Apache-2.0
//! From which nodes a prefix comes: externalTrafficPolicy Local, node selectors, exclusion, a node that is to be emptied.
//!
//! Topology: three nodes, BIRD with a session from each.
//! Steps: with Local the route comes from where the endpoint is, and moves with it; with Cluster from all; a node with the
//! exclusion label sends none; an advertisement's node selector leaves two; a peer that the advertisement does not name gets
//! nothing; a node is drained: its routes carry GRACEFUL_SHUTDOWN (RFC 8326), go after --drain-time and come back when that is
//! over; no session was reset.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::lab::Lab;
use crate::lab::bgp::{ASN, endpoint};
use crate::lab::node::Proxy;
use crate::lab::objects::{bgp_advertisement, bgp_peer};
use crate::lab::router::{Kind, Neighbour, Route, Setup};

const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const DRAIN: &str = "ferrolb.io/drain";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(3, Proxy::Absent, &["--drain-time=3s"])?;
    let neighbours = (1..=3)
        .map(|node| Neighbour::new(&format!("node{node}"), &format!("172.30.0.{}", 10 + node), ASN));
    lab.add_router(Kind::Bird, &Setup::new(Kind::Bird, neighbours.collect()))?;
    let spec = json!({"myASN": ASN, "peerASN": Kind::Bird.asn(), "peerAddress": Kind::Bird.v4()});
    lab.kube().apply(&bgp_peer("bird", spec))?;
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    lab.router(Kind::Bird)?.wait_all_established(&["node1", "node2", "node3"])?;
    let before = lab.router(Kind::Bird)?.sessions()?;

    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    lab.create_service("web", &["10.60.0.1"], &[2], local)?;
    from(lab, &["node2"])?;
    lab.set_endpoints("web", &[endpoint(3)])?;
    from(lab, &["node3"])?;
    lab.set_endpoints("web", &[endpoint(1), endpoint(3)])?;
    from(lab, &["node1", "node3"])?;
    lab.set_endpoints("web", &[])?;
    from(lab, &[])?;
    lab.set_endpoints("web", &[endpoint(1)])?;
    let cluster = json!({"spec": {"externalTrafficPolicy": "Cluster"}});
    lab.kube().patch("/api/v1/namespaces/default/services/web", &cluster)?;
    from(lab, &["node1", "node2", "node3"])?;

    node(lab, 2, json!({"labels": {EXCLUDE: ""}}))?;
    from(lab, &["node1", "node3"])?;
    node(lab, 2, json!({"labels": {EXCLUDE: null}}))?;
    from(lab, &["node1", "node2", "node3"])?;
    let selector = json!({"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1", "node3"]},
    ]});
    lab.kube().apply(&bgp_advertisement("a", json!({"nodeSelectors": [selector]})))?;
    from(lab, &["node1", "node3"])?;
    lab.kube().apply(&bgp_advertisement("a", json!({"peers": ["another"]})))?;
    from(lab, &[])?;
    lab.kube().apply(&bgp_advertisement("a", json!({"peers": ["bird"]})))?;
    from(lab, &["node1", "node2", "node3"])?;

    node(lab, 1, json!({"annotations": {DRAIN: "true"}}))?;
    let marked = |route: &Route| route.communities.contains("65535:0");
    lab.router(Kind::Bird)?.wait_routes("node1's route is marked, no other", |routes| {
        routes.len() == 3 && routes.iter().all(|route| marked(route) == (route.neighbour == "node1"))
    })?;
    from(lab, &["node2", "node3"])?;
    node(lab, 1, json!({"annotations": {DRAIN: null}}))?;
    let routes = from(lab, &["node1", "node2", "node3"])?;
    ensure!(!routes.iter().any(marked), "{routes:#?}");

    let after = lab.router(Kind::Bird)?.sessions()?;
    for (name, session) in &before {
        let after = after.get(name).context("it was there")?;
        ensure!(after.since == session.since, "{name} was reset: {session:?}, then {after:?}");
    }
    Ok(())
}

fn node(lab: &Lab, number: usize, metadata: serde_json::Value) -> anyhow::Result<()> {
    let path = format!("/api/v1/nodes/node{number}");
    lab.kube().patch(&path, &json!({"metadata": metadata}))?;
    Ok(())
}

/// Waits until the route comes from exactly these nodes.
fn from(lab: &Lab, nodes: &[&str]) -> anyhow::Result<Vec<Route>> {
    let wanted: BTreeSet<&str> = nodes.iter().copied().collect();
    lab.router(Kind::Bird)?.wait_routes(&format!("the route from {nodes:?}"), |routes| {
        routes.iter().map(|route| route.neighbour.as_str()).collect::<BTreeSet<_>>() == wanted
    })
}
