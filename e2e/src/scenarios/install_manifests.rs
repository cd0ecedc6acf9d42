// SPDX-License-Identifier: Apache-2.0
//! Our own manifests, all in one: the API server takes every object, and the programs of the images run with exactly what it then holds of them.
//!
//! Topology: a controller's container, two nodes with kube-proxy and a speaker's container each, a pod, a client.
//! Steps: `kubectl apply -f manifests/ferrolb.yaml`, twice; the containers start as Deployment and DaemonSet say (arguments, environment,
//! volumes, user, capabilities), each with a token of its service account; probes succeed, a Service is given an address and served;
//! what only these roles permit is done (a Lease, the condition ferrolb.io/Announced), and nothing that a program wants is forbidden.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::lab::container::Container;
use crate::lab::control_plane::{Identity, kubeconfig};
use crate::lab::generation::Generation;
use crate::lab::images::probes;
use crate::lab::kube::{SYSTEM, documents, path};
use crate::lab::netns::{Namespace, succeeded};
use crate::lab::node::Proxy;
use crate::lab::objects::{POOL_V4, l2_advertisement, pool, service};
use crate::lab::process::Process;
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::{Lab, SOON};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/ferrolb.yaml");
const WEB: &str = "/api/v1/namespaces/default/services/web";
/// Its probes are ours.
const PROBES: Generation = Generation::V0_16;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    lab.kube().delete(&format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"))?;
    // The lane goes on with MetalLB's roles in any case.
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_nodes(2, Proxy::Nftables)?;
    apply(lab).context("first")?;
    apply(lab).context("again")?;
    for object in documents(&std::fs::read_to_string(MANIFEST)?)? {
        lab.kube().get(&path(&object)).with_context(|| path(&object))?;
    }
    lab.kube().create(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "controller", "namespace": SYSTEM},
        "spec": {"nodeName": "node1", "containers": [{"name": "controller", "image": "controller"}]},
    }))?;
    lab.controller =
        Some(start(lab, "deployments/controller", "", "controller", "", &lab.plane)?);
    probes(lab, PROBES, None)?;
    let key = format!("/api/v1/namespaces/{SYSTEM}/secrets/memberlist");
    eventually("the memberlist's Secret is there", SOON, || Ok(lab.kube().find(&key)?))?;
    for number in 0..lab.nodes.len() {
        let node = lab.nodes.get(number).context("no such node")?;
        let address = format!("172.30.0.{}", 10 + node.number);
        let pod = format!("speaker-{}", node.name);
        let speaker =
            start(lab, "daemonsets/speaker", &node.name, &pod, &address, &node.namespace)?;
        lab.nodes.get_mut(number).context("no such node")?.speaker = Some(speaker);
        probes(lab, PROBES, Some(number))?;
    }
    lab.kube().apply(&pool("pool", &[POOL_V4]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    let pod = lab.start_pod(1)?;
    lab.set_endpoints("web", &[pod])?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    let addresses = lab.wait_addresses("web")?;
    let address = addresses.first().context("no address")?;
    lab.wait_owner(address)?;
    lab.wait_page(address)?;
    eventually_true("the speaker writes the condition ferrolb.io/Announced", SOON, || {
        let service = lab.kube().get(WEB)?;
        let conditions = service.pointer("/status/conditions").and_then(Value::as_array);
        Ok(conditions.into_iter().flatten().any(|condition| {
            condition.get("type") == Some(&json!("ferrolb.io/Announced"))
                && condition.get("status") == Some(&json!("True"))
        }))
    })?;
    let leases = lab.kube().list(&format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"))?;
    ensure!(leases.len() == 1, "the controller has no Lease: {leases:?}");
    let speakers = lab.nodes.iter().filter_map(|node| node.speaker.as_ref());
    for program in lab.controller.iter().chain(speakers) {
        let log = program.log();
        let forbidden: Vec<&str> = log.lines().filter(|line| line.contains("forbidden")).collect();
        ensure!(forbidden.is_empty(), "{} may not: {forbidden:#?}", program.name());
    }
    Ok(())
}

fn apply(lab: &Lab) -> anyhow::Result<()> {
    let config = format!("--kubeconfig={}", kubeconfig(lab.folder(), Identity::Admin).display());
    let output =
        lab.plane.output("kubectl", [&*config, "apply", &format!("--filename={MANIFEST}")])?;
    succeeded(&output)
}

/// Starts the one container of a workload as the API server's object says.
fn start(
    lab: &Lab,
    workload: &str,
    node: &str,
    pod: &str,
    address: &str,
    namespace: &Namespace,
) -> anyhow::Result<Process> {
    let object = lab.kube().get(&format!("/apis/apps/v1/namespaces/{SYSTEM}/{workload}"))?;
    let spec = object.pointer("/spec/template/spec").context("no pod")?;
    let container = spec.pointer("/containers/0").context("no container")?;
    let name = text(container, "/name")?;
    let environment = list(container, "/env").map(|variable| {
        let value = match variable.get("value").and_then(Value::as_str) {
            Some(value) => value,
            None => match text(variable, "/valueFrom/fieldRef/fieldPath")? {
                "metadata.name" => pod,
                "spec.nodeName" => node,
                "status.podIP" => address,
                other => bail!("the rack does not know {other}"),
            },
        };
        Ok((text(variable, "/name")?, value.to_owned()))
    });
    let mut volumes = Vec::new();
    for mount in list(container, "/volumeMounts") {
        let volume = list(spec, "/volumes").find(|volume| volume.get("name") == mount.get("name"));
        if let Some(folder) = files(lab, volume.context("no such volume")?)? {
            volumes.push((folder, text(mount, "/mountPath")?));
        }
    }
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
        name: if node.is_empty() { name.to_owned() } else { format!("{name}-{node}") },
        namespace,
        image: lab.programs.images.join(name),
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

/// A folder with what a volume holds; none if that is optional and not there. A Secret's values stay in base64: they are the same for all.
fn files(lab: &Lab, volume: &Value) -> anyhow::Result<Option<PathBuf>> {
    let (plural, source) = match (volume.get("secret"), volume.get("configMap")) {
        (Some(secret), _) => ("secrets", text(secret, "/secretName")?),
        (None, Some(map)) => ("configmaps", text(map, "/name")?),
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
    for (name, value) in data.into_iter().flatten() {
        std::fs::write(folder.join(name), value.as_str().unwrap_or_default())?;
    }
    Ok(Some(folder))
}
