// SPDX-License-Identifier: Apache-2.0
//! What this node advertises of a Service by BGP (contract 5.3, 5.4), as a pure function. No election: every node that may,
//! does.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use bgp::Attributes;
use cluster::model::{Service, TrafficPolicy};
use cluster::{ObjectKey, Snapshot};
use crds::config::{BgpAdvertisement, Community, Family};
use ipnet::IpNet;

use crate::options::{BgpMode, Options};
use crate::reason::Withhold;
use crate::subject::{Endpoints, addresses, given_here, pool};

/// One prefix as one advertisement has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// The address cut to the advertisement's length.
    pub prefix: IpNet,
    /// What goes with it.
    pub attributes: Arc<Attributes>,
    /// The names of the peers that get it; empty means all.
    pub peers: BTreeSet<Box<str>>,
}

impl Path {
    /// Whether the peer of that name gets it.
    #[must_use]
    pub fn is_for(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }
}

/// Decides for one Service; the paths are sorted and not empty.
///
/// # Errors
/// Why nothing is advertised from this node.
pub fn advertise(
    key: &ObjectKey,
    service: &Service,
    snapshot: &Snapshot,
    options: &Options,
) -> Result<Vec<Path>, Withhold> {
    if !service.is_served(options.class.as_deref()) {
        return Err(Withhold::ServiceDeleted);
    }
    let addresses = addresses(service)?;
    let config = snapshot.config();
    let pool = pool(service, &addresses, config)?;
    given_here(service, options)?;
    let node = snapshot.nodes().get(&options.node).ok_or(Withhold::NodeUnknown)?;
    let here: Vec<&BgpAdvertisement> = config
        .bgp_advertisements
        .values()
        .filter(|ad| ad.selects(pool.kind, &pool.name, pool.labels))
        .filter(|ad| ad.selects_node(&node.labels))
        .collect();
    if here.is_empty() {
        return Err(Withhold::NoBgpAdvertisement(pool.name));
    }
    let own: Vec<&BgpAdvertisement> =
        here.into_iter().filter(|ad| ad.selects_service(&service.labels)).collect();
    if own.is_empty() {
        return Err(Withhold::NoMatchingBgpAdvertisement(pool.name));
    }
    if let Some((one, two)) = conflict(&own, &addresses) {
        return Err(Withhold::ConflictingAdvertisements(
            Arc::clone(&one.name),
            Arc::clone(&two.name),
        ));
    }
    if node.network_unavailable {
        return Err(Withhold::NodeNetworkUnavailable);
    }
    if node.is_excluded() && !options.ignore_exclude_label {
        return Err(Withhold::NodeExcluded);
    }
    let endpoints = Endpoints::with_address(key, snapshot, options);
    if service.traffic_policy == TrafficPolicy::Local && !endpoints.are_on(&options.node) {
        return Err(Withhold::NoLocalEndpoints);
    }
    if !endpoints.any {
        return Err(Withhold::NoEndpoints);
    }
    let mut paths: Vec<Path> = own
        .iter()
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

/// Who advertises a Service to whom, by what any speaker sees: which node has a session with whom is not looked at.
pub(crate) struct Advertisers {
    /// The nodes, in order; one at least.
    pub(crate) nodes: Vec<Arc<str>>,
    /// The peers that would get it and cannot be used, each with the reason.
    pub(crate) unusable: Vec<String>,
}

/// See [`Advertisers`].
///
/// # Errors
/// Why no node does, or to nobody.
pub(crate) fn advertisers(
    key: &ObjectKey,
    service: &Service,
    snapshot: &Snapshot,
    options: &Options,
) -> Result<Advertisers, Withhold> {
    let addresses = addresses(service)?;
    let config = snapshot.config();
    let pool = pool(service, &addresses, config)?;
    let of_pool: Vec<&BgpAdvertisement> = config
        .bgp_advertisements
        .values()
        .chain(&config.bgp_elsewhere)
        .filter(|ad| ad.selects(pool.kind, &pool.name, pool.labels))
        .collect();
    if of_pool.is_empty() {
        return Err(Withhold::NoBgpAdvertisement(pool.name));
    }
    let own: Vec<&BgpAdvertisement> =
        of_pool.into_iter().filter(|ad| ad.selects_service(&service.labels)).collect();
    if own.is_empty() {
        return Err(Withhold::NoMatchingBgpAdvertisement(pool.name));
    }
    let endpoints = Endpoints::with_address(key, snapshot, options);
    if !endpoints.any {
        return Err(Withhold::NoEndpoints);
    }
    let mut nobody = "the node selectors of the BGPAdvertisements match no node";
    let mut nodes = Vec::new();
    for (name, node) in snapshot.nodes() {
        let here: Vec<&BgpAdvertisement> =
            own.iter().copied().filter(|ad| ad.selects_node(&node.labels)).collect();
        if here.is_empty() {
            continue;
        }
        if conflict(&here, &addresses).is_some() {
            nobody =
                "BGPAdvertisements want different localPref for the same prefix of this Service";
        } else if node.network_unavailable {
            nobody = "every such node's network is unavailable";
        } else if node.is_excluded() && !options.ignore_exclude_label {
            nobody = "every such node has the label node.kubernetes.io/exclude-from-external-load-balancers";
        } else if service.traffic_policy == TrafficPolicy::Local && !endpoints.are_on(name) {
            nobody = "externalTrafficPolicy is Local and no such node has a ready endpoint";
        } else {
            nodes.push(Arc::clone(name));
        }
    }
    if nodes.is_empty() {
        return Err(Withhold::NoCandidates(nobody));
    }
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

/// Two advertisements that want different LOCAL_PREFs for one prefix of the Service at a common peer (contract 6.3).
fn conflict<'a>(
    own: &[&'a BgpAdvertisement],
    addresses: &[IpAddr],
) -> Option<(&'a BgpAdvertisement, &'a BgpAdvertisement)> {
    own.iter().enumerate().find_map(|(index, one)| {
        let two = own.iter().skip(index + 1).find(|two| {
            let common_peer =
                one.peers.is_empty() || two.peers.is_empty() || !one.peers.is_disjoint(&two.peers);
            one.local_pref != two.local_pref
                && common_peer
                && addresses.iter().any(|address| {
                    let family = Family::of(*address);
                    one.length_for(family) == two.length_for(family)
                })
        })?;
        Some((*one, *two))
    })
}

fn prefix(advertisement: &BgpAdvertisement, address: IpAddr) -> Option<IpNet> {
    let length = advertisement.length_for(Family::of(address));
    IpNet::new(address, length).ok().map(|prefix| prefix.trunc())
}

/// What an advertisement puts on its prefixes.
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
    // Unset is 0 in MetalLB's native mode, and the router's own default in its FRR modes.
    if mode == BgpMode::Native || advertisement.local_pref != 0 {
        attributes = attributes.with_local_pref(advertisement.local_pref);
    }
    if let Some(med) = advertisement.med {
        attributes = attributes.with_med(med);
    }
    attributes
}
