// SPDX-License-Identifier: Apache-2.0
//! Annotations under the prefixes of MetalLB, Antrea's ServiceExternalIP and ferrolb: a misspelt one is one that nobody reads, and
//! no API server can say so.

use serde_json::{Map, Value};

use super::Fault;
use super::near::suggestion;

/// The names under MetalLB's two prefixes, on a Service.
const METALLB: [&str; 4] =
    ["address-pool", "allow-shared-ip", "ip-allocated-from-pool", "loadBalancerIPs"];
const METALLB_PREFIXES: [&str; 2] = ["metallb.io", "metallb.universe.tf"];

/// The other annotations that are read, each with the kind that may carry it.
const OTHERS: [(&str, &str); 6] = [
    ("Service", "ferrolb.io/preferred-node"),
    ("Service", "service.antrea.io/external-ip-pool"),
    ("Service", "service.antrea.io/allow-shared-load-balancer-ip"),
    ("Service", "service.antrea.io/load-balancer-mode"),
    ("Node", "ferrolb.io/drain"),
    ("BGPPeer", "ferrolb.io/bgppeer-v1beta2-fields"),
];

/// The prefixes that are ours to judge.
const PREFIXES: [&str; 4] =
    ["metallb.io", "metallb.universe.tf", "ferrolb.io", "service.antrea.io"];

fn known(kind: &str) -> Vec<String> {
    let metallb = METALLB_PREFIXES
        .iter()
        .filter(|_| kind == "Service")
        .flat_map(|prefix| METALLB.iter().map(move |name| format!("{prefix}/{name}")));
    let others = OTHERS.iter().filter(|(of, _)| *of == kind).map(|(_, name)| (*name).to_owned());
    metallb.chain(others).collect()
}

/// Hints at annotations under our prefixes, or nearly so, that nobody reads on this kind, and at annotations among the labels.
pub(super) fn unknown_annotations(kind: &str, object: &Value) -> Vec<Fault> {
    let known = known(kind);
    let map = |pointer: &str| object.pointer(pointer).and_then(Value::as_object);
    let mut faults = Vec::new();
    for key in map("/metadata/annotations").into_iter().flat_map(Map::keys) {
        if known.contains(key) {
            continue;
        }
        let Some((prefix, _)) = key.split_once('/') else { continue };
        let names = || known.iter().map(String::as_str);
        let near = suggestion(key, names());
        if PREFIXES.contains(&prefix) || !near.is_empty() {
            let message = format!("nobody reads this annotation on a {kind}{near}");
            faults.push(Fault::hint(format!("metadata.annotations.{key}"), message));
        }
    }
    for key in map("/metadata/labels").into_iter().flat_map(Map::keys) {
        if known.contains(key) {
            let message = "this is read as an annotation, and it is a label here".to_owned();
            faults.push(Fault::hint(format!("metadata.labels.{key}"), message));
        }
    }
    faults
}
