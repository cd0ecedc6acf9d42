// SPDX-License-Identifier: Apache-2.0
//! The one container of a Deployment or DaemonSet, started as the API server's object says: what kubelet would do with it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::Lab;
use super::container::Container;
use super::kube::SYSTEM;
use super::netns::Namespace;
use super::process::Process;

/// The controller's workload in manifests.
const CONTROLLER: &str = "deployments/controller";
/// The speakers' workload in manifests.
const SPEAKER: &str = "daemonsets/speaker";

/// A Pod of a workload.
#[derive(Debug)]
pub struct Pod<'a> {
    /// Such as `deployments/controller`.
    pub workload: &'a str,
    /// Its name.
    pub name: String,
    /// The node's name, if it matters.
    pub node: &'a str,
    /// Its address.
    pub address: String,
    /// Where it runs.
    pub namespace: &'a Namespace,
}

impl<'a> Pod<'a> {
    /// That of the controller.
    #[must_use]
    pub fn controller(lab: &'a Lab) -> Self {
        Self {
            workload: CONTROLLER,
            name: "controller".to_owned(),
            node: "",
            address: lab.control.families.address().to_owned(),
            namespace: &lab.plane,
        }
    }

    /// That of the speaker on the node with this index.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn speaker(lab: &'a Lab, number: usize) -> anyhow::Result<Self> {
        let node = lab.nodes.get(number).context("no such node")?;
        Ok(Self {
            workload: SPEAKER,
            name: format!("speaker-{}", node.name),
            node: &node.name,
            address: format!("172.30.0.{}", 10 + node.number),
            namespace: &node.namespace,
        })
    }

    /// The same of another workload, such as one with a chart's name.
    #[must_use]
    pub fn of(self, workload: &'a str) -> Self {
        Self { workload, ..self }
    }

    /// Starts its container from these images.
    ///
    /// # Errors
    /// When the object says something that the rack does not know, or it cannot be started.
    pub fn start(&self, lab: &Lab, images: &Path) -> anyhow::Result<Process> {
        let spec = self.spec(lab)?;
        let container = spec.pointer("/containers/0").context("no container")?;
        let name = text(container, "/name")?;
        let environment = list(container, "/env").map(|variable| {
            let value = match variable.get("value").and_then(Value::as_str) {
                Some(value) => value,
                None => match text(variable, "/valueFrom/fieldRef/fieldPath")? {
                    "metadata.name" => &self.name,
                    "spec.nodeName" => self.node,
                    "status.podIP" | "status.hostIP" => &self.address,
                    other => bail!("the rack does not know {other}"),
                },
            };
            Ok((text(variable, "/name")?, value.to_owned()))
        });
        let added: Vec<&str> = list(container, "/securityContext/capabilities/add")
            .filter_map(Value::as_str)
            .collect();
        let capabilities: &[&str] = match added.as_slice() {
            [] => &[],
            ["NET_RAW"] => &["cap_net_raw"],
            other => bail!("the rack does not know {other:?}"),
        };
        let user = spec.pointer("/securityContext/runAsUser").and_then(Value::as_u64);
        let program = format!("/{name}");
        let started = Container {
            name: match self.node {
                "" => name.to_owned(),
                node => format!("{name}-{node}"),
            },
            namespace: self.namespace,
            image: images.join(name),
            account: text(&spec, "/serviceAccountName")?,
            program: &program,
            arguments: list(container, "/args")
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            environment: environment.collect::<anyhow::Result<_>>()?,
            volumes: self.volumes(lab, &spec)?,
            user: u32::try_from(user.unwrap_or(0))?,
            capabilities,
        };
        started.start(lab.folder(), lab.kube(), lab.control.families)
    }

    /// Brings its volumes up to date with the objects that they show, as kubelet does while it runs.
    ///
    /// # Errors
    /// When an object is gone.
    pub fn refresh(&self, lab: &Lab) -> anyhow::Result<()> {
        self.volumes(lab, &self.spec(lab)?).map(drop)
    }

    /// The folder of a volume that the pod writes to: an emptyDir, or a hostPath of its node.
    #[must_use]
    pub fn written(&self, lab: &Lab, volume: &str) -> PathBuf {
        lab.folder().join(format!("volume-{volume}-{}", self.node))
    }

    /// The container's volumes, each a folder, and where they are mounted.
    fn volumes<'b>(&self, lab: &Lab, spec: &'b Value) -> anyhow::Result<Vec<(PathBuf, &'b str)>> {
        let group = spec.pointer("/securityContext/fsGroup").and_then(Value::as_u64);
        let group = group.map(u32::try_from).transpose()?;
        let mut volumes = Vec::new();
        for mount in list(spec, "/containers/0/volumeMounts") {
            let named = |volume: &&Value| volume.get("name") == mount.get("name");
            let volume = list(spec, "/volumes").find(named).context("no such volume")?;
            let folder = if volume.get("emptyDir").is_some() {
                let folder = self.written(lab, text(volume, "/name")?);
                std::fs::create_dir_all(&folder)?;
                // As kubelet makes an emptyDir.
                std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777))?;
                Some(folder)
            } else {
                files(lab, volume, group)?
            };
            if let Some(folder) = folder {
                volumes.push((folder, text(mount, "/mountPath")?));
            }
        }
        Ok(volumes)
    }

    fn spec(&self, lab: &Lab) -> anyhow::Result<Value> {
        let path = format!("/apis/apps/v1/namespaces/{SYSTEM}/{}", self.workload);
        let object = lab.kube().get(&path)?;
        Ok(object.pointer("/spec/template/spec").context("no pod")?.clone())
    }
}

/// A folder with what a volume holds, as far as its mode lets the pod read it; none if that is optional and not there.
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
    for entry in std::fs::read_dir(&folder)?.flatten() {
        // Of an object that had this name before.
        let name = entry.file_name();
        if data.is_none_or(|data| !name.to_str().is_some_and(|name| data.contains_key(name))) {
            std::fs::remove_file(entry.path())?;
        }
    }
    let mode = held.get("defaultMode").and_then(Value::as_u64).unwrap_or(0o644);
    // As kubelet does for an fsGroup.
    let mode = u32::try_from(mode)? | if group.is_some() { 0o440 } else { 0 };
    for (name, value) in data.into_iter().flatten() {
        let octets = match plural {
            "secrets" => serde_json::from_value::<ByteString>(value.clone())?.0,
            _ => value.as_str().unwrap_or_default().as_bytes().to_vec(),
        };
        let path = folder.join(name);
        // Whoever reads it meanwhile finds the one or the other.
        let fresh = folder.join(format!(".{name}"));
        std::fs::write(&fresh, octets)?;
        std::fs::set_permissions(&fresh, PermissionsExt::from_mode(mode))?;
        chown(&fresh, None, group)?;
        std::fs::rename(&fresh, &path)?;
    }
    Ok(Some(folder))
}

fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    let text = value.pointer(field).and_then(Value::as_str);
    text.with_context(|| format!("no {field} in {value}"))
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(field).and_then(Value::as_array).into_iter().flatten()
}
