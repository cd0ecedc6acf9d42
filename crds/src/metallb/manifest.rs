// SPDX-License-Identifier: Apache-2.0
//! The manifests of the kinds: what a cluster's administrator applies.
//!
//! The schemas are derived from the types and then put into the words that the API server knows; no
//! limit is stricter than the contract's, so that every object a cluster already holds stays valid.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::antrea::ExternalIpPool;
use crate::ferrolb::SpeakerReport;

use super::{
    BfdProfile, BgpAdvertisement, BgpPeer, Community, ConfigurationState, IpAddressPool,
    L2Advertisement, ServiceBgpStatus, ServiceL2Status, bgp_peer_v1beta1,
};

/// Every CustomResourceDefinition, as JSON, with the name of its file.
#[must_use]
pub fn manifests() -> Vec<(String, Value)> {
    let old_peer = bgp_peer_v1beta1::BgpPeer::crd();
    [
        (BfdProfile::crd(), None),
        (BgpAdvertisement::crd(), None),
        (BgpPeer::crd(), Some(old_peer)),
        (Community::crd(), None),
        (ConfigurationState::crd(), None),
        (ExternalIpPool::crd(), None),
        (IpAddressPool::crd(), None),
        (L2Advertisement::crd(), None),
        (ServiceBgpStatus::crd(), None),
        (ServiceL2Status::crd(), None),
        (SpeakerReport::crd(), None),
    ]
    .into_iter()
    .map(|(crd, old)| {
        let file = format!("{}.{}.yaml", crd.spec.names.plural, crd.spec.group);
        (file, definition(&crd, old.as_ref()))
    })
    .collect()
}

/// A manifest as the text of its file.
///
/// # Errors
/// Only when a value could not be written as YAML, which JSON values always can.
pub fn to_yaml(manifest: &Value) -> Result<String, serde_saphyr::ser::Error> {
    let text = serde_saphyr::to_string(manifest)?;
    Ok(format!("---\n{text}"))
}

fn definition(crd: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>) -> Value {
    let mut value = serde_json::to_value(crd).unwrap_or_default();
    // The old version stands first, as in the manifests that this one takes the place of.
    if let Some(old) = old
        && let Some(versions) = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut)
        && let Ok(Value::Array(older)) = serde_json::to_value(&old.spec.versions)
    {
        versions.splice(0..0, older);
        if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("conversion".into(), conversion());
        }
    }
    if crd.spec.group == super::GROUP
        && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.insert(
            "annotations".into(),
            json!({ "controller-gen.kubebuilder.io/version": "v0.19.0" }),
        );
    }
    if let Some(names) = value.pointer_mut("/spec/names").and_then(Value::as_object_mut) {
        names.retain(|_, value| *value != json!([]));
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default();
        names.insert("listKind".into(), format!("{kind}List").into());
    }
    for version in
        value.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten()
    {
        if let Some(version) = version.as_object_mut() {
            version.retain(|_, value| *value != json!([]));
            version.insert("subresources".into(), json!({ "status": {} }));
        }
        let kind = crd.spec.names.kind.as_str();
        if let Some(root) = version.pointer_mut("/schema/openAPIV3Schema") {
            shape_root(kind, root);
        }
    }
    value
}

/// Who converts between the versions. The certificate is put in when the webhook runs.
fn conversion() -> Value {
    json!({
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1beta1", "v1beta2"],
            "clientConfig": {
                "service": {
                    "name": "metallb-webhook-service",
                    "namespace": "metallb-system",
                    "path": "/convert",
                },
            },
        },
    })
}

/// `spec` is required of pools only: an advertisement without one is a useful object.
fn shape_root(kind: &str, root: &mut Value) {
    shape(root);
    let Some(root) = root.as_object_mut() else { return };
    if matches!(kind, "IPAddressPool" | "ExternalIPPool") {
        root.insert("required".into(), json!(["spec"]));
    } else {
        root.remove("required");
    }
    root.remove("title");
    // A kind without `spec` is derived from a flattened type, which leaves this behind.
    root.remove("x-kubernetes-preserve-unknown-fields");
    let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    let string = |text: &str| json!({ "type": "string", "description": text });
    properties.insert(
        "apiVersion".into(),
        string("The version of the API that this object is written for."),
    );
    properties.insert("kind".into(), string("The kind of this object."));
    properties.insert("metadata".into(), json!({ "type": "object" }));
    if matches!(kind, "ServiceL2Status" | "ServiceBGPStatus") {
        let empty = json!({ "type": "object", "description": "Nothing is asked for here." });
        properties.insert("spec".into(), empty);
    }
}

/// Puts a derived schema, and all inside it, into the words that the API server knows.
fn shape(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    // An absent value is left out; `null` is not stored, as with the manifests of other generators.
    schema.remove("nullable");
    schema.retain(|key, value| !(key == "default" && value.is_null()));
    unwrap_any_of(schema);
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        let text = text.replace('\n', " ");
        schema.insert("description".into(), text.into());
    }
    // OpenAPI knows signed sizes only, and a derived lower limit of zero is stricter than the contract.
    match schema.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32") => {
            schema.insert("format".into(), "int32".into());
            if schema.get("minimum").and_then(Value::as_f64) == Some(0.0) {
                schema.remove("minimum");
            }
        }
        Some("uint64") => drop(schema.insert("format".into(), "int64".into())),
        _ => {}
    }
    for limit in ["minimum", "maximum"] {
        if let Some(number) = schema.get(limit).and_then(whole) {
            schema.insert(limit.into(), number.into());
        }
    }
    if let Some(items) = schema.get_mut("items") {
        shape(items);
    }
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required =
        |name: &str| required.as_array().is_some_and(|names| names.iter().any(|have| have == name));
    for (name, property) in
        schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
    {
        shape(property);
        // What Rust takes for an absent value of a required field is no default of the API.
        if is_required(name)
            && let Some(property) = property.as_object_mut()
        {
            property.remove("default");
        }
    }
}

/// `anyOf: [X, null]` is how an optional X is derived: it becomes X, keeping the field's own text.
fn unwrap_any_of(schema: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = schema.get("anyOf") else { return };
    let real = branches.iter().find(|branch| branch.get("enum") != Some(&json!([null])));
    if let Some(Value::Object(real)) = real.cloned() {
        schema.remove("anyOf");
        for (key, value) in real {
            schema.entry(key).or_insert(value);
        }
    }
}

/// A whole number that was carried as a floating-point one.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_f64()?;
    // All limits are below 2^33, where floating-point numbers are exact.
    #[expect(clippy::cast_possible_truncation, reason = "limits are small whole numbers")]
    (number.fract() == 0.0 && number.abs() < 1e12).then_some(number as i64)
}

#[cfg(test)]
mod tests;
