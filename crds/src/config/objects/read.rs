// SPDX-License-Identifier: Apache-2.0
//! From the JSON of an object to what is used of it.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Age, ConfigKind, Object, Stored};
use crate::config::fault::{self, Fault};
use crate::labels::Labels;
use crate::metallb::bgp_peer_v1beta1;

/// An object before its `spec` has been read into a type.
pub(super) struct Raw {
    uid: Box<str>,
    namespace: Box<str>,
    labels: Labels,
    age: Age,
    spec: Result<Value, Fault>,
}

/// Name and used parts of an object; none without a name.
pub(super) fn split(kind: ConfigKind, object: Value) -> Option<(Arc<str>, Raw)> {
    let Value::Object(mut object) = object else { return None };
    let metadata = object.get("metadata");
    let text = |key: &str| metadata.and_then(|metadata| metadata.get(key)).and_then(Value::as_str);
    let name: Arc<str> = text("name").filter(|name| !name.is_empty())?.into();
    let uid = text("uid").unwrap_or_default().into();
    let namespace = text("namespace").unwrap_or("metallb-system").into();
    let age = text("creationTimestamp").and_then(|time| time.parse().ok());
    let labels = metadata
        .and_then(|metadata| metadata.get("labels"))
        .and_then(|labels| Labels::deserialize(labels).ok())
        .unwrap_or_default();
    let is_old_peer = kind == ConfigKind::BgpPeer
        && object.get("apiVersion").and_then(Value::as_str) == Some("metallb.io/v1beta1");
    let spec = if is_old_peer {
        bgp_peer_v1beta1::convert(without_nulls(Value::Object(object)), "metallb.io/v1beta2")
            .map(|mut converted| converted.get_mut("spec").map(Value::take).unwrap_or_default())
            .map_err(|error| Fault::new(error.field(), error.to_string()))
    } else {
        spec_of(&mut object)
    };
    Some((name, Raw { uid, namespace, labels, age, spec }))
}

/// The `spec`; one that is absent is empty, and one that is no object is wrong.
fn spec_of(object: &mut Map<String, Value>) -> Result<Value, Fault> {
    match object.remove("spec") {
        None | Some(Value::Null) => Ok(Value::Object(Map::new())),
        Some(spec) => fault::read(spec).map(Value::Object),
    }
}

/// As in Go, `null` is the same as nothing at all.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Stores an object; returns whether it differs from what was stored.
pub(super) fn insert<S: DeserializeOwned + PartialEq>(
    map: &mut Stored<S>,
    name: Arc<str>,
    raw: Raw,
) -> bool {
    let Raw { uid, namespace, labels, age, spec } = raw;
    let spec = spec.and_then(|spec| fault::read(without_nulls(spec)));
    let object = Object { uid, namespace, labels, age, spec };
    if map.get(&*name) == Some(&object) {
        return false;
    }
    // A key that is there stays, so that its allocation does.
    match map.get_mut(&*name) {
        Some(stored) => *stored = object,
        None => drop(map.insert(name, object)),
    }
    true
}
