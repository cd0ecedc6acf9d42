// SPDX-License-Identifier: Apache-2.0
//! A flow of UDP, by what tells a client's datagrams from others.

use std::net::IpAddr;

/// A flow of UDP of an address. The port of the Service is not part of it: flows of one client's port to several ports of an
/// address move together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The address that datagrams are sent to.
    pub address: IpAddr,
    /// The address that they come from, of the same family.
    pub client: IpAddr,
    /// The port that they come from.
    pub client_port: u16,
}

/// The flows of UDP of all addresses that a node is told, and that it tells another node, at most. The kernel takes
/// 65,535 of each version of IP into such a set, with those that have just run out.
pub const MOST_FLOWS: usize = 60_000;

/// Flows of UDP of one address, as the node that has them tells another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldFlows {
    /// The address that datagrams are sent to.
    pub address: IpAddr,
    /// The generation of the order that made the node tell.
    pub generation: u64,
    /// The place that each flow comes from, of the same family as the address.
    pub clients: Vec<(IpAddr, u16)>,
}
