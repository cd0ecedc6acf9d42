// SPDX-License-Identifier: Apache-2.0
//! A cluster for speakers: objects in, and what each node says to a Service out.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeSet;

use cluster::{ConfigScope, Kind, Object, ObjectKey, Snapshot};
use crds::config::ConfigKind;
use serde_json::{Value, json};
use speaker::election::RingPlaces;
use speaker::{
    BgpMode, Circumstances, Fencing, Options, PoolOrder, RingSpeakers, Verdict, announce,
};

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

pub(crate) fn options(node: &str) -> Options {
    Options {
        node: node.into(),
        class: None,
        ignore_exclude_label: false,
        assume_endpoints: false,
        drain_on_cordon: false,
        bgp_mode: BgpMode::Native,
        fencing: Fencing::Majority,
    }
}

pub(crate) fn node(name: &str, labels: Value) -> Value {
    json!({ "kind": "Node", "metadata": { "name": name, "labels": labels } })
}

pub(crate) fn pool(name: &str, addresses: &[&str]) -> Value {
    json!({
        "kind": "IPAddressPool",
        "metadata": { "name": name, "labels": { "pool": name } },
        "spec": { "addresses": addresses },
    })
}

pub(crate) fn advertisement(name: &str, spec: Value) -> Value {
    json!({ "kind": "L2Advertisement", "metadata": { "name": name }, "spec": spec })
}

/// A Service that has these addresses.
pub(crate) fn service(name: &str, addresses: &[&str]) -> Value {
    let ingress: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
    json!({
        "kind": "Service",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name }, "annotations": {} },
        "spec": { "type": "LoadBalancer", "externalTrafficPolicy": "Cluster", "ports": [{ "port": 80 }] },
        "status": { "loadBalancer": { "ingress": ingress } },
    })
}

/// Ready endpoints of a Service on these nodes; an empty name is an endpoint that names none.
pub(crate) fn slice(service: &str, nodes: &[&str]) -> Value {
    let endpoints: Vec<Value> = nodes
        .iter()
        .map(|node| match *node {
            "" => json!({ "addresses": ["10.244.0.1"] }),
            node => json!({ "addresses": ["10.244.0.1"], "nodeName": node }),
        })
        .collect();
    json!({
        "kind": "EndpointSlice",
        "metadata": { "name": format!("{service}-1"), "namespace": "default",
            "labels": { "kubernetes.io/service-name": service } },
        "endpoints": endpoints,
    })
}

/// What stands at a pointer of an object, replaced.
pub(crate) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) members: RingSpeakers,
    pub(crate) interfaces: BTreeSet<Box<str>>,
    pub(crate) time: jiff::Timestamp,
}

impl World {
    pub(crate) fn new(objects: &[Value]) -> Self {
        let mut world = Self {
            snapshot: Snapshot::new(ConfigScope::All, true),
            members: RingSpeakers::Disabled,
            interfaces: ["eth0".into(), "eth1".into()].into(),
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        objects.iter().for_each(|object| world.stage(object));
        world.snapshot.take_dirty();
        world
    }

    /// Takes in an object without looking at what is dirty.
    pub(crate) fn stage(&mut self, value: &Value) {
        let typed = value.clone();
        self.snapshot.apply(match value["kind"].as_str().unwrap() {
            "Service" => Object::Service(serde_json::from_value(typed).unwrap()),
            "EndpointSlice" => Object::EndpointSlice(serde_json::from_value(typed).unwrap()),
            "Node" => Object::Node(serde_json::from_value(typed).unwrap()),
            other => Object::Config(ConfigKind::from_kind(other).unwrap(), typed),
        });
    }

    pub(crate) fn unstage(&mut self, value: &Value) {
        let name = value["metadata"]["name"].as_str().unwrap();
        match value["kind"].as_str().unwrap() {
            "Service" => self.snapshot.delete(Kind::Service, &format!("default/{name}")),
            "EndpointSlice" => {
                self.snapshot.delete(Kind::EndpointSlice, &format!("default/{name}"))
            }
            "Node" => self.snapshot.delete(Kind::Node, name),
            other => {
                self.snapshot.delete(Kind::Config(ConfigKind::from_kind(other).unwrap()), name)
            }
        }
    }

    /// The world around the objects, at its time.
    pub(crate) fn in_circumstances<R>(&self, decide: impl FnOnce(&Circumstances<'_>) -> R) -> R {
        decide(&Circumstances {
            members: &self.members,
            interfaces: &self.interfaces,
            transport: None,
            pools: &PoolOrder::of(self.snapshot.config()),
            places: &RingPlaces::default(),
            time: self.time,
            placement: None,
        })
    }

    /// What a node says to a Service.
    pub(crate) fn verdict(&self, node: &str, name: &str) -> Verdict {
        self.verdict_with(&options(node), name)
    }

    pub(crate) fn verdict_with(&self, options: &Options, name: &str) -> Verdict {
        let key = key(name);
        let service = self.snapshot.service(&key).unwrap();
        self.in_circumstances(|circumstances| {
            announce(&key, service, &self.snapshot, circumstances, options)
        })
    }

    /// The nodes that announce a Service.
    pub(crate) fn announcers(&self, name: &str) -> Vec<String> {
        let nodes = self.snapshot.nodes().keys().map(ToString::to_string);
        nodes.filter(|node| self.verdict(node, name).local.is_ok()).collect()
    }
}
