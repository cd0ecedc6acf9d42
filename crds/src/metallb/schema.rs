// SPDX-License-Identifier: Apache-2.0
//! Schemas of the types that the kinds borrow from Kubernetes, as the API server wants them: not
//! derived, because the list and map types that server-side apply needs have no Rust counterpart.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

fn label_selector(description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels and the values that they must have.",
                "additionalProperties": { "type": "string" },
            },
            "matchExpressions": {
                "type": "array",
                "description": "Conditions, all of which must hold.",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "description": "A condition on one label.",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string", "description": "The label." },
                        "operator": {
                            "type": "string",
                            "description": "In, NotIn, Exists or DoesNotExist.",
                        },
                        "values": {
                            "type": "array",
                            "description": "The values for In and NotIn.",
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string" },
                        },
                    },
                },
            },
        },
    })
}

/// One label selector; the field's text is put in its place.
pub(super) fn selector(_: &mut SchemaGenerator) -> Schema {
    Schema::try_from(label_selector("A label selector.")).unwrap_or_default()
}

/// A list of label selectors, of which any may match.
pub(super) fn selectors(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": label_selector("A label selector; an empty one matches everything."),
    })
}

/// The selectors of `BGPPeer` v1beta1, whose expressions always have values.
pub(super) fn v1beta1_node_selectors(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "description": "A label selector; an empty one matches everything.",
            "properties": {
                "matchLabels": {
                    "type": "object",
                    "description": "Labels and the values that they must have.",
                    "additionalProperties": { "type": "string" },
                },
                "matchExpressions": {
                    "type": "array",
                    "description": "Conditions, all of which must hold.",
                    "items": {
                        "type": "object",
                        "description": "A condition on one label.",
                        "required": ["key", "operator", "values"],
                        "properties": {
                            "key": { "type": "string", "description": "The label." },
                            "operator": { "type": "string", "description": "In or NotIn." },
                            "values": {
                                "type": "array",
                                "description": "The values.",
                                "minItems": 1,
                                "items": { "type": "string" },
                            },
                        },
                    },
                },
            },
        },
    })
}

/// A plain integer of no particular size.
pub(super) fn integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer" })
}

/// The name of a Secret.
pub(super) fn secret_reference(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "name": { "type": "string", "description": "The name of the Secret." },
            "namespace": {
                "type": "string",
                "description": "Not used: the Secret is looked up beside this object.",
            },
        },
    })
}

/// A list of `meta/v1` conditions.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "What one reader of the configuration found.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the condition was reported.",
                },
                "message": {
                    "type": "string",
                    "maxLength": 32_768,
                    "description": "What was wrong; empty when nothing was.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The generation of the object that was looked at.",
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "The outcome in one word.",
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether the configuration was found valid.",
                },
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": concat!(
                        r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?",
                        r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                    ),
                    "description": "Which reader it was.",
                },
            },
        },
    })
}
