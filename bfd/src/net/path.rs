// SPDX-License-Identifier: Apache-2.0
//! The way to a peer, which decides between RFC 5881 and RFC 5883: single hop when the peer is on-link.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteType, RouteVia};

use super::{interface, netlink};

/// How packets to a peer leave this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The egress interface.
    pub interface: Arc<str>,
    /// Its index.
    pub index: u32,
    /// The source address that the kernel chooses, or the one asked with.
    pub local: Option<IpAddr>,
    /// Whether the peer is on the egress interface's link.
    pub on_link: bool,
    /// The router in between, when it is not.
    pub gateway: Option<IpAddr>,
}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// The interface or VRF device does not exist.
    #[error("no interface {0}")]
    NoInterface(String),
    /// There is no route, or one that refuses.
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    /// The kernel could not be asked.
    #[error("asking for the route to {peer} failed: {error}")]
    Netlink {
        /// To whom.
        peer: IpAddr,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// Asks the kernel for the route to `peer`, from `source` and within `interface` (a VRF device or a link; needed for a link-local
/// peer) where these are given. Works on the calling thread, takes some microseconds and needs no privilege.
pub fn path(
    peer: IpAddr,
    source: Option<IpAddr>,
    interface: Option<&str>,
) -> Result<Path, PathError> {
    let index = match interface {
        None => None,
        Some(name) => {
            Some(interface::index(name).ok_or_else(|| PathError::NoInterface(name.to_owned()))?)
        }
    };
    let route =
        netlink::route(peer, source, index).map_err(|error| match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => {
                PathError::NoRoute(peer)
            }
            _ => PathError::Netlink { peer, error },
        })?;
    if !matches!(route.header.kind, RouteType::Unicast | RouteType::Local) {
        return Err(PathError::NoRoute(peer));
    }
    let (mut egress, mut local, mut gateway) = (None, source, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => egress = Some(*index),
            RouteAttribute::PrefSource(address) => local = local.or_else(|| plain(address)),
            RouteAttribute::Gateway(address) => gateway = plain(address),
            RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet(address)) => gateway = Some((*address).into()),
            _ => {}
        }
    }
    let index = egress.ok_or(PathError::NoRoute(peer))?;
    let name = interface::name(index).ok_or(PathError::NoRoute(peer))?;
    Ok(Path { interface: name.into(), index, local, on_link: gateway.is_none(), gateway })
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
