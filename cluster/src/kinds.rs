// SPDX-License-Identifier: Apache-2.0
//! The inputs and outputs of a snapshot: kinds, objects, and the Services that must be decided again.

use std::collections::BTreeSet;
use std::sync::Arc;

use crds::config::{ConfigKind, Secret};
use serde_json::Value;

use crate::announcers::AnnouncerObject;
use crate::key::ObjectKey;
use crate::model::{EndpointSliceObject, NamespaceObject, NodeObject, ServiceObject};
use crate::reports::ReportObject;

/// The kinds that a snapshot takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// core/v1 Service.
    Service,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
    /// core/v1 Node.
    Node,
    /// core/v1 Namespace.
    Namespace,
    /// core/v1 Secret of the own namespace.
    Secret,
    /// A kind of the configuration.
    Config(ConfigKind),
    /// metallb.io ServiceL2Status, which names the announcer of a Service.
    ServiceL2Status,
    /// ferrolb.io SpeakerReport, which holds the speakers' words on Services.
    SpeakerReport,
}

impl Kind {
    /// All kinds: the ones above, and every kind of the configuration.
    #[must_use]
    pub fn with_configuration(others: &[Self]) -> Vec<Self> {
        others.iter().copied().chain(ConfigKind::ALL.map(Self::Config)).collect()
    }
}

/// An object for [`Snapshot::apply`].
#[derive(Debug)]
pub enum Object {
    /// A Service of any type.
    Service(Box<ServiceObject>),
    /// An EndpointSlice.
    EndpointSlice(Box<EndpointSliceObject>),
    /// A Node.
    Node(Box<NodeObject>),
    /// A Namespace.
    Namespace(Box<NamespaceObject>),
    /// A Secret.
    Secret(Box<str>, Secret),
    /// A configuration object, not yet checked against its type.
    Config(ConfigKind, Value),
    /// A ServiceL2Status.
    Announcer(Box<AnnouncerObject>),
    /// A SpeakerReport.
    Report(Box<ReportObject>),
}

impl Object {
    /// The kind of the object.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Node(_) => Kind::Node,
            Self::Namespace(_) => Kind::Namespace,
            Self::Secret(..) => Kind::Secret,
            Self::Config(kind, _) => Kind::Config(*kind),
            Self::Announcer(_) => Kind::ServiceL2Status,
            Self::Report(_) => Kind::SpeakerReport,
        }
    }
}

/// The Services that must be decided again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Every Service: the configuration, a node or a namespace changed.
    pub all: bool,
    /// These Services, deleted ones among them.
    pub services: BTreeSet<ObjectKey>,
}

impl Dirty {
    /// True if no Service must be decided again.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.services.is_empty()
    }
}

/// The program whose view of the configuration is validated (contract 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigScope {
    /// Pools and communities.
    Controller,
    /// Everything, but BGP objects only when they select this node.
    Speaker(Arc<str>),
    /// Everything.
    All,
}
