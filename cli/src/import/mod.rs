// SPDX-License-Identifier: Apache-2.0
//! `ferrolb import`: configuration of older MetalLBs as the objects of today (contract 9.1): the ConfigMap of 0.12 and before,
//! and AddressPool objects of 0.13.

mod address_pool;
mod config_map;

use anyhow::{Context, bail};
use cluster::{ConfigScope, Kind, Object, Snapshot};
use crds::config::ConfigKind;
use serde_json::{Value, json};

use crate::args::{Import, ImportArgs};

/// The namespace of objects where the source names none.
const NAMESPACE: &str = "metallb-system";

/// Runs the command: the manifests to print.
///
/// # Errors
/// When the source cannot be read, or what it says is not valid: then nothing is printed.
pub fn run(args: &ImportArgs) -> anyhow::Result<String> {
    let (Import::Configmap(source) | Import::Addresspool(source)) = &args.source;
    let text = std::fs::read_to_string(&source.file)
        .with_context(|| format!("cannot read {}", source.file.display()))?;
    let converted = match &args.source {
        Import::Configmap(source) if source.only_data => config_map::convert(&text, NAMESPACE),
        Import::Configmap(_) => config_map::convert_config_map(&text),
        Import::Addresspool(_) => address_pool::convert_all(&text),
    };
    let mut objects = converted.with_context(|| source.file.display().to_string())?;
    if let Some(namespace) = &source.namespace {
        for object in &mut objects {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("namespace".into(), json!(namespace));
            }
        }
    }
    validate(&objects)?;
    print(&objects)
}

/// What a daemon would say to these objects.
fn validate(objects: &[Value]) -> anyhow::Result<()> {
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    for object in objects {
        let kind = object.get("kind").and_then(Value::as_str).and_then(ConfigKind::from_kind);
        let kind = kind.context("an object of no kind of metallb.io")?;
        snapshot.apply(Object::Config(kind, object.clone()));
        snapshot.finish(Kind::Config(kind));
    }
    snapshot.take_dirty();
    if snapshot.rejections().is_empty() {
        return Ok(());
    }
    let mistakes: Vec<String> = snapshot.rejections().iter().map(ToString::to_string).collect();
    bail!("what it says is not valid, and nothing is written:\n  {}", mistakes.join("\n  "));
}

fn print(objects: &[Value]) -> anyhow::Result<String> {
    let mut text = String::from("# Converted by `ferrolb import`.\n");
    for object in objects {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(object)?);
    }
    Ok(text)
}

fn object(version: &str, kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("metallb.io/{version}"),
        "kind": kind,
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
}

/// A name that the API takes: lower case, hyphens for underscores, a letter first, 63 letters at most.
fn normalized(name: &str) -> String {
    let lower: String = name
        .to_lowercase()
        .chars()
        .map(|letter| if letter == '_' { '-' } else { letter })
        .take(63)
        .collect();
    lower.trim_start_matches(|letter: char| !letter.is_ascii_lowercase()).to_owned()
}

/// An advertisement, of a pool by BGP, as both sources have it.
fn bgp_advertisement(
    namespace: &str,
    name: &str,
    pool: &str,
    advertisement: &BgpAdvertisement,
) -> Value {
    let mut spec = json!({ "ipAddressPools": [pool] });
    let mut set = |key: &str, value: Value| {
        if let Some(spec) = spec.as_object_mut() {
            spec.insert(key.to_owned(), value);
        }
    };
    if let Some(length) = advertisement.aggregation_length {
        set("aggregationLength", json!(length));
    }
    if let Some(length) = advertisement.aggregation_length_v6 {
        set("aggregationLengthV6", json!(length));
    }
    if let Some(preference) = advertisement.local_pref {
        set("localPref", json!(preference));
    }
    if !advertisement.communities.is_empty() {
        set("communities", json!(advertisement.communities));
    }
    object("v1beta1", "BGPAdvertisement", namespace, name, spec)
}

/// How addresses of a pool are advertised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct BgpAdvertisement {
    aggregation_length: Option<i32>,
    aggregation_length_v6: Option<i32>,
    local_pref: Option<u32>,
    communities: Vec<String>,
}

#[cfg(test)]
mod tests;
