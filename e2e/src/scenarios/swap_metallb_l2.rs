// SPDX-License-Identifier: Apache-2.0
//! MetalLB 0.15.2's own controller and speakers are swapped for ours and back, under load on L2 addresses: no request fails, nobody's address,
//! annotation or status changes, and every address is answered for by the node that both would elect.
//!
//! Topology: MetalLB's own manifest; a controller, three nodes with kube-proxy and a speaker each; a pod on the first; Services with an address
//! each under 1,000 requests a second together, and beside them two that share an address, one with an IPv6 address, and one that
//! waits for a full pool; a client that sees every claim to the addresses.
//! Steps: one of MetalLB's speakers is restarted; the controller is killed and ours starts, whose webhooks answer by the certificate that was there;
//! on each node the speaker is asked to end and ours starts; the Service that waits gets the address that becomes free; then the same the
//! other way round.
//!
//! MetalLB's speaker decides before it has met the others of its ring, so that one that starts claims addresses of others for a moment, also among
//! its own kind, and a request to one may be reset twice; ours never does. It says that it leaves the ring while it still answers, beside the next owner,
//! with the same outcome.
//!
//! A connection that is open when its address moves may be reset, as the next node's kernel does not know it, and is asked again once.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::fleet::{Fleet, GAP, Kind, ORDERS, STOPPED, judge, start_loads};
use crate::lab::load::{Load, Tally};
use crate::lab::metallb::{MetalLb, STATUSES};
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{POOL_V6, pool, pool_of, service};
use crate::lab::wait::{eventually_true, now};
use crate::lab::{Lab, SOON};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const NODES: usize = 3;
/// Two Services have it.
const SHARED: &str = "172.30.0.220";
/// The only one of its pool.
const SCARCE: &str = "172.30.0.230";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    // The lane goes on with its own roles and kinds in any case.
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_nodes(NODES, Proxy::Nftables)?;
    let metallb = MetalLb::new()?;
    metallb.install(lab)?;
    metallb.start_controller(lab, Kind::MetalLb)?;
    let pod = lab.start_pod(1)?;
    let mut fleet = Fleet::default();
    fleet.create_services(lab, &pod)?;
    create_others(lab, &pod)?;
    for number in 0..NODES {
        start(&mut fleet, &metallb, lab, number, Kind::MetalLb)?;
    }
    fleet.watch(lab)?;
    for (address, _) in ORDERS {
        lab.serves_through_all(address)?;
    }
    let mut clients = Clients { loads: start_loads(lab)?, hasty: Vec::new() };
    // What MetalLB does with its own.
    swap_speaker(&mut fleet, &metallb, lab, 1, [Kind::MetalLb; 2], &mut clients)?;
    for kind in [Kind::Ferrolb, Kind::MetalLb] {
        swap(&mut fleet, &metallb, lab, kind, &mut clients).with_context(|| format!("to {kind:?}"))?;
        free_the_scarce_one(lab, &pod, kind).with_context(|| format!("after the swap to {kind:?}"))?;
    }
    let twice = clients.served()?;
    let tally = Tally::sum(&clients.loads);
    println!("     {tally}; {twice} of them reset twice while one of MetalLB's started or stopped");
    for service in kept(lab)?.keys() {
        lab.expect_no_conflict(service)?;
    }
    Ok(())
}

/// Those beside the ones under load.
fn create_others(lab: &Lab, pod: &PodAddresses) -> anyhow::Result<()> {
    lab.kube().apply(&pool("six", &[POOL_V6]))?;
    lab.kube().apply(&pool("scarce", &[&format!("{SCARCE}/32")]))?;
    let sharing = json!({"metallb.io/allow-shared-ip": "key", "metallb.io/loadBalancerIPs": SHARED});
    for (port, name) in [(80, "one"), (81, "two")] {
        let port = json!({"name": "http", "port": port, "targetPort": 8080, "protocol": "TCP"});
        create(lab, pod, name, json!({
            "metadata": {"annotations": sharing},
            "spec": {"ipFamilies": ["IPv4"], "ports": [port]},
        }))?;
        lab.expect_addresses(name, &[SHARED])?;
    }
    create(lab, pod, "six", json!({"spec": {"ipFamilies": ["IPv6"]}}))?;
    lab.wait_addresses("six")?;
    create(lab, pod, "holder", scarce())?;
    lab.expect_addresses("holder", &[SCARCE])?;
    create(lab, pod, "waiting", scarce())?;
    lab.wait_event("waiting", "AllocationFailed")?;
    Ok(())
}

fn scarce() -> Value {
    json!({
        "metadata": {"annotations": {"metallb.io/address-pool": "scarce"}},
        "spec": {"ipFamilies": ["IPv4"]},
    })
}

fn create(lab: &Lab, pod: &PodAddresses, name: &str, change: Value) -> anyhow::Result<()> {
    lab.set_endpoints(name, std::slice::from_ref(pod))?;
    lab.kube().create(&service(name, change))?;
    Ok(())
}

fn start(
    fleet: &mut Fleet,
    metallb: &MetalLb,
    lab: &mut Lab,
    number: usize,
    kind: Kind,
) -> anyhow::Result<()> {
    metallb.start_speaker(lab, number, kind)?;
    fleet.started(&format!("node{}", number + 1));
    Ok(())
}

/// Swaps the controller, then each speaker, for those of a kind.
fn swap(
    fleet: &mut Fleet,
    metallb: &MetalLb,
    lab: &mut Lab,
    kind: Kind,
    clients: &mut Clients,
) -> anyhow::Result<()> {
    let before = kept(lab)?;
    metallb.start_controller(lab, kind)?;
    // It has decided everything by the time that it has decided the last one.
    let late = format!("late-{kind:?}").to_lowercase();
    lab.kube().create(&service(&late, json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.wait_addresses(&late)?;
    lab.delete(&service(&late, json!({})))?;
    same(lab, &before, clients).context("the controller was swapped")?;
    // Whoever stops is of the other kind.
    let other = if kind == Kind::Ferrolb { Kind::MetalLb } else { Kind::Ferrolb };
    for number in 0..NODES {
        swap_speaker(fleet, metallb, lab, number, [other, kind], clients)?;
        same(lab, &before, clients)?;
    }
    if kind == Kind::Ferrolb {
        // MetalLB's speakers take the object of one another for their own while an address moves, and may be left without any.
        statuses(lab)?;
    }
    let six = lab.wait_addresses("six")?;
    for address in six.iter().map(String::as_str).chain([SHARED]) {
        lab.wait_owner(address)?;
        lab.wait_page(address)?;
    }
    Ok(())
}

/// Stops the speaker of one kind and starts one of the other.
fn swap_speaker(
    fleet: &mut Fleet,
    metallb: &MetalLb,
    lab: &mut Lab,
    number: usize,
    [from, to]: [Kind; 2],
    clients: &mut Clients,
) -> anyhow::Result<()> {
    let name = format!("node{}", number + 1);
    let what = format!("{name} of {from:?} stops");
    let began = now();
    let passed = fleet.step(lab, &what, |fleet, lab| {
        fleet.stop(lab, &name)?;
        metallb.collect(lab, &name)
    })?;
    judge(&passed, if from == Kind::MetalLb { STOPPED } else { 0 })?;
    if from == Kind::MetalLb {
        clients.hasty.push((began, now()));
    }
    clients.served().context(what)?;
    fleet.may_claim((to == Kind::MetalLb).then_some(&name));
    let began = now();
    let what = format!("{name} starts as {to:?}");
    let passed = fleet.step(lab, &what, |fleet, lab| start(fleet, metallb, lab, number, to))?;
    fleet.may_claim(None);
    if to == Kind::MetalLb {
        clients.hasty.push((began, now()));
    }
    judge(&passed, GAP)?;
    clients.served().context(what).map(drop)
}

/// Each Service under load has one ServiceL2Status, which names its owner.
fn statuses(lab: &Lab) -> anyhow::Result<()> {
    let mut told = BTreeMap::<String, Vec<String>>::new();
    eventually_true("the status objects name the owners", SOON, || {
        told.clear();
        for status in lab.kube().list(STATUSES)? {
            let text = |field| status.pointer(field).and_then(Value::as_str).unwrap_or_default();
            let nodes = told.entry(text("/status/serviceName").to_owned()).or_default();
            nodes.push(text("/status/node").to_owned());
        }
        Ok(ORDERS.iter().enumerate().all(|(index, (_, order))| {
            let owner = order.iter().find(|node| **node != "node4");
            told.get(&format!("web{index}")).is_some_and(|nodes| owner.is_some_and(|owner| nodes == &[*owner]))
        }))
    })
    .with_context(|| format!("last: {told:?}"))
}

/// What of each Service nobody may change: its spec, its annotations and its addresses as they are told.
fn kept(lab: &Lab) -> anyhow::Result<BTreeMap<String, Value>> {
    let services = lab.kube().list(SERVICES)?.into_iter().filter_map(|service| {
        let name = service.pointer("/metadata/name")?.as_str()?.to_owned();
        let part = |field| service.pointer(field).cloned().unwrap_or_default();
        let parts = ["/spec", "/metadata/annotations", "/status/loadBalancer"].map(part);
        Some((name, Value::from(parts.to_vec())))
    });
    Ok(services.filter(|(name, _)| name != "kubernetes").collect())
}

/// The Services are as they were, and no request failed.
fn same(lab: &Lab, before: &BTreeMap<String, Value>, clients: &Clients) -> anyhow::Result<()> {
    let now = kept(lab)?;
    for (name, service) in before {
        let there = now.get(name);
        ensure!(there == Some(service), "{name} was {service} and is {there:?}");
    }
    ensure!(now.len() == before.len(), "{:?}", now.keys());
    clients.served().map(drop)
}

/// The load, and when one of MetalLB's speakers was starting or stopping.
struct Clients {
    loads: Vec<Load>,
    hasty: Vec<(Instant, Instant)>,
}

impl Clients {
    /// No request failed. While a speaker of MetalLB starts, one may be reset twice: an address that it claims in haste moves there and back; and
    /// while one stops, which answers beside the next owner until its process has ended.
    /// How many were.
    fn served(&self) -> anyhow::Result<usize> {
        let mut twice = 0;
        for (load, (address, _)) in self.loads.iter().zip(ORDERS) {
            let mut failed = load.tally().failed;
            let all = failed.len();
            failed.retain(|(began, why)| {
                let hasty = self.hasty.iter().any(|(from, to)| (*from..*to).contains(began));
                !(hasty && why.contains("reset"))
            });
            twice += all - failed.len();
            ensure!(failed.is_empty(), "{} requests to {address} failed: {failed:?}", failed.len());
        }
        Ok(twice)
    }
}

/// The one that holds the address of the full pool goes; the one that waits has it then, and another one waits.
fn free_the_scarce_one(lab: &mut Lab, pod: &PodAddresses, kind: Kind) -> anyhow::Result<()> {
    let (holder, waiting, next) = match kind {
        Kind::Ferrolb => ("holder", "waiting", "after"),
        Kind::MetalLb => ("waiting", "after", "last"),
    };
    ensure!(lab.addresses(waiting)?.is_empty(), "{waiting} has an address of nowhere");
    lab.kube().delete(&format!("{SERVICES}/{holder}"))?;
    lab.expect_addresses(waiting, &[SCARCE])?;
    let service = lab.kube().get(&format!("{SERVICES}/{waiting}"))?;
    ensure!(pool_of(&service) == Some("scarce"), "{waiting} does not name its pool: {service}");
    lab.wait_owner(SCARCE)?;
    lab.wait_page(SCARCE)?;
    create(lab, pod, next, scarce())?;
    lab.wait_event(next, "AllocationFailed").map(drop)
}
