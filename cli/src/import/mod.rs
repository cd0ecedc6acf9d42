// SPDX-License-Identifier: Apache-2.0
//! `ferrolb import`: converts the configuration of older MetalLBs into today's objects (contract 9.1): the ConfigMap of
//! 0.12 and before, and AddressPool objects of 0.13. It also converts that of kube-vip, Cilium and PureLB.
//!
//! Nothing is lost in silence. A note tells each new name and what has to follow it, and each part without an
//! equivalent.

mod address_pool;
mod cilium;
mod cilium_bgp;
mod cilium_selector;
mod cilium_session;
mod config_map;
mod documents;
mod kube_vip;
mod notes;
mod purelb;
mod services;

use anyhow::{Context, bail};
use cluster::{ConfigScope, Kind, Object, Snapshot};
use crds::config::ConfigKind;
use serde_json::{Value, json};

pub use notes::Note;
use notes::Notes;

use crate::args::{Import, ImportArgs};

/// The namespace of objects for which the source names none.
const NAMESPACE: &str = "metallb-system";

/// The result of a conversion.
#[derive(Debug)]
pub struct Imported {
    /// The manifests to print, with the notes as comments before them.
    pub manifests: String,
    /// Notes to print beside the manifests.
    pub notes: Vec<Note>,
}

impl Imported {
    /// True if the result lacks a part of the source: the exit code is 1 then.
    #[must_use]
    pub fn loses(&self) -> bool {
        self.notes.iter().any(|note| matches!(note, Note::Lost { .. }))
    }
}

/// Runs the command.
///
/// # Errors
/// The source cannot be read, or its configuration is not valid: then nothing is printed.
pub fn run(args: &ImportArgs) -> anyhow::Result<Imported> {
    let (file, namespace) = match &args.source {
        Import::Configmap(source) | Import::Addresspool(source) => {
            (&source.file, &source.namespace)
        }
        Import::KubeVip(source) | Import::Cilium(source) | Import::Purelb(source) => {
            (&source.file, &source.namespace)
        }
    };
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut notes = Notes::default();
    let home = namespace.as_deref().unwrap_or(NAMESPACE);
    let converted = match &args.source {
        Import::Configmap(source) if source.only_data => {
            config_map::convert(&text, NAMESPACE, &mut notes)
        }
        Import::Configmap(_) => config_map::convert_config_map(&text, &mut notes),
        Import::Addresspool(_) => address_pool::convert_all(&text, namespace.is_some(), &mut notes),
        Import::KubeVip(_) => kube_vip::convert(&text, home, &mut notes),
        Import::Cilium(_) => cilium::convert(&text, home, &mut notes),
        Import::Purelb(_) => purelb::convert(&text, home, &mut notes),
    };
    let mut objects = converted.with_context(|| file.display().to_string())?;
    if let Some(namespace) = namespace {
        for object in &mut objects {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("namespace".into(), json!(namespace));
            }
        }
    }
    validate(&objects)?;
    let Notes(notes) = notes;
    Ok(Imported { manifests: print(&objects, &notes)?, notes })
}

/// The mistakes that a daemon would find in these objects.
fn validate(objects: &[Value]) -> anyhow::Result<()> {
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    for object in objects {
        let kind = object.get("kind").and_then(Value::as_str).and_then(ConfigKind::from_kind);
        let kind = kind.context("an object of no kind of metallb.io")?;
        snapshot.apply(Object::Config(kind, object.clone()));
        snapshot.finish(Kind::Config(kind));
    }
    snapshot.take_dirty();
    // Manifests usually come without Secrets.
    let rejections = snapshot.rejections().iter();
    let real = rejections.filter(|rejection| !rejection.is_about_a_secret());
    let mistakes: Vec<String> = real.map(ToString::to_string).collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    bail!("what it says is not valid, and nothing is written:\n  {}", mistakes.join("\n  "));
}

fn print(objects: &[Value], notes: &[Note]) -> anyhow::Result<String> {
    let mut text = String::from("# Converted by `ferrolb import`.\n");
    for note in notes {
        // A name of the source may hold anything.
        let line: String = note.to_string().chars().filter(|letter| !letter.is_control()).collect();
        text.push_str(&format!("# {line}\n"));
    }
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

/// A BGPAdvertisement of a pool, from the fields that both sources have.
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

/// The settings by which BGP advertises the addresses of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct BgpAdvertisement {
    aggregation_length: Option<i32>,
    aggregation_length_v6: Option<i32>,
    local_pref: Option<u32>,
    communities: Vec<String>,
}

#[cfg(test)]
mod tests;
