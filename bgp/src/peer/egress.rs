// SPDX-License-Identifier: Apache-2.0
//! What the session that is up does to paths: next hops above all.

use std::net::{IpAddr, Ipv6Addr};

use super::{NextHops, Peer};
use crate::adj_rib_out::Egress;
use crate::config::{Ipv6NextHop, Role};
use crate::wire::{LONGEST, LONGEST_EXTENDED, NextHop};

impl Peer {
    pub(super) fn renew_egress(&mut self) {
        if let Some(egress) = self.egress() {
            self.rib.set_egress(egress);
        }
    }

    pub(super) fn egress(&self) -> Option<Egress> {
        let session = self.up.and_then(|direction| self.session(direction))?;
        let negotiated = session.negotiated()?;
        let (local, _) = session.addresses()?;
        let next_hop_ipv6 = ipv6(local.ip(), self.next_hops, self.config.ipv6_next_hop);
        let next_hop_ipv4 = match local.ip() {
            IpAddr::V4(address) => Some(NextHop::Ipv4(address)),
            IpAddr::V6(_) if negotiated.extended_next_hop => next_hop_ipv6,
            IpAddr::V6(_) => self.next_hops.ipv4.map(NextHop::Ipv4),
        };
        // RFC 9234 §5: what goes to customers, peers and clients of a route server is marked.
        let marks = |role| matches!(role, Role::Provider | Role::Peer | Role::RouteServer);
        let only_to_customer =
            !negotiated.internal && self.config.role.is_some_and(|policy| marks(policy.role));
        Some(Egress {
            local_asn: self.config.local_asn,
            internal: negotiated.internal,
            four_octet_asn: negotiated.four_octet_asn,
            offered: self.config.families,
            families: negotiated.families,
            next_hop_ipv4,
            next_hop_ipv6,
            only_to_customer,
            drain: self.drain,
            enhanced_route_refresh: negotiated.enhanced_route_refresh,
            longest: if negotiated.extended_message { LONGEST_EXTENDED } else { LONGEST },
        })
    }
}

/// Our end of an IPv6 session first, then what the interface has (RFC 2545 §3).
fn ipv6(local: IpAddr, mut interface: NextHops, form: Ipv6NextHop) -> Option<NextHop> {
    if let IpAddr::V6(local) = local {
        if is_link_local(local) {
            interface.link_local = Some(local);
        } else {
            interface.ipv6 = Some(local);
        }
    }
    interface.as_ipv6(form)
}

const fn is_link_local(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_address_comes_before_those_of_the_interface() {
        let (own, other): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let link: Ipv6Addr = "fe80::1".parse().unwrap();
        let interface = |ipv6, link_local| NextHops { ipv4: None, ipv6, link_local };
        let next_hop = |global, link_local| Some(NextHop::Ipv6 { global, link_local });
        let both = |local, hops| ipv6(local, hops, Ipv6NextHop::GlobalAndLinkLocal);
        let v4 = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(both(own.into(), interface(Some(other), None)), next_hop(own, None));
        assert_eq!(both(own.into(), interface(None, Some(link))), next_hop(own, Some(link)));
        assert_eq!(both(link.into(), interface(Some(other), None)), next_hop(other, Some(link)));
        assert_eq!(both(link.into(), interface(None, None)), next_hop(link, Some(link)));
        assert_eq!(both(v4, interface(Some(other), None)), next_hop(other, None));
        assert_eq!(both(v4, interface(None, None)), None);
        let global = |local, hops| ipv6(local, hops, Ipv6NextHop::Global);
        assert_eq!(global(own.into(), interface(None, Some(link))), next_hop(own, None));
        assert_eq!(global(link.into(), interface(Some(other), None)), next_hop(other, None));
        assert_eq!(global(link.into(), interface(None, None)), next_hop(link, None));
        assert_eq!(global(v4, interface(None, Some(link))), next_hop(link, None));
        assert_eq!(global(v4, interface(None, None)), None);
    }
}
