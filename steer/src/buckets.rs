// SPDX-License-Identifier: Apache-2.0
//! The buckets of an address: which node serves which connections.
//!
//! A table is a pure function of the nodes with their weights. So every node computes the same one, without knowing what
//! the table was before, and addresses whose nodes and weights are equal have one table in common.
//!
//! Each node has a rank for each bucket, by a hash of node and bucket (weighted rendezvous hashing: the rank is
//! the negative logarithm of the hash over the weight, the least comes first). Each node has room for as many buckets
//! as its weight says, to one bucket (largest remainders). The pairs of node and bucket are taken by rank; a pair
//! counts if the bucket is free and the node has room.
//!
//! "Least change" and "a function of the set" exclude one another: if only the buckets of a node that leaves may
//! move, each bucket needs an order of all nodes that ever come, and no 1,024 orders give every set of nodes equal
//! shares. So the choice is between shares and change. Three ways were measured, by a node that comes or leaves with
//! twelve seeds, equal weights. The first numbers are the buckets that move beyond the least that equal shares
//! allow, in per cent of the table; the last column is the largest share by hashing without room, the mean being 1. A
//! test prints the rows.
//!
//! | nodes | Maglev | this table | hashing without room | its largest share |
//! |---|---|---|---|---|
//! | 3 | 0.8 | 1.0 | 0.0 | 1.08 |
//! | 5 | 1.6 | 1.5 | 0.0 | 1.14 |
//! | 10 | 2.7 | 1.8 | 0.0 | 1.23 |
//! | 30 | 4.0 | 2.2 | 0.0 | 1.44 |
//! | 100 | 3.6 | 2.1 | 0.0 | 2.15 |
//! | 10, one weight grows by 1 | 2.0 | 0.8 | 0.0 | |
//!
//! A bucket that moves breaks no connection, since its former node is its predecessor: so equal shares come first. Of
//! the two tables with equal shares this one changes as much as that of Maglev (Eisenbud and others, NSDI 2016) with
//! few nodes, and about half as much with many and where a weight changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hash::{fnv1a, mix, negative_log2};

/// The buckets of a table. Bucket numbers are below it.
pub const BUCKETS: u16 = 1_024;

/// The node of each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// One for each bucket; empty if no node has a weight.
    nodes: Vec<Arc<str>>,
}

impl Buckets {
    /// The table of these nodes and their weights: the ready endpoints of each node (Local), or all equal (Cluster).
    /// A node of weight 0 gets no bucket. Above 1,024 nodes some have none. The work grows with the number of nodes:
    /// a hash and a place in a sort for each of 1,024 buckets.
    #[must_use]
    pub fn fill(weights: &BTreeMap<Arc<str>, u32>) -> Self {
        Self::fill_with(0, weights)
    }

    fn fill_with(seed: u64, weights: &BTreeMap<Arc<str>, u32>) -> Self {
        let weighted: Vec<(&Arc<str>, u64, u64)> = weights
            .iter()
            .filter(|(_, weight)| **weight > 0)
            .map(|(node, weight)| (node, u64::from(*weight), seed_of(seed, node)))
            .collect();
        let mut room = rooms(&weighted);
        let mut pairs: Vec<(u64, usize, u16)> = Vec::new();
        for (index, (_, weight, seed)) in weighted.iter().enumerate() {
            pairs.extend((0..BUCKETS).map(|bucket| {
                let drawn = mix(seed ^ mix(u64::from(bucket) + 1));
                // A logarithm has 31 bits.
                ((negative_log2(drawn) << 32) / weight, index, bucket)
            }));
        }
        pairs.sort_unstable();
        let mut nodes: Vec<Option<&Arc<str>>> = vec![None; usize::from(BUCKETS)];
        for (_, index, bucket) in pairs {
            let (Some(room), Some(free @ None), Some((node, ..))) =
                (room.get_mut(index), nodes.get_mut(usize::from(bucket)), weighted.get(index))
            else {
                continue;
            };
            if *room > 0 {
                *room -= 1;
                *free = Some(node);
            }
        }
        Self { nodes: nodes.into_iter().flatten().cloned().collect() }
    }

    /// The node of this bucket. None if no node has a weight, and for numbers from [`BUCKETS`] on.
    #[must_use]
    pub fn node(&self, bucket: u16) -> Option<&Arc<str>> {
        self.nodes.get(usize::from(bucket))
    }

    /// The nodes of all buckets, beginning with bucket 0. Empty if no node has a weight.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes.iter()
    }

    /// The buckets of each node that has any.
    #[must_use]
    pub fn shares(&self) -> BTreeMap<&Arc<str>, u16> {
        let mut shares = BTreeMap::new();
        for node in &self.nodes {
            *shares.entry(node).or_insert(0) += 1;
        }
        shares
    }
}

/// A number for a node.
fn seed_of(seed: u64, node: &str) -> u64 {
    mix(fnv1a(node.bytes()) ^ seed)
}

/// The number of buckets for each node, 1,024 in all: its share rounded down, and one more for the largest
/// remainders. Of equal remainders those with the smaller seed get it.
fn rooms(weighted: &[(&Arc<str>, u64, u64)]) -> Vec<u64> {
    let buckets = u64::from(BUCKETS);
    let total: u64 = weighted.iter().map(|(_, weight, _)| weight).sum();
    let shares = weighted.iter().map(|(_, weight, _)| buckets * weight / total.max(1));
    let mut rooms: Vec<u64> = shares.collect();
    let mut left = buckets.saturating_sub(rooms.iter().sum());
    let mut remainders: Vec<(u64, u64, usize)> = weighted
        .iter()
        .enumerate()
        .map(|(index, (_, weight, seed))| (total - buckets * weight % total.max(1), *seed, index))
        .collect();
    remainders.sort_unstable();
    for (_, _, index) in remainders {
        if let (1.., Some(room)) = (left, rooms.get_mut(index)) {
            *room += 1;
            left -= 1;
        }
    }
    rooms
}

#[cfg(test)]
mod tests;
