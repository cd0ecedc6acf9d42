//! Every recorded case of MetalLB's own decisions, replayed: the same objects in the same order must give the
//! same addresses, pools and events.
//!
//! The API server is imitated here (cluster addresses, merging of an update, write-back of the status), so
//! that the cases run in milliseconds on every change.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::collections::{BTreeMap, BTreeSet};

use allocator::{Allocator, Output, POOL_ANNOTATION};
use cluster::{ConfigScope, Kind, Object, ObjectKey, Snapshot};
use crds::config::ConfigKind;
use serde_json::{Value, json};

const RECORDED: &str = include_str!("../../e2e/recorded/allocation.json");

/// An API server with a controller.
struct Server {
    services: BTreeMap<ObjectKey, Value>,
    pools: BTreeMap<String, Value>,
    namespaces: BTreeMap<String, Value>,
    snapshot: Snapshot,
    allocator: Allocator,
    events: BTreeSet<(String, String, String)>,
    clock: u32,
}

fn node(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

impl Server {
    fn new() -> Self {
        let mut server = Self {
            services: BTreeMap::new(),
            pools: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            snapshot: Snapshot::new(ConfigScope::Controller, false),
            allocator: Allocator::new(None),
            events: BTreeSet::new(),
            clock: 0,
        };
        for name in ["default", "ns1", "ns2"] {
            let namespace = json!({ "metadata": { "name": name } });
            server.namespaces.insert(name.to_owned(), namespace);
        }
        server.restart();
        server
    }

    /// A new controller lists everything.
    fn restart(&mut self) {
        self.snapshot = Snapshot::new(ConfigScope::Controller, false);
        self.allocator = Allocator::new(None);
        for namespace in self.namespaces.values() {
            let object = serde_json::from_value(namespace.clone()).unwrap();
            self.snapshot.apply(Object::Namespace(Box::new(object)));
        }
        for pool in self.pools.values() {
            self.snapshot.apply(Object::Config(ConfigKind::IpAddressPool, pool.clone()));
        }
        for service in self.services.values() {
            let object = serde_json::from_value(service.clone()).unwrap();
            self.snapshot.apply(Object::Service(Box::new(object)));
        }
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let dirty = self.snapshot.take_dirty();
            let outputs = self.allocator.reconcile(&self.snapshot, &dirty);
            if outputs.is_empty() && dirty.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Write(write) => {
                        let object = self.services.get_mut(&write.service).unwrap();
                        let annotations =
                            object["metadata"]["annotations"].as_object_mut().unwrap();
                        annotations.remove(POOL_ANNOTATION);
                        if let Some(pool) = write.pool {
                            annotations.insert(POOL_ANNOTATION.to_owned(), json!(&*pool));
                        }
                        let ingress: Vec<Value> =
                            write.addresses.iter().map(|ip| json!({ "ip": ip })).collect();
                        object["status"] = json!({ "loadBalancer": { "ingress": ingress } });
                        let object = serde_json::from_value(object.clone()).unwrap();
                        self.snapshot.apply(Object::Service(Box::new(object)));
                        self.allocator.observed(&write.service);
                    }
                    Output::Tell { service, notice, .. } => {
                        let kind = if notice.warning { "Warning" } else { "Normal" };
                        self.events.insert((
                            service.to_string(),
                            kind.to_owned(),
                            notice.reason.to_owned(),
                        ));
                    }
                }
            }
        }
    }

    fn apply(&mut self, object: &Value) {
        let name = node(object, "/metadata/name").unwrap();
        match object["kind"].as_str().unwrap() {
            "IPAddressPool" => {
                self.pools.insert(name, object.clone());
                self.snapshot.apply(Object::Config(ConfigKind::IpAddressPool, object.clone()));
            }
            "Service" => self.apply_service(object),
            other => panic!("unexpected kind {other}"),
        }
        self.settle();
    }

    fn apply_service(&mut self, object: &Value) {
        let namespace = node(object, "/metadata/namespace").unwrap();
        let key = ObjectKey::new(&namespace, &node(object, "/metadata/name").unwrap());
        let known = self.services.get(&key);
        let mut object = object.clone();
        self.clock += 1;
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

    fn delete(&mut self, what: &str) {
        let (kind, key) = what.split_once(' ').unwrap();
        match kind {
            "Service" => {
                self.services.remove(&ObjectKey::parse(key).unwrap());
                self.snapshot.delete(Kind::Service, key);
            }
            "IPAddressPool" => {
                let name = key.split_once('/').unwrap().1;
                self.pools.remove(name);
                self.snapshot.delete(Kind::Config(ConfigKind::IpAddressPool), name);
            }
            other => panic!("unexpected kind {other}"),
        }
        self.settle();
    }

    fn expect(&self, case: &str, step: usize, expected: &Value) {
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

#[test]
fn every_recorded_case_is_decided_as_metallb_decided_it() {
    let cases: BTreeMap<String, Value> = serde_json::from_str(RECORDED).unwrap();
    assert!(cases.len() > 15, "the recording is there");
    for (case, recorded) in cases {
        let mut server = Server::new();
        for (number, step) in recorded["steps"].as_array().unwrap().iter().enumerate() {
            if let Some(object) = step.get("apply") {
                server.apply(object);
            } else if let Some(what) = step.get("delete").and_then(Value::as_str) {
                server.delete(what);
            } else if step.get("restart").is_some() {
                server.restart();
            } else if let Some(name) = step.get("labelNamespace").and_then(Value::as_str) {
                let namespace = server.namespaces.get_mut(name).unwrap();
                namespace["metadata"]["labels"] = step["labels"].clone();
                let object = serde_json::from_value(namespace.clone()).unwrap();
                server.snapshot.apply(Object::Namespace(Box::new(object)));
                server.settle();
            } else if let Some(expected) = step.get("expect") {
                server.expect(&case, number, expected);
            } else {
                panic!("unexpected step {step}");
            }
        }
        let recorded: BTreeSet<(String, String, String)> =
            serde_json::from_value(recorded["events"].clone()).unwrap();
        let surplus: Vec<_> = server.events.difference(&recorded).collect();
        let missing: Vec<_> = recorded.difference(&server.events).collect();
        assert!(
            surplus.is_empty() && missing.is_empty(),
            "events of case {case:?}: surplus {surplus:?}, missing {missing:?}"
        );
    }
}
