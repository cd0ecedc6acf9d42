// SPDX-License-Identifier: Apache-2.0
//! `ferrolb collect`: writes a support bundle. Secrets are not read, and passwords in objects are left out.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cluster::net::client::connect;
use http::Request;
use kube::Client;
use serde_json::Value;

use crate::args::CollectArgs;
use crate::preflight;
use crate::status::Status;
use crate::survey::{Survey, is_load_balancer, text};

/// The lists that a bundle is made from.
const WANTED: [&str; 20] = [
    "services",
    "nodes",
    "pods",
    "configmaps",
    "ipaddresspools",
    "l2advertisements",
    "bgpadvertisements",
    "bgppeers",
    "bfdprofiles",
    "communities",
    "servicel2statuses",
    "servicebgpstatuses",
    "configurationstates",
    "speakerreports",
    "bgpsessionstates",
    "frrconfigurations",
    "addresspools",
    "externalippools",
    "events",
    "endpointslices",
];
/// The number of lines taken from the end of each log.
const LINES: u32 = 5_000;

/// Writes the bundle; returns the text to print.
///
/// # Errors
/// The cluster cannot be reached or the file cannot be written. The bundle names each list that could not be had.
pub async fn run(args: &CollectArgs) -> anyhow::Result<String> {
    let client = connect().await?;
    let survey = Survey::take(&client, &args.namespace, &WANTED).await?;
    let mut files = files(&survey)?;
    let found = preflight::run(&args.namespace).await?;
    let found: String = found.iter().map(|finding| format!("{finding}\n")).collect();
    files.push(("check.txt".into(), found));
    for pod in survey.list("pods") {
        let name = text(pod, "/metadata/name");
        for container in
            pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten()
        {
            let container = text(container, "/name");
            let log = log(&client, &args.namespace, name, container).await;
            files.push((format!("logs/{name}_{container}.log"), log));
        }
    }
    let path = args.file.clone().unwrap_or_else(|| {
        let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
        PathBuf::from(format!("ferrolb-report-{now}.tar"))
    });
    write(&path, &files).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!("{}: {} files\n", path.display(), files.len()))
}

/// The files made from the lists.
fn files(survey: &Survey) -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for (name, items) in survey.lists() {
        let ours = items.iter().filter(|object| is_of_interest(name, object, &survey.namespace));
        let objects: Vec<Value> = ours.cloned().map(without_secrets).collect();
        files.push((format!("objects/{name}.yaml"), serde_saphyr::to_string(&objects)?));
    }
    let missing: String =
        survey.missing().iter().map(|(name, why)| format!("{name}: {why}\n")).collect();
    files.push(("not-listed.txt".into(), missing));
    files.push(("status.txt".into(), Status::of(survey).text()));
    files.push(("version.txt".into(), format!("ferrolb {}\n", env!("CARGO_PKG_VERSION"))));
    Ok(files)
}

/// Keep of the large kinds only the objects that can matter.
fn is_of_interest(name: &str, object: &Value, namespace: &str) -> bool {
    match name {
        "services" => is_load_balancer(object),
        "events" => {
            text(object, "/source/component").starts_with("metallb-")
                || text(object, "/metadata/namespace") == namespace
        }
        "configmaps" => {
            let name = text(object, "/metadata/name");
            name.starts_with("metallb-") || name == "bgpextras" || name == "config"
        }
        _ => true,
    }
}

/// Annotations that are shown with their values: MetalLB, ferrolb, Antrea or Kubernetes itself gives them a meaning.
const SHOWN: [&str; 7] = [
    "metallb.io/",
    "metallb.universe.tf/",
    "ferrolb.io/",
    "service.antrea.io/",
    "node.kubernetes.io/",
    "service.kubernetes.io/",
    "meta.helm.sh/",
];
/// The beginnings of the names of variables whose values are shown: the programs read them.
const VARIABLES: [&str; 3] = ["METALLB_", "FERROLB_", "FRRK8S_"];
const HIDDEN: &str = "<hidden>";

/// Takes out passwords. Tools repeat whole objects in their annotations, passwords among them, and nobody can list the
/// names of all such annotations. So only the name of an unknown annotation is kept.
fn without_secrets(mut object: Value) -> Value {
    hide_annotations(&mut object);
    hide(&mut object);
    object
}

fn hide_annotations(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        for (name, value) in annotations.into_iter().flatten() {
            if !SHOWN.iter().any(|known| name.starts_with(known)) {
                *value = HIDDEN.into();
            }
        }
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["password", "passwd", "token", "secret_key"].iter().any(|end| key.ends_with(end))
}

/// A variable of a container; only the name is kept if the programs do not read it.
fn hide_variable(variable: &mut Value) {
    let name = text(variable, "/name");
    let is_shown = VARIABLES.iter().any(|known| name.starts_with(known)) && !is_secret(name);
    if let Some(value) = variable.get_mut("value").filter(|_| !is_shown) {
        *value = HIDDEN.into();
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == "env" {
                    value.as_array_mut().into_iter().flatten().for_each(hide_variable);
                }
                if is_secret(key) && value.is_string() {
                    *value = HIDDEN.into();
                } else if matches!(&**key, "config" | "extras" | "raw" | "rawConfig")
                    && value.is_string()
                {
                    // The value is configuration as text, and passwords are lines of it.
                    let text = value.as_str().unwrap_or_default();
                    *value = without_password_lines(text).into();
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        _ => {}
    }
}

fn without_password_lines(text: &str) -> String {
    let hidden = |line: &str| match line.to_lowercase().find("password") {
        Some(place) => format!("{}password <hidden>\n", line.get(..place).unwrap_or_default()),
        None => format!("{line}\n"),
    };
    text.lines().map(hidden).collect()
}

async fn log(client: &Client, namespace: &str, pod: &str, container: &str) -> String {
    let path = format!(
        "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&tailLines={LINES}"
    );
    let Ok(request) = Request::get(path).body(Vec::new()) else { return String::new() };
    match client.request_text(request).await {
        Ok(text) => text,
        Err(error) => format!("not to be had: {error}\n"),
    }
}

fn write(path: &Path, files: &[(String, String)]) -> anyhow::Result<()> {
    let mut archive = tar::Builder::new(File::create(path)?);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(content.len())?);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, format!("ferrolb-report/{name}"), content.as_bytes())?;
    }
    archive.into_inner()?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passwords_are_in_no_file() {
        let peer = json!({
            "metadata": {
                "name": "p",
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{password: hunter2}" },
                "managedFields": [{}],
            },
            "spec": { "password": "hunter2", "passwordSecret": { "name": "s" } },
        });
        let map = json!({
            "metadata": { "name": "config" },
            "data": { "config": "peers:\n- my-asn: 1\n  password: hunter2\n  peer-asn: 2\n" },
        });
        let frr = json!({
            "metadata": { "name": "c" },
            "spec": { "bgp": { "routers": [{ "neighbors": [{ "Password": "hunter2" }] }] },
                      "raw": { "rawConfig": "neighbor 192.0.2.1 password hunter2" } },
        });
        let tools = json!({
            "metadata": { "name": "q", "annotations": {
                "kapp.k14s.io/original": "{\"spec\":{\"password\":\"hunter2\"}}",
                "objectset.rio.cattle.io/applied": "hunter2",
                "metallb.io/address-pool": "first",
            } },
        });
        let pod = json!({
            "metadata": { "name": "r" },
            "spec": { "containers": [{ "name": "c", "env": [
                { "name": "DATABASE", "value": "postgres://me:hunter2@db" },
                { "name": "METALLB_ML_SECRET_KEY", "value": "hunter2" },
                { "name": "METALLB_BGP_TYPE", "value": "native" },
            ] }] },
        });
        let community = json!({
            "metadata": { "name": "s" },
            "spec": { "communities": [{ "name": "a", "value": "64512:1" }] },
        });
        let survey = Survey::of(&[
            ("bgppeers", json!([peer, tools])),
            ("pods", json!([pod])),
            ("communities", json!([community])),
            ("configmaps", json!([map])),
            ("frrconfigurations", json!([frr])),
        ]);
        let files = files(&survey).unwrap();
        assert!(files.iter().all(|(_, text)| !text.contains("hunter2")), "{files:?}");
        let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
        for kept in [
            "passwordSecret",
            "peer-asn: 2",
            "address-pool: first",
            "kapp.k14s.io/original",
            "native",
            "64512:1",
            "DATABASE",
        ] {
            assert!(all.contains(kept), "{kept}: {all}");
        }
    }

    #[test]
    fn the_bundle_can_be_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.tar");
        write(&path, &[("logs/a.log".into(), "text".into())]).unwrap();
        let mut archive = tar::Archive::new(File::open(&path).unwrap());
        let mut entries = archive.entries().unwrap();
        let entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("ferrolb-report/logs/a.log"));
        assert_eq!(entry.size(), 4);
    }
}
