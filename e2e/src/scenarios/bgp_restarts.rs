// SPDX-License-Identifier: Apache-2.0
//! Graceful restart (RFC 4724) of a speaker that is killed or stopped, and routers that lose their power.
//!
//! Topology: one node with kube-proxy and a pod; FRR and BIRD with machines behind them, and GoBGP; graceful restart with
//! all, BFD with FRR (check-control-plane-failure) and BIRD (bfd graceful).
//! Steps: SIGKILL, then SIGTERM of the speaker: every router keeps the routes as stale, none is lost before the new speaker has sent
//! them again, and no request through FRR or BIRD fails; each router is killed and started again: the routes are back.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::lab::bgp::{ASN, fetch_until};
use crate::lab::netns::Namespace;
use crate::lab::node::{Proxy, fetch};
use crate::lab::objects::{bfd_profile, bgp_advertisement, bgp_peer, merge};
use crate::lab::router::{Families, Kind, Neighbour, Router, Setup};
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::{Lab, SOON};

const NODE: &str = "172.30.0.11";
const PREFIXES: [&str; 2] = ["10.60.0.1/32", "fd60::1/128"];
const PAGES: [&str; 2] = ["10.60.0.1", "fd60::1"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(1, Proxy::Nftables, &[])?;
    let profile = json!({"transmitInterval": 100, "receiveInterval": 100});
    lab.kube().apply(&bfd_profile("fast", profile))?;
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    let pod = lab.start_pod(1)?;
    lab.set_endpoints("web", &[pod])?;
    lab.create_bare_service("web", &PAGES, json!({}))?;
    for kind in Kind::ALL {
        let mut neighbour = Neighbour::new("node", NODE, ASN);
        neighbour.families = Families::Both;
        neighbour.graceful_restart = true;
        neighbour.bfd = kind != Kind::Gobgp;
        let mut setup = Setup::new(kind, vec![neighbour]);
        setup.forward = true;
        lab.add_router(kind, &setup)?;
        let bfd: Value = match kind {
            Kind::Frr | Kind::Bird => json!({"bfdProfile": "fast"}),
            Kind::Gobgp => json!({}),
        };
        let mut spec = json!({
            "myASN": ASN, "peerASN": kind.asn(), "peerAddress": kind.v4(),
            "dualStackAddressFamily": true, "enableGracefulRestart": true, "connectTime": "1s",
        });
        merge(&mut spec, bfd);
        lab.kube().apply(&bgp_peer(kind.name(), spec))?;
    }
    for kind in Kind::ALL {
        lab.router(kind)?.wait_prefixes(key(kind), &PREFIXES)?;
    }
    for kind in [Kind::Frr, Kind::Bird] {
        let router = lab.router(kind)?;
        eventually_true(&format!("BFD of {kind} is up"), SOON, || {
            Ok(router.bfd()?.get(NODE) == Some(&true))
        })?;
    }
    let behind = [lab.customer_behind(Kind::Frr)?, lab.customer_behind(Kind::Bird)?];
    for customer in &behind {
        for page in PAGES {
            let host = if page.contains(':') { format!("[{page}]") } else { page.to_owned() };
            eventually_true(&format!("{page} is served"), SOON, || {
                Ok(fetch(customer, &format!("http://{host}/")).is_some())
            })?;
        }
    }
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        restart_the_speaker(lab, &behind, signal).with_context(|| format!("after {signal}"))?;
    }
    for kind in Kind::ALL {
        lab.router_mut(kind)?.kill();
        lab.router_mut(kind)?.restart()?;
        lab.router(kind)?.wait_prefixes(key(kind), &PREFIXES).context("after a reboot")?;
    }
    Ok(())
}

fn key(kind: Kind) -> &'static str {
    if kind == Kind::Bird { "node" } else { NODE }
}

fn restart_the_speaker(
    lab: &mut Lab,
    behind: &[Namespace; 2],
    signal: Signal,
) -> anyhow::Result<()> {
    let mut node = lab.nodes.pop().context("a node")?;
    let (done, routers) = (AtomicBool::new(false), &lab.routers);
    let result = std::thread::scope(|scope| {
        let done = &done;
        let fetching: Vec<_> = behind
            .iter()
            .flat_map(|customer| PAGES.map(|page| (customer, page)))
            .map(|(customer, page)| scope.spawn(move || fetch_until(customer, page, done)))
            .collect();
        let watching: Vec<_> =
            routers.iter().map(|router| scope.spawn(move || never_without(router, done))).collect();
        let played = (|| {
            let mut speaker = node.speaker.take().context("a speaker")?;
            speaker.signal(signal)?;
            eventually("the speaker ends", SOON, || Ok(speaker.ended()))?;
            // Forgets it where all programs are known.
            speaker.kill();
            for router in routers {
                eventually_true(&format!("{} keeps stale routes", router.kind), SOON, || {
                    is_stale(router)
                })?;
            }
            node.start_speaker(&[])?;
            node.wait_speaker()?;
            for router in routers {
                eventually_true(&format!("{} has fresh routes", router.kind), SOON, || {
                    let established = router.session(key(router.kind))?.established;
                    Ok(established && !is_stale(router)? && has_all(router)?)
                })?;
            }
            anyhow::Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        for watched in watching {
            watched.join().map_err(|_| anyhow!("a watch panicked"))??;
        }
        for fetched in fetching {
            let fetched = fetched.join().map_err(|_| anyhow!("a customer panicked"))??;
            ensure!(fetched > 10, "only {fetched} requests");
        }
        played
    });
    lab.nodes.push(node);
    result
}

fn has_all(router: &Router) -> anyhow::Result<bool> {
    let routes = router.routes()?;
    Ok(PREFIXES.iter().all(|prefix| routes.iter().any(|route| route.prefix == *prefix)))
}

fn never_without(router: &Router, done: &AtomicBool) -> anyhow::Result<()> {
    while !done.load(Ordering::Relaxed) {
        ensure!(has_all(router)?, "{} lost a route: {:#?}", router.kind, router.routes()?);
    }
    Ok(())
}

/// FRR and GoBGP mark the paths; BIRD says it of the session.
fn is_stale(router: &Router) -> anyhow::Result<bool> {
    if router.kind == Kind::Bird {
        return Ok(router.session(key(router.kind))?.restarting);
    }
    let routes = router.routes()?;
    Ok(!routes.is_empty() && routes.iter().all(|route| route.stale))
}
