// SPDX-License-Identifier: Apache-2.0
//! A session changes paths of the table before the peer is told of them, and withholds some.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::encode;
use crate::config::{Families, Family, Ipv6NextHop};
use crate::route::Attributes;
use crate::status::WithheldReason;
use crate::wire::NextHop;

/// Addresses of the interface towards the peer that can be next hops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHops {
    /// IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// Global IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// Link-local IPv6, if the peer is on the same link.
    pub link_local: Option<Ipv6Addr>,
}

impl NextHops {
    /// How the IPv6 addresses stand in MP_REACH_NLRI (RFC 2545 §3).
    pub(crate) fn as_ipv6(self, form: Ipv6NextHop) -> Option<NextHop> {
        let global = self.ipv6.or(self.link_local)?;
        let link_local = self.link_local.filter(|_| form == Ipv6NextHop::GlobalAndLinkLocal);
        Some(NextHop::Ipv6 { global, link_local })
    }
}

/// The rules by which a session changes paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Egress {
    pub(crate) local_asn: u32,
    pub(crate) internal: bool,
    pub(crate) four_octet_asn: bool,
    /// Families that we offer, and those that both do.
    pub(crate) offered: Families,
    pub(crate) families: Families,
    pub(crate) next_hop_ipv4: Option<NextHop>,
    pub(crate) next_hop_ipv6: Option<NextHop>,
    /// OTC must be added (RFC 9234 §5).
    pub(crate) only_to_customer: bool,
    /// GRACEFUL_SHUTDOWN is added (RFC 8326).
    pub(crate) drain: bool,
    pub(crate) enhanced_route_refresh: bool,
    /// The longest message.
    pub(crate) longest: usize,
}

impl Egress {
    pub(super) const fn next_hop(&self, family: Family) -> Option<NextHop> {
        match family {
            Family::Ipv4 => self.next_hop_ipv4,
            Family::Ipv6 => self.next_hop_ipv6,
        }
    }

    pub(super) fn withholds(&self, family: Family) -> Option<WithheldReason> {
        if !self.offered.contains(family) {
            Some(WithheldReason::NotOffered)
        } else if !self.families.contains(family) {
            Some(WithheldReason::NotNegotiated)
        } else if self.next_hop(family).is_none() {
            Some(WithheldReason::NoNextHop)
        } else {
            None
        }
    }

    /// The path that the peer is to have of this wish.
    pub(super) fn wanted<'a>(
        &self,
        prefix: &IpNet,
        attributes: &'a Arc<Attributes>,
    ) -> Option<&'a Arc<Attributes>> {
        let family = Family::of(prefix);
        (self.withholds(family).is_none() && encode::fits(self, attributes)).then_some(attributes)
    }
}
