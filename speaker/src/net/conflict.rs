// SPDX-License-Identifier: Apache-2.0
//! Another station answers for an address of ours: who it is, and what is probably wrong.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use cluster::model::Node;
use futures::TryStreamExt;
use l2::MacAddress;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute};

/// At most so many nodes are asked for their hardware address.
const ASKED: usize = 256;

/// Which of `nodes` has this hardware address, by the kernel's tables of neighbours. Nodes that are not
/// in them yet are sent an empty datagram, so that the kernel asks for them.
pub async fn stations(
    nodes: &BTreeMap<Arc<str>, Node>,
    hardware_address: MacAddress,
) -> Option<Arc<str>> {
    let addresses: Vec<(Arc<str>, IpAddr)> = nodes
        .iter()
        .flat_map(|(name, node)| {
            node.internal_addresses.iter().map(|address| (Arc::clone(name), *address))
        })
        .take(ASKED)
        .collect();
    for attempt in 0..4 {
        let known = neighbours().await;
        let found = addresses.iter().find(|(_, address)| {
            known.iter().any(|(ip, mac)| ip == address && *mac == hardware_address)
        });
        if let Some((name, _)) = found {
            return Some(Arc::clone(name));
        }
        if attempt == 0 {
            for (_, address) in &addresses {
                ask(*address);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

/// The neighbours whose hardware address the kernel knows; none where it does not say.
async fn neighbours() -> Vec<(IpAddr, MacAddress)> {
    let Ok((connection, handle, _)) = rtnetlink::new_connection() else { return Vec::new() };
    let connection = tokio::spawn(connection);
    let mut entries = handle.neighbours().get().execute();
    let mut known = Vec::new();
    while let Ok(Some(entry)) = entries.try_next().await {
        let (mut address, mut hardware_address) = (None, None);
        for attribute in entry.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                    address = Some(IpAddr::V4(v4));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                    address = Some(IpAddr::V6(v6));
                }
                NeighbourAttribute::LinkLayerAddress(octets) => {
                    hardware_address = <[u8; 6]>::try_from(octets).ok().map(MacAddress);
                }
                _ => {}
            }
        }
        known.extend(address.zip(hardware_address));
    }
    connection.abort();
    known
}

fn ask(address: IpAddr) {
    let any: IpAddr = match address {
        IpAddr::V4(_) => [0, 0, 0, 0].into(),
        IpAddr::V6(_) => [0_u16; 8].into(),
    };
    // Only the question for the hardware address matters; that nobody listens on the discard port is fine.
    if let Ok(socket) = UdpSocket::bind(SocketAddr::new(any, 0)) {
        let _ = socket.send_to(&[], SocketAddr::new(address, 9));
    }
}

/// The text for people.
#[must_use]
pub fn describe(
    address: IpAddr,
    interface: &str,
    hardware_address: MacAddress,
    node: Option<&str>,
) -> String {
    let who = match node {
        Some(node) => format!(
            "node {node} ({hardware_address}): strictARP is probably off in its kube-proxy (IPVS), or a second load balancer is at work there"
        ),
        None => format!(
            "{hardware_address}: another machine or a second load balancer uses this address"
        ),
    };
    format!("address \"{address}\" is also answered on interface {interface} by {who}")
}
