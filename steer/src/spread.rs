// SPDX-License-Identifier: Apache-2.0
//! An address that several nodes serve, as one node's kernel shall have it: a pure function of the address, of the nodes that
//! can be reached, and of the node's own name.
//!
//! A frame from a fellow is one of two: led on by bucket, then it counts as a client's; or led on by a step. The TTL tells them
//! apart: a step gives at most [`FIRST_TTL`](crate::FIRST_TTL), and only frames with a greater one are led on by bucket.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::address::Address;
use crate::history::{Origin, Steps};

/// The part of a packet that its bucket is taken from. Packets with the same part go to one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashBy {
    /// TCP by the client's address and port, UDP by the client's address: of a fragmented datagram only the first fragment
    /// has ports.
    #[default]
    Connection,
    /// UDP by the client's address and port as well.
    ConnectionAndDatagram,
    /// Everything by the client's address, as `sessionAffinity: ClientIP` asks.
    Client,
}

/// An address that several nodes serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The fellow that clients' frames of each bucket are led on to; None for those that stay.
    /// [`BUCKETS`](crate::BUCKETS), or empty: nothing is led on by bucket.
    pub buckets: Vec<Option<Arc<str>>>,
    /// The steps for packets that the node's conntrack does not know, with their buckets in ascending order. Buckets
    /// without steps are left out.
    pub steps: BTreeMap<Steps, Vec<u16>>,
    /// The part of a packet that its bucket is taken from.
    pub hash: HashBy,
}

impl Spread {
    /// The rules of the node named `own`, where the fellows that are not reached are left out, so that walks go on behind
    /// them. For an address that is not spread only the steps say something: one entry without buckets, or none.
    #[must_use]
    pub fn of(address: &Address, hash: HashBy, own: &str, reaches: impl Fn(&str) -> bool) -> Self {
        let mut address = address.clone();
        address.retain(|node| node == own || reaches(node));
        let mut buckets = address.buckets();
        for node in &mut buckets {
            node.take_if(|node| **node == *own);
        }
        if buckets.iter().all(Option::is_none) {
            buckets.clear();
        }
        let mut steps = address.steps(own);
        steps.remove(&Steps::default());
        Self { buckets, steps, hash }
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
