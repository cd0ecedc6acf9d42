// SPDX-License-Identifier: Apache-2.0
//! Another station answers for an address of ours: who it is, and what is probably wrong.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use cluster::model::Node;
use l2::MacAddress;

/// At most so many nodes are asked for their hardware address.
const ASKED: usize = 256;

/// Which of `nodes` has this hardware address, by the kernel's table of IPv4 neighbours. Nodes that are not
/// in it yet are sent an empty datagram, so that the kernel asks for them.
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
        let known = neighbours();
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

/// The kernel's complete IPv4 neighbours.
fn neighbours() -> Vec<(IpAddr, MacAddress)> {
    let table = std::fs::read_to_string("/proc/net/arp").unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            let address = columns.next()?.parse().ok()?;
            let mac = columns.nth(2)?.parse().ok()?;
            Some((address, mac))
        })
        .collect()
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
