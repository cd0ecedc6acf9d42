// SPDX-License-Identifier: Apache-2.0
//! `SpeakerReport`, v1alpha1: what one speaker says of Services. The controller copies the words into the Services' conditions, so
//! that a speaker needs no right to write any Service's status: whoever has that can lead traffic of the whole cluster astray.
//! With `--keep-connections` one more object has what the speaker says of open connections, for people and `ferrolb drain --wait`.

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
    /// What the speaker says of open connections. Only the object NODE.connections of a speaker with --keep-connections has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
}

/// The most addresses that [`Connections`] names.
pub const MOST_DRAINING: usize = 1000;

/// What a speaker with `--keep-connections` says of open connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Connections {
    /// True if open connections are kept through moves: this node leads their packets on.
    pub kept: bool,
    /// Why connections are not kept, or are not counted; empty if they are.
    #[schemars(length(max = 2048))]
    pub message: String,
    /// The number of addresses that drain: this node had them within the linger time, and other nodes have them now.
    pub addresses: i64,
    /// The open TCP connections of all of them that go on at this node, idle ones included.
    pub tcp: i64,
    /// The flows of UDP of all of them that conntrack knows at this node.
    pub udp: i64,
    /// The addresses that drain, each once it was counted after its move; the ones with the most connections, if there are too many.
    #[schemars(length(max = 1000))]
    pub draining: Vec<Draining>,
}

/// An address that drains, with what is left of its connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Draining {
    /// The address.
    #[schemars(length(max = 64))]
    pub ip: String,
    /// The open TCP connections that go on at this node, idle ones included.
    pub tcp: i64,
    /// The flows of UDP that conntrack knows at this node.
    pub udp: i64,
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
