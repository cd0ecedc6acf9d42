// SPDX-License-Identifier: Apache-2.0
//! The rules that one node shall have for an address, as a value: a pure function of the address, the nodes of the
//! link and the node's own name.
//!
//! A table names living nodes of the link only. A node that is drained gets no bucket of a new table, and stays the
//! predecessor of its former ones.
//!
//! With buckets a frame from a fellow is one of two: led on by bucket, then it counts as a client's; or led on by a
//! step. The steps need to tell them apart, since a fellow may do both. The TTL does: a step gives at most
//! [`FIRST_TTL`](crate::FIRST_TTL), so that a frame that is led on by bucket needs a greater one. Nobody has played
//! that on a kernel yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::address::Address;
use crate::buckets::Key;
use crate::history::{Origin, Steps};

/// The hardware address of a node on the link.
pub type HardwareAddress = [u8; 6];

/// A node of the link that takes part: its speaker is alive and confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkNode {
    /// The node's hardware address on the link.
    pub hardware_address: HardwareAddress,
    /// True if the node is being drained: it serves what it has, and gets nothing new.
    pub draining: bool,
}

/// The nodes of one link that take part, the own one among them.
pub type Link = BTreeMap<Arc<str>, LinkNode>;

/// The weight of each node in a table of buckets: its ready endpoints (Local), or 1 (Cluster: `endpoints` is None). A
/// node that is drained, or is not on the link, has none.
#[must_use]
pub fn weights(
    link: &Link,
    endpoints: Option<&BTreeMap<Arc<str>, u32>>,
) -> BTreeMap<Arc<str>, u32> {
    let weight = |node| endpoints.map_or(1, |all| all.get(node).copied().unwrap_or(0));
    link.iter()
        .filter(|(_, state)| !state.draining)
        .map(|(node, _)| (Arc::clone(node), weight(node)))
        .filter(|(_, weight)| *weight > 0)
        .collect()
}

/// The rules of a node for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTable {
    /// The gate: packets to this address, and port if there is one.
    pub key: Key,
    /// The other nodes of the link that take part. Frames from their hardware addresses are never led on by bucket.
    pub fellows: BTreeMap<Arc<str>, HardwareAddress>,
    /// The fellow that clients' frames of each bucket are led on to; None for those that stay. Empty if no bucket is
    /// led on.
    pub buckets: Vec<Option<Arc<str>>>,
    /// The steps for packets that the node's conntrack does not know, with their buckets in ascending order. An
    /// address that is not spread has at most one entry, without buckets. Buckets without steps are left out.
    pub steps: BTreeMap<Steps, Vec<u16>>,
}

impl NodeTable {
    /// The rules of the node named `own`. A node that is not on the link has none.
    #[must_use]
    pub fn of(address: &Address, link: &Link, own: &str) -> Self {
        let fellows: BTreeMap<Arc<str>, HardwareAddress> = link
            .iter()
            .filter(|(node, _)| ***node != *own && link.contains_key(own))
            .map(|(node, state)| (Arc::clone(node), state.hardware_address))
            .collect();
        // A node that is not on the link is left out, so that walks go on behind it.
        let mut address = address.clone();
        address.retain(|node| node == own || fellows.contains_key(node));
        let mut buckets = address.buckets();
        for node in &mut buckets {
            node.take_if(|node| **node == *own);
        }
        if buckets.iter().all(Option::is_none) {
            buckets.clear();
        }
        let mut steps = address.steps(own);
        steps.remove(&Steps::default());
        Self { key: address.key(), fellows, buckets, steps }
    }

    /// True if every packet goes the way that it goes without rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.steps.is_empty()
    }

    /// The fellow that a client's frame of this bucket is led on to. None: it stays.
    #[must_use]
    pub fn bucket(&self, bucket: u16) -> Option<&Arc<str>> {
        self.buckets.get(usize::from(bucket)).and_then(Option::as_ref)
    }

    /// The fellow that a packet of a connection that the node does not know is led on to. None: it stays. `bucket` is
    /// that of the connection, and None for an address that is not spread. A frame that a fellow has led on by bucket
    /// counts as a client's.
    #[must_use]
    pub fn step(&self, bucket: Option<u16>, origin: Origin<'_>) -> Option<&Arc<str>> {
        let (steps, _) = self.steps.iter().find(|(_, buckets)| match bucket {
            Some(bucket) => buckets.binary_search(&bucket).is_ok(),
            None => buckets.is_empty(),
        })?;
        match origin {
            Origin::Client => steps.client.as_ref(),
            Origin::Fellow(fellow) => steps.fellows.get(fellow),
        }
    }

    /// The fellows that some rule leads packets on to, in no order and several times.
    pub fn named(&self) -> impl Iterator<Item = &Arc<str>> {
        let steps =
            self.steps.keys().flat_map(|steps| steps.client.iter().chain(steps.fellows.values()));
        self.buckets.iter().flatten().chain(steps)
    }
}

#[cfg(test)]
mod tests;
