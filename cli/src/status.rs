// SPDX-License-Identifier: Apache-2.0
//! `ferrolb status`: shows pools, Services with their announcers, sessions and errors in one screen.

mod connections;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use cluster::net::client::connect;
use serde::Serialize;
use serde_json::Value;

use crate::args::{Output, StatusArgs};
use crate::survey::{Survey, addresses, is_load_balancer, key, text};
use crate::table::render;
use connections::NodeConnections;

/// The lists that the command needs.
const WANTED: [&str; 10] = [
    "services",
    "nodes",
    "ipaddresspools",
    "externalippools",
    "servicel2statuses",
    "servicebgpstatuses",
    "configurationstates",
    "bgpsessionstates",
    "bgppeers",
    "speakerreports",
];
/// Only clusters that use Antrea's pools have the one, and only those with our own manifests the other.
const OPTIONAL: [&str; 2] = ["externalippools", "speakerreports"];

/// The pause between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(2);

/// The state of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The pools by name.
    pub pools: Vec<Pool>,
    /// The Services of type LoadBalancer by name.
    pub services: Vec<Service>,
    /// The BGP sessions, where BGPSessionState objects are there.
    pub sessions: Vec<Session>,
    /// The open connections, as the speakers with `--keep-connections` tell them.
    pub connections: Vec<NodeConnections>,
    /// The errors of the configuration, each with the component that reports it.
    pub errors: Vec<ConfigurationError>,
    /// The lists that could not be had.
    pub unknown: Vec<String>,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    name: String,
    addresses: Vec<String>,
    assigned: i64,
    available: i64,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    service: String,
    addresses: Vec<String>,
    pool: String,
    /// The nodes that answer ARP and NDP for the Service.
    layer2: Vec<String>,
    /// The nodes that advertise the Service to BGP peers, with these peers.
    bgp: BTreeMap<String, Vec<String>>,
    /// The reason why the Service has no address, or is not announced.
    problem: String,
}

/// A BGP session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    node: String,
    peer: String,
    vrf: String,
    bgp: String,
    bfd: String,
}

/// An error that a component reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationError {
    component: String,
    error: String,
}

/// Prints the status; with `--watch` again and again.
///
/// # Errors
/// The cluster cannot be reached.
pub async fn run(args: &StatusArgs) -> anyhow::Result<()> {
    let client = connect().await?;
    loop {
        let survey = Survey::take(&client, &args.namespace, &WANTED).await?;
        let status = Status::of(&survey);
        let text = match args.output {
            Output::Table => status.text(),
            Output::Json => format!("{}\n", serde_json::to_string_pretty(&status)?),
        };
        if !args.watch {
            print!("{text}");
            return Ok(());
        }
        // Moves the cursor home, and clears the screen below.
        print!("\x1b[H\x1b[2J{text}");
        tokio::time::sleep(AGAIN).await;
    }
}

impl Status {
    /// Makes the status from the lists.
    #[must_use]
    pub fn of(survey: &Survey) -> Self {
        let mut layer2: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for status in survey.list("servicel2statuses") {
            layer2.entry(subject(status)).or_default().insert(text(status, "/status/node"));
        }
        let mut bgp: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for status in survey.list("servicebgpstatuses") {
            let peers = status.pointer("/status/peers").and_then(Value::as_array);
            let peers = peers.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
            bgp.entry(subject(status))
                .or_default()
                .insert(text(status, "/status/node").to_owned(), peers.collect());
        }
        let services = survey.list("services").iter().filter(|service| is_load_balancer(service));
        let mut status = Self {
            pools: survey
                .list("ipaddresspools")
                .iter()
                .map(Pool::of)
                .chain(survey.list("externalippools").iter().map(Pool::of_antrea))
                .collect(),
            services: services
                .map(|service| {
                    let key = key(service);
                    let layer2 = layer2.remove(&key).unwrap_or_default();
                    Service {
                        addresses: addresses(service).into_iter().map(Into::into).collect(),
                        pool: pool_of(service).to_owned(),
                        layer2: layer2.into_iter().map(str::to_owned).collect(),
                        bgp: bgp.remove(&key).unwrap_or_default(),
                        problem: problem(service),
                        service: key,
                    }
                })
                .collect(),
            sessions: survey.list("bgpsessionstates").iter().map(Session::of).collect(),
            connections: survey
                .list("speakerreports")
                .iter()
                .filter_map(NodeConnections::of)
                .collect(),
            errors: survey.list("configurationstates").iter().flat_map(errors).collect(),
            unknown: survey
                .missing()
                .iter()
                .filter(|(name, _)| !OPTIONAL.contains(name))
                .map(|(name, why)| format!("{name}: {why}"))
                .collect(),
        };
        status.pools.sort_by(|a, b| a.name.cmp(&b.name));
        status.services.sort_by(|a, b| a.service.cmp(&b.service));
        status.connections.sort_by(|a, b| a.node().cmp(b.node()));
        status.sessions.sort_by(|a, b| (&a.node, &a.peer).cmp(&(&b.node, &b.peer)));
        status
    }

    /// The status as text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let rows: Vec<Vec<String>> = self
            .pools
            .iter()
            .map(|pool| {
                vec![
                    pool.name.clone(),
                    pool.assigned.to_string(),
                    pool.available.to_string(),
                    pool.addresses.join(","),
                ]
            })
            .collect();
        text.push_str(&render(&["POOL", "ASSIGNED", "AVAILABLE", "ADDRESSES"], &rows));
        let rows: Vec<Vec<String>> = self
            .services
            .iter()
            .map(|service| {
                let dash = |list: &[String]| match list {
                    [] => "-".to_owned(),
                    _ => list.join(","),
                };
                let nodes: Vec<String> = service
                    .bgp
                    .iter()
                    .map(|(node, peers)| format!("{node}({})", peers.join(",")))
                    .collect();
                vec![
                    service.service.clone(),
                    dash(&service.addresses),
                    if service.pool.is_empty() { "-".into() } else { service.pool.clone() },
                    dash(&service.layer2),
                    dash(&nodes),
                    service.problem.clone(),
                ]
            })
            .collect();
        text.push('\n');
        let header = ["SERVICE", "ADDRESSES", "POOL", "L2 NODE", "BGP NODES(PEERS)", "PROBLEM"];
        text.push_str(&render(&header, &rows));
        if !self.sessions.is_empty() {
            let rows: Vec<Vec<String>> = self
                .sessions
                .iter()
                .map(|session| {
                    let Session { node, peer, vrf, bgp, bfd } = session;
                    vec![node.clone(), peer.clone(), vrf.clone(), bgp.clone(), bfd.clone()]
                })
                .collect();
            text.push('\n');
            text.push_str(&render(&["NODE", "PEER", "VRF", "BGP", "BFD"], &rows));
        }
        text.push_str(&connections::table(&self.connections));
        for ConfigurationError { component, error } in &self.errors {
            let _ = write!(text, "\n{component}: {error}\n");
        }
        for unknown in &self.unknown {
            let _ = write!(text, "\nnot listed: {unknown}\n");
        }
        text
    }
}

/// The Service that a status object is about.
fn subject(status: &Value) -> String {
    format!("{}/{}", text(status, "/status/serviceNamespace"), text(status, "/status/serviceName"))
}

/// The pool that the Service asks for in Antrea's world, or that it got in MetalLB's.
fn pool_of(service: &Value) -> &str {
    let external = text(service, "/metadata/annotations/service.antrea.io~1external-ip-pool");
    let own = "/metadata/annotations/metallb.io~1ip-allocated-from-pool";
    if external.is_empty() { text(service, own) } else { external }
}

/// The first of our conditions that is not True.
fn problem(service: &Value) -> String {
    let conditions = service.pointer("/status/conditions").and_then(Value::as_array);
    let ours = conditions.into_iter().flatten().filter(|condition| {
        text(condition, "/type").starts_with("ferrolb.io/") && text(condition, "/status") != "True"
    });
    ours.map(|condition| text(condition, "/message").to_owned()).next().unwrap_or_default()
}

fn errors(state: &Value) -> Vec<ConfigurationError> {
    let component = text(state, "/metadata/name");
    let lines = text(state, "/status/errorSummary").lines();
    let error = |line: &str| ConfigurationError { component: component.into(), error: line.into() };
    lines.map(error).collect()
}

impl Pool {
    fn of(pool: &Value) -> Self {
        let number = |name: &str| {
            pool.pointer(&format!("/status/{name}")).and_then(Value::as_i64).unwrap_or_default()
        };
        let addresses = pool.pointer("/spec/addresses").and_then(Value::as_array);
        let addresses = addresses.into_iter().flatten().filter_map(Value::as_str);
        Self {
            name: text(pool, "/metadata/name").to_owned(),
            addresses: addresses.map(str::to_owned).collect(),
            assigned: number("assignedIPv4").saturating_add(number("assignedIPv6")),
            available: number("availableIPv4").saturating_add(number("availableIPv6")),
        }
    }
}

impl Pool {
    /// An `ExternalIPPool`, whose status counts both families together.
    fn of_antrea(pool: &Value) -> Self {
        let number = |name: &str| {
            pool.pointer(&format!("/status/usage/{name}"))
                .and_then(Value::as_i64)
                .unwrap_or_default()
        };
        let ranges = pool.pointer("/spec/ipRanges").and_then(Value::as_array);
        let range = |range: &Value| match text(range, "/cidr") {
            "" => format!("{}-{}", text(range, "/start"), text(range, "/end")),
            cidr => cidr.to_owned(),
        };
        Self {
            name: format!("ExternalIPPool {}", text(pool, "/metadata/name")),
            addresses: ranges.into_iter().flatten().map(range).collect(),
            assigned: number("used"),
            available: number("total").saturating_sub(number("used")),
        }
    }
}

impl Session {
    fn of(state: &Value) -> Self {
        let text = |name: &str| text(state, &format!("/status/{name}")).to_owned();
        Self {
            node: text("node"),
            peer: text("peer"),
            vrf: text("vrf"),
            bgp: text("bgpStatus"),
            bfd: text("bfdStatus"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_screen_says_who_announces_what_and_what_is_wrong() {
        let survey = Survey::of(&[
            (
                "services",
                json!([
                    {
                        "metadata": {
                            "namespace": "default", "name": "web",
                            "annotations": { "metallb.io/ip-allocated-from-pool": "a" },
                        },
                        "spec": { "type": "LoadBalancer" },
                        "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } },
                    },
                    {
                        "metadata": { "namespace": "default", "name": "full" },
                        "spec": { "type": "LoadBalancer" },
                        "status": { "conditions": [
                            { "type": "other", "status": "False", "message": "not ours" },
                            { "type": "ferrolb.io/Allocated", "status": "False", "message": "no available IPs" },
                        ] },
                    },
                    { "metadata": { "namespace": "default", "name": "c" }, "spec": { "type": "ClusterIP" } },
                ]),
            ),
            (
                "servicel2statuses",
                json!([{ "status": { "node": "n1", "serviceName": "web", "serviceNamespace": "default" } }]),
            ),
            (
                "servicebgpstatuses",
                json!([{ "status": {
                    "node": "n2", "serviceName": "web", "serviceNamespace": "default", "peers": ["p", "q"],
                } }]),
            ),
            (
                "externalippools",
                json!([{ "metadata": { "name": "edge" }, "spec": { "ipRanges": [{ "cidr": "10.10.0.0/28" }] },
                    "status": { "usage": { "total": 14, "used": 3 } } }]),
            ),
            (
                "ipaddresspools",
                json!([{ "metadata": { "name": "a" }, "spec": { "addresses": ["192.0.2.0/24"] },
                    "status": { "assignedIPv4": 1, "availableIPv4": 255 } }]),
            ),
            (
                "configurationstates",
                json!([{ "metadata": { "name": "controller" }, "status": { "errorSummary": "one\ntwo" } }]),
            ),
        ]);
        let status = Status::of(&survey);
        assert_eq!(status.services.len(), 2);
        assert_eq!(status.services[0].problem, "no available IPs");
        assert_eq!(status.services[1].layer2, ["n1"]);
        assert_eq!(status.errors.len(), 2);
        let text = status.text();
        for part in [
            "n2(p,q)",
            "192.0.2.1",
            "255",
            "controller: two",
            "ExternalIPPool edge",
            "10.10.0.0/28",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
