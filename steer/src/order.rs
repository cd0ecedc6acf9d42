// SPDX-License-Identifier: Apache-2.0
//! The order of an address, as nodes tell it to one another.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::spread::HashBy;

/// The octets of a layer in a message: its nodes' names, and for each node this number.
const MOST_OCTETS: usize = 900;
const PER_NODE: usize = 4;

/// The layers of an order, at most. The order of one bucket is bounded by [`LONGEST_ORDER`](crate::LONGEST_ORDER): a node counts once.
pub const MOST_LAYERS: usize = 32;

/// The nodes that serve an address at a time, each with its weight: an owner alone, or several, by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layer(BTreeMap<Arc<str>, u32>);

/// The order of an address: the nodes that serve it, then those that did before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The address.
    pub address: IpAddr,
    /// The number of the change that made this order: of two orders the one with the greater number holds.
    pub generation: u64,
    /// The field that the bucket of a packet is taken from, where a layer has several nodes.
    pub hash: HashBy,
    /// One to [`MOST_LAYERS`] layers, the newest first; to [`LONGEST_ORDER`](crate::LONGEST_ORDER) if each has one node.
    pub layers: Vec<Layer>,
}

/// The answer to an [`Order`]: the sender's table follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ready {
    /// The address.
    pub address: IpAddr,
    /// The generation of the order.
    pub generation: u64,
}

impl Layer {
    /// One node serves the address.
    #[must_use]
    pub fn owned(node: Arc<str>) -> Self {
        Self(BTreeMap::from([(node, 1)]))
    }

    /// Several nodes serve the address, each by its weight, which counts up to 65,535. Of too many nodes for one message those
    /// with the greatest weights do. None if no node has a weight.
    #[must_use]
    pub fn spread(weights: BTreeMap<Arc<str>, u32>) -> Option<Self> {
        let mut greatest: Vec<_> = weights.into_iter().filter(|(_, weight)| *weight > 0).collect();
        greatest.sort_by(|(one, more), (two, less)| less.cmp(more).then_with(|| one.cmp(two)));
        let mut octets = 0;
        let fits = |(node, _): &(Arc<str>, u32)| {
            octets += node.len() + PER_NODE;
            octets <= MOST_OCTETS
        };
        let weights: BTreeMap<_, _> = greatest
            .into_iter()
            .take_while(fits)
            .map(|(node, weight)| (node, weight.min(u32::from(u16::MAX))))
            .collect();
        match weights.len() {
            0 => None,
            // The weight of a node that is alone says nothing.
            1 => weights.into_keys().next().map(Self::owned),
            _ => Some(Self(weights)),
        }
    }

    /// The weights, by node.
    #[must_use]
    pub fn weights(&self) -> &BTreeMap<Arc<str>, u32> {
        &self.0
    }

    /// A layer as another node tells it.
    #[must_use]
    pub fn told(weights: BTreeMap<Arc<str>, u32>) -> Option<Self> {
        (!weights.is_empty() && weights.values().all(|weight| *weight > 0)).then_some(Self(weights))
    }

    /// The only node. None if there are several.
    #[must_use]
    pub fn owner(&self) -> Option<&Arc<str>> {
        self.0.keys().next().filter(|_| self.0.len() == 1)
    }

    /// True if this node serves.
    #[must_use]
    pub fn has(&self, node: &str) -> bool {
        self.0.contains_key(node)
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }
}

impl Order {
    /// The only node of each layer. None if a layer has several.
    #[must_use]
    pub fn owners(&self) -> Option<Vec<Arc<str>>> {
        self.layers.iter().map(|layer| layer.owner().cloned()).collect()
    }
}
