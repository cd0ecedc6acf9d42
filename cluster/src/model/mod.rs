// SPDX-License-Identifier: Apache-2.0
//! Kubernetes objects reduced to the parts that decisions need, and the wire types that they are made from.

mod condition;
mod endpoints;
mod node;
mod service;
mod version;

pub(crate) use condition::given;
pub use condition::{ALLOCATED_CONDITION, ANNOUNCED_CONDITION, ServiceCondition};
pub use endpoints::{EndpointSliceObject, Slice};
pub use node::{DRAIN_ANNOTATION, EXCLUDE_LABEL, NamespaceObject, Node, NodeObject};
pub use service::{
    FamilyPolicy, Hostname, Ingress, POOL_ANNOTATION, Service, ServiceObject, ServicePort,
    ServiceType, TrafficPolicy,
};
pub use version::ResourceVersion;
