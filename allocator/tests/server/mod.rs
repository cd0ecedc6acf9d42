// SPDX-License-Identifier: Apache-2.0
//! An API server as far as the controller sees it: cluster addresses, merging of an update, write-back of the
//! status. It stands in for a real one where thousands of histories are tried; the scenarios use a real one.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use allocator::{Allocator, Output, POOL_ANNOTATION};
use cluster::model::Hostname;
use cluster::{ConfigScope, Kind, Object, ObjectKey, Snapshot};
use crds::config::ConfigKind;
use serde_json::{Value, json};

fn node(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// An API server with a controller.
pub(crate) struct Server {
    pub(crate) services: BTreeMap<ObjectKey, Value>,
    pools: BTreeMap<(ConfigKind, String), Value>,
    pub(crate) nodes: BTreeMap<String, Value>,
    pub(crate) namespaces: BTreeMap<String, Value>,
    pub(crate) writes: usize,
    pub(crate) snapshot: Snapshot,
    pub(crate) allocator: Allocator,
    pub(crate) events: BTreeSet<(String, String, String)>,
    clock: u32,
    /// All objects are of the same age.
    pub(crate) frozen_clock: bool,
}

impl Server {
    pub(crate) fn new() -> Self {
        let mut server = Self {
            services: BTreeMap::new(),
            pools: BTreeMap::new(),
            nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            snapshot: Snapshot::new(ConfigScope::Controller, false),
            allocator: Allocator::new(None),
            events: BTreeSet::new(),
            writes: 0,
            clock: 0,
            frozen_clock: false,
        };
        for name in ["default", "ns1", "ns2"] {
            let namespace = json!({ "metadata": { "name": name } });
            server.namespaces.insert(name.to_owned(), namespace);
        }
        server.restart();
        server
    }

    /// A new controller lists everything.
    pub(crate) fn restart(&mut self) {
        self.snapshot = Snapshot::new(ConfigScope::Controller, false);
        self.allocator = Allocator::new(None);
        for namespace in self.namespaces.values() {
            let object = serde_json::from_value(namespace.clone()).unwrap();
            self.snapshot.apply(Object::Namespace(Box::new(object)));
        }
        for ((kind, _), pool) in &self.pools {
            self.snapshot.apply(Object::Config(*kind, pool.clone()));
        }
        self.snapshot.finish(Kind::Config(ConfigKind::ExternalIpPool));
        for node in self.nodes.values() {
            let object = serde_json::from_value(node.clone()).unwrap();
            self.snapshot.apply(Object::Node(Box::new(object)));
        }
        for service in self.services.values() {
            let object = serde_json::from_value(service.clone()).unwrap();
            self.snapshot.apply(Object::Service(Box::new(object)));
        }
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        loop {
            let dirty = self.snapshot.take_dirty();
            let outputs = self.allocator.reconcile(&self.snapshot, &dirty);
            if outputs.is_empty() && dirty.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Write(write) => {
                        self.writes += 1;
                        let object = self.services.get_mut(&write.service).unwrap();
                        let annotations =
                            object["metadata"]["annotations"].as_object_mut().unwrap();
                        annotations.remove(POOL_ANNOTATION);
                        if let Some(pool) = write.pool {
                            annotations.insert(POOL_ANNOTATION.to_owned(), json!(&*pool));
                        }
                        let shown = object.pointer("/status/loadBalancer/ingress/0/hostname");
                        let hostname = match &write.hostname {
                            Hostname::None => None,
                            Hostname::Keep => shown.and_then(Value::as_str).map(str::to_owned),
                            Hostname::Node(node) => Some(node.to_string()),
                        };
                        let entry = |ip: &std::net::IpAddr| match &hostname {
                            Some(hostname) => json!({ "ip": ip, "hostname": hostname }),
                            None => json!({ "ip": ip }),
                        };
                        let ingress: Vec<Value> = write.addresses.iter().map(entry).collect();
                        object["status"] = json!({ "loadBalancer": { "ingress": ingress } });
                        let object = serde_json::from_value(object.clone()).unwrap();
                        self.snapshot.apply(Object::Service(Box::new(object)));
                        self.allocator.observed(&write.service);
                    }
                    Output::Tell { service, notice, .. } => {
                        let kind = if notice.kind.is_warning() { "Warning" } else { "Normal" };
                        self.events.insert((
                            service.to_string(),
                            kind.to_owned(),
                            notice.kind.reason().to_owned(),
                        ));
                    }
                    Output::Cleared { .. } => {}
                }
            }
        }
    }

    pub(crate) fn apply(&mut self, object: &Value) {
        self.stage(object);
        self.settle();
    }

    /// Applies without letting the controller look.
    pub(crate) fn stage(&mut self, object: &Value) {
        let name = node(object, "/metadata/name").unwrap();
        match object["kind"].as_str().unwrap() {
            kind @ ("IPAddressPool" | "ExternalIPPool") => {
                let kind = ConfigKind::from_kind(kind).unwrap();
                self.pools.insert((kind, name), object.clone());
                self.snapshot.apply(Object::Config(kind, object.clone()));
            }
            "Node" => {
                self.nodes.insert(name, object.clone());
                let object = serde_json::from_value(object.clone()).unwrap();
                self.snapshot.apply(Object::Node(Box::new(object)));
            }
            "Service" => self.apply_service(object),
            other => panic!("unexpected kind {other}"),
        }
    }

    fn apply_service(&mut self, object: &Value) {
        let namespace = node(object, "/metadata/namespace").unwrap();
        let key = ObjectKey::new(&namespace, &node(object, "/metadata/name").unwrap());
        let known = self.services.get(&key);
        let mut object = object.clone();
        self.clock += u32::from(!self.frozen_clock);
        let created = known.and_then(|known| node(known, "/metadata/creationTimestamp"));
        let created = created.unwrap_or_else(|| {
            format!("2026-01-01T{:02}:{:02}:00Z", self.clock / 60, self.clock % 60)
        });
        object["metadata"]["creationTimestamp"] = json!(created);
        if !object["metadata"]["annotations"].is_object() {
            object["metadata"]["annotations"] = json!({});
        }
        if let Some(pool) =
            known.and_then(|known| known["metadata"]["annotations"].get(POOL_ANNOTATION))
        {
            object["metadata"]["annotations"][POOL_ANNOTATION] = pool.clone();
        }
        // An update that says nothing of the families keeps them, as the API server has it.
        let policy = node(&object, "/spec/ipFamilyPolicy")
            .or_else(|| known.and_then(|known| node(known, "/spec/ipFamilyPolicy")))
            .unwrap_or_else(|| "SingleStack".to_owned());
        object["spec"]["clusterIPs"] = match policy.as_str() {
            "SingleStack" => json!(["10.96.0.1"]),
            _ => json!(["10.96.0.1", "fd00:96::1"]),
        };
        object["spec"]["ipFamilyPolicy"] = json!(policy);
        if let Some(known) = known {
            object["status"] = known["status"].clone();
        }
        if object["status"].is_null() {
            object["status"] = json!({});
        }
        self.services.insert(key, object.clone());
        let object = serde_json::from_value(object).unwrap();
        self.snapshot.apply(Object::Service(Box::new(object)));
    }

    pub(crate) fn delete(&mut self, what: &str) {
        let (kind, key) = what.split_once(' ').unwrap();
        match kind {
            "Service" => {
                self.services.remove(&ObjectKey::parse(key).unwrap());
                self.snapshot.delete(Kind::Service, key);
            }
            kind @ ("IPAddressPool" | "ExternalIPPool") => {
                let kind = ConfigKind::from_kind(kind).unwrap();
                let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
                self.pools.remove(&(kind, name.to_owned()));
                self.snapshot.delete(Kind::Config(kind), name);
            }
            other => panic!("unexpected kind {other}"),
        }
        self.settle();
    }

    pub(crate) fn expect(&self, case: &str, step: usize, expected: &Value) {
        let mut found = serde_json::Map::new();
        for (key, service) in &self.services {
            let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
            let ips: Vec<&Value> =
                ingress.into_iter().flatten().map(|entry| &entry["ip"]).collect();
            let pool = service["metadata"]["annotations"].get(POOL_ANNOTATION);
            found.insert(key.to_string(), json!({ "ips": ips, "pool": pool }));
        }
        assert_eq!(&Value::Object(found), expected, "case {case:?}, step {step}");
    }
}
