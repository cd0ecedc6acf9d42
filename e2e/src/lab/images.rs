// SPDX-License-Identifier: Apache-2.0
//! Our images in the place that a generation of MetalLB's manifests gives its own: what such a swap starts, and asks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::Lab;
use super::container::Container;
use super::generation::Generation;
use super::kube::SYSTEM;
use super::node::fetch;
use super::process::Process;
use super::wait::{SOON, eventually};

/// What marks a program of [`next_version`].
const NEXT: &str = "next-version";

/// The images of another version: the same programs, told apart by a file in their root.
///
/// # Errors
/// When they cannot be copied.
pub fn next_version(lab: &Lab) -> anyhow::Result<PathBuf> {
    let next = lab.folder().join("next-images");
    let _ = std::fs::remove_dir_all(&next);
    std::fs::create_dir_all(&next)?;
    for name in ["controller", "speaker"] {
        let status =
            Command::new("cp").arg("-a").arg(lab.programs.images.join(name)).arg(&next).status()?;
        ensure!(status.success(), "the image {name} cannot be copied");
        std::fs::write(next.join(name).join(NEXT), "")?;
    }
    Ok(next)
}

/// Whether a program is one of [`next_version`].
#[must_use]
pub fn is_next_version(process: &Process) -> bool {
    Path::new(&format!("/proc/{}/root/{NEXT}", process.pid())).exists()
}

/// The folder of the webhooks' certificates.
const CERTIFICATES: &str = "/tmp/k8s-webhook-server/serving-certs";

/// The controller's Deployment and its Pod.
///
/// # Errors
/// When the API refuses.
pub fn create_workload(lab: &Lab, generation: Generation) -> anyhow::Result<()> {
    lab.kube().create(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "controller", "namespace": SYSTEM},
        "spec": {"nodeName": "node1", "containers": [{"name": "controller", "image": "controller"}]},
    }))?;
    lab.kube().create(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "controller", "namespace": SYSTEM},
        "spec": {
            "selector": {"matchLabels": {"app": "metallb"}},
            "template": {
                "metadata": {"labels": {"app": "metallb"}},
                "spec": {
                    "containers": [{
                        "name": "controller", "image": "controller",
                        "volumeMounts": [{"name": "cert", "mountPath": CERTIFICATES, "readOnly": true}],
                    }],
                    "volumes": [{
                        "name": "cert", "secret": {"secretName": generation.webhook_names().0},
                    }],
                },
            },
        },
    }))?;
    Ok(())
}

/// A folder with these files, as a volume.
fn volume(lab: &Lab, name: &str, files: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    let folder = lab.folder().join(format!("volume-{name}"));
    std::fs::create_dir_all(&folder)?;
    for (file, text) in files {
        std::fs::write(folder.join(file), text)?;
    }
    Ok(folder)
}

/// The controller of these images.
///
/// # Errors
/// When it cannot be started.
pub fn start_controller(
    lab: &Lab,
    images: &Path,
    generation: Generation,
) -> anyhow::Result<Process> {
    let certificates = volume(lab, "cert", &[])?;
    let container = Container {
        name: "controller".into(),
        namespace: &lab.plane,
        image: images.join("controller"),
        account: "controller",
        program: "/controller",
        arguments: generation.controller_arguments(),
        environment: generation.controller_environment(),
        volumes: vec![(certificates, CERTIFICATES)],
        user: 65534,
        capabilities: &[],
    };
    container.start(lab.folder(), lab.kube(), lab.control.families)
}

/// The speaker of these images on the node with this index.
///
/// # Errors
/// When it cannot be started.
pub fn start_speaker(
    lab: &Lab,
    images: &Path,
    generation: Generation,
    number: usize,
    key: &str,
) -> anyhow::Result<Process> {
    let node = lab.nodes.get(number).context("no such node")?;
    let secret = volume(lab, "memberlist", &[("secretkey", key)])?;
    let exclude = "announcedInterfacesToExclude: [\"^docker.*\", \"^cni.*\", \"^lo$\"]\n";
    let exclude = volume(lab, "excludel2", &[("excludel2.yaml", exclude)])?;
    let address = format!("172.30.0.{}", 10 + node.number);
    let container = Container {
        name: format!("speaker-{}", node.name),
        namespace: &node.namespace,
        image: images.join("speaker"),
        account: "speaker",
        program: "/speaker",
        arguments: generation.speaker_arguments(),
        environment: generation.speaker_environment(&node.name, &address),
        volumes: vec![(secret, "/etc/ml_secret_key"), (exclude, "/etc/metallb")],
        user: 0,
        capabilities: &["cap_net_raw"],
    };
    container.start(lab.folder(), lab.kube(), lab.control.families)
}

/// What kubelet would ask, of the controller or of the speaker on the node with this index.
///
/// # Errors
/// When a probe does not succeed in time.
pub fn probes(lab: &mut Lab, generation: Generation, node: Option<usize>) -> anyhow::Result<()> {
    for url in generation.probes() {
        let (plane, nodes, controller) = (&lab.plane, &mut lab.nodes, &mut lab.controller);
        let (namespace, process) = match node {
            None => (plane, controller.as_mut()),
            Some(number) => {
                let node = nodes.get_mut(number).context("no such node")?;
                (&node.namespace, node.speaker.as_mut())
            }
        };
        let process = process.context("it does not run")?;
        process
            .wait_ready(SOON, || Ok(fetch(namespace, &url).is_some()))
            .with_context(|| url.clone())?;
    }
    Ok(())
}

/// The key that the controller made: as MetalLB makes it, and owned by the Deployment.
///
/// # Errors
/// When it is not there in time, or another one.
pub fn memberlist_key(lab: &Lab) -> anyhow::Result<String> {
    let path = format!("/api/v1/namespaces/{SYSTEM}/secrets/memberlist");
    let secret =
        eventually("the memberlist's Secret is there", SOON, || Ok(lab.kube().find(&path)?))?;
    let owner = secret.pointer("/metadata/ownerReferences/0/kind").and_then(Value::as_str);
    ensure!(owner == Some("Deployment"), "the Secret belongs to {owner:?}");
    let data = secret.pointer("/data/secretkey").and_then(Value::as_str).context("no key in it")?;
    // Base64 of the 22 letters.
    ensure!(data.len() == 32, "the key is {data:?}");
    Ok(data.to_owned())
}
