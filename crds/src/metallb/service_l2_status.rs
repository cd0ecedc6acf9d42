// SPDX-License-Identifier: Apache-2.0
//! `ServiceL2Status`, v1beta1: which node announces a Service by ARP and NDP (contract 1.8).

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
    kind = "ServiceL2Status",
    plural = "servicel2statuses",
    singular = "servicel2status",
    namespaced,
    no_spec,
    status = "ServiceL2StatusStatus",
    derive = "PartialEq",
    doc = "Reports which node announces a Service by ARP and NDP, and on which interfaces.",
    printcolumn(name = "Allocated Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Service Name", type_ = "string", json_path = ".status.serviceName"),
    printcolumn(
        name = "Service Namespace",
        type_ = "string",
        json_path = ".status.serviceNamespace"
    )
)]
pub struct ServiceL2StatusSpec {}

/// Who announces the Service, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceL2StatusStatus {
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
    /// The interfaces on which the Service is announced. Empty: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<InterfaceInfo>>,
}

/// An interface of the announcing node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct InterfaceInfo {
    /// The name of the interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
