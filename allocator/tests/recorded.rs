// SPDX-License-Identifier: Apache-2.0
//! Every recorded case of MetalLB's own decisions, replayed: the same objects in the same order must give the
//! same addresses, pools and events.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod server;

use std::collections::{BTreeMap, BTreeSet};

use cluster::Object;
use serde_json::Value;
use server::Server;

const RECORDED: &str = include_str!("../../e2e/recorded/allocation.json");

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
