// SPDX-License-Identifier: Apache-2.0
//! The API server's verdict on an object, without an API server.
//!
//! Names and types of Kubernetes' kinds are those of its OpenAPI document, cut to what is needed (`schemas/kubernetes.json`); those
//! of ferrolb's own kinds, with their CEL rules, are those of the CustomResourceDefinitions. Rules that only the API server's
//! code has are in [`service`], [`endpoints`], [`node`] and [`metadata`]. `e2e/field` holds all of them against a real API server.

mod catalog;
mod endpoints;
mod metadata;
mod names;
mod near;
mod node;
mod service;
mod trim;
mod walk;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crds::address::{CoreText, Finding, core_texts};
use kube_cel::{CompiledSchema, compile_schema, validate_compiled};
use serde_json::Value;

pub use catalog::{KindUse, standing};
use names::unknown_annotations;
pub use near::nearest;
pub use trim::Trimmed;
use walk::Schema;

/// How an API server takes what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// It refuses the object.
    Refused,
    /// It refuses the object where fields are validated strictly, as `kubectl` asks for; else it leaves the field out.
    LeftOut,
    /// It takes the object, which cannot mean what it says.
    Hint,
}

/// Something wrong in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, as `spec.ports[0].port`; empty for the object itself.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// How an API server takes it.
    pub grade: Grade,
}

impl Fault {
    fn refused(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), grade: Grade::Refused }
    }

    fn hint(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), grade: Grade::Hint }
    }
}

/// A kind of ferrolb's own in one version.
struct Custom {
    schema: Schema,
    rules: CompiledSchema,
}

/// The kinds of Kubernetes that are read, by name.
static CORE: LazyLock<BTreeMap<String, Schema>> = LazyLock::new(|| {
    let mut kinds: BTreeMap<String, Schema> = catalog::kinds();
    kinds.values_mut().for_each(Schema::seal);
    kinds
});

/// The kinds of CustomResourceDefinitions, by `group/version/kind`.
static CUSTOM: LazyLock<BTreeMap<String, Custom>> = LazyLock::new(|| {
    let mut kinds = BTreeMap::new();
    for (_, definition) in crds::metallb::manifest::manifests() {
        let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str);
        let group = text("/spec/group").unwrap_or_default();
        let kind = text("/spec/names/kind").unwrap_or_default();
        let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
        for version in versions.into_iter().flatten() {
            let name = version.get("name").and_then(Value::as_str).unwrap_or_default();
            let root = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
            let custom = Custom::new(root);
            kinds.extend(custom.map(|custom| (format!("{group}/{name}/{kind}"), custom)));
        }
    }
    for name in catalog::OLDER {
        kinds.extend(Custom::new(catalog::address_pool()).map(|custom| (name.to_owned(), custom)));
    }
    kinds
});

impl Custom {
    fn new(root: Value) -> Option<Self> {
        let rules = compile_schema(&root);
        let mut schema = serde_json::from_value::<Schema>(root).ok()?;
        if let Some(metadata) = CORE.get("Service").and_then(|kind| kind.property("metadata")) {
            schema.set_property("metadata", metadata.clone());
        }
        for name in ["apiVersion", "kind"] {
            schema.set_property(name, Schema::text());
        }
        schema.seal();
        Some(Self { schema, rules })
    }
}

/// Judges an object of a kind that ferrolb uses: every fault. `object` is changed to what the API server would go on with: fields that
/// are `null` or unknown are gone. Of an object that the API server refuses, the fields in which something is wrong are gone too, so
/// that the rest can be judged.
pub fn judge(api_version: &str, kind: &str, object: &mut Trimmed) -> Vec<Fault> {
    let custom = CUSTOM.get(&format!("{api_version}/{kind}"));
    let schema = custom.map(|custom| &custom.schema).or_else(|| CORE.get(kind));
    let Some(schema) = schema else { return Vec::new() };
    let mut faults = Vec::new();
    walk::walk(schema, custom.is_some(), object.value_mut(), &mut faults);
    let mistyped: Vec<_> = faults.iter().filter(|it| it.grade == Grade::Refused).cloned().collect();
    for fault in &mistyped {
        object.take(&fault.field);
    }
    let mut more = Vec::new();
    // Like the API server: rules between fields are asked of an object whose fields are what they should be.
    if let (Some(custom), true) = (custom, mistyped.is_empty())
        && let Err(errors) = validate_compiled(&custom.rules, object.value(), None)
    {
        let errors = errors.into_vec().into_iter();
        more.extend(errors.map(|error| Fault::refused(error.field_path, error.message)));
    }
    let value = object.value();
    metadata::judge(kind, value, &mut more);
    match kind {
        "Service" if custom.is_none() => service::judge(value, &mut more),
        "EndpointSlice" => endpoints::judge(value, &mut more),
        "Node" => node::judge(value, &mut more),
        _ => {}
    }
    if custom.is_none() {
        hint_at_addresses(kind, value, &mut more);
    }
    more.extend(unknown_annotations(kind, value));
    for fault in &mut more {
        fault.field = object.original(&fault.field);
    }
    // A field that is gone would be missed.
    more.retain(|fault| !object.is_touched(&fault.field));
    for fault in more.iter().filter(|fault| fault.grade == Grade::Refused) {
        object.take(&fault.field);
    }
    faults.extend(more);
    faults
}

/// Texts of addresses that the API server takes, and that had better be others.
fn hint_at_addresses(kind: &str, object: &Value, faults: &mut Vec<Fault>) {
    for CoreText { field, text, finding } in core_texts(kind, object) {
        match finding {
            Finding::Advice(advice) => {
                faults.push(Fault::hint(field, format!("{text:?}: {advice}")))
            }
            // A status is not taken from a manifest.
            Finding::Refused(why) if field.starts_with("status") => {
                faults.push(Fault::hint(field, format!("{text:?}: {why}")));
            }
            Finding::Refused(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
