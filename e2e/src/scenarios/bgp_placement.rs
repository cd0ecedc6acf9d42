// SPDX-License-Identifier: Apache-2.0
//! From which nodes a prefix comes: externalTrafficPolicy Local, node selectors, exclusion, a node that is to be emptied.
//!
//! Topology: three nodes, FRR and BIRD with a session from each.
//! Steps: with Local the route comes from where the endpoint is, and moves with it; with Cluster from all; a node with the
//! exclusion label sends none; an advertisement's node selector leaves two; a peer that the advertisement does not name gets
//! nothing; a node is drained and another cordoned (--drain-on-cordon): their routes carry GRACEFUL_SHUTDOWN (RFC 8326), go after
//! --drain-time and come back when that is over; no session was reset.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::json;

use crate::lab::Lab;
use crate::lab::bgp::{ASN, endpoint};
use crate::lab::node::Proxy;
use crate::lab::objects::{bgp_advertisement, bgp_peer};
use crate::lab::router::{Kind, Neighbour, Route, Setup};

const KINDS: [Kind; 2] = [Kind::Frr, Kind::Bird];
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const DRAIN: &str = "ferrolb.io/drain";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(3, Proxy::Absent, &["--drain-time=8s", "--drain-on-cordon"])?;
    for kind in KINDS {
        let neighbours = (1..=3).map(|node| {
            Neighbour::new(&format!("node{node}"), &format!("172.30.0.{}", 10 + node), ASN)
        });
        lab.add_router(kind, &Setup::new(kind, neighbours.collect()))?;
        let spec = json!({"myASN": ASN, "peerASN": kind.asn(), "peerAddress": kind.v4()});
        lab.kube().apply(&bgp_peer(kind.name(), spec))?;
    }
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    for kind in KINDS {
        for node in 1..=3 {
            lab.router(kind)?.wait_established(&key(kind, node))?;
        }
    }
    let before = sessions(lab)?;

    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    lab.create_service("web", &["10.60.0.1"], &[2], local)?;
    from(lab, &[2])?;
    lab.set_endpoints("web", &[endpoint(3)])?;
    from(lab, &[3])?;
    lab.set_endpoints("web", &[endpoint(1), endpoint(3)])?;
    from(lab, &[1, 3])?;
    lab.set_endpoints("web", &[])?;
    from(lab, &[])?;
    lab.set_endpoints("web", &[endpoint(1)])?;
    let cluster = json!({"spec": {"externalTrafficPolicy": "Cluster"}});
    lab.kube().patch("/api/v1/namespaces/default/services/web", &cluster)?;
    from(lab, &[1, 2, 3])?;

    node(lab, 2, json!({"labels": {EXCLUDE: ""}}))?;
    from(lab, &[1, 3])?;
    node(lab, 2, json!({"labels": {EXCLUDE: null}}))?;
    from(lab, &[1, 2, 3])?;
    let selector = json!({"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1", "node3"]},
    ]});
    lab.kube().apply(&bgp_advertisement("a", json!({"nodeSelectors": [selector]})))?;
    from(lab, &[1, 3])?;
    lab.kube().apply(&bgp_advertisement("a", json!({"peers": ["another"]})))?;
    from(lab, &[])?;
    lab.kube().apply(&bgp_advertisement("a", json!({"peers": ["bird", "frr"]})))?;
    from(lab, &[1, 2, 3])?;

    node(lab, 1, json!({"annotations": {DRAIN: "true"}}))?;
    cordon(lab, 2, true)?;
    let marked = |route: &Route| route.communities.contains("65535:0");
    for kind in KINDS {
        lab.router(kind)?.wait_routes("two routes are marked, the third is not", |routes| {
            let right = |route: &Route| marked(route) == (route.neighbour != key(kind, 3));
            routes.len() == 3 && routes.iter().all(right)
        })?;
    }
    from(lab, &[3])?;
    node(lab, 1, json!({"annotations": {DRAIN: null}}))?;
    from(lab, &[1, 3])?;
    cordon(lab, 2, false)?;
    let routes = from(lab, &[1, 2, 3])?;
    ensure!(!routes.iter().any(marked), "{routes:#?}");

    let after = sessions(lab)?;
    ensure!(before == after, "sessions were reset: {before:?}, then {after:?}");
    Ok(())
}

/// How a router calls its session with a node.
fn key(kind: Kind, node: usize) -> String {
    match kind {
        Kind::Bird => format!("node{node}"),
        Kind::Frr | Kind::Gobgp => format!("172.30.0.{}", 10 + node),
    }
}

fn sessions(lab: &Lab) -> anyhow::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for kind in KINDS {
        let sessions = lab.router(kind)?.sessions()?;
        all.extend(sessions.into_iter().map(|(name, session)| (name, session.since)));
    }
    Ok(all)
}

fn node(lab: &Lab, number: usize, metadata: serde_json::Value) -> anyhow::Result<()> {
    let path = format!("/api/v1/nodes/node{number}");
    lab.kube().patch(&path, &json!({"metadata": metadata}))?;
    Ok(())
}

fn cordon(lab: &Lab, number: usize, on: bool) -> anyhow::Result<()> {
    let path = format!("/api/v1/nodes/node{number}");
    lab.kube().patch(&path, &json!({"spec": {"unschedulable": on}}))?;
    Ok(())
}

/// Waits until the route comes from exactly these nodes, in both routers; all paths.
fn from(lab: &Lab, nodes: &[usize]) -> anyhow::Result<Vec<Route>> {
    let mut all = Vec::new();
    for kind in KINDS {
        let wanted: BTreeSet<String> = nodes.iter().map(|node| key(kind, *node)).collect();
        let routes = lab.router(kind)?.wait_routes(&format!("the route from {nodes:?}"), |routes| {
            routes.iter().map(|route| route.neighbour.clone()).collect::<BTreeSet<_>>() == wanted
        })?;
        all.extend(routes);
    }
    Ok(all)
}
