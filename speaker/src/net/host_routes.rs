// SPDX-License-Identifier: Apache-2.0
//! Routes of this host: local ones, so that it takes the traffic for the addresses that it owns (`--accept`), and ones that
//! discard what no Service owns within an aggregate (`--discard-aggregates`), so that an aggregate loops no packets.
//!
//! The routes carry a protocol number of their own. Whatever has it and is not wanted is removed: at the
//! start what an earlier run left behind, at the end everything.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

/// The protocol number of our routes; numbers from 192 on are nobody's.
const PROTOCOL: u8 = 219;

/// The kernel's table of local addresses.
const TABLE_LOCAL: u8 = 255;

/// The metric of routes that discard: every other route to the same prefix comes first.
const LAST: u32 = u32::MAX - 1;

/// The kernel's main table.
const TABLE_MAIN: u8 = 254;

/// What the routes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// This host is the destination.
    Accept,
    /// Packets end here.
    Discard,
}

/// Why the routes are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum HostRoutesError {
    /// There is no netlink socket.
    #[error("netlink cannot be opened: {0}")]
    Open(#[from] std::io::Error),
    /// The kernel refused.
    #[error("the kernel refused a route: {0}")]
    Netlink(#[from] rtnetlink::Error),
}

/// Keeps routes of one sort equal to what is wanted.
pub struct HostRoutes {
    action: RouteAction,
    handle: Handle,
    loopback: u32,
    present: BTreeSet<IpNet>,
}

impl HostRoutes {
    /// Removes what an earlier run left behind; call it within a runtime.
    ///
    /// # Errors
    /// When netlink or the permission to change routes is missing.
    pub async fn start(action: RouteAction) -> Result<Self, HostRoutesError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let link = handle.link().get().match_name("lo".to_owned()).execute().try_next().await?;
        let loopback = link.map_or(1, |link| link.header.index);
        let routes = Self { action, handle, loopback, present: BTreeSet::new() };
        routes.sweep().await?;
        Ok(routes)
    }

    /// Adds and removes routes until exactly `wanted` have one; what fails is tried with the next change.
    ///
    /// # Errors
    /// The first failure; the other routes are seen to nevertheless.
    pub async fn set(&mut self, wanted: &BTreeSet<IpNet>) -> Result<(), HostRoutesError> {
        let mut result = Ok(());
        for prefix in self.present.difference(wanted).copied().collect::<Vec<_>>() {
            match self.handle.route().del(self.route(prefix)).execute().await {
                Ok(()) => {
                    self.present.remove(&prefix);
                }
                Err(error) => result = result.and(Err(error.into())),
            }
        }
        for prefix in wanted.difference(&self.present).copied().collect::<Vec<_>>() {
            let request = self.handle.route().add(self.route(prefix));
            // A route that discards must never take the place of one that leads somewhere.
            let request = match self.action {
                RouteAction::Accept => request.replace(),
                RouteAction::Discard => request,
            };
            match request.execute().await {
                Ok(()) => {
                    self.present.insert(prefix);
                }
                Err(error) => result = result.and(Err(error.into())),
            }
        }
        result
    }

    /// Removes every route of ours.
    ///
    /// # Errors
    /// The first failure; the other routes are removed nevertheless.
    pub async fn sweep(&self) -> Result<(), HostRoutesError> {
        let mut result = Ok(());
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut query = RouteMessage::default();
            query.header.address_family = family;
            let mut routes = self.handle.route().get(query).execute();
            let mut ours = Vec::new();
            while let Some(route) = routes.try_next().await? {
                if self.is_ours(&route.header) {
                    ours.push(route);
                }
            }
            for route in ours {
                if let Err(error) = self.handle.route().del(route).execute().await {
                    result = result.and(Err(error.into()));
                }
            }
        }
        result
    }

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
        match self.action {
            RouteAction::Accept => {
                route.header.scope = RouteScope::Host;
                route.header.kind = RouteType::Local;
                route.attributes.push(RouteAttribute::Oif(self.loopback));
            }
            RouteAction::Discard => {
                route.header.kind = RouteType::BlackHole;
                route.attributes.push(RouteAttribute::Priority(LAST));
            }
        }
        route
    }

    fn table(&self) -> u8 {
        match self.action {
            RouteAction::Accept => TABLE_LOCAL,
            RouteAction::Discard => TABLE_MAIN,
        }
    }

    fn is_ours(&self, header: &RouteHeader) -> bool {
        header.table == self.table() && header.protocol == RouteProtocol::Other(PROTOCOL)
    }
}
