// SPDX-License-Identifier: Apache-2.0
//! The cluster as one decision sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::Node;
use crds::config::Config;
use crds::labels::Labels;

/// Everything that a decision looks at besides the Service and the addresses of others.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The validated configuration.
    pub config: &'a Config,
    /// The labels of the Service's namespace.
    pub namespace_labels: &'a Labels,
    /// The nodes, as far as they are known: their own addresses are not given without being asked for.
    pub nodes: &'a BTreeMap<Arc<str>, Node>,
    /// Of hosts without Kubernetes: their own addresses, likewise.
    pub host_addresses: &'a BTreeSet<IpAddr>,
}

impl World<'_> {
    /// Whether a node or a host has `address` for itself.
    #[must_use]
    pub fn is_of_node(&self, address: IpAddr) -> bool {
        self.host_addresses.contains(&address)
            || self.nodes.values().any(|node| node.internal_addresses.contains(&address))
    }
}
