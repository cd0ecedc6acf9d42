// SPDX-License-Identifier: Apache-2.0
//! Moves that are planned, under load: no question stays unanswered and no request fails. The few whose connection is open at the moment
//! of the move may be reset, as the next node's kernel does not know it, and are asked again once.
//!
//! Topology: three nodes with speakers and kube-proxy, a pod on the first, a client with 1,000 requests a second that sees every claim to
//! the address.
//! Steps: the owner's speaker is stopped in order and starts again (the better candidate comes back); its node is drained by the annotation and
//! the annotation goes; the Service prefers another node and the wish goes. Each time the address moves.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::fault::Fault;
use crate::lab::watched::{ADDRESS, Watched, story};
use crate::lab::load::Load;
use crate::lab::node::Proxy;
use crate::lab::objects::service;
use crate::lab::wait::now;
use crate::lab::watcher::milliseconds;
use crate::lab::{Lab, SOON};

const RATE: u32 = 1_000;
const QUIET: Duration = Duration::from_secs(1);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(3, Proxy::Nftables)?;
    let pod = lab.start_pod(1)?;
    lab.set_endpoints("web", &[pod])?;
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let watched = Watched::of(lab, ADDRESS.parse()?)?;
    lab.wait_page(ADDRESS)?;
    for node in lab.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>() {
        serves_through(lab, &watched, &node)?;
    }
    let owner = watched.owner.clone();
    let load = Load::start(&lab.client()?.namespace, format!("{ADDRESS}:80").parse()?, RATE)?;
    crate::lab::wait::eventually_true("the load runs", SOON, || {
        Ok(load.tally().served > usize::try_from(RATE)?)
    })?;

    step(lab, &watched, &load, "stopped in order", false, |lab| Fault::Stop.strike(lab, &owner))?;
    step(lab, &watched, &load, "started again", true, |lab| Fault::Stop.repair(lab, &owner, &[]))?;
    let drain = |value: Value| json!({"metadata": {"annotations": {"ferrolb.io/drain": value}}});
    let node = format!("/api/v1/nodes/{owner}");
    step(lab, &watched, &load, "drained", false, |lab| patch(lab, &node, &drain("true".into())))?;
    step(lab, &watched, &load, "no longer drained", true, |lab| {
        patch(lab, &node, &drain(Value::Null))
    })?;
    let other = if owner == "node2" { "node3" } else { "node2" };
    let prefer = |value: Value| {
        json!({"metadata": {"annotations": {"ferrolb.io/preferred-node": value}}})
    };
    let web = "/api/v1/namespaces/default/services/web";
    step(lab, &watched, &load, "another is preferred", false, |lab| {
        patch(lab, web, &prefer(other.into()))
    })?;
    step(lab, &watched, &load, "none is preferred", true, |lab| {
        patch(lab, web, &prefer(Value::Null))
    })?;
    lab.expect_no_conflict("web")
}

fn patch(lab: &Lab, path: &str, change: &Value) -> anyhow::Result<Instant> {
    let before = now();
    lab.kube().patch(path, change)?;
    Ok(before)
}

/// kube-proxy there has the Service: a page comes when the client's kernel is told to send to this node.
fn serves_through(lab: &mut Lab, watched: &Watched, node: &str) -> anyhow::Result<()> {
    lab.kube().patch(
        "/api/v1/namespaces/default/services/web",
        &json!({"metadata": {"annotations": {"ferrolb.io/preferred-node": node}}}),
    )?;
    let since = now();
    watched.settle_on(node, since, Duration::from_millis(300))?;
    lab.wait_page(ADDRESS)?;
    lab.kube().patch(
        "/api/v1/namespaces/default/services/web",
        &json!({"metadata": {"annotations": {"ferrolb.io/preferred-node": null}}}),
    )?;
    let since = now();
    watched.settle_on(&watched.owner, since, Duration::from_millis(300))
}

fn step(
    lab: &mut Lab,
    watched: &Watched,
    load: &Load,
    what: &str,
    back: bool,
    act: impl FnOnce(&mut Lab) -> anyhow::Result<Instant>,
) -> anyhow::Result<()> {
    let before = load.tally();
    let before_owner = match back {
        true => watched.watcher.with(|record| record.sightings.last().map(|last| last.station())),
        false => Some(watched.owner.clone()),
    };
    let before_owner = before_owner.context("nobody had it")?;
    let began = act(lab).context(what.to_owned())?;
    // By then the API server has written what was asked of it, and told the speakers.
    let answered = now();
    let (heir, first) = watched.successor(&before_owner, began).context(what.to_owned())?;
    ensure!((heir == watched.owner) == back, "{what}: {heir} has it");
    watched.settle_on(&heir, first, QUIET)?;
    let (unanswered, story) = watched.watcher.with(|record| {
        let to = first + QUIET / 2;
        (record.unanswered(began, to).len(), story(record, began, to))
    });
    let after = load.tally();
    println!(
        "     {what}: {heir} after {:.1} ms ({:+.1} from the answer), {} requests, the longest {:.0} ms, {} slow, {} asked again, {} failed",
        (first - began).as_secs_f64() * 1e3,
        milliseconds(answered, first),
        after.served - before.served,
        after.longest.as_secs_f64() * 1e3,
        after.slow.len() - before.slow.len(),
        after.repeated.len() - before.repeated.len(),
        after.failed.len() - before.failed.len(),
    );
    // Only what was under way at the moment of the move itself, or began just after it.
    for start in after.repeated.iter().skip(before.repeated.len()) {
        let when = milliseconds(first, *start);
        let earliest = milliseconds(first, began) - 100.0;
        ensure!(
            when > earliest && when < 100.0,
            "{what}: a request was reset {when:.1} ms after the move"
        );
    }
    for (start, why) in after.failed.iter().skip(before.failed.len()) {
        let when = milliseconds(first, *start);
        println!("       {when:.1} ms after the first frame of {heir}: {why}");
    }
    // Whoever goes by announcements goes to the next owner, also if an announcement of the last one crossed its first.
    let told = watched.watcher.with(|record| {
        let unasked = record.sightings.iter().rev().find(|sighting| sighting.answers.is_none());
        unasked.map(|sighting| sighting.station())
    });
    ensure!(told.as_ref() == Some(&heir), "{what}: {told:?} announced it last\n{story}");
    ensure!(unanswered == 0, "{what}: {unanswered} questions unanswered\n{story}");
    ensure!(
        after.failed.len() == before.failed.len(),
        "{what}: {:?}\n{story}",
        after.failed.get(before.failed.len()..)
    );
    Ok(())
}
