// SPDX-License-Identifier: Apache-2.0
//! Traffic from a machine behind a router, over equal paths to three nodes, to pods: nothing that changes beside it loses a
//! request or resets a session.
//!
//! Topology: three nodes with kube-proxy and a pod each; FRR and BIRD, each with a machine behind it; GoBGP comes and goes.
//! Steps: both routers' kernels have three equal paths of each family; while pages are fetched over IPv4 and IPv6 through
//! both, Services come and go, the advertisement's communities and preference change, a second advertisement comes and
//! goes, peers come (one that does not exist, one that does) and go, a node's labels change; every request is served and
//! every session is the same as before. ServiceBGPStatus, events and metrics say what is so.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, ensure};
use serde_json::{Value, json};

use crate::lab::bgp::{ASN, fetch_until};
use crate::lab::kube::{SYSTEM, path};
use crate::lab::netns::Namespace;
use crate::lab::node::{Proxy, fetch};
use crate::lab::objects::{bgp_advertisement, bgp_peer};
use crate::lab::router::{Families, Kind, Neighbour, Setup};
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::{Lab, SOON};

const ROUTERS: [Kind; 2] = [Kind::Frr, Kind::Bird];
const PAGES: [&str; 2] = ["10.60.0.1", "fd60::1"];
const ROUNDS: usize = 3;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(3, Proxy::Nftables, &[])?;
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    let pods = [lab.start_pod(1)?, lab.start_pod(2)?, lab.start_pod(3)?];
    lab.set_endpoints("web", &pods)?;
    lab.create_bare_service("web", &PAGES, json!({}))?;
    for kind in ROUTERS {
        let mut setup = Setup::new(kind, neighbours(Families::Both));
        setup.forward = true;
        lab.add_router(kind, &setup)?;
        lab.kube().apply(&peer(kind, true))?;
    }
    lab.add_router(Kind::Gobgp, &Setup::new(Kind::Gobgp, neighbours(Families::V4)))?;
    for kind in ROUTERS {
        for page in PAGES {
            three_paths(lab, kind, page)?;
        }
    }
    let behind = [lab.customer_behind(Kind::Frr)?, lab.customer_behind(Kind::Bird)?];
    let mut served = BTreeSet::new();
    for customer in &behind {
        for page in PAGES {
            let host = if page.contains(':') { format!("[{page}]") } else { page.to_owned() };
            let from = eventually(&format!("{page} is served"), SOON, || {
                Ok(fetch(customer, &format!("http://{host}/")))
            })?;
            served.insert(from);
        }
    }
    let before = sessions(lab)?;
    let changed = while_fetching(&behind, || (0..ROUNDS).try_for_each(|round| change(lab, round)));
    changed.with_context(|| format!("served so far: {served:?}"))?;
    let after = sessions(lab)?;
    ensure!(before == after, "sessions were reset: {before:?}, then {after:?}");
    told(lab)
}

fn neighbours(families: Families) -> Vec<Neighbour> {
    let one = |node| Neighbour {
        families,
        ..Neighbour::new(&format!("node{node}"), &format!("172.30.0.{}", 10 + node), ASN)
    };
    (1..=3).map(one).collect()
}

fn peer(kind: Kind, both: bool) -> Value {
    let spec = json!({
        "myASN": ASN, "peerASN": kind.asn(), "peerAddress": kind.v4(), "dualStackAddressFamily": both,
    });
    bgp_peer(kind.name(), spec)
}

/// The router's kernel sends to all three nodes.
fn three_paths(lab: &Lab, kind: Kind, page: &str) -> anyhow::Result<()> {
    let router = lab.router(kind)?;
    let family = if page.contains(':') { "-6" } else { "-4" };
    let mut seen = String::new();
    eventually_true(&format!("{kind}'s kernel has three paths to {page}"), SOON, || {
        seen = router.namespace.run("ip", [family, "route", "show", page])?;
        Ok((1..=3).all(|node| {
            // IPv6 next hops may be link-local: then it is the number of ways that tells.
            let hop = if family == "-4" { format!("172.30.0.{}", 10 + node) } else { String::new() };
            seen.contains(&hop) && seen.matches("via ").count() == 3
        }))
    })
    .with_context(|| seen.clone())
}

/// Fetches pages through both routers while something is done; no request may fail.
fn while_fetching(
    behind: &[Namespace; 2],
    act: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = &done;
        let fetching: Vec<_> = behind
            .iter()
            .flat_map(|customer| PAGES.map(|page| (customer, page)))
            .map(|(customer, page)| scope.spawn(move || fetch_until(customer, page, done)))
            .collect();
        let acted = act();
        done.store(true, Ordering::Relaxed);
        for fetched in fetching {
            let fetched = fetched.join().map_err(|_| anyhow!("a customer panicked"))??;
            ensure!(fetched > 10, "only {fetched} requests");
        }
        acted
    })
}

/// One round of changes, each waited for.
fn change(lab: &Lab, round: usize) -> anyhow::Result<()> {
    let wait = |what: &str, wanted: &dyn Fn(&crate::lab::router::Route) -> bool| {
        ROUTERS.iter().try_for_each(|kind| {
            let router = lab.router(*kind)?;
            let web = router.wait_routes(what, |routes| {
                let web = |route: &&crate::lab::router::Route| route.prefix.starts_with("10.60.0.1/");
                routes.iter().filter(web).count() == 3 && routes.iter().filter(web).all(wanted)
            });
            web.map(drop)
        })
    };
    let address = format!("10.60.0.{}", 100 + round);
    lab.create_service("other", &[&address], &[2], json!({}))?;
    let prefix = format!("{address}/32");
    for kind in ROUTERS {
        let from_all = |routes: &[crate::lab::router::Route]| {
            routes.iter().filter(|route| route.prefix == prefix).count() == 3
        };
        lab.router(kind)?.wait_routes("the other Service", from_all)?;
    }
    let community = format!("64512:{round}");
    let spec = json!({"localPref": 100 + round, "communities": [community]});
    lab.kube().apply(&bgp_advertisement("a", spec))?;
    wait("the community", &|route| route.communities.contains(&community))?;
    let second = bgp_advertisement("b", json!({"localPref": 100 + round, "communities": ["7:7"]}));
    lab.kube().apply(&second)?;
    wait("both communities", &|route| route.communities.len() == 2)?;
    lab.kube().delete(&path(&second))?;
    wait("one community", &|route| route.communities.len() == 1)?;

    let spec = json!({"myASN": ASN, "peerASN": 65099, "peerAddress": "172.30.0.199"});
    let nobody = bgp_peer("nobody", spec);
    lab.kube().apply(&nobody)?;
    lab.kube().apply(&peer(Kind::Gobgp, false))?;
    let neighbours = ["172.30.0.11", "172.30.0.12", "172.30.0.13"];
    lab.router(Kind::Gobgp)?.wait_all_established(&neighbours)?;
    let labels = |value: Value| json!({"metadata": {"labels": {"round": value}}});
    lab.kube().patch("/api/v1/nodes/node1", &labels(json!(round.to_string())))?;
    if round == 0 {
        // An attempt to connect gets three seconds; a peer that is gone by then is told nothing of.
        let events = format!("/api/v1/namespaces/{SYSTEM}/events");
        eventually_true("the peer that is nobody is down", SOON, || {
            let events = lab.kube().list(&events)?;
            Ok(events.iter().any(|event| {
                event.pointer("/involvedObject/name").and_then(Value::as_str) == Some("nobody")
            }))
        })?;
    }
    lab.kube().delete(&path(&nobody))?;
    lab.kube().delete(&path(&peer(Kind::Gobgp, false)))?;
    let gobgp = lab.router(Kind::Gobgp)?;
    eventually_true("GoBGP's sessions are gone", SOON, || {
        Ok(gobgp.sessions()?.values().all(|session| !session.established))
    })?;
    lab.kube().delete("/api/v1/namespaces/default/services/other")?;
    for kind in ROUTERS {
        let gone = |routes: &[crate::lab::router::Route]| {
            routes.iter().all(|route| route.prefix != prefix)
        };
        lab.router(kind)?.wait_routes("nothing of the other Service", gone)?;
    }
    Ok(())
}

fn sessions(lab: &Lab) -> anyhow::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for kind in ROUTERS {
        let sessions = lab.router(kind)?.sessions()?;
        all.extend(sessions.into_iter().map(|(name, session)| (name, session.since)));
    }
    Ok(all)
}

/// What the cluster is told: status objects (contract 5.8), events, metrics (contract 7.1).
fn told(lab: &mut Lab) -> anyhow::Result<()> {
    lab.wait_statuses("servicebgpstatuses", |statuses| {
        let of = |status: &Value| {
            let text = |field: &str| status.get(field).and_then(Value::as_str).unwrap_or("-").to_owned();
            (text("node"), text("serviceName"), text("serviceNamespace"), status.get("peers").cloned())
        };
        let seen: Vec<_> = statuses.iter().map(of).collect();
        let wanted = |node: usize| {
            let peers = Some(json!(["bird", "frr"]));
            (format!("node{node}"), "web".to_owned(), "default".to_owned(), peers)
        };
        seen.len() == 3 && (1..=3).all(|node| seen.contains(&wanted(node)))
    })?;
    let events = format!("/api/v1/namespaces/{SYSTEM}/events");
    let mut seen = Vec::new();
    eventually_true("sessions up and down are events", SOON, || {
        let events = lab.kube().list(&events)?;
        let text = |event: &Value, pointer: &str| {
            event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        seen = events
            .iter()
            .map(|event| (text(event, "/involvedObject/name"), text(event, "/reason")))
            .collect();
        let there = |name: &str, reason: &str| seen.contains(&(name.to_owned(), reason.to_owned()));
        Ok(there("frr", "sessionUp") && there("bird", "sessionUp") && there("nobody", "sessionDown"))
    })
    .with_context(|| format!("{seen:?}"))?;
    let announced = lab.wait_event("web", "nodeAssigned")?;
    ensure!(announced.message.contains("with protocol \"bgp\""), "{announced:?}");

    let mut metrics = lab.metric_lines("node1", "metallb_bgp_")?;
    metrics.extend(lab.metric_lines("node1", "metallb_speaker_announced")?);
    for kind in ROUTERS {
        let peer = format!("{}:179", kind.v4());
        for (name, value) in
            [("session_up", 1), ("announced_prefixes_total", 2), ("pending_prefixes_total", 2)]
        {
            let line = format!("metallb_bgp_{name}{{peer=\"{peer}\"}} {value}");
            ensure!(metrics.contains(&line), "no {line} in {metrics:#?}");
        }
        let line = format!("metallb_bgp_updates_total{{peer=\"{peer}\"}} ");
        let updates = metrics.iter().find_map(|metric| metric.strip_prefix(&line));
        let updates: f64 = updates.context(line.clone())?.parse()?;
        ensure!(updates >= 4.0, "{line}{updates}");
    }
    for page in PAGES {
        let announced = metrics.iter().any(|line| {
            line.starts_with("metallb_speaker_announced")
                && line.contains("protocol=\"bgp\"")
                && line.contains(&format!("ip=\"{page}\""))
        });
        ensure!(announced, "{page} in {metrics:#?}");
    }
    ensure!(!metrics.iter().any(|line| line.contains("172.30.0.199")), "a peer that is gone");
    Ok(())
}
