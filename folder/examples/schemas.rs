// SPDX-License-Identifier: Apache-2.0
//! Cuts out of Kubernetes' OpenAPI documents what ferrolb reads: the schemas of the kinds that it uses, without their
//! descriptions, and the names of all kinds that an API server serves.
//!
//! `make schemas` runs it: `schemas FOLDER`, with the folder `api/openapi-spec/v3` of k8s.io/kubernetes. The result goes to the
//! standard output.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a document of another form is to be seen at once"
)]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

/// The kinds, each with the document that has it and its name there.
const KINDS: [(&str, &str, &str); 4] = [
    ("Service", "api__v1_openapi.json", "io.k8s.api.core.v1.Service"),
    ("Node", "api__v1_openapi.json", "io.k8s.api.core.v1.Node"),
    ("Namespace", "api__v1_openapi.json", "io.k8s.api.core.v1.Namespace"),
    (
        "EndpointSlice",
        "apis__discovery.k8s.io__v1_openapi.json",
        "io.k8s.api.discovery.v1.EndpointSlice",
    ),
];

/// What is kept of a schema.
const KEPT: [&str; 7] =
    ["type", "format", "required", "enum", "pattern", "default", "x-kubernetes-list-type"];

fn main() {
    let folder = std::env::args().nth(1).expect("usage: schemas FOLDER");
    let folder = Path::new(&folder);
    let read = |name: &str| -> Value {
        let text = std::fs::read_to_string(folder.join(name)).expect("a document of the folder");
        serde_json::from_str(&text).expect("JSON")
    };
    let mut kinds = Map::new();
    for (kind, document, name) in KINDS {
        let document = read(document);
        kinds.insert(kind.to_owned(), inlined(&document["components"]["schemas"], name));
    }
    let mut served = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the folder of the documents") {
        let name = entry.expect("an entry").file_name();
        let document = read(name.to_str().expect("a name in ASCII"));
        let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
        for kind in
            schemas.values().filter_map(|schema| schema.get("x-kubernetes-group-version-kind"))
        {
            for kind in kind.as_array().into_iter().flatten() {
                let text = |field: &str| kind[field].as_str().unwrap_or_default().to_owned();
                // Kinds of every group that carry options and answers are no objects of a manifest.
                if !matches!(&*text("kind"), "DeleteOptions" | "WatchEvent" | "Status" | "APIGroup")
                {
                    served.insert((text("group"), text("kind"), text("version")));
                }
            }
        }
    }
    let served: Vec<String> = served
        .into_iter()
        .filter(|(_, kind, _)| !kind.ends_with("List"))
        .map(|(group, kind, version)| format!("{group}/{version}/{kind}"))
        .collect();
    println!("{:#}", json!({ "kinds": kinds, "served": served }));
}

/// A schema with those that it refers to in their places.
fn inlined(schemas: &Value, name: &str) -> Value {
    let schema = &schemas[name];
    assert!(schema.is_object(), "{name} is not in the document");
    resolved(schemas, schema)
}

fn resolved(schemas: &Value, schema: &Value) -> Value {
    let reference = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref"));
    if let Some(name) = reference.and_then(|name| name.as_str()?.rsplit('/').next()) {
        // Its schema is text alone, and a number is taken as well.
        if name.ends_with("resource.Quantity") {
            return json!({ "type": "string", "format": "quantity" });
        }
        let mut target = inlined(schemas, name);
        // A default stands beside the reference; one that says "empty" for an object says nothing.
        if let (Some(default), Some(target)) = (schema.get("default"), target.as_object_mut())
            && *default != json!({})
        {
            target.insert("default".to_owned(), default.clone());
        }
        return target;
    }
    let mut kept: Map<String, Value> = KEPT
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), schema.get(*key)?.clone())))
        .filter(|(key, value)| key != "default" || !(value.is_object() || *value == json!("")))
        .collect();
    if let Some(Value::Object(properties)) = schema.get("properties") {
        let properties: Map<String, Value> = properties
            .iter()
            .map(|(name, schema)| (name.clone(), resolved(schemas, schema)))
            .collect();
        kept.insert("properties".to_owned(), properties.into());
    }
    for key in ["items", "additionalProperties"] {
        if let Some(schema @ Value::Object(_)) = schema.get(key) {
            kept.insert(key.to_owned(), resolved(schemas, schema));
        }
    }
    kept.into()
}
