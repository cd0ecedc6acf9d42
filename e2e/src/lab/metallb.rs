// SPDX-License-Identifier: Apache-2.0
//! MetalLB 0.15.2's own programs (`e2e/metallb`) on the rack, and ours in their place: either kind is started as the Deployment and the
//! DaemonSet of MetalLB's own manifest say, so that nothing differs but the image.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::fleet::Kind;
use super::generation::Generation;
use super::kube::{SYSTEM, documents};
use super::node::fetch;
use super::objects::pool;
use super::process::Process;
use super::wait::{eventually, eventually_true};
use super::workload::Pod;
use super::{Lab, SOON, webhooks};

/// What only a program in Go says of itself.
const GO: &str = "go_goroutines";

/// Where ServiceL2Status objects are.
pub const STATUSES: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/servicel2statuses";

/// MetalLB.
#[derive(Debug)]
pub struct MetalLb {
    folder: PathBuf,
}

impl MetalLb {
    /// Builds it, if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn new() -> anyhow::Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/metallb/build.sh");
        let output = Command::new(script).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "MetalLB cannot be built");
        Ok(Self { folder: PathBuf::from(String::from_utf8(output.stdout)?.trim()) })
    }

    /// The objects of its manifest for native mode.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn manifest(&self) -> anyhow::Result<Vec<Value>> {
        documents(&std::fs::read_to_string(self.folder.join("metallb-native.yaml"))?)
    }

    /// Its chart.
    #[must_use]
    pub fn chart(&self) -> String {
        self.folder.join("chart").display().to_string()
    }

    /// Applies its manifest, and takes away the kinds that came later. Whoever calls this calls `control.install()` in the end.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn install(&self, lab: &Lab) -> anyhow::Result<()> {
        for object in self.manifest()? {
            lab.kube().apply(&object)?;
        }
        lab.kube().apply(&webhooks::slice_of("metallb-webhook-service"))?;
        let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let later = format!("{crds}/configurationstates.metallb.io");
        lab.kube().delete(&later)?;
        eventually_true("kinds of later are gone", SOON, || Ok(lab.kube().find(&later)?.is_none()))
    }

    /// Starts the controller of a kind and waits until its webhooks can be called; one that runs is killed, as the manifest leaves it no grace.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_controller(&self, lab: &mut Lab, kind: Kind) -> anyhow::Result<()> {
        lab.controller = None;
        let process = self.start(lab, &Pod::controller(lab), kind)?;
        lab.controller = Some(process);
        let dry = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/ipaddresspools?dryRun=All");
        let asked = pool("asked", &["198.51.100.0/28"]);
        eventually("the webhooks answer", SOON, || Ok(Some(lab.kube().post(&dry, &asked)?)))?;
        Ok(())
    }

    /// Starts the speaker of a kind on the node with this index, and waits until its probes succeed.
    ///
    /// # Errors
    /// When they do not.
    pub fn start_speaker(&self, lab: &mut Lab, number: usize, kind: Kind) -> anyhow::Result<()> {
        let secret = format!("/api/v1/namespaces/{SYSTEM}/secrets/memberlist");
        eventually("the memberlist's Secret is there", SOON, || Ok(lab.kube().find(&secret)?))?;
        let process = self.start(lab, &Pod::speaker(lab, number)?, kind)?;
        lab.nodes.get_mut(number).context("no such node")?.speaker = Some(process);
        Ok(())
    }

    /// What the garbage collector takes once the Pod of a node's speaker is gone: the status objects that it owned.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn collect(&self, lab: &Lab, node: &str) -> anyhow::Result<()> {
        let selected = format!("{STATUSES}?labelSelector=metallb.io/node={node}");
        Ok(lab.kube().delete(&selected)?)
    }

    fn start(&self, lab: &Lab, pod: &Pod<'_>, kind: Kind) -> anyhow::Result<Process> {
        let images = match kind {
            Kind::Ferrolb => &lab.programs.images,
            Kind::MetalLb => &self.folder,
        };
        let mut process = pod.start(lab, images)?;
        let (port, _) = Generation::V0_15.metrics();
        let url = format!("http://{}:{port}/metrics", pod.address);
        let mut said = String::new();
        process.wait_ready(SOON, || {
            pod.refresh(lab)?;
            said = fetch(pod.namespace, &url).unwrap_or_default();
            Ok(!said.is_empty())
        })?;
        ensure!(said.contains(GO) == (kind == Kind::MetalLb), "another kind answers:\n{said}");
        Ok(process)
    }
}
