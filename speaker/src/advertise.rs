// SPDX-License-Identifier: Apache-2.0
//! The routes that this node advertises by BGP for a Service (contract 5.3, 5.4), as a pure function. There is no election: every eligible
//! node advertises.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use bgp::Attributes;
use cluster::model::Service;
use cluster::{ObjectKey, Snapshot};
use crds::config::{BgpAdvertisement, Community, Family};
use ipnet::IpNet;

use crate::eligibility::{Eligibility, Furthest};
use crate::options::{BgpMode, Options};
use crate::reason::Withhold;
use ownership::RingSpeakers;

/// One prefix from one advertisement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// The address cut to the advertisement's length.
    pub prefix: IpNet,
    /// The attributes of the prefix.
    pub attributes: Arc<Attributes>,
    /// The names of the peers that get the prefix; empty means all.
    pub peers: BTreeSet<Box<str>>,
}

impl Path {
    /// True if the peer of this name gets the prefix.
    #[must_use]
    pub fn is_for(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }
}

/// Decides for one Service; the paths are sorted and not empty.
///
/// # Errors
/// The reason why nothing is advertised from this node.
pub fn advertise(
    key: &ObjectKey,
    service: &Service,
    snapshot: &Snapshot,
    options: &Options,
) -> Result<Vec<Path>, Withhold> {
    let all = snapshot.config().bgp_advertisements.values();
    let eligibility = Eligibility::by_bgp(key, service, snapshot, all, options)?;
    let node = snapshot.nodes().get(&options.node).ok_or(Withhold::NodeUnknown)?;
    if let Some(barrier) =
        eligibility.why_not(&options.node, node, &RingSpeakers::Disabled, options)
    {
        return Err(barrier.reason);
    }
    let addresses = &eligibility.addresses;
    let mut paths: Vec<Path> = eligibility
        .routes_on(&node.labels)
        .into_iter()
        .flat_map(|ad| {
            let attributes = Arc::new(attributes(ad, options.bgp_mode));
            addresses.iter().filter_map(move |address| {
                Some(Path {
                    prefix: prefix(ad, *address)?,
                    attributes: Arc::clone(&attributes),
                    peers: ad.peers.clone(),
                })
            })
        })
        .collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// The nodes that advertise a Service, and the peers that cannot be used, by what any speaker sees: the sessions are not looked at.
pub(crate) struct Advertisers {
    /// The nodes, in order; at least one.
    pub(crate) nodes: Vec<Arc<str>>,
    /// The peers that would get the Service and cannot be used, each with the reason.
    pub(crate) unusable: Vec<String>,
}

/// See [`Advertisers`].
///
/// # Errors
/// The reason why no node advertises the Service, or why no peer gets it.
pub(crate) fn advertisers(
    key: &ObjectKey,
    service: &Service,
    snapshot: &Snapshot,
    options: &Options,
) -> Result<Advertisers, Withhold> {
    let config = snapshot.config();
    let all = config.bgp_advertisements.values().chain(&config.bgp_elsewhere);
    let eligibility = Eligibility::by_bgp(key, service, snapshot, all, options)?;
    eligibility.check_anywhere()?;
    let mut furthest = Furthest::default();
    let mut nodes = Vec::new();
    for (name, node) in snapshot.nodes() {
        match eligibility.why_not(name, node, &RingSpeakers::Disabled, options) {
            Some(barrier) => furthest.note(name, barrier),
            None => nodes.push(Arc::clone(name)),
        }
    }
    if nodes.is_empty() {
        return Err(eligibility.nobody(&furthest));
    }
    let own = eligibility.routes();
    let is_meant =
        |peer: &Arc<str>| own.iter().any(|ad| ad.peers.is_empty() || ad.peers.contains(&**peer));
    let unusable = config.unusable_peers.iter().filter(|(name, _)| is_meant(name));
    let unusable: Vec<String> = unusable
        .map(|(name, peer)| {
            let reason = peer.reason.lines().next().unwrap_or_default();
            let reason = reason.strip_prefix(&format!("parsing peer {name} ")).unwrap_or(reason);
            format!("BGPPeer {name} cannot be used: {reason}")
        })
        .collect();
    if config.peers.keys().any(is_meant) {
        Ok(Advertisers { nodes, unusable })
    } else if unusable.is_empty() {
        Err(Withhold::NoPeer("there is no BGPPeer for it".to_owned()))
    } else {
        Err(Withhold::NoPeer(unusable.join("; ")))
    }
}

fn prefix(advertisement: &BgpAdvertisement, address: IpAddr) -> Option<IpNet> {
    let length = advertisement.length_for(Family::of(address));
    IpNet::new(address, length).ok().map(|prefix| prefix.trunc())
}

/// The attributes that an advertisement gives to its prefixes.
fn attributes(advertisement: &BgpAdvertisement, mode: BgpMode) -> Attributes {
    let communities = |community: &Community| match community {
        Community::Standard(value) => Some(*value),
        Community::Large(..) => None,
    };
    let large = |community: &Community| match community {
        Community::Standard(_) => None,
        Community::Large(a, b, c) => Some([*a, *b, *c]),
    };
    let mut attributes = Attributes::default()
        .with_as_path_prepend(advertisement.as_path_prepend)
        .with_communities(advertisement.communities.iter().filter_map(communities))
        .with_large_communities(advertisement.communities.iter().filter_map(large))
        .with_extended_communities(advertisement.extended_communities.iter().map(|c| c.0));
    // An unset preference is 0 in MetalLB's native mode, and the router's own default in its FRR modes.
    if mode == BgpMode::Native || advertisement.local_pref != 0 {
        attributes = attributes.with_local_pref(advertisement.local_pref);
    }
    if let Some(med) = advertisement.med {
        attributes = attributes.with_med(med);
    }
    attributes
}
