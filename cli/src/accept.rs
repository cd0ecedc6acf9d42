// SPDX-License-Identifier: Apache-2.0
//! `--accept`: local routes, so that this host takes the traffic for the addresses that it owns.
//!
//! The routes carry a protocol number of their own. Whatever has it and is not wanted is removed: at the
//! start what an earlier run left behind, at the end everything.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

/// The protocol number of our routes; numbers from 192 on are nobody's.
const PROTOCOL: u8 = 219;

/// The kernel's table of local addresses.
const TABLE_LOCAL: u8 = 255;

/// Keeps local routes equal to the owned addresses.
pub struct LocalRoutes {
    handle: Handle,
    loopback: u32,
    present: BTreeSet<IpAddr>,
}

impl LocalRoutes {
    /// Removes what an earlier run left behind; call it within a runtime.
    ///
    /// # Errors
    /// When netlink or the permission to change routes is missing.
    pub async fn start() -> anyhow::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let link = handle.link().get().match_name("lo".to_owned()).execute().try_next().await?;
        let loopback = link.map_or(1, |link| link.header.index);
        let routes = Self { handle, loopback, present: BTreeSet::new() };
        routes.sweep().await?;
        Ok(routes)
    }

    /// Adds and removes routes until exactly `wanted` have one; what fails is tried with the next change.
    ///
    /// # Errors
    /// The first failure; the other routes are seen to nevertheless.
    pub async fn set(&mut self, wanted: &BTreeSet<IpAddr>) -> anyhow::Result<()> {
        let mut result = Ok(());
        for address in self.present.difference(wanted).copied().collect::<Vec<_>>() {
            match self.handle.route().del(self.route(address)).execute().await {
                Ok(()) => {
                    self.present.remove(&address);
                }
                Err(error) => result = result.and(Err(error.into())),
            }
        }
        for address in wanted.difference(&self.present).copied().collect::<Vec<_>>() {
            match self.handle.route().add(self.route(address)).replace().execute().await {
                Ok(()) => {
                    self.present.insert(address);
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
    pub async fn sweep(&self) -> anyhow::Result<()> {
        let mut result = Ok(());
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut query = RouteMessage::default();
            query.header.address_family = family;
            let mut routes = self.handle.route().get(query).execute();
            let mut ours = Vec::new();
            while let Some(route) = routes.try_next().await? {
                if is_ours(&route.header) {
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

    fn route(&self, address: IpAddr) -> RouteMessage {
        let mut route = match address {
            IpAddr::V4(v4) => {
                RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(v4, 32).build()
            }
            IpAddr::V6(v6) => {
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(v6, 128).build()
            }
        };
        route.header.table = TABLE_LOCAL;
        route.header.protocol = RouteProtocol::Other(PROTOCOL);
        route.header.scope = RouteScope::Host;
        route.header.kind = RouteType::Local;
        route.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Table(_)));
        route.attributes.push(RouteAttribute::Oif(self.loopback));
        route
    }
}

fn is_ours(header: &RouteHeader) -> bool {
    header.table == TABLE_LOCAL && header.protocol == RouteProtocol::Other(PROTOCOL)
}
