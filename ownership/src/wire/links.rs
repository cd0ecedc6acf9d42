// SPDX-License-Identifier: Apache-2.0
//! A speaker's account of its node's links, by which every other speaker finds out for any address whether that node has a link for it. The
//! links that count depend on Service and advertisements, which each speaker reads from the API.
//!
//! ```text
//!   flags of the node (1: 1 a link carries and has ARP, 2 one carries and has NDP, 4 the node has an InternalIP)
//!   each link: length of its name (1), name, flags (1: 1 carries and has ARP, 2 carries and has NDP, 4 has an InternalIP), networks (1),
//!              each network: length (1: 0 to 32, IPv6 33 to 161), as many octets as the length needs
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cluster::model::Node;
use crds::config::Config;
use ipnet::IpNet;
use l2::{LinkReport, NoResponder};

const ARP: u8 = 1;
const NDP: u8 = 2;
const INTERNAL: u8 = 4;
/// Added to the length of an IPv6 network.
const IPV6: u8 = 33;

/// A speaker's account of its node's links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodeLinks {
    /// The speaker is of a build that does not publish links.
    Unknown,
    /// The speaker has not published its links yet, or they do not fit.
    #[default]
    Unsaid,
    /// These links.
    Said(Links),
}

/// The links of a node that count for some address, and the families for which the node has any working link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    any: Works,
    /// True if the node has an InternalIP: then addresses of an `ExternalIPPool` are announced on the links that have it.
    internal: bool,
    links: Vec<Link>,
}

/// The families for which a link has carrier and is answered on: ARP for IPv4, NDP for IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Works {
    arp: bool,
    ndp: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    name: Box<str>,
    works: Works,
    /// True if the link has an InternalIP of the node.
    internal: bool,
    /// The link's subnets that contain addresses of some pool.
    networks: Vec<IpNet>,
}

/// The links of a node on which an address may be announced.
#[derive(Clone, Copy)]
pub enum Allowed<'a> {
    /// All links.
    Any,
    /// The links whose names fit.
    Named(&'a dyn Fn(&str) -> bool),
    /// The links with an InternalIP of the node; where the node has no such address, all links.
    Internal,
}

impl NodeLinks {
    /// The account of this node: each link that has a subnet with addresses of a pool, that an advertisement names, or that has an InternalIP
    /// while there is an `ExternalIPPool`.
    #[must_use]
    pub fn of(config: &Config, links: &[LinkReport], node: Option<&Node>) -> Self {
        let transport = transport(node, links);
        let external =
            !config.external_pools.is_empty() || !config.invalid_external_pools.is_empty();
        let any = links.iter().map(Works::of).fold(Works::default(), Works::or);
        let named = |name: &str| {
            config.l2_advertisements.values().any(|advertisement| {
                advertisement.interfaces.iter().any(|interface| **interface == *name)
            })
        };
        let told = |link: &LinkReport| {
            let internal = transport.as_ref().is_some_and(|names| names.contains(&*link.name));
            let networks = networks(config, link);
            let counts = !networks.is_empty() || internal && external || named(&link.name);
            let (works, name) = (Works::of(link), (*link.name).into());
            counts.then_some(Link { name, works, internal, networks })
        };
        let mut links: Vec<Link> = links.iter().filter_map(told).collect();
        links.sort_by(|one, other| one.name.cmp(&other.name));
        Self::Said(Links { any, internal: transport.is_some(), links })
    }

    /// Unsaid if the account does not fit into this number of octets.
    pub(super) fn within(self, octets: usize) -> Self {
        if self.encode().len() > octets { Self::Unsaid } else { self }
    }

    /// The octets of the account; none unless it is said.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Unknown | Self::Unsaid => Vec::new(),
            Self::Said(links) => links.encode().unwrap_or_default(),
        }
    }

    pub(super) fn decode(octets: &[u8]) -> Self {
        Links::decode(octets).map_or(Self::Unsaid, Self::Said)
    }
}

impl Links {
    /// True if the node has a link for the address: one that works, among those that are allowed. If any of the allowed links has a subnet
    /// with the address, one of these has to work.
    #[must_use]
    pub fn reach(&self, address: IpAddr, allowed: Allowed<'_>) -> bool {
        let allows = |link: &&Link| match allowed {
            Allowed::Any => true,
            Allowed::Named(fits) => fits(&link.name),
            Allowed::Internal => link.internal || !self.internal,
        };
        let all = match allowed {
            Allowed::Any => true,
            Allowed::Named(_) => false,
            Allowed::Internal => !self.internal,
        };
        let allowed = || self.links.iter().filter(allows);
        let holds = |link: &&Link| link.networks.iter().any(|network| network.contains(&address));
        let mut holding = allowed().filter(holds).peekable();
        if holding.peek().is_some() {
            holding.any(|link| link.works.with(address))
        } else {
            all && self.any.with(address) || allowed().any(|link| link.works.with(address))
        }
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let mut out = vec![self.any.flags(self.internal)];
        for link in &self.links {
            out.push(u8::try_from(link.name.len()).ok()?);
            out.extend(link.name.bytes());
            out.push(link.works.flags(link.internal));
            out.push(u8::try_from(link.networks.len()).ok()?);
            for network in &link.networks {
                let needed = usize::from(network.prefix_len()).div_ceil(8);
                match network {
                    IpNet::V4(v4) => {
                        out.push(v4.prefix_len());
                        out.extend(v4.network().octets().iter().take(needed));
                    }
                    IpNet::V6(v6) => {
                        out.push(v6.prefix_len() + IPV6);
                        out.extend(v6.network().octets().iter().take(needed));
                    }
                }
            }
        }
        Some(out)
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let (flags, mut rest) = octets.split_first()?;
        let mut links = Vec::new();
        while !rest.is_empty() {
            let (length, more) = rest.split_first()?;
            let (name, more) = more.split_at_checked(usize::from(*length))?;
            let ([flags, count], mut more) = more.split_first_chunk::<2>()?;
            let networks = (0..*count).map(|_| network(&mut more)).collect::<Option<_>>()?;
            links.push(Link {
                name: std::str::from_utf8(name).ok()?.into(),
                works: Works::read(*flags),
                internal: flags & INTERNAL != 0,
                networks,
            });
            rest = more;
        }
        Some(Self { any: Works::read(*flags), internal: flags & INTERNAL != 0, links })
    }
}

/// Reads the next network.
fn network(rest: &mut &[u8]) -> Option<IpNet> {
    let (code, more) = rest.split_first()?;
    let length = code.checked_sub(IPV6);
    let needed = usize::from(length.unwrap_or(*code)).div_ceil(8);
    let (octets, more) = more.split_at_checked(needed)?;
    *rest = more;
    let mut whole = [0_u8; 16];
    whole.get_mut(..needed)?.copy_from_slice(octets);
    let address = match length {
        None => Ipv4Addr::from(*whole.first_chunk::<4>()?).into(),
        Some(_) => Ipv6Addr::from(whole).into(),
    };
    IpNet::new(address, length.unwrap_or(*code)).ok().map(|network| network.trunc())
}

impl Works {
    fn of(link: &LinkReport) -> Self {
        Self { arp: link.arp && link.carrier, ndp: link.ndp && link.carrier }
    }

    fn or(self, other: Self) -> Self {
        Self { arp: self.arp || other.arp, ndp: self.ndp || other.ndp }
    }

    fn with(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.arp } else { self.ndp }
    }

    fn flags(self, internal: bool) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        flag(self.arp, ARP) | flag(self.ndp, NDP) | flag(internal, INTERNAL)
    }

    fn read(flags: u8) -> Self {
        Self { arp: flags & ARP != 0, ndp: flags & NDP != 0 }
    }
}

/// The subnets of a link that contain addresses of some pool. A link that is down has them too, and so has one that is not ready for NDP; a
/// link that is never answered on has none.
fn networks(config: &Config, link: &LinkReport) -> Vec<IpNet> {
    let for_a_while = |spoken_on: bool, reason: Option<&NoResponder>| {
        spoken_on || matches!(reason, Some(NoResponder::Down | NoResponder::NoLinkLocal))
    };
    let (arp, ndp) = (
        for_a_while(link.arp, link.arp_reason.as_ref()),
        for_a_while(link.ndp, link.ndp_reason.as_ref()),
    );
    let pools = || config.pools.values().chain(config.external_pools.values());
    let holds = |network: &IpNet| {
        pools()
            .flat_map(|pool| &pool.ranges)
            .any(|range| network.contains(&range.first()) || range.contains(network.network()))
    };
    let networks = link.addresses.iter().filter(|(it, _)| if it.is_ipv4() { arp } else { ndp });
    let mut networks: Vec<IpNet> = networks
        .filter_map(|(address, length)| IpNet::new(*address, *length).ok())
        .map(|network| network.trunc())
        .filter(holds)
        .collect();
    networks.sort();
    networks.dedup();
    networks
}

/// The names of the links that have an InternalIP of the node; none where the node has no such address.
#[must_use]
pub fn transport(node: Option<&Node>, links: &[LinkReport]) -> Option<BTreeSet<Box<str>>> {
    let own = &node?.internal_addresses;
    let holds =
        |link: &&LinkReport| link.addresses.iter().any(|(address, _)| own.contains(address));
    (!own.is_empty()).then(|| links.iter().filter(holds).map(|link| (*link.name).into()).collect())
}
