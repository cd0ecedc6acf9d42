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
