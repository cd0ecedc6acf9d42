// SPDX-License-Identifier: Apache-2.0
//! The rack. A lane has one switch and one control plane, kept over all its scenarios; nodes, clients, programs
//! under test and objects belong to one scenario and are gone after it.
//!
//! ```text
//!  control plane         client          node1            node2 ...
//!  172.30.0.2            172.30.0.100    172.30.0.11      172.30.0.12
//!  fd30::2               fd30::100       fd30::11         fd30::12
//!  etcd, kube-apiserver  arping, curl    kube-proxy, speaker
//!  controller                            10.244.1.0/24 ── pods
//!     └──────────────────── switch ─────────┴────────────────┘
//! ```

pub mod antrea;
pub mod bgp;
pub mod cleanup;
pub mod client;
pub mod connections;
pub mod container;
pub mod control_plane;
pub mod datagrams;
pub mod fault;
pub mod fleet;
pub mod folder;
pub mod generation;
pub mod helm;
pub mod images;
pub mod kube;
pub mod load;
pub mod loss;
pub mod metallb;
pub mod netns;
pub mod node;
pub mod objects;
pub mod parted;
pub mod process;
pub mod router;
pub mod stranger;
pub mod topology;
pub mod wait;
pub mod watched;
pub mod watcher;
pub mod webhooks;
pub mod workload;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use client::Client;
use control_plane::{ControlPlane, Families, Identity, kubeconfig};
use kube::{Kube, SYSTEM, path};
use netns::Namespace;
use node::{Node, PodAddresses, Proxy, is_ready, slice};
use process::{Process, Rights, Start, tail};
use router::Router;
use topology::{Programs, Switch};
use wait::{eventually, eventually_true};

pub use wait::SOON;

/// What a lane keeps from scenario to scenario.
#[derive(Debug)]
pub struct Lab {
    // In the order in which they are to end.
    /// The controller, while it runs.
    pub controller: Option<Process>,
    /// The nodes of this scenario.
    pub nodes: Vec<Node>,
    /// The routers of this scenario.
    pub routers: Vec<Router>,
    client: Option<Client>,
    /// The control plane.
    pub control: ControlPlane,
    /// The programs.
    pub programs: Programs,
    /// The control plane's and the controller's namespace.
    pub plane: Namespace,
    /// The switch.
    pub switch: Switch,
    lane: usize,
}

impl Lab {
    /// Starts a lane.
    ///
    /// # Errors
    /// When something does not start.
    pub fn new(
        lane: usize,
        binaries: &Path,
        cluster: &Path,
        families: Families,
    ) -> anyhow::Result<Self> {
        let folder = cleanup::folder(lane)?;
        let programs = Programs::new(&folder, binaries, cluster)?;
        let switch = Switch::new(lane, "switch")?;
        let plane = switch.attach("plane", "eth0", "02:fb:00:00:00:fd")?;
        plane.ip("address add 172.30.0.2/24 dev eth0\naddress add fd30::2/64 dev eth0")?;
        let control = ControlPlane::start(&plane, &folder, cluster, families)?;
        let (controller, nodes, routers, client) = (None, Vec::new(), Vec::new(), None);
        Ok(Self { controller, nodes, routers, client, control, programs, plane, switch, lane })
    }

    /// Ends all that belongs to one scenario and deletes its objects.
    ///
    /// # Errors
    /// When objects cannot be deleted.
    pub fn reset(&mut self) -> anyhow::Result<()> {
        self.controller = None;
        self.nodes.clear();
        self.routers.clear();
        self.client = None;
        self.switch.unplug_all_but("plane")?;
        for entry in std::fs::read_dir(&self.programs.folder)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let program = name.trim_end_matches(".log");
            if name.ends_with(".log") && program != "etcd" && program != "kube-apiserver" {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        objects::delete_all(self.kube())
    }

    /// Makes the control plane one of these families.
    ///
    /// # Errors
    /// When it does not start.
    pub fn require(&mut self, families: Families) -> anyhow::Result<()> {
        if self.control.families != families {
            self.control.apiserver.kill();
            self.control.etcd.kill();
            self.control = ControlPlane::start(
                &self.plane,
                &self.programs.folder,
                &self.programs.cluster,
                families,
            )?;
        }
        Ok(())
    }

    /// The API as the administrator.
    #[must_use]
    pub fn kube(&self) -> &Kube {
        &self.control.kube
    }

    /// The lane's folder, which programs of the rack may read.
    #[must_use]
    pub fn folder(&self) -> &PathBuf {
        &self.programs.folder
    }

    /// The client; it is made at the first call.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client(&mut self) -> anyhow::Result<&Client> {
        if self.client.is_none() {
            self.client = Some(Client::new(&self.switch, &self.programs.e2e)?);
        }
        self.client.as_ref().context("the client was just made")
    }

    /// Controller, nodes with kube-proxy and speakers, the pool `pool` with both families' addresses and an
    /// L2Advertisement for all; a client.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start_all(&mut self, nodes: usize, proxy: Proxy) -> anyhow::Result<()> {
        self.client()?;
        self.start_controller(&[])?;
        self.start_nodes(nodes, proxy)?;
        self.start_speakers(&[])?;
        self.kube().apply(&objects::pool("pool", &[objects::POOL_V4, objects::POOL_V6]))?;
        self.kube().apply(&objects::l2_advertisement("all", json!({})))?;
        Ok(())
    }

    /// Starts the controller and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_controller(&mut self, extra: &[&str]) -> anyhow::Result<()> {
        self.spawn_controller(extra)?;
        self.wait_controller()
    }

    /// Waits until the controller is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn wait_controller(&mut self) -> anyhow::Result<()> {
        let plane = &self.plane;
        let controller = self.controller.as_mut().context("no controller runs")?;
        controller.wait_ready(SOON, || Ok(is_ready(plane)))
    }

    /// Starts the controller without waiting for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_controller(&mut self, extra: &[&str]) -> anyhow::Result<()> {
        let mut arguments = ["--port=9120", "--log-level=debug", "--metrics-plain-http"]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(extra.iter().map(|argument| (*argument).to_owned()));
        let folder = &self.programs.folder;
        self.controller = Some(Process::start(
            folder,
            Start {
                name: "controller".into(),
                namespace: &self.plane,
                program: &self.programs.controller,
                arguments,
                environment: vec![
                    ("METALLB_POD_NAME", "controller".to_owned()),
                    ("METALLB_NAMESPACE", SYSTEM.to_owned()),
                    ("METALLB_DEPLOYMENT", "controller".to_owned()),
                    ("METALLB_ML_SECRET_NAME", "memberlist".to_owned()),
                    ("KUBECONFIG", kubeconfig(folder, Identity::Controller).display().to_string()),
                ],
                rights: Rights::Nobody,
            },
        )?);
        Ok(())
    }

    /// Adds nodes with kube-proxy, numbered on from those that are there.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start_nodes(&mut self, count: usize, proxy: Proxy) -> anyhow::Result<()> {
        let families = self.control.families;
        for _ in 0..count {
            let number = self.nodes.len() + 1;
            let mut node = Node::new(&self.switch, &self.programs, number, families)?;
            node.register(self.kube(), families)?;
            node.start_proxy(proxy, families)?;
            self.nodes.push(node);
        }
        Ok(())
    }

    /// Starts a speaker on every node and waits until all are ready.
    ///
    /// # Errors
    /// When one does not become ready.
    pub fn start_speakers(&mut self, extra: &[&str]) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            node.start_speaker(extra)?;
        }
        self.nodes.iter_mut().try_for_each(Node::wait_speaker)
    }

    /// The node with this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&mut self, name: &str) -> anyhow::Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.name == name);
        node.with_context(|| format!("no node {name}"))
    }

    /// A pod on the node with this number.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_pod(&mut self, number: usize) -> anyhow::Result<PodAddresses> {
        let node = self.nodes.get_mut(number.wrapping_sub(1)).context("no such node")?;
        node.start_pod(&self.switch)
    }

    /// Makes these pods the endpoints of a Service, in both families.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn set_endpoints(&self, service: &str, pods: &[PodAddresses]) -> anyhow::Result<()> {
        for v6 in [false, true] {
            if v6 || self.control.families == Families::Dual {
                self.kube().apply(&slice(service, v6, pods))?;
            }
        }
        Ok(())
    }

    /// The addresses in a Service's status now.
    ///
    /// # Errors
    /// When the Service is not there.
    pub fn addresses(&self, service: &str) -> anyhow::Result<Vec<String>> {
        let service = self.kube().get(&format!("/api/v1/namespaces/default/services/{service}"))?;
        Ok(objects::ingress(&service))
    }

    /// Waits until a Service has an address; all it has.
    ///
    /// # Errors
    /// When it gets none.
    pub fn wait_addresses(&self, service: &str) -> anyhow::Result<Vec<String>> {
        eventually(&format!("the Service {service} has an address"), SOON, || {
            Ok(Some(self.addresses(service)?).filter(|addresses| !addresses.is_empty()))
        })
    }

    /// Waits until a Service has exactly these addresses.
    ///
    /// # Errors
    /// When it does not get them.
    pub fn expect_addresses(&self, service: &str, expected: &[&str]) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        eventually_true(&format!("{service} has {expected:?}"), SOON, || {
            seen = self.addresses(service)?;
            Ok(seen == expected)
        })
        .with_context(|| format!("it has {seen:?}"))
    }

    /// Waits until an address is answered by exactly one station, that it is a node; the node's name.
    ///
    /// # Errors
    /// When nobody, several or a stranger answers in the end.
    pub fn wait_owner(&mut self, address: &str) -> anyhow::Result<String> {
        self.client()?;
        let mut seen = BTreeSet::new();
        eventually(&format!("one node answers for {address}"), SOON, || {
            seen = self.owners(address)?;
            Ok(Some(&seen).filter(|owners| owners.len() == 1).and_then(BTreeSet::first).cloned())
        })
        .with_context(|| format!("last: {seen:?}"))
    }

    /// Waits until exactly this node answers for an address.
    ///
    /// # Errors
    /// When that is not so in the end.
    pub fn expect_owner(&mut self, address: &str, node: &str) -> anyhow::Result<()> {
        self.client()?;
        let mut seen = BTreeSet::new();
        eventually_true(&format!("{node} answers for {address}"), SOON, || {
            seen = self.owners(address)?;
            Ok(seen.len() == 1 && seen.contains(node))
        })
        .with_context(|| format!("last: {seen:?}"))
    }

    /// Waits until nobody answers for an address.
    ///
    /// # Errors
    /// When somebody still does in the end.
    pub fn expect_silence(&mut self, address: &str) -> anyhow::Result<()> {
        self.client()?;
        eventually_true(&format!("nobody answers for {address}"), SOON, || {
            Ok(self.owners(address)?.is_empty())
        })
    }

    /// The nodes that answer for an address now; a station that is no node by its hardware address.
    ///
    /// # Errors
    /// When there is no client.
    pub fn owners(&self, address: &str) -> anyhow::Result<BTreeSet<String>> {
        self.owners_on(address, "eth0")
    }

    /// As [`Lab::owners`], asked on another link of the client.
    ///
    /// # Errors
    /// When there is no client.
    pub fn owners_on(&self, address: &str, link: &str) -> anyhow::Result<BTreeSet<String>> {
        let client = self.client.as_ref().context("there is no client")?;
        let answers = client.who_has_on(address, link)?;
        let name = |mac: String| {
            // 02:fb:00:00:LL:NN is node NN's link LL.
            let number = mac.strip_prefix("02:fb:00:00:").and_then(|rest| rest.split_once(':'));
            let number = number.and_then(|(_, node)| usize::from_str_radix(node, 16).ok());
            let node = self.nodes.iter().find(|node| Some(node.number) == number);
            node.map_or(mac, |node| node.name.clone())
        };
        Ok(answers.into_iter().map(name).collect())
    }

    /// Waits until the page of a Service's pods is served at an address; which pod's node answered.
    ///
    /// # Errors
    /// When none is served.
    pub fn wait_page(&mut self, address: &str) -> anyhow::Result<String> {
        let client = self.client()?;
        eventually(&format!("a page is served at {address}"), SOON, || Ok(client.page(address)))
    }

    /// Waits until the page of a Service's pods is served through every node, whoever owns the address: kube-proxy there has the Service.
    ///
    /// # Errors
    /// When none is served.
    pub fn serves_through_all(&mut self, address: &str) -> anyhow::Result<()> {
        for index in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(index) else { continue };
            let (name, mac) = (node.name.clone(), node.mac()?);
            let entry = format!("{address} lladdr {mac} dev eth0 nud permanent");
            self.client()?.namespace.ip(&format!("neighbour replace {entry}"))?;
            self.wait_page(address).with_context(|| format!("through {name}"))?;
            self.client()?.namespace.ip(&format!("neighbour delete {address} dev eth0"))?;
        }
        Ok(())
    }

    /// Waits until there is an event with this reason about a Service of the namespace default.
    ///
    /// # Errors
    /// When none comes.
    pub fn wait_event(&self, service: &str, reason: &str) -> anyhow::Result<kube::Event> {
        eventually(&format!("an event {reason} about {service}"), SOON, || {
            let events = self.kube().events(service)?;
            Ok(events.into_iter().find(|event| event.reason == reason))
        })
    }

    /// No move of a Service of the namespace default was told as a conflict.
    ///
    /// # Errors
    /// The events that say otherwise.
    pub fn expect_no_conflict(&self, service: &str) -> anyhow::Result<()> {
        let mut conflicts = self.kube().events(service)?;
        conflicts.retain(|event| event.reason == "addressConflict");
        ensure!(conflicts.is_empty(), "{service}: a move was told as a conflict: {conflicts:?}");
        Ok(())
    }

    /// `kubectl apply` of these objects in one file, as the administrator.
    ///
    /// # Errors
    /// When it exits with another code than 0; with all that it printed.
    pub fn kubectl_apply(&self, objects: &[Value]) -> anyhow::Result<()> {
        let file = self.folder().join("apply.json");
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        std::fs::write(&file, list.to_string())?;
        let config = kubeconfig(self.folder(), Identity::Admin);
        let config = format!("--kubeconfig={}", config.display());
        let name = format!("--filename={}", file.display());
        netns::succeeded(&self.plane.output("kubectl", [&*config, "apply", &*name])?)
    }

    /// Makes an object of the namespace default disappear.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn delete(&self, object: &Value) -> anyhow::Result<()> {
        Ok(self.kube().delete(&path(object))?)
    }

    /// Which lane this is.
    #[must_use]
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// What helps to understand a failure: the ends of the logs, and the events.
    #[must_use]
    pub fn evidence(&self) -> String {
        let mut text = String::new();
        let logs = std::fs::read_dir(&self.programs.folder).into_iter().flatten().flatten();
        let mut logs: Vec<PathBuf> = logs.map(|entry| entry.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        for path in logs {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let lines = match &*name {
                "etcd" => 0,
                "kube-apiserver" => 5,
                proxy if proxy.starts_with("kube-proxy") => 3,
                _ => 25,
            };
            let log =
                String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
            // Writing to a String cannot fail.
            let _ = write!(text, "  --- {name}\n{}", tail(&log, lines));
        }
        for router in &self.routers {
            let _ = writeln!(text, "  --- {} says\n{}", router.kind, router.evidence());
        }
        let _ = writeln!(text, "  --- events");
        for event in self.kube().list("/api/v1/events").unwrap_or_default() {
            let field =
                |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (kind, reason) = (field("/type"), field("/reason"));
            let (object, message) = (field("/involvedObject/name"), field("/message"));
            let _ = writeln!(text, "    {object}: {kind} {reason}: {message}");
        }
        text
    }
}
