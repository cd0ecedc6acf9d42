// SPDX-License-Identifier: Apache-2.0
//! The changes that the allocator wants, for a sink to carry out.

use std::net::IpAddr;
use std::sync::Arc;

use cluster::ObjectKey;
use cluster::model::{Hostname, ServiceCondition};

use crate::notice::Notice;
use crate::reason::Change;

/// Something for the sink to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The Service's status and pool annotation are to become this.
    Write(Write),
    /// An event on the Service.
    Tell {
        /// The Service.
        service: ObjectKey,
        /// The Service's uid.
        uid: Box<str>,
        /// The event.
        notice: Notice,
    },
    /// The Service's addresses are taken back for a reason that is no event.
    Cleared {
        /// The Service.
        service: ObjectKey,
        /// The Service's addresses until now.
        addresses: Vec<IpAddr>,
        /// The change that took the addresses.
        change: Change,
    },
}

/// The desired status of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The Service.
    pub service: ObjectKey,
    /// The addresses for `status.loadBalancer.ingress`.
    pub addresses: Vec<IpAddr>,
    /// The value of [`POOL_ANNOTATION`]; none removes it, as from Services of Antrea's world, which name their pool
    /// themselves.
    pub pool: Option<Arc<str>>,
    /// The host name beside each address.
    pub hostname: Hostname,
    /// The condition `ferrolb.io/Allocated`; none where conditions are not written.
    pub condition: Option<ServiceCondition>,
}
