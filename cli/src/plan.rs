// SPDX-License-Identifier: Apache-2.0
//! `ferrolb plan`: shows which addresses would be given, and which nodes would announce them and why.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use cluster::ObjectKey;
use folder::manifest::{Grade, Mistake};
use folder::{FolderState, ServiceState};
use l2::Scope;
use serde::Serialize;
use serde_json::{Value, json};
use speaker::Withhold;

use crate::args::{Output, PlanArgs};
use crate::check;
use crate::routes::{Books, PlannedRoute, withheld};
use crate::table::render;
use crate::world::World;

/// The plan for one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// The addresses of the Service.
    pub addresses: Vec<IpAddr>,
    /// The pool of the addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The node that announces the addresses by L2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announced_by: Option<String>,
    /// The interfaces on which the node announces; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// The routes that peers get by BGP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<PlannedRoute>,
    /// The reason why the Service has no address, or no node announces it.
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

/// Makes the plan for one Service.
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
    let verdict = books.verdict(world, key, &world.options.node);
    match &verdict.announcer {
        Some(node) => {
            planned.announced_by = Some(node.to_string());
            if let Ok(announcement) = books.verdict(world, key, node).local
                && let Scope::Interfaces(names) = announcement.scope
            {
                planned.interfaces = names.iter().map(ToString::to_string).collect();
            }
        }
        None => {
            let reason = verdict.nobody.or_else(|| verdict.local.err());
            planned.reason = reason.map(|reason| reason.to_string());
        }
    }
    planned.routes = books.routes(key);
    if !planned.routes.is_empty() {
        planned.reason = None;
    } else if planned.announced_by.is_none()
        && !books.is_empty()
        && let Some(reason) = withheld(world, key, &world.options.node)
        && !matches!(reason, Withhold::NoBgpAdvertisement(_))
    {
        // The Service is meant for BGP.
        planned.reason = Some(reason.to_string());
    }
    planned
}

/// A plan as it is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// The text to print.
    pub text: String,
    /// True if the manifests have no mistake.
    pub is_clean: bool,
}

/// Runs the command.
///
/// # Errors
/// A folder cannot be read.
pub fn run(args: &PlanArgs) -> anyhow::Result<Printed> {
    let Some(other) = &args.against else {
        let world = World::load(&args.folder, &args.view)?;
        let findings = findings(&world, &args.folder);
        let plan = plan(&world);
        let mut told = Told { findings, notes: notes(&world) };
        return Ok(told.print(args.output, json!({ "services": plan }), || table(&plan)));
    };
    // The state of the first folder holds the addresses that are in use.
    let state = args.view.folder_state.clone();
    let state = state.unwrap_or_else(|| folder::StateFile::default_for(&args.folder));
    let view = crate::args::FolderOptions { folder_state: Some(state), ..args.view.clone() };
    let mut world = World::load(other, &view)?;
    let mut told = Told { findings: findings(&world, other), notes: notes(&world) };
    let old = plan(&world);
    // From here on the folder changes under a running program: an object that can no longer be read stays as it was.
    world.change(other, &args.folder, &given(&world, &old))?;
    told.findings.extend(findings(&world, &args.folder));
    let kept = world.kept();
    told.notes.extend(kept.iter().map(|kept| {
        format!("{kept} stays as it is: what the new folder says of it cannot be read or used")
    }));
    let new = plan(&world);
    let changes = changes(&old, &new);
    Ok(told.print(args.output, json!({ "changes": changes }), || changes_table(&old, &new)))
}

fn findings(world: &World, folder: &Path) -> Vec<Mistake> {
    check::findings(folder, &world.mistakes, world.snapshot.rejections())
}

/// The state that a program would have written if it had given the addresses of the plan.
fn given(world: &World, plan: &Plan) -> FolderState {
    let given = |planned: &Planned| ServiceState {
        addresses: planned.addresses.clone(),
        pool: planned.pool.clone(),
        ..ServiceState::default()
    };
    let services = plan.iter().map(|(key, planned)| (key.clone(), given(planned))).collect();
    FolderState { node: world.options.node.to_string(), services }
}

fn notes(world: &World) -> Vec<String> {
    let count = world.exported();
    (count > 0).then(|| exported(count)).into_iter().collect()
}

/// The note on Services that come with a status.
#[must_use]
pub fn exported(count: usize) -> String {
    let services = if count == 1 { "1 Service comes" } else { &format!("{count} Services come") };
    format!("{services} with a status in the manifests: the addresses there are taken as in use")
}

/// The notes that are printed before a plan.
struct Told {
    findings: Vec<Mistake>,
    notes: Vec<String>,
}

impl Told {
    fn print(
        &mut self,
        output: Output,
        mut json: Value,
        table: impl FnOnce() -> String,
    ) -> Printed {
        self.findings.sort();
        self.findings.dedup();
        let (hints, mistakes): (Vec<_>, Vec<_>) =
            self.findings.iter().partition(|mistake| mistake.grade == Grade::Hint);
        let is_clean = mistakes.is_empty();
        let text = match output {
            Output::Json => {
                if let Some(json) = json.as_object_mut() {
                    json.insert("mistakes".to_owned(), json!(mistakes));
                    json.insert("hints".to_owned(), json!(hints));
                    json.insert("notes".to_owned(), json!(self.notes));
                }
                format!("{json:#}\n")
            }
            Output::Table => {
                let mut text = String::new();
                mistakes.iter().for_each(|mistake| text.push_str(&format!("{mistake}\n")));
                hints.iter().for_each(|hint| text.push_str(&format!("hint: {hint}\n")));
                self.notes.iter().for_each(|note| text.push_str(&format!("note: {note}\n")));
                if !text.is_empty() {
                    text.push('\n');
                }
                text + &table()
            }
        };
        Printed { text, is_clean }
    }
}

fn table(plan: &Plan) -> String {
    if plan.is_empty() {
        return "no Services of type LoadBalancer\n".to_owned();
    }
    let rows: Vec<Vec<String>> = plan.iter().map(|(key, planned)| row(key, planned)).collect();
    render(&["SERVICE", "ADDRESS", "POOL", "ANNOUNCED BY", "NOTE"], &rows) + &routes_table(plan)
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

/// The nodes that announce by BGP, in a few words.
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

fn changed<'a>(old: &'a Plan, new: &'a Plan) -> BTreeSet<&'a String> {
    old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect()
}

fn changes(old: &Plan, new: &Plan) -> BTreeMap<String, Value> {
    changed(old, new)
        .into_iter()
        .map(|key| (key.clone(), json!({ "before": old.get(key), "after": new.get(key) })))
        .collect()
}

fn changes_table(old: &Plan, new: &Plan) -> String {
    let keys = changed(old, new);
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
