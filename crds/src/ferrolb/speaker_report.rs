// SPDX-License-Identifier: Apache-2.0
//! `SpeakerReport`, v1alpha1: what one speaker says of Services. The controller copies the words into the Services' conditions, so
//! that a speaker needs no right to write any Service's status: whoever has that can lead traffic of the whole cluster astray.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

// A speaker has several objects, each with a share of the Services: one change does not write all others anew.
/// What the speaker says.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[serde(default, rename_all = "camelCase")]
#[kube(
    group = "ferrolb.io",
    version = "v1alpha1",
    kind = "SpeakerReport",
    plural = "speakerreports",
    singular = "speakerreport",
    namespaced,
    derive = "PartialEq",
    doc = "What one speaker says of Services; the controller copies it into their conditions. The programs write it, not people.",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct SpeakerReportSpec {
    /// The words, each with the Services that it is said of.
    #[schemars(length(max = 4096))]
    pub words: Vec<Word>,
}

/// One word, and of which Services it is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Word {
    /// The type of the condition.
    #[schemars(length(max = 64))]
    pub condition: String,
    /// The condition's status.
    #[schemars(extend("enum" = ["True", "False"]))]
    pub status: String,
    /// The condition's reason.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// The condition's message.
    #[schemars(length(max = 2048))]
    pub message: String,
    /// The Services, as namespace/name, with the time since when it is said, in seconds since 1970.
    pub services: BTreeMap<String, i64>,
}
