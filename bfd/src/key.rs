// SPDX-License-Identifier: Apache-2.0
//! What tells one session from another before there are discriminators: RFC 5881 section 3, RFC 5883 section 4.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// How far the peer is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hops {
    /// On the same link (RFC 5881).
    Single,
    /// Behind routers (RFC 5883).
    Multi,
}

/// A session as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The address of the other side.
    pub peer: IpAddr,
    /// Our address; `None` leaves the choice to the kernel.
    pub local: Option<IpAddr>,
    /// The VRF device or the egress interface, to which the sockets are bound; needed for a link-local peer.
    pub interface: Option<Arc<str>>,
    /// Single hop or multihop.
    pub hops: Hops,
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.peer)?;
        if let Some(interface) = &self.interface {
            write!(f, "%{interface}")?;
        }
        if let Some(local) = self.local {
            write!(f, " from {local}")?;
        }
        match self.hops {
            Hops::Single => Ok(()),
            Hops::Multi => write!(f, " multihop"),
        }
    }
}
