// SPDX-License-Identifier: Apache-2.0
//! Routes of this host. Local routes make it take the traffic for the addresses that it owns (`--accept`); routes that discard take the
//! addresses of an aggregate that no Service owns (`--discard-aggregates`), so that no packet for an aggregate loops.
//!
//! The routes carry a protocol number of their own and a metric that names their owner, so that two programs on one host do not take each
//! other's routes for their own. A route that has both is ours: routes that an earlier run left behind are removed at the start, and all of
//! ours at the end. No other route is ever changed, replaced or removed, and an address that the host has itself gets no route: the kernel
//! would answer for the host's own address through a route that goes away with the Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use ownership::fnv::fnv1a;

/// The protocol number of our routes; numbers from 192 on are not assigned.
const PROTOCOL: u8 = 219;

/// The kernel's table of local addresses.
const TABLE_LOCAL: u8 = 255;

/// The kernel's main table.
const TABLE_MAIN: u8 = 254;

/// The base for the metrics of our routes, from which the owner's number is subtracted. Every other route to the same prefix comes first.
const LOWEST_PRIORITY: u32 = u32::MAX - 1;

/// The number of different metrics for owners.
const OWNERS: u32 = 1 << 24;

/// Linux's error numbers for a route that does not exist, and for one that exists already (errno(3)).
const GONE: [i32; 2] = [-3, -2];
const THERE: i32 = -17;

/// The effect of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// This host is the destination.
    Accept,
    /// Packets end here.
    Discard,
}

/// The reason why the routes are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum HostRoutesError {
    /// There is no netlink socket.
    #[error("netlink cannot be opened: {0}")]
    Open(#[from] std::io::Error),
    /// The kernel refused.
    #[error("the kernel refused a route: {0}")]
    Netlink(#[from] rtnetlink::Error),
}

/// The reason why a wanted prefix has no route of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this host has {prefix} itself (a route of type {kind} that ferrolb did not add); no route is added for it"
)]
pub struct Refusal {
    /// The prefix.
    pub prefix: IpNet,
    /// The type of the host's own route, in the words of ip-route(8).
    pub kind: String,
}

/// Keeps routes of one kind equal to the wanted set.
pub struct HostRoutes {
    action: RouteAction,
    metric: u32,
    handle: Handle,
    loopback: u32,
    present: BTreeSet<IpNet>,
    refused: BTreeMap<IpNet, Refusal>,
}

/// One entry of a dump of the kernel's routes.
struct Found {
    prefix: IpNet,
    ours: bool,
    message: RouteMessage,
}

impl HostRoutes {
    /// Removes the routes that an earlier run of the same owner left behind; to be called within a runtime. `owner` is a text that stays the
    /// same from run to run, and that no other program on this host uses.
    ///
    /// # Errors
    /// Netlink or the permission to change routes is missing.
    pub async fn start(action: RouteAction, owner: &str) -> Result<Self, HostRoutesError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let link = handle.link().get().match_name("lo".to_owned()).execute().try_next().await?;
        let loopback = link.map_or(1, |link| link.header.index);
        let (present, refused) = (BTreeSet::new(), BTreeMap::new());
        let metric = metric_of(owner);
        let routes = Self { action, metric, handle, loopback, present, refused };
        routes.sweep().await?;
        Ok(routes)
    }

    /// Adds and removes routes until exactly the `wanted` prefixes have one. A failed change is tried again with the next call, and so is an
    /// address that the host has itself ([`HostRoutes::refused`]).
    ///
    /// # Errors
    /// The first failure; the other routes are handled nevertheless.
    pub async fn set(&mut self, wanted: &BTreeSet<IpNet>) -> Result<(), HostRoutesError> {
        let mut result = Ok(());
        for prefix in self.present.difference(wanted).copied().collect::<Vec<_>>() {
            match self.remove(self.route(prefix)).await {
                Ok(()) => {
                    self.present.remove(&prefix);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        self.refused.clear();
        let missing: Vec<IpNet> = wanted.difference(&self.present).copied().collect();
        if missing.is_empty() {
            return result;
        }
        if self.action == RouteAction::Accept {
            self.refused = self.own(&missing).await?;
        }
        for prefix in missing {
            if self.refused.contains_key(&prefix) {
                continue;
            }
            match self.handle.route().add(self.route(prefix)).execute().await {
                Err(rtnetlink::Error::NetlinkError(error))
                    if error.code.is_some_and(|code| code.get() == THERE)
                        && self.is_present(prefix).await? =>
                {
                    self.present.insert(prefix);
                }
                Ok(()) => {
                    self.present.insert(prefix);
                }
                Err(error) => result = result.and(Err(error.into())),
            }
        }
        result
    }

    /// The wanted prefixes that have no route because the host has them itself.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<IpNet, Refusal> {
        &self.refused
    }

    /// Removes every route of ours.
    ///
    /// # Errors
    /// The first failure; the other routes are removed nevertheless.
    pub async fn sweep(&self) -> Result<(), HostRoutesError> {
        let mut result = Ok(());
        for found in self.table_entries().await?.into_iter().filter(|found| found.ours) {
            result = result.and(self.remove(found.message).await);
        }
        result
    }

    /// The prefixes of `wanted` that the host's table of local addresses has by itself: as the host's own address, or as a subnet's
    /// broadcast.
    async fn own(&self, wanted: &[IpNet]) -> Result<BTreeMap<IpNet, Refusal>, HostRoutesError> {
        let entries = self.table_entries().await?;
        let foreign = entries.iter().filter(|found| !found.ours && wanted.contains(&found.prefix));
        let refusal = |found: &Found| {
            let kind = format!("{:?}", found.message.header.kind).to_lowercase();
            (found.prefix, Refusal { prefix: found.prefix, kind })
        };
        // A prefix that another run of ours accepts does not belong to the host itself.
        let foreign = foreign.filter(|found| !is_of_ferrolb(&found.message.header));
        Ok(foreign.map(refusal).collect())
    }

    async fn is_present(&self, prefix: IpNet) -> Result<bool, HostRoutesError> {
        let entries = self.table_entries().await?;
        Ok(entries.iter().any(|found| found.ours && found.prefix == prefix))
    }

    async fn table_entries(&self) -> Result<Vec<Found>, HostRoutesError> {
        let mut entries = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut query = RouteMessage::default();
            query.header.address_family = family;
            let mut routes = self.handle.route().get(query).execute();
            while let Some(message) = routes.try_next().await? {
                if message.header.table != self.table() {
                    continue;
                }
                if let Some(prefix) = destination(&message) {
                    entries.push(Found { prefix, ours: self.is_ours(&message), message });
                }
            }
        }
        Ok(entries)
    }

    /// Removes a route of ours. A route that another program has removed counts as gone as well.
    async fn remove(&self, route: RouteMessage) -> Result<(), HostRoutesError> {
        match self.handle.route().del(route).execute().await {
            Err(rtnetlink::Error::NetlinkError(error))
                if error.code.is_some_and(|code| GONE.contains(&code.get())) =>
            {
                Ok(())
            }
            result => result.map_err(Into::into),
        }
    }

    /// The kernel removes a route only where all that is set here is equal, the protocol and the metric among it.
    fn route(&self, prefix: IpNet) -> RouteMessage {
        let mut route = match prefix {
            IpNet::V4(v4) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(v4.addr(), v4.prefix_len())
                .build(),
            IpNet::V6(v6) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(v6.addr(), v6.prefix_len())
                .build(),
        };
        route.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Table(_)));
        route.header.protocol = RouteProtocol::Other(PROTOCOL);
        route.header.table = self.table();
        route.attributes.push(RouteAttribute::Priority(self.metric));
        match self.action {
            RouteAction::Accept => {
                route.header.scope = RouteScope::Host;
                route.header.kind = RouteType::Local;
                route.attributes.push(RouteAttribute::Oif(self.loopback));
            }
            RouteAction::Discard => route.header.kind = RouteType::BlackHole,
        }
        route
    }

    fn table(&self) -> u8 {
        match self.action {
            RouteAction::Accept => TABLE_LOCAL,
            RouteAction::Discard => TABLE_MAIN,
        }
    }

    fn is_ours(&self, message: &RouteMessage) -> bool {
        is_of_ferrolb(&message.header)
            && message.attributes.contains(&RouteAttribute::Priority(self.metric))
    }
}

fn is_of_ferrolb(header: &RouteHeader) -> bool {
    header.protocol == RouteProtocol::Other(PROTOCOL)
}

/// The metric that names an owner: the same for every build.
fn metric_of(owner: &str) -> u32 {
    LOWEST_PRIORITY - fnv1a(owner.bytes()) % OWNERS
}

fn destination(message: &RouteMessage) -> Option<IpNet> {
    let length = message.header.destination_prefix_length;
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })?;
    IpNet::new(address, length).ok()
}
