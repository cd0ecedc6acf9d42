// SPDX-License-Identifier: Apache-2.0
//! `ferrolb explain`: says why a Service has or lacks its address, and which node announces it or why none does.

use std::fmt::Write;

use allocator::{Families, Request};
use anyhow::Context;
use cluster::model::{Service, TrafficPolicy};
use cluster::net::client::connect;
use cluster::net::source::Update;
use cluster::net::source::kubernetes::{Watches, watch_all};
use cluster::{ConfigScope, Kind, ObjectKey, Snapshot};
use l2::Scope;

use crate::args::{ExplainServiceArgs, FolderOptions};
use crate::routes::{Books, withheld};
use crate::world::World;

/// The time in which a cluster must have listed its objects.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Runs the command; returns the text to print.
///
/// # Errors
/// The folder or the cluster cannot be read, or there is no such Service.
pub async fn service(args: &ExplainServiceArgs) -> anyhow::Result<String> {
    let key = ObjectKey::parse(&args.service)
        .with_context(|| format!("{:?} is not NAMESPACE/NAME", args.service))?;
    let world = match &args.folder {
        Some(folder) => World::load(folder, &args.view)?,
        None => from_cluster(&args.namespace, &args.view).await?,
    };
    let service = world
        .snapshot
        .service(&key)
        .with_context(|| format!("there is no Service {key} of type LoadBalancer"))?;
    let mut text = format!("Service {key}\n");
    address(&mut text, &world, &key, service);
    announcement(&mut text, &world, &key, service);
    by_bgp(&mut text, &world, &key);
    for rejection in world.snapshot.rejections() {
        let _ = writeln!(text, "  invalid    {rejection}");
    }
    Ok(text)
}

/// Lists the objects that the controller and the speaker see, and decides everything without writing.
async fn from_cluster(namespace: &str, view: &FolderOptions) -> anyhow::Result<World> {
    let kinds = Kind::with_configuration(&[
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Node,
        Kind::Namespace,
        Kind::Secret,
    ]);
    let client = connect().await?;
    let mut updates = watch_all(
        &client,
        Watches {
            namespace: namespace.to_owned(),
            kinds: kinds.clone(),
            with_external_pools: Vec::new(),
        },
    );
    let mut world = World::empty(view);
    world.options.assume_endpoints = false;
    world.snapshot = Snapshot::new(ConfigScope::All, true);
    let listed = async {
        while !kinds.iter().all(|kind| world.snapshot.is_synced(*kind)) {
            let Some(update) = updates.recv().await else { break };
            if let Update::Trouble(kind, error) | Update::Absent(kind, error) = &update
                && !(matches!(update, Update::Absent(..)) && matches!(kind, Kind::Config(_)))
            {
                return Some(format!("{kind:?}: {error}"));
            }
            world.snapshot.handle(update);
        }
        None
    };
    match tokio::time::timeout(PATIENCE, listed).await {
        Ok(None) => {}
        Ok(Some(trouble)) => anyhow::bail!("the cluster cannot be read: {trouble}"),
        Err(_) => anyhow::bail!("the cluster did not answer within {} s", PATIENCE.as_secs()),
    }
    world.settle();
    Ok(world)
}

fn address(text: &mut String, world: &World, key: &ObjectKey, service: &Service) {
    let request = Request::of(service);
    let families = request.families.map_or("unknown", Families::name);
    let mut wants = vec![format!("{families} ({:?})", service.family_policy)];
    match &request.addresses {
        Ok(addresses) => {
            wants.extend(addresses.iter().map(|address| format!("exactly {address}")));
        }
        Err(error) => wants.push(format!("a request that makes no sense: {error}")),
    }
    if let Some(external) = &request.external {
        wants.push(format!("ExternalIPPool {}", external.pool));
    } else if let Some(pool) = request.pool {
        wants.push(format!("pool {pool}"));
    }
    if let Some(key) = service.annotation("allow-shared-ip").filter(|key| !key.is_empty()) {
        wants.push(format!("sharing by the key {key:?}"));
    }
    let _ = writeln!(text, "  wants      {}", wants.join(", "));
    if !service.is_served(world.options.class.as_deref()) {
        let class = service.load_balancer_class.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  address    not ours: loadBalancerClass is {class:?}");
        return;
    }
    if let Some(reason) = world.allocator.pending().get(key) {
        let _ = writeln!(text, "  address    none: {reason}");
        return;
    }
    if let Some(assigned) = world.allocator.allocations().of(key) {
        for address in &assigned.addresses {
            let others: Vec<String> = world
                .allocator
                .allocations()
                .users(*address)
                .filter(|user| *user != key)
                .map(ToString::to_string)
                .collect();
            let shared = match others.as_slice() {
                [] => String::new(),
                _ => format!(", shared with {}", others.join(", ")),
            };
            let _ =
                writeln!(text, "  address    {address} from pool {}{shared}", assigned.pool.name);
        }
    }
}

fn announcement(text: &mut String, world: &World, key: &ObjectKey, service: &Service) {
    let decide = |node: &str| world.verdict(key, service, node);
    let local = decide(&world.options.node);
    match &local.announcer {
        Some(node) => {
            let scope = match decide(node).local {
                Ok(announcement) => match announcement.scope {
                    Scope::AllInterfaces => "all interfaces".to_owned(),
                    Scope::Interfaces(names) => {
                        names.iter().map(|name| &**name).collect::<Vec<_>>().join(", ")
                    }
                },
                Err(reason) => reason.to_string(),
            };
            let _ = writeln!(text, "  announced  by node {node} with protocol layer2, on {scope}");
        }
        None => {
            let reason = local.nobody.clone().or_else(|| local.local.clone().err());
            let reason = reason.map(|reason| reason.to_string()).unwrap_or_default();
            let _ = writeln!(text, "  announced  by nobody: {reason}");
        }
    }
    for remark in &local.remarks {
        let _ = writeln!(text, "             {remark}");
    }
    if service.traffic_policy == TrafficPolicy::Local {
        let _ = writeln!(
            text,
            "             externalTrafficPolicy is Local: only nodes with a ready endpoint"
        );
    }
    for name in world.snapshot.nodes().keys() {
        let verdict = decide(name);
        let line = match verdict.local {
            Ok(_) => "announces it".to_owned(),
            Err(reason) => reason.to_string(),
        };
        let _ = writeln!(text, "  node       {name}: {line}");
    }
}

/// The routes by peer and nodes, or the reason why a peer gets none; nothing where BGP is not configured.
fn by_bgp(text: &mut String, world: &World, key: &ObjectKey) {
    let books = Books::of(world);
    if books.is_empty() {
        return;
    }
    for route in books.routes(key) {
        let attributes = route.attributes();
        let with = if attributes.is_empty() { "" } else { ", with " };
        let _ = writeln!(
            text,
            "  route      {} to peer {} from {}{with}{attributes}",
            route.prefix,
            route.peer,
            route.nodes.join(", ")
        );
    }
    for prefix in books.nowhere(key) {
        let _ = writeln!(
            text,
            "  route      {prefix} to nobody: no peer that an advertisement names carries its family"
        );
    }
    for name in world.snapshot.nodes().keys() {
        if let Some(reason) = withheld(world, key, name) {
            let _ = writeln!(text, "  node       {name}: not by BGP: {reason}");
        }
    }
    let config = world.snapshot.config();
    let Some(own) = world.snapshot.nodes().get(&world.options.node) else { return };
    for peer in config.peers.values().filter(|peer| peer.selects_node(&own.labels)) {
        if let Some(choice) = speaker::net::bfd_choice(peer) {
            let _ = writeln!(text, "  peer       {}: {choice}", peer.name);
        }
    }
}
