// SPDX-License-Identifier: Apache-2.0
//! `ServiceBGPStatus`, v1beta1: to which peers a node announces a Service (contract 1.9).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

// `spec` says nothing and may be missing, so that the type does not ask for it.
/// Nothing is asked for here.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "ServiceBGPStatus",
    root = "ServiceBgpStatus",
    plural = "servicebgpstatuses",
    singular = "servicebgpstatus",
    namespaced,
    no_spec,
    status = "ServiceBgpStatusStatus",
    derive = "PartialEq",
    doc = "Reports to which BGP peers a node announces a Service.",
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Service Name", type_ = "string", json_path = ".status.serviceName"),
    printcolumn(
        name = "Service Namespace",
        type_ = "string",
        json_path = ".status.serviceNamespace"
    )
)]
pub struct ServiceBgpStatusSpec {}

/// Who announces the Service, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceBgpStatusStatus {
    /// The node that announces the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        { "message": "Value is immutable", "rule": "self == oldSelf" },
    ]))]
    pub node: Option<String>,
    /// The name of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        { "message": "Value is immutable", "rule": "self == oldSelf" },
    ]))]
    pub service_name: Option<String>,
    /// The namespace of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        { "message": "Value is immutable", "rule": "self == oldSelf" },
    ]))]
    pub service_namespace: Option<String>,
    /// The names of the BGPPeers to which the Service is announced, in ascending order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<String>>,
}
