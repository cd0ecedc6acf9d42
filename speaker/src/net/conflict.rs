// SPDX-License-Identifier: Apache-2.0
//! Reports on another station that answers for an address of ours: the owner of its hardware address, and the probable fault. One task
//! handles one claim at a time, beside the program's loop; the core, the queue and the memory bound the work that a stranger on the link can
//! cause.
//!
//! ```text
//! Fact::Conflict ──> ConflictReporter::claim ──> queue of 16 ──> task: look up, tell
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::model::Node;
use futures::TryStreamExt;
use l2::MacAddress;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute};
use tokio::sync::mpsc;

use crate::core::RivalClaim;
use clock::now;

/// The number of node addresses that are asked for their hardware address, at most.
const ASKED_LIMIT: usize = 256;
/// The time after which nodes are asked again, and the owner of a hardware address is looked up again.
const KNOWN_TIME: Duration = Duration::from_secs(60);
/// The number of hardware addresses that are remembered, at most.
const STATION_LIMIT: usize = 256;
/// The number of claims that wait, at most; further claims are not told.
const WAITING_LIMIT: usize = 16;
/// A report on a claim.
#[derive(Debug)]
pub struct ConflictReport<T> {
    /// The claim.
    pub claim: RivalClaim,
    /// The caller's own data, given with the claim.
    pub payload: T,
    /// The node that has the hardware address.
    pub node: Option<Arc<str>>,
    /// The text for people.
    pub message: String,
}

/// Takes claims in, and reports on the stations behind them.
#[derive(Debug)]
pub struct ConflictReporter<T> {
    queue: mpsc::Sender<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    claim: RivalClaim,
    payload: T,
    nodes: Vec<(Arc<str>, IpAddr)>,
}

impl<T: Send + 'static> ConflictReporter<T> {
    /// Starts the task; to be called within a runtime. `tell` is called with each report.
    #[must_use]
    pub fn start(tell: impl Fn(ConflictReport<T>) + Send + 'static) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Waiting<T>>(WAITING_LIMIT);
        tokio::spawn(async move {
            let mut stations = Stations::default();
            while let Some(Waiting { claim, payload, nodes }) = waiting.recv().await {
                let node = stations.find(&nodes, claim.hardware_address).await;
                let message = describe(&claim, node.as_deref());
                tell(ConflictReport { claim, payload, node, message });
            }
        });
        Self { queue }
    }

    /// A station claims an address of ours. While too many claims wait this one is not told.
    pub fn claim(&self, claim: RivalClaim, nodes: &BTreeMap<Arc<str>, Node>, payload: T) {
        let addresses = nodes.iter().flat_map(|(name, node)| {
            node.internal_addresses.iter().map(|address| (Arc::clone(name), *address))
        });
        let nodes = addresses.take(ASKED_LIMIT).collect();
        let address = claim.address;
        if self.queue.try_send(Waiting { claim, payload, nodes }).is_err() {
            tracing::debug!(%address, "too many conflicts at once: this one is not told");
        }
    }
}

/// The owners of hardware addresses.
#[derive(Debug, Default)]
struct Stations {
    known: BTreeMap<MacAddress, (Option<Arc<str>>, Instant)>,
    asked: Option<Instant>,
}

impl Stations {
    /// The node that has this hardware address, by the kernel's tables of neighbours. Nodes that are not in the tables yet are sent an empty
    /// datagram once in a while, so that the kernel asks for their hardware addresses.
    async fn find(
        &mut self,
        nodes: &[(Arc<str>, IpAddr)],
        hardware_address: MacAddress,
    ) -> Option<Arc<str>> {
        let at = now();
        self.known.retain(|_, (_, since)| at.saturating_duration_since(*since) < KNOWN_TIME);
        if let Some((node, _)) = self.known.get(&hardware_address) {
            return node.clone();
        }
        let mut found = owner(nodes, hardware_address).await;
        let may_ask =
            self.asked.is_none_or(|asked| at.saturating_duration_since(asked) >= KNOWN_TIME);
        if found.is_none() && may_ask {
            self.asked = Some(at);
            for (_, address) in nodes {
                ask(*address);
            }
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                found = owner(nodes, hardware_address).await;
                if found.is_some() {
                    break;
                }
            }
        }
        if self.known.len() >= STATION_LIMIT {
            self.known.clear();
        }
        self.known.insert(hardware_address, (found.clone(), at));
        found
    }
}

async fn owner(nodes: &[(Arc<str>, IpAddr)], hardware_address: MacAddress) -> Option<Arc<str>> {
    let known = neighbours().await;
    let is_of =
        |address: &IpAddr| known.iter().any(|(ip, mac)| ip == address && *mac == hardware_address);
    nodes.iter().find(|(_, address)| is_of(address)).map(|(name, _)| Arc::clone(name))
}

/// The neighbours whose hardware address the kernel knows; none where the kernel cannot be asked.
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
    // Only the kernel's query for the hardware address matters; nobody has to listen on the discard port.
    if let Ok(socket) = UdpSocket::bind(SocketAddr::new(any, 0)) {
        let _ = socket.send_to(&[], SocketAddr::new(address, 9));
    }
}

fn describe(claim: &RivalClaim, node: Option<&str>) -> String {
    let RivalClaim { address, interface, hardware_address, untold } = claim;
    let who = match node {
        Some(node) => format!(
            "node {node} ({hardware_address}): strictARP is probably off in its kube-proxy (IPVS), or a second load balancer is at work there"
        ),
        None => format!(
            "{hardware_address}: another machine or a second load balancer uses this address"
        ),
    };
    let others = match *untold {
        0 => String::new(),
        count => format!(" ({count} more claims were not told)"),
    };
    format!("address \"{address}\" is also answered on interface {interface} by {who}{others}")
}
