// SPDX-License-Identifier: Apache-2.0
//! `ferrolb plan`: what would be given and announced, where and why.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;

use cluster::ObjectKey;
use l2::Scope;
use serde::Serialize;
use speaker::Withhold;

use crate::args::{Output, PlanArgs};
use crate::routes::{Books, PlannedRoute, withheld};
use crate::table::render;
use crate::world::World;

/// What is planned for one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The pool that they are from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The node that announces them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announced_by: Option<String>,
    /// On which interfaces; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// What peers are told by BGP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<PlannedRoute>,
    /// Why there is no address, or why nobody announces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The plan for all Services of type LoadBalancer.
pub type Plan = BTreeMap<String, Planned>;

/// Makes the plan of a settled world.
#[must_use]
pub fn plan(world: &World) -> Plan {
    let books = Books::of(world);
    let services = world.snapshot.services().keys();
    services.map(|key| (key.to_string(), planned(world, &books, key))).collect()
}

/// What is planned for one Service.
#[must_use]
pub fn planned(world: &World, books: &Books, key: &ObjectKey) -> Planned {
    let Some(service) = world.snapshot.service(key) else { return Planned::default() };
    let assigned = world.allocator.allocations().of(key);
    let mut planned = Planned {
        addresses: assigned.map(|assigned| assigned.addresses.clone()).unwrap_or_default(),
        pool: assigned.map(|assigned| assigned.pool.name.to_string()),
        ..Planned::default()
    };
    if !service.is_served(world.options.class.as_deref()) {
        let class = service.load_balancer_class.as_deref().unwrap_or_default();
        planned.reason = Some(format!("loadBalancerClass {class:?} is another's"));
        return planned;
    }
    if let Some(reason) = world.allocator.pending().get(key) {
        planned.reason = Some(reason.to_string());
        return planned;
    }
    let verdict = world.verdict(key, service, &world.options.node);
    match &verdict.announcer {
        Some(node) => {
            planned.announced_by = Some(node.to_string());
            if let Ok(announcement) = world.verdict(key, service, node).local
                && let Scope::Interfaces(names) = announcement.scope
            {
                planned.interfaces = names.iter().map(ToString::to_string).collect();
            }
        }
        None => planned.reason = verdict.local.err().map(|reason| reason.to_string()),
    }
    planned.routes = books.routes(key);
    if !planned.routes.is_empty() {
        planned.reason = None;
    } else if planned.announced_by.is_none()
        && !books.is_empty()
        && let Some(reason) = withheld(world, key, &world.options.node)
        && !matches!(reason, Withhold::NoBgpAdvertisement(_))
    {
        // BGP is what was meant for it.
        planned.reason = Some(reason.to_string());
    }
    planned
}

/// Runs the command; the text to print.
///
/// # Errors
/// When a folder cannot be read.
pub fn run(args: &PlanArgs) -> anyhow::Result<String> {
    let world = World::load(&args.folder, &args.view)?;
    let mut new = plan(&world);
    if let Some(other) = &args.against {
        // Both are looked at with the addresses that the first one's state says are in use.
        let state =
            args.view.folder_state.clone().unwrap_or_else(|| {
                cluster::net::sink::folder::StateFile::default_for(&args.folder)
            });
        let view = crate::args::View { folder_state: Some(state), ..args.view.clone() };
        let old = plan(&World::load(other, &view)?);
        return Ok(changes(&old, &new, args.output));
    }
    for mistake in &world.mistakes {
        eprintln!("{mistake}");
    }
    for rejection in world.snapshot.rejections() {
        eprintln!("{rejection}");
    }
    let routes = routes_table(&new);
    Ok(match args.output {
        Output::Json => format!("{:#}\n", serde_json::json!({ "services": new })),
        Output::Table if new.is_empty() => "no Services of type LoadBalancer\n".to_owned(),
        Output::Table => {
            let rows: Vec<Vec<String>> = std::mem::take(&mut new)
                .into_iter()
                .map(|(key, planned)| row(&key, &planned))
                .collect();
            render(&["SERVICE", "ADDRESS", "POOL", "ANNOUNCED BY", "NOTE"], &rows) + &routes
        }
    })
}

fn row(key: &str, planned: &Planned) -> Vec<String> {
    let addresses: Vec<String> = planned.addresses.iter().map(ToString::to_string).collect();
    let on = match planned.interfaces.as_slice() {
        [] => String::new(),
        names => format!(" on {}", names.join(", ")),
    };
    let mut by: Vec<String> =
        planned.announced_by.iter().map(|node| format!("{node}{on}")).collect();
    if let Some(summary) = by_bgp(&planned.routes) {
        by.push(summary);
    }
    vec![
        key.to_owned(),
        if addresses.is_empty() { "-".to_owned() } else { addresses.join(", ") },
        planned.pool.clone().unwrap_or_else(|| "-".to_owned()),
        if by.is_empty() { "-".to_owned() } else { by.join("; ") },
        planned.reason.clone().unwrap_or_default(),
    ]
}

/// Who announces by BGP, in a few words.
#[must_use]
pub fn by_bgp(routes: &[PlannedRoute]) -> Option<String> {
    let peers: BTreeSet<&str> = routes.iter().map(|route| route.peer.as_str()).collect();
    let nodes: BTreeSet<&String> = routes.iter().flat_map(|route| &route.nodes).collect();
    let count = |number: usize, word: &str| match number {
        1 => format!("1 {word}"),
        number => format!("{number} {word}s"),
    };
    (!routes.is_empty())
        .then(|| format!("BGP: {} to {}", count(nodes.len(), "node"), count(peers.len(), "peer")))
}

fn routes_table(plan: &Plan) -> String {
    let routes: BTreeSet<&PlannedRoute> =
        plan.values().flat_map(|planned| &planned.routes).collect();
    if routes.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = routes
        .into_iter()
        .map(|route| {
            vec![
                route.prefix.to_string(),
                route.peer.clone(),
                route.nodes.join(", "),
                route.attributes(),
            ]
        })
        .collect();
    format!("\n{}", render(&["PREFIX", "PEER", "FROM", "ATTRIBUTES"], &rows))
}

fn changes(old: &Plan, new: &Plan, output: Output) -> String {
    let keys: BTreeSet<&String> =
        old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect();
    if output == Output::Json {
        let changes: BTreeMap<&String, serde_json::Value> = keys
            .into_iter()
            .map(|key| (key, serde_json::json!({ "before": old.get(key), "after": new.get(key) })))
            .collect();
        return format!("{:#}\n", serde_json::json!({ "changes": changes }));
    }
    if keys.is_empty() {
        return "nothing would change\n".to_owned();
    }
    let mut rows = Vec::new();
    for key in keys {
        for (sign, plan) in [("-", old), ("+", new)] {
            if let Some(planned) = plan.get(key) {
                let mut cells = row(key, planned);
                cells.insert(0, sign.to_owned());
                rows.push(cells);
            }
        }
    }
    render(&["", "SERVICE", "ADDRESS", "POOL", "ANNOUNCED BY", "NOTE"], &rows)
}
