// SPDX-License-Identifier: Apache-2.0
//! One address that several nodes serve, each some of its buckets: what one node does with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::history::Steps;

/// An address that several nodes serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The fellow that clients' frames of each bucket are led on to; None for those that stay. 1,024
    /// ([`BUCKETS`](crate::BUCKETS)), or empty: nothing is led on by bucket. Further ones are not looked at.
    pub buckets: Vec<Option<Arc<str>>>,
    /// The steps for packets that the node's conntrack does not know, with their buckets in ascending order. Buckets without
    /// steps are left out.
    pub steps: BTreeMap<Steps, Vec<u16>>,
    /// The part of a packet that its bucket is taken from.
    pub hash: HashBy,
}

/// The part of a packet that its bucket is taken from. Packets of other protocols than TCP and UDP have no bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashBy {
    /// TCP by the client's address and port, UDP by the client's address alone, since fragments have no ports.
    #[default]
    Connection,
    /// TCP and UDP by the client's address and port. A datagram that comes in fragments is lost.
    ConnectionAndDatagram,
    /// TCP and UDP by the client's address (`sessionAffinity: ClientIP`).
    Client,
}
