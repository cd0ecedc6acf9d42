// SPDX-License-Identifier: Apache-2.0
//! What the scenarios of BGP share: routers of the rack, pools that are on no link, Services with chosen addresses.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::Lab;
use super::kube::SYSTEM;
use super::netns::Namespace;
use super::node::{PodAddresses, Proxy};
use super::objects::{merge, pool, service};
use super::router::{Kind, Router, Setup};
use super::wait::{SOON, eventually_true};

/// The usual pool's IPv4 addresses, which no link carries.
pub const POOL_V4: &str = "10.60.0.0/24";
/// The usual pool's IPv6 addresses, which no link carries.
pub const POOL_V6: &str = "fd60::/120";
/// The AS of the nodes.
pub const ASN: u32 = 64512;

impl Lab {
    /// Controller, nodes with speakers, the pool `pool`.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start_for_bgp(
        &mut self,
        nodes: usize,
        proxy: Proxy,
        speaker: &[&str],
    ) -> anyhow::Result<()> {
        self.start_controller(&[])?;
        self.start_nodes(nodes, proxy)?;
        self.start_speakers(speaker)?;
        self.kube().apply(&pool("pool", &[POOL_V4, POOL_V6]))?;
        Ok(())
    }

    /// Starts a router on the switch.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add_router(&mut self, kind: Kind, setup: &Setup) -> anyhow::Result<()> {
        let mut router = Router::new(kind, &self.switch, &self.programs.folder)?;
        router.start(&setup.text(kind))?;
        self.routers.push(router);
        Ok(())
    }

    /// The router of this kind.
    ///
    /// # Errors
    /// When there is none.
    pub fn router(&self, kind: Kind) -> anyhow::Result<&Router> {
        self.routers.iter().find(|router| router.kind == kind).context("no such router")
    }

    /// The router of this kind.
    ///
    /// # Errors
    /// When there is none.
    pub fn router_mut(&mut self, kind: Kind) -> anyhow::Result<&mut Router> {
        self.routers.iter_mut().find(|router| router.kind == kind).context("no such router")
    }

    /// Creates a Service with these addresses and an endpoint on each of these nodes, which is named only.
    ///
    /// # Errors
    /// When the API refuses or the addresses are not given.
    pub fn create_service(
        &self,
        name: &str,
        addresses: &[&str],
        nodes: &[usize],
        change: Value,
    ) -> anyhow::Result<()> {
        let endpoints: Vec<PodAddresses> = nodes.iter().map(|node| endpoint(*node)).collect();
        self.set_endpoints(name, &endpoints)?;
        self.create_bare_service(name, addresses, change)
    }

    /// As [`Lab::create_service`], the endpoints are set by somebody else.
    ///
    /// # Errors
    /// When the API refuses or the addresses are not given.
    pub fn create_bare_service(
        &self,
        name: &str,
        addresses: &[&str],
        change: Value,
    ) -> anyhow::Result<()> {
        let families = match addresses {
            [_, _] => json!({"ipFamilyPolicy": "RequireDualStack"}),
            [address] if address.contains(':') => json!({"ipFamilies": ["IPv6"]}),
            _ => json!({}),
        };
        let annotation = json!({"metallb.io/loadBalancerIPs": addresses.join(",")});
        let mut object =
            service(name, json!({"metadata": {"annotations": annotation}, "spec": families}));
        merge(&mut object, change);
        self.kube().apply(&object)?;
        self.expect_addresses(name, addresses)
    }

    /// Waits until a status of the group metallb.io is such as `wanted` likes: the `status` of all objects of a kind.
    ///
    /// # Errors
    /// When none is in the end.
    pub fn wait_statuses(
        &self,
        plural: &str,
        mut wanted: impl FnMut(&[Value]) -> bool,
    ) -> anyhow::Result<()> {
        let path = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/{plural}");
        let mut seen = Vec::new();
        eventually_true(&format!("{plural} are as expected"), SOON, || {
            let objects = self.kube().list(&path)?;
            seen = objects.iter().filter_map(|object| object.get("status").cloned()).collect();
            Ok(wanted(&seen))
        })
        .with_context(|| format!("last: {seen:#?}"))
    }

    /// The lines of a node's metrics that begin so.
    ///
    /// # Errors
    /// When the speaker does not answer.
    pub fn metric_lines(&mut self, node: &str, prefix: &str) -> anyhow::Result<Vec<String>> {
        let text = self.node(node)?.metrics()?;
        Ok(text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect())
    }

    /// A machine behind a router: it reaches everything through it, and the nodes reach it so.
    ///
    /// # Errors
    /// When it cannot be attached.
    pub fn customer_behind(&self, kind: Kind) -> anyhow::Result<Namespace> {
        let router = self.router(kind)?;
        let namespace = self.switch.namespace(&format!("behind-{kind}"))?;
        router.namespace.ip(&format!(
            "link add lan type veth peer name eth0 netns {}\nlink set lan up\n\
             address add 172.29.{n}.1/24 dev lan\naddress add fd29:{n}::1/64 dev lan",
            namespace.name(),
            n = kind.asn() % 10,
        ))?;
        router.namespace.sysctl(&[
            ("net/ipv4/conf/lan/rp_filter", "0"),
            ("net/ipv4/conf/lan/send_redirects", "0"),
        ])?;
        let n = kind.asn() % 10;
        namespace.ip(&format!(
            "link set eth0 up\naddress add 172.29.{n}.2/24 dev eth0\n\
             address add fd29:{n}::2/64 dev eth0\nroute add default via 172.29.{n}.1\n\
             route add default via fd29:{n}::1"
        ))?;
        for node in &self.nodes {
            node.namespace.ip(&format!(
                "route add 172.29.{n}.0/24 via {}\nroute add fd29:{n}::/64 via {}",
                kind.v4(),
                kind.v6()
            ))?;
        }
        Ok(namespace)
    }
}

/// An endpoint on a node that nothing answers at.
#[must_use]
pub fn endpoint(node: usize) -> PodAddresses {
    PodAddresses {
        node: format!("node{node}"),
        v4: format!("10.244.{node}.99"),
        v6: format!("fd00:244:{node}::99"),
    }
}

/// Fetches pages, one after the other, until it is told to stop; how many were fetched. Every one must be served.
///
/// # Errors
/// When one is not served.
pub fn fetch_until(
    customer: &Namespace,
    address: &str,
    done: &AtomicBool,
) -> anyhow::Result<usize> {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let url = format!("http://{host}/");
    let mut fetched = 0;
    while !done.load(Ordering::Relaxed) {
        let mut command: Command = customer.command("curl");
        let output = command.args(["-sS", "--fail", "--max-time", "10", &url]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "request {fetched} to {address} failed: {said}");
        fetched += 1;
    }
    Ok(fetched)
}
