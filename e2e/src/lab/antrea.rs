// SPDX-License-Identifier: Apache-2.0
//! Antrea's world in the rack: the roles for it, the manifests of its documentation as they are written there, and what they show.

use anyhow::Context;
use serde_json::{Value, json};

use super::Lab;
use super::kube::documents;
use super::node::{PodAddresses, Proxy, slice};
use super::wait::{SOON, eventually_true};
use super::watched::Watched;

/// The pool, and the Services.
pub const POOL: &str = include_str!("../../manifests/antrea/external-ip-pool.yaml");
/// One Service that takes what it gets.
pub const SERVICE: &str = include_str!("../../manifests/antrea/service.yaml");
/// One that requests an address.
pub const REQUESTED: &str = include_str!("../../manifests/antrea/service-requested.yaml");
/// Two that share an address.
pub const SHARED: &str = include_str!("../../manifests/antrea/services-shared.yaml");
/// The same addresses as a pool of MetalLB's.
pub const METALLB: &str = include_str!("../../manifests/antrea/metallb-layer2.yaml");
/// The first of the pool's addresses.
pub const ADDRESS: &str = "10.10.0.2";
const ROLES: &str = include_str!("../../manifests/antrea/roles.yaml");
/// The pool of the documentation.
pub const POOL_PATH: &str = "/apis/crd.antrea.io/v1beta1/externalippools/service-external-ip-pool";

impl Lab {
    /// Controller, nodes with kube-proxy and speakers, and a client that finds 10.10.0.0/24 on its link; the first two nodes are for
    /// ingress.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start_for_antrea(&mut self, nodes: usize) -> anyhow::Result<()> {
        self.apply_antrea_roles()?;
        self.client()?.namespace.ip("route add 10.10.0.0/24 dev eth0")?;
        self.start_controller(&[])?;
        self.start_nodes(nodes, Proxy::Nftables)?;
        for number in 1..=nodes.min(2) {
            self.label(&format!("node{number}"), &json!("ingress-node"))?;
        }
        self.start_speakers(&[])
    }

    /// As [`Watched::start`], with an ExternalIPPool of which all nodes are.
    ///
    /// # Errors
    /// When something does not start.
    pub fn watch_for_antrea(&mut self, nodes: usize, flags: &[&str]) -> anyhow::Result<Watched> {
        self.apply_antrea_roles()?;
        self.client()?.namespace.ip("route add 10.10.0.0/24 dev eth0")?;
        self.start_controller(&[])?;
        self.start_nodes(nodes, Proxy::Absent)?;
        for number in 1..=nodes {
            self.label(&format!("node{number}"), &json!("ingress-node"))?;
        }
        self.start_speakers(flags)?;
        self.apply_text(POOL)?;
        self.apply_text(SERVICE)?;
        Watched::of(self, ADDRESS.parse()?)
    }

    /// Lets the programs read and write ExternalIPPools, which MetalLB's roles do not.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn apply_antrea_roles(&self) -> anyhow::Result<()> {
        self.apply_text(ROLES)
    }

    /// Applies manifests as they are written.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn apply_text(&self, text: &str) -> anyhow::Result<()> {
        for mut object in documents(text)? {
            // As kubectl does; the text does not say it.
            if object.get("kind") == Some(&json!("Service")) {
                let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
                metadata.context("no metadata")?.insert("namespace".into(), "default".into());
            }
            self.kube().apply(&object)?;
        }
        Ok(())
    }

    /// Sets a node's label `network-role`; null removes it.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn label(&self, node: &str, role: &Value) -> anyhow::Result<()> {
        let labels = json!({"metadata": {"labels": {"network-role": role}}});
        self.kube().patch(&format!("/api/v1/nodes/{node}"), &labels)?;
        Ok(())
    }

    /// Endpoints of a Service whose port has no name.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn set_nameless_endpoints(
        &self,
        service: &str,
        pods: &[PodAddresses],
    ) -> anyhow::Result<()> {
        let mut slice = slice(service, false, pods);
        let port = slice.pointer_mut("/ports/0/name").context("a port")?;
        *port = json!("");
        self.kube().apply(&slice)?;
        Ok(())
    }

    /// Waits until the status of a Service shows this address beside this hostname, as Antrea's documentation has it.
    ///
    /// # Errors
    /// When it does not.
    pub fn expect_hostname(&self, service: &str, address: &str, node: &str) -> anyhow::Result<()> {
        let mut seen = Value::Null;
        eventually_true(&format!("{service} shows {address} and {node}"), SOON, || {
            let object =
                self.kube().get(&format!("/api/v1/namespaces/default/services/{service}"))?;
            seen = object.pointer("/status/loadBalancer/ingress").cloned().unwrap_or_default();
            let entry = seen.get(0);
            let text = |key: &str| entry.and_then(|entry| entry.get(key)?.as_str());
            Ok(text("ip") == Some(address) && text("hostname") == Some(node))
        })
        .with_context(|| format!("last: {seen}"))
    }

    /// Waits until the pool's status says so.
    ///
    /// # Errors
    /// When it does not.
    pub fn expect_usage(&self, total: u64, used: u64) -> anyhow::Result<()> {
        let mut seen = Value::Null;
        eventually_true(&format!("the pool has {total} addresses, {used} used"), SOON, || {
            seen = self.kube().get(POOL_PATH)?;
            Ok(seen.pointer("/status/usage") == Some(&json!({"total": total, "used": used})))
        })
        .with_context(|| format!("last: {seen}"))
    }
}
