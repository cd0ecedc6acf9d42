// SPDX-License-Identifier: Apache-2.0
//! Objects as the API or a source delivers them.

#![allow(dead_code, reason = "each test uses its part")]

use cluster::{Kind, Object, ObjectKey, Snapshot};
use crds::config::ConfigKind;
use serde_json::{Value, json};

pub(crate) const POOL: Kind = Kind::Config(ConfigKind::IpAddressPool);

/// An object of any kind that a snapshot takes in, by its `kind`.
pub(crate) fn object(value: &Value) -> Object {
    let typed = value.clone();
    match value["kind"].as_str().unwrap() {
        "Service" => Object::Service(serde_json::from_value(typed).unwrap()),
        "EndpointSlice" => Object::EndpointSlice(serde_json::from_value(typed).unwrap()),
        "Node" => Object::Node(serde_json::from_value(typed).unwrap()),
        "Namespace" => Object::Namespace(serde_json::from_value(typed).unwrap()),
        other => Object::Config(ConfigKind::from_kind(other).unwrap(), typed),
    }
}

pub(crate) fn apply(snapshot: &mut Snapshot, value: &Value) {
    snapshot.apply(object(value));
}

pub(crate) fn service(name: &str, version: u64, labels: Value) -> Value {
    json!({
        "kind": "Service",
        "metadata": {
            "name": name, "namespace": "default", "uid": "u", "labels": labels,
            "resourceVersion": version.to_string(),
        },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
    })
}

pub(crate) fn cluster_ip(name: &str, version: u64) -> Value {
    let mut object = service(name, version, json!({}));
    object["spec"]["type"] = json!("ClusterIP");
    object
}

pub(crate) fn slice(name: &str, service: Option<&str>, nodes: &[&str]) -> Value {
    let endpoints: Vec<Value> =
        nodes.iter().map(|node| json!({ "addresses": ["10.244.0.1"], "nodeName": node })).collect();
    let labels = match service {
        Some(service) => json!({ "kubernetes.io/service-name": service }),
        None => json!({}),
    };
    json!({
        "kind": "EndpointSlice",
        "metadata": { "name": name, "namespace": "default", "labels": labels },
        "endpoints": endpoints,
    })
}

pub(crate) fn node(name: &str, labels: Value) -> Value {
    json!({ "kind": "Node", "metadata": { "name": name, "labels": labels } })
}

pub(crate) fn namespace(name: &str, labels: Value) -> Value {
    json!({ "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

pub(crate) fn pool(name: &str, addresses: &[&str]) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": { "name": name, "namespace": "metallb-system" },
        "spec": { "addresses": addresses },
    })
}

pub(crate) fn advertisement(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "L2Advertisement",
        "metadata": { "name": name, "namespace": "metallb-system" },
        "spec": spec,
    })
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}
