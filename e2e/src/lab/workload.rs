// SPDX-License-Identifier: Apache-2.0
//! A Deployment or DaemonSet of the API server, started as kubelet would: the one container of its pod from our image, with the
//! arguments, environment, volumes, user and capabilities that the object gives it, and a token of its service account.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::Lab;
use super::container::Container;
use super::kube::SYSTEM;
use super::netns::Namespace;
use super::node::Node;
use super::process::Process;

/// Where a pod runs, as far as its environment asks.
#[derive(Debug)]
pub struct Place<'a> {
    node: &'a str,
    pod: String,
    address: String,
    namespace: &'a Namespace,
}

impl<'a> Place<'a> {
    /// Beside the control plane, for the controller.
    #[must_use]
    pub fn plane(lab: &'a Lab) -> Self {
        let (pod, address) = ("controller".to_owned(), String::new());
        Self { node: "", pod, address, namespace: &lab.plane }
    }

    /// A node, for its speaker.
    #[must_use]
    pub fn of(node: &'a Node) -> Self {
        Self {
            node: &node.name,
            pod: format!("speaker-{}", node.name),
            address: format!("172.30.0.{}", 10 + node.number),
            namespace: &node.namespace,
        }
    }
}

/// Starts the one container of a workload, such as `deployments/controller`, as the API server's object says.
///
/// # Errors
/// When it says what the rack does not know, or it cannot be started.
pub fn start(lab: &Lab, workload: &str, place: &Place<'_>) -> anyhow::Result<Process> {
    start_from(lab, &lab.programs.images, workload, place)
}

/// As [`start`], from other images.
///
/// # Errors
/// When it says what the rack does not know, or it cannot be started.
pub fn start_from(
    lab: &Lab,
    images: &Path,
    workload: &str,
    place: &Place<'_>,
) -> anyhow::Result<Process> {
    let object = lab.kube().get(&format!("/apis/apps/v1/namespaces/{SYSTEM}/{workload}"))?;
    let spec = object.pointer("/spec/template/spec").context("no pod")?;
    let container = spec.pointer("/containers/0").context("no container")?;
    let name = text(container, "/name")?;
    let environment = list(container, "/env").map(|variable| {
        let value = match variable.get("value").and_then(Value::as_str) {
            Some(value) => value,
            None => match text(variable, "/valueFrom/fieldRef/fieldPath")? {
                "metadata.name" => &place.pod,
                "spec.nodeName" => place.node,
                "status.podIP" => &place.address,
                other => bail!("the rack does not know {other}"),
            },
        };
        Ok((text(variable, "/name")?, value.to_owned()))
    });
    let group = spec.pointer("/securityContext/fsGroup").and_then(Value::as_u64);
    let group = group.map(u32::try_from).transpose()?;
    let mut volumes = Vec::new();
    for mount in list(container, "/volumeMounts") {
        let volume = list(spec, "/volumes").find(|volume| volume.get("name") == mount.get("name"));
        if let Some(folder) = files(lab, volume.context("no such volume")?, group)? {
            volumes.push((folder, text(mount, "/mountPath")?));
        }
    }
    let added: Vec<&str> =
        list(container, "/securityContext/capabilities/add").filter_map(Value::as_str).collect();
    let capabilities: &[&str] = match added.as_slice() {
        [] => &[],
        ["NET_RAW"] => &["cap_net_raw"],
        other => bail!("the rack does not know {other:?}"),
    };
    let user = spec.pointer("/securityContext/runAsUser").and_then(Value::as_u64);
    let program = format!("/{name}");
    let started = Container {
        name: if place.node.is_empty() { name.into() } else { format!("{name}-{}", place.node) },
        namespace: place.namespace,
        image: images.join(name),
        account: text(spec, "/serviceAccountName")?,
        program: &program,
        arguments: list(container, "/args").filter_map(Value::as_str).map(str::to_owned).collect(),
        environment: environment.collect::<anyhow::Result<_>>()?,
        volumes,
        user: u32::try_from(user.unwrap_or(0))?,
        capabilities,
    };
    started.start(lab.folder(), lab.kube(), lab.control.families)
}

fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    let text = value.pointer(field).and_then(Value::as_str);
    text.with_context(|| format!("no {field} in {value}"))
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(field).and_then(Value::as_array).into_iter().flatten()
}

/// A folder with what a volume holds, as far as its mode lets the pod read it; none if that is optional and not there. A Secret's values stay
/// in base64: they are the same for all.
fn files(lab: &Lab, volume: &Value, group: Option<u32>) -> anyhow::Result<Option<PathBuf>> {
    let (plural, source, held) = match (volume.get("secret"), volume.get("configMap")) {
        (Some(secret), _) => ("secrets", text(secret, "/secretName")?, secret),
        (None, Some(map)) => ("configmaps", text(map, "/name")?, map),
        (None, None) => bail!("the rack does not know {volume}"),
    };
    let object = lab.kube().find(&format!("/api/v1/namespaces/{SYSTEM}/{plural}/{source}"))?;
    let Some(object) = object else {
        let optional = volume.pointer("/configMap/optional") == Some(&json!(true));
        ensure!(optional, "{source} is not there");
        return Ok(None);
    };
    let folder = lab.folder().join(format!("volume-{source}"));
    std::fs::create_dir_all(&folder)?;
    let data = object.get("data").and_then(Value::as_object);
    let mode = held.get("defaultMode").and_then(Value::as_u64).unwrap_or(0o644);
    // As kubelet does for an fsGroup.
    let mode = u32::try_from(mode)? | if group.is_some() { 0o440 } else { 0 };
    for (name, value) in data.into_iter().flatten() {
        let file = folder.join(name);
        std::fs::write(&file, value.as_str().unwrap_or_default())?;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode))?;
        chown(&file, None, group)?;
    }
    Ok(Some(folder))
}
