// SPDX-License-Identifier: Apache-2.0
//! Which links get which responders: a pure function from the facts about a link. Not the monitoring of links (`net::netlink`).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::{MacAddress, Options, Protocol};

/// What netlink says of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct LinkFacts {
    /// The interface index.
    pub index: u32,
    /// The interface name.
    pub name: Arc<str>,
    /// Its hardware address, where it has one of six octets.
    pub hardware_address: Option<MacAddress>,
    /// Whether its hardware type is ARPHRD_ETHER.
    pub ethernet: bool,
    /// IFF_UP: switched on.
    pub up: bool,
    /// IFF_LOWER_UP: something is at the other end.
    pub carrier: bool,
    /// IFF_BROADCAST.
    pub broadcast: bool,
    /// IFF_NOARP.
    pub no_arp: bool,
    /// The bridge, bond or VRF that it belongs to, by name or, when unknown, by index.
    pub master: Option<Arc<str>>,
    /// The link-local address to speak from, when one is usable (neither tentative nor failed).
    pub link_local: Option<Ipv6Addr>,
    /// The addresses that it has, with their prefix lengths, without link-local ones.
    pub addresses: Arc<[(IpAddr, u8)]>,
}

/// Why a link has no responder of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoResponder {
    /// Its name matches the exclusion.
    Excluded,
    /// It is switched off.
    Down,
    /// It is a port of something else, which is the link to speak on.
    Enslaved {
        /// The bridge, bond or VRF.
        master: Arc<str>,
    },
    /// It is marked NOARP.
    NoArp,
    /// It is no Ethernet (loopback, tunnels, InfiniBand).
    NotEthernet,
    /// It cannot broadcast: no ARP.
    NotBroadcast,
    /// It has no usable IPv6 link-local address: no NDP.
    NoLinkLocal,
}

/// What a link gets: a responder, or the reason for none, for each protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSupport {
    /// Against ARP.
    pub arp: Option<NoResponder>,
    /// Against NDP.
    pub ndp: Option<NoResponder>,
}

/// One link as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// The interface name.
    pub name: Arc<str>,
    /// The interface index.
    pub index: u32,
    /// Its hardware address.
    pub hardware_address: Option<MacAddress>,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether something is at the other end. A link without carrier keeps its responders.
    pub carrier: bool,
    /// The addresses that it has, with their prefix lengths, without link-local ones.
    pub addresses: Arc<[(IpAddr, u8)]>,
    /// Whether ARP is answered on it.
    pub arp: bool,
    /// Whether NDP is answered on it.
    pub ndp: bool,
    /// Why ARP is not.
    pub arp_reason: Option<NoResponder>,
    /// Why NDP is not.
    pub ndp_reason: Option<NoResponder>,
}

impl LinkFacts {
    /// Decides, in MetalLB's order, who answers here.
    #[must_use]
    pub fn verdict(&self, options: &Options) -> LinkSupport {
        if let Some(reason) = self.nothing_at_all(options) {
            return LinkSupport { arp: Some(reason.clone()), ndp: Some(reason) };
        }
        LinkSupport {
            arp: (!self.broadcast).then_some(NoResponder::NotBroadcast),
            ndp: self.link_local.is_none().then_some(NoResponder::NoLinkLocal),
        }
    }

    fn nothing_at_all(&self, options: &Options) -> Option<NoResponder> {
        if options.exclude.as_ref().is_some_and(|exclude| exclude.is_match(&self.name)) {
            Some(NoResponder::Excluded)
        } else if !self.up {
            Some(NoResponder::Down)
        } else if let Some(master) = &self.master {
            Some(NoResponder::Enslaved { master: Arc::clone(master) })
        } else if self.no_arp {
            Some(NoResponder::NoArp)
        } else if !self.ethernet || self.hardware_address.is_none() {
            Some(NoResponder::NotEthernet)
        } else {
            None
        }
    }

    /// The report of this link.
    #[must_use]
    pub fn report(&self, verdict: &LinkSupport) -> LinkReport {
        LinkReport {
            name: Arc::clone(&self.name),
            index: self.index,
            hardware_address: self.hardware_address,
            up: self.up,
            carrier: self.carrier,
            addresses: Arc::clone(&self.addresses),
            arp: verdict.has(Protocol::Arp),
            ndp: verdict.has(Protocol::Ndp),
            arp_reason: verdict.arp.clone(),
            ndp_reason: verdict.ndp.clone(),
        }
    }
}

impl LinkSupport {
    /// Whether the link has a responder of this protocol.
    #[must_use]
    pub const fn has(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Arp => self.arp.is_none(),
            Protocol::Ndp => self.ndp.is_none(),
        }
    }
}

impl LinkReport {
    /// Why nothing at all is answered here; `None` when there is a responder of either protocol.
    #[must_use]
    pub fn reason(&self) -> Option<&NoResponder> {
        if self.arp || self.ndp { None } else { self.arp_reason.as_ref() }
    }
}

impl fmt::Display for NoResponder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excluded => f.write_str("its name matches the exclusion"),
            Self::Down => f.write_str("the link is down"),
            Self::Enslaved { master } => write!(f, "it is a port of {master}"),
            Self::NoArp => f.write_str("it is marked NOARP"),
            Self::NotEthernet => f.write_str("it is not Ethernet"),
            Self::NotBroadcast => f.write_str("it cannot broadcast"),
            Self::NoLinkLocal => f.write_str("it has no usable IPv6 link-local address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> LinkFacts {
        LinkFacts {
            index: 2,
            name: "eth0".into(),
            hardware_address: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            ethernet: true,
            up: true,
            carrier: true,
            broadcast: true,
            no_arp: false,
            master: None,
            link_local: Some("fe80::1".parse().unwrap()),
            addresses: Arc::default(),
        }
    }

    fn both(reason: NoResponder) -> LinkSupport {
        LinkSupport { arp: Some(reason.clone()), ndp: Some(reason) }
    }

    #[test]
    fn a_plain_ethernet_link_gets_both() {
        assert_eq!(good().verdict(&Options::default()), LinkSupport { arp: None, ndp: None });
    }

    #[test]
    fn the_first_reason_in_order_is_told() {
        let options = Options {
            exclude: Some(regex::Regex::new("(^veth.*)|(th0$)").unwrap()),
            ..Options::default()
        };
        let mut link = LinkFacts {
            up: false,
            no_arp: true,
            master: Some("br0".into()),
            ethernet: false,
            ..good()
        };
        assert_eq!(link.verdict(&options), both(NoResponder::Excluded));
        let options = Options::default();
        assert_eq!(link.verdict(&options), both(NoResponder::Down));
        link.up = true;
        assert_eq!(link.verdict(&options), both(NoResponder::Enslaved { master: "br0".into() }));
        link.master = None;
        assert_eq!(link.verdict(&options), both(NoResponder::NoArp));
        link.no_arp = false;
        assert_eq!(link.verdict(&options), both(NoResponder::NotEthernet));
    }

    #[test]
    fn each_protocol_has_its_own_need() {
        let link = LinkFacts { broadcast: false, ..good() };
        assert_eq!(
            link.verdict(&Options::default()),
            LinkSupport { arp: Some(NoResponder::NotBroadcast), ndp: None }
        );
        let link = LinkFacts { link_local: None, ..good() };
        let verdict = link.verdict(&Options::default());
        assert_eq!(verdict, LinkSupport { arp: None, ndp: Some(NoResponder::NoLinkLocal) });
        assert_eq!(link.report(&verdict).reason(), None);
    }

    #[test]
    fn loss_of_carrier_is_reported_but_keeps_the_responders() {
        let link = LinkFacts { carrier: false, ..good() };
        let report = link.report(&link.verdict(&Options::default()));
        assert!(report.arp && report.ndp && !report.carrier);
    }
}
