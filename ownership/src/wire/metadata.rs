// SPDX-License-Identifier: Apache-2.0
//! A speaker's metadata: the octets that the memberlist carries for it.
//!
//! ```text
//!   metadata: "ferrolb", version (1), flags (1: leaving, 2: sticky, 4: spread, 8: silent, 16: drained, 32: unsynchronised, 64: links,
//!             128: more), generation (8), digest of the pools' names (4), one bit per pool,
//!             with the flag of more: further flags (1: elects each address by itself, 2: asks its link),
//!             with the flag of links: those of the node, as wire/links.rs has it, and their number of octets (2)
//! ```
//! The bits serve builds that know no more, and nodes that have more links than fit. Links count only while all of our speakers publish them,
//! so that a fleet that is upgraded node by node has one election.
//! Numbers are big-endian. MetalLB's speakers have no metadata. The version covers everything that our speakers exchange: metadata, heartbeat
//! and notices. A build that only adds flags, or octets at the end, keeps the version. Builds of different versions treat each other as
//! MetalLB's: both fall back to what the memberlist alone says.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::config::Config;
use l2::LinkReport;

use super::links::NodeLinks;
use crate::fnv::fnv1a;

const MAGIC: &[u8] = b"ferrolb";
/// The version of the heartbeat (`members::heartbeat::wire::VERSION`), for which the metadata's version stands.
const VERSION: u8 = members::heartbeat::wire::VERSION;
/// The greatest length of the bitmap, in octets: with everything before it, and the number behind the links, it stays below the 512 octets
/// that metadata may have.
const BITMAP_LIMIT: usize = 480;
const LEAVING: u8 = 1;
const STICKY: u8 = 2;
const SPREAD: u8 = 4;
const SILENT: u8 = 8;
const DRAINED: u8 = 16;
const UNSYNCHRONISED: u8 = 32;
const LINKS: u8 = 64;
const MORE: u8 = 128;
/// Flags among the further flags.
const ADDRESSES: u8 = 1;
const BY_LINK: u8 = 2;

/// The metadata that a speaker publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMetadata {
    /// A number that grows with every change, also over restarts: microseconds since 1970. Of two that arrive the greater is the newer.
    pub generation: u64,
    /// The speaker is about to end: its addresses are to move while it still answers.
    pub leaving: bool,
    /// The speaker answers for nothing at the moment: it has just started, stood still, or is with the minority. Others are to take its
    /// addresses.
    pub silent: bool,
    /// The speaker may not answer by the count, and asks its link instead (`--fencing=link`): it is silent for those that have a majority,
    /// and may own addresses for those that have none either.
    pub by_link: bool,
    /// The speaker's node is being drained, as the speaker has read from the API. The others go by this flag, whatever they have read
    /// themselves: one speaker learns of a drain first, and while the API is away some never do.
    pub drained: bool,
    /// The speaker is unsynchronised: for a second it has not known the addresses of all others. Addresses without an owner are for others, if
    /// owners stay or are spread.
    pub unsynchronised: bool,
    /// The speaker was started with `--sticky`.
    pub sticky: bool,
    /// The speaker was started with `--spread`.
    pub spread: bool,
    /// The speaker is of a build that elects each Service by itself, also where Services share addresses. While one of these builds takes
    /// part, all speakers do so.
    pub elects_services: bool,
    /// The pools for which the speaker has a link with carrier.
    pub links: PoolLinks,
    /// The links that the speaker has.
    pub node_links: NodeLinks,
}

/// For each pool, in the order of their names, whether the node has a link for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolLinks {
    /// The digest of the pools' names: a speaker that knows other pools cannot read the bits.
    digest: u32,
    bits: Vec<u8>,
}

impl NodeMetadata {
    /// The octets of the metadata.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(VERSION);
        out.push(
            flag(self.leaving, LEAVING)
                | flag(self.sticky, STICKY)
                | flag(self.spread, SPREAD)
                | flag(self.silent, SILENT)
                | flag(self.drained, DRAINED)
                | flag(self.unsynchronised, UNSYNCHRONISED)
                | flag(self.node_links != NodeLinks::Unknown, LINKS)
                | flag(self.further_flags() != 0, MORE),
        );
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.links.digest.to_be_bytes());
        out.extend_from_slice(&self.links.bits);
        let further = self.further_flags();
        if further != 0 {
            out.push(further);
        }
        if self.node_links != NodeLinks::Unknown {
            let links = self.node_links.encode();
            // Longer links would not be published: see [`Self::set_links`].
            let octets = u16::try_from(links.len()).unwrap_or_default();
            out.extend(links.into_iter().take(octets.into()));
            out.extend(octets.to_be_bytes());
        }
        out
    }

    fn further_flags(&self) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        flag(!self.elects_services, ADDRESSES) | flag(self.by_link, BY_LINK)
    }

    /// Publishes these links. The node's links stay unsaid if there is no room.
    pub fn set_links(&mut self, pools: PoolLinks, node: NodeLinks) {
        (self.links, self.node_links) = (pools, NodeLinks::Unsaid);
        let room = members::META.saturating_sub(self.encode().len());
        self.node_links = node.within(room);
    }

    /// Reads metadata; none if it is not ours, or of another version. Octets that a later build adds in front of the links are skipped;
    /// the bits before them are read.
    #[must_use]
    pub fn decode(metadata: &[u8]) -> Option<Self> {
        let rest = metadata.strip_prefix(MAGIC)?;
        let ([version, flags], rest) = rest.split_first_chunk::<2>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (digest, bits) = rest.split_first_chunk::<4>()?;
        if *version != VERSION {
            return None;
        }
        let (bits, node_links) = match flags & LINKS {
            0 => (bits, NodeLinks::Unknown),
            _ => split_links(bits).unwrap_or((bits, NodeLinks::Unsaid)),
        };
        let more = bits.split_last().filter(|_| flags & MORE != 0);
        let (more, bits) = more.map_or((0, bits), |(more, bits)| (*more, bits));
        Some(Self {
            generation: u64::from_be_bytes(*generation),
            leaving: flags & LEAVING != 0,
            silent: flags & SILENT != 0,
            drained: flags & DRAINED != 0,
            unsynchronised: flags & UNSYNCHRONISED != 0,
            sticky: flags & STICKY != 0,
            spread: flags & SPREAD != 0,
            elects_services: more & ADDRESSES == 0,
            by_link: more & BY_LINK != 0,
            links: PoolLinks { digest: u32::from_be_bytes(*digest), bits: bits.to_vec() },
            node_links,
        })
    }
}

/// Splits the octets into the bits and the links that stand at the end.
fn split_links(octets: &[u8]) -> Option<(&[u8], NodeLinks)> {
    let (octets, length) = octets.split_last_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (bits, links) = octets.split_at_checked(octets.len().checked_sub(length)?)?;
    Some((bits, NodeLinks::decode(links)))
}

/// The pools in the order in which bits stand for them.
#[derive(Clone, Debug, Default)]
pub struct PoolOrder {
    digest: u32,
    places: BTreeMap<Arc<str>, usize>,
}

impl PoolOrder {
    /// The order of all pools, valid or not.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mut names: Vec<Arc<str>> =
            config.pools.keys().chain(config.invalid_pools.keys()).cloned().collect();
        names.sort();
        names.dedup();
        // Each name ends with a zero octet.
        let digest = fnv1a(names.iter().flat_map(|name| name.bytes().chain([0])));
        let places = names.into_iter().enumerate().map(|(place, name)| (name, place)).collect();
        Self { digest, places }
    }
}

impl PoolLinks {
    /// The pools that this node has a link for, by its links and the advertisements that select it: a link with carrier that an advertisement
    /// allows. If any allowed link has a subnet with addresses of the pool, one of these links is needed.
    #[must_use]
    pub fn of<'a>(
        pools: &PoolOrder,
        config: &Config,
        links: &[LinkReport],
        selects_node: impl Fn(&crds::config::L2Advertisement) -> bool + 'a,
    ) -> Self {
        let mut bits = vec![0; pools.places.len().div_ceil(8).min(BITMAP_LIMIT)];
        for (name, place) in &pools.places {
            let Some(byte) = bits.get_mut(place / 8) else { continue };
            if has_link(name, config, links, &selects_node) {
                *byte |= 0x80 >> (place % 8);
            }
        }
        Self { digest: pools.digest, bits }
    }

    pub(crate) fn covers(&self, pools: &PoolOrder, pool: &str) -> bool {
        let bit = || {
            let place = pools.places.get(pool)?;
            let byte = self.bits.get(place / 8)?;
            Some(byte & (0x80 >> (place % 8)) != 0)
        };
        self.digest != pools.digest || bit().unwrap_or(true)
    }
}

fn has_link(
    name: &str,
    config: &Config,
    links: &[LinkReport],
    selects_node: impl Fn(&crds::config::L2Advertisement) -> bool,
) -> bool {
    // An invalid pool is not known well enough to take anything away.
    let Some(pool) = config.pools.get(name) else { return true };
    let advertisements = || {
        let all = config.l2_advertisements.values();
        all.filter(|ad| ad.pools.selects(&pool.name, &pool.labels)).filter(|ad| selects_node(ad))
    };
    let allowed = |link: &LinkReport| {
        advertisements().any(|ad| {
            ad.interfaces.is_empty() || ad.interfaces.iter().any(|name| **name == *link.name)
        })
    };
    let allowed: Vec<&LinkReport> =
        links.iter().filter(|link| link.arp || link.ndp).filter(|link| allowed(link)).collect();
    let holds = |link: &LinkReport| {
        link.addresses.iter().any(|(address, length)| {
            ipnet::IpNet::new(*address, *length).is_ok_and(|net| {
                pool.ranges
                    .iter()
                    .any(|range| net.contains(&range.first()) || range.contains(net.network()))
            })
        })
    };
    if allowed.iter().any(|link| holds(link)) {
        allowed.iter().any(|link| link.carrier && holds(link))
    } else {
        allowed.iter().any(|link| link.carrier)
    }
}

#[cfg(test)]
mod tests;
