// SPDX-License-Identifier: Apache-2.0
//! Long-lived graceful restart (RFC 9494): a speaker that stays away longer than the restart time.
//!
//! Topology: one node, FRR and BIRD.
//! Steps: the speaker is killed; the restart time of a second passes: both routers keep the route, now marked LLGR_STALE and so the
//! last choice; the speaker is back: the route is a usual one again. It was there all the time.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, ensure};
use serde_json::json;

use crate::lab::Lab;
use crate::lab::bgp::ASN;
use crate::lab::node::{Node, Proxy};
use crate::lab::objects::{bgp_advertisement, bgp_peer};
use crate::lab::router::{Kind, Neighbour, Route, Router, Setup};

const NODE: &str = "172.30.0.11";
const PREFIX: &str = "10.60.0.1/32";
const KINDS: [Kind; 2] = [Kind::Frr, Kind::Bird];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(1, Proxy::Absent, &[])?;
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    lab.create_service("web", &["10.60.0.1"], &[1], json!({}))?;
    for kind in KINDS {
        let neighbour = Neighbour {
            graceful_restart: true,
            long_lived: true,
            ..Neighbour::new("node", NODE, ASN)
        };
        lab.add_router(kind, &Setup::new(kind, vec![neighbour]))?;
        let spec = json!({
            "myASN": ASN, "peerASN": kind.asn(), "peerAddress": kind.v4(), "connectTime": "1s",
            "enableGracefulRestart": true, "gracefulRestartTime": "1s", "longLivedStaleTime": "10m",
        });
        lab.kube().apply(&bgp_peer(kind.name(), spec))?;
    }
    for router in &lab.routers {
        router.wait_routes("the route", |routes| is_one(routes, false))?;
    }
    let mut node = lab.nodes.pop().context("a node")?;
    let (done, routers) = (AtomicBool::new(false), &lab.routers);
    let result = std::thread::scope(|scope| {
        let watching: Vec<_> =
            routers.iter().map(|router| scope.spawn(|| never_without(router, &done))).collect();
        let played = stay_away(&mut node, routers);
        done.store(true, Ordering::Relaxed);
        for watched in watching {
            watched.join().map_err(|_| anyhow!("a watch panicked"))??;
        }
        played
    });
    lab.nodes.push(node);
    result
}

fn stay_away(node: &mut Node, routers: &[Router]) -> anyhow::Result<()> {
    node.speaker.take().context("a speaker")?.kill();
    for router in routers {
        router.wait_routes("the route, as the last choice", |routes| is_one(routes, true))?;
    }
    node.start_speaker(&[])?;
    node.wait_speaker()?;
    for router in routers {
        router.wait_routes("the route, as a usual one", |routes| is_one(routes, false))?;
    }
    Ok(())
}

/// Whether there is the one route, with or without LLGR_STALE.
fn is_one(routes: &[Route], stale: bool) -> bool {
    let is_stale = |route: &Route| {
        let words = ["65535:6", "llgrStale"];
        words.iter().any(|word| route.communities.contains(*word))
    };
    matches!(routes, [route] if route.prefix == PREFIX && is_stale(route) == stale)
}

fn never_without(router: &Router, done: &AtomicBool) -> anyhow::Result<()> {
    while !done.load(Ordering::Relaxed) {
        let routes = router.routes()?;
        let there = routes.iter().any(|route| route.prefix == PREFIX);
        ensure!(there, "{} lost the route: {routes:#?}", router.kind);
    }
    Ok(())
}
