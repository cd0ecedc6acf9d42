// SPDX-License-Identifier: Apache-2.0
//! Objects in, configuration and rejections out.

mod accepted;
mod address_pools;
mod contradicting;
mod external;
mod keeping;
mod properties;
mod rejected;
mod scope;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Rejection, Scope, validate};
use crate::config::{Config, ConfigKind, Objects, Secret};
use crate::labels::Labels;

pub(super) type Nodes = BTreeMap<Arc<str>, Labels>;

/// The objects of a YAML text with several documents, each in the short form `Kind name: spec`, or as
/// a full manifest when it needs more.
pub(super) fn world(text: &str) -> Objects {
    let mut objects = Objects::default();
    for document in text.split("---\n").filter(|document| !document.trim().is_empty()) {
        // Strict: `y` is a name here, not a truth.
        let options = serde_saphyr::options! { strict_booleans: true };
        let value: Value = serde_saphyr::from_str_with_options(document, options)
            .unwrap_or_else(|error| panic!("{error} in\n{document}"));
        apply(&mut objects, manifest(value));
    }
    objects
}

fn manifest(value: Value) -> Value {
    if value.get("kind").is_some() {
        return value;
    }
    let (head, body) = value.as_object().and_then(|map| map.iter().next()).unwrap();
    let (kind, name) = head.split_once(' ').unwrap();
    let mut metadata = serde_json::json!({ "name": name, "namespace": "metallb-system" });
    if kind == "Secret" {
        let mut secret = body.clone();
        secret["kind"] = "Secret".into();
        secret["metadata"] = metadata;
        return secret;
    }
    let mut spec = body.clone();
    // What belongs to metadata may stand with the fields of the spec, to keep the tests short.
    for key in ["labels", "creationTimestamp"] {
        if let Some(value) = spec.as_object_mut().and_then(|spec| spec.remove(key)) {
            metadata[key] = value;
        }
    }
    serde_json::json!({ "kind": kind, "metadata": metadata, "spec": spec })
}

pub(super) fn apply(objects: &mut Objects, manifest: Value) {
    let kind = manifest["kind"].as_str().unwrap().to_owned();
    if kind == "Secret" {
        let name = manifest["metadata"]["name"].as_str().unwrap();
        objects.apply_secret(name, Secret::parse(&manifest));
    } else {
        objects.apply(ConfigKind::from_kind(&kind).unwrap(), manifest);
    }
}

/// The labels of nodes, given as `name key=value ...`.
pub(super) fn nodes(texts: &[&str]) -> Nodes {
    texts
        .iter()
        .map(|text| {
            let mut words = text.split(' ');
            let name = words.next().unwrap().into();
            (name, words.filter_map(|word| word.split_once('=')).collect())
        })
        .collect()
}

pub(super) fn all(text: &str) -> (Config, Vec<Rejection>) {
    validate(&world(text), &Nodes::new(), Scope::All, &Config::default())
}

/// The second text takes the place of the first one, in a process that goes on.
pub(super) fn then(first: &str, second: &str) -> (Config, Vec<Rejection>) {
    let (before, rejections) = all(first);
    assert_eq!(rejections, [], "the first configuration is valid");
    validate(&world(second), &Nodes::new(), Scope::All, &before)
}

pub(super) fn names<T>(map: &BTreeMap<Arc<str>, T>) -> Vec<&str> {
    map.keys().map(|name| &**name).collect()
}
