// SPDX-License-Identifier: Apache-2.0
//! The rules that several objects break together (contract 6.3).
//!
//! Objects are admitted one by one. What contradicts an admitted object is turned away, so that the
//! order of admission, which is age, decides which one stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pool::Ranges;
use super::{Rejection, external_pool};
use crate::config::Config;
use crate::config::advertisement::{BgpAdvertisement, L2Advertisement};
use crate::config::objects::ConfigKind;
use crate::config::peer::Peer;
use crate::config::pool::{Policy, Pool, PoolId, PoolKind};
use crate::config::range::{AddressRange, Family};
use crate::labels::Labels;

/// An object of one of the kinds that are looked at together.
pub(super) enum Entry {
    Pool(Box<Pool>),
    L2(Box<L2Advertisement>),
    Bgp(Box<BgpAdvertisement>),
    Peer(Box<Peer>),
}

impl From<Pool> for Entry {
    fn from(pool: Pool) -> Self {
        Self::Pool(Box::new(pool))
    }
}

impl From<L2Advertisement> for Entry {
    fn from(advertisement: L2Advertisement) -> Self {
        Self::L2(Box::new(advertisement))
    }
}

impl From<BgpAdvertisement> for Entry {
    fn from(advertisement: BgpAdvertisement) -> Self {
        Self::Bgp(Box::new(advertisement))
    }
}

impl From<Peer> for Entry {
    fn from(peer: Peer) -> Self {
        Self::Peer(Box::new(peer))
    }
}

impl Entry {
    /// The object's version in the configuration in use.
    pub(super) fn last_valid(previous: &Config, kind: ConfigKind, name: &str) -> Option<Self> {
        match kind {
            ConfigKind::IpAddressPool | ConfigKind::AddressPool => {
                let pool = previous
                    .pools
                    .get(name)
                    .filter(|pool| pool.is_address_pool() == (kind == ConfigKind::AddressPool));
                pool.cloned().map(Self::from)
            }
            ConfigKind::L2Advertisement => {
                previous.l2_advertisements.get(name).cloned().map(Self::from)
            }
            ConfigKind::BgpAdvertisement => {
                previous.bgp_advertisements.get(name).cloned().map(Self::from)
            }
            ConfigKind::BgpPeer => previous.peers.get(name).cloned().map(Self::from),
            ConfigKind::ExternalIpPool => {
                previous.external_pools.get(name).cloned().map(Self::from)
            }
            ConfigKind::BfdProfile | ConfigKind::Community => None,
        }
    }
}

/// The objects admitted so far; no two of them contradict each other.
pub(super) struct Admitted<'a> {
    nodes: &'a BTreeMap<Arc<str>, Labels>,
    ranges: Ranges,
    pools: BTreeMap<PoolId, Pool>,
    l2_advertisements: BTreeMap<Arc<str>, L2Advertisement>,
    bgp_advertisements: BTreeMap<Arc<str>, BgpAdvertisement>,
    peers: BTreeMap<Arc<str>, Peer>,
    /// The BGP advertisements that select each pool.
    selecting: BTreeMap<PoolId, Vec<Arc<str>>>,
    /// The values of localPref that occur: with one only, nothing can conflict.
    local_prefs: BTreeSet<u32>,
    /// The peers whose BFD profile has echo.
    echo_peers: BTreeSet<Arc<str>>,
}

impl<'a> Admitted<'a> {
    pub(super) fn new(nodes: &'a BTreeMap<Arc<str>, Labels>) -> Self {
        Self {
            nodes,
            ranges: Ranges::default(),
            pools: BTreeMap::new(),
            l2_advertisements: BTreeMap::new(),
            bgp_advertisements: BTreeMap::new(),
            peers: BTreeMap::new(),
            selecting: BTreeMap::new(),
            local_prefs: BTreeSet::new(),
            echo_peers: BTreeSet::new(),
        }
    }

    /// Moves everything into the configuration; says what pools of both kinds hold.
    pub(super) fn finish(mut self, config: &mut Config) -> Vec<Rejection> {
        let contested = self.contest();
        let (external, own) =
            self.pools.into_values().partition(|pool| pool.kind() == PoolKind::ExternalIpPool);
        config.pools = Vec::into_iter(own).collect();
        config.external_pools = Vec::into_iter(external).collect();
        config.l2_advertisements = self.l2_advertisements;
        config.bgp_advertisements = self.bgp_advertisements;
        config.peers = self.peers;
        contested
    }

    /// Pools of different kinds may hold the same addresses, since nobody checks that when they are made. Neither gives any of them
    /// anew, and both say so.
    fn contest(&mut self) -> Vec<Rejection> {
        let of_kind = |kind| self.pools.values().filter(move |pool: &&Pool| pool.kind() == kind);
        let mut found: BTreeMap<PoolId, Vec<(AddressRange, String)>> = BTreeMap::new();
        for external in of_kind(PoolKind::ExternalIpPool) {
            for own in of_kind(PoolKind::IpAddressPool) {
                for (a, b) in
                    external.ranges.iter().flat_map(|a| own.ranges.iter().map(move |b| (a, b)))
                {
                    let Some(both) = a.intersection(b) else { continue };
                    let says = |range: &AddressRange, other: &AddressRange, pool: &Pool| {
                        format!(
                            "range [{range}] overlaps with range [{other}] of {}: no new address is given from \
                             what both hold",
                            pool.id()
                        )
                    };
                    found.entry(external.id()).or_default().push((both, says(a, b, own)));
                    found.entry(own.id()).or_default().push((both, says(b, a, external)));
                }
            }
        }
        let mut rejections = Vec::new();
        for (id, contests) in found {
            let messages: Vec<&str> = contests.iter().map(|(_, message)| &**message).collect();
            rejections.push(Rejection {
                kind: match id.kind {
                    PoolKind::IpAddressPool
                        if self.pools.get(&id).is_some_and(Pool::is_address_pool) =>
                    {
                        ConfigKind::AddressPool
                    }
                    PoolKind::IpAddressPool => ConfigKind::IpAddressPool,
                    PoolKind::ExternalIpPool => ConfigKind::ExternalIpPool,
                },
                name: Arc::clone(&id.name),
                message: messages.join("\n"),
                kept_last_valid: true,
            });
            if let Some(pool) = self.pools.get_mut(&id) {
                pool.contested = contests.into_iter().map(|(range, _)| range).collect();
            }
        }
        rejections
    }

    /// Takes an object in, or says what it contradicts.
    pub(super) fn admit(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Pool(pool) => {
                if self.pools.contains_key(&pool.id()) {
                    return Err(format!("duplicate definition of pool {:?}", pool.name));
                }
                let selecting = self.check_pool(&pool)?;
                self.selecting.insert(pool.id(), selecting);
                if pool.kind() == PoolKind::IpAddressPool {
                    for range in &pool.ranges {
                        self.ranges.admit(&pool.name, range)?;
                    }
                }
                // Of a version that was valid before, the same may have become contested or free again.
                self.pools.insert(pool.id(), Pool { contested: Vec::new(), ..*pool });
            }
            Entry::L2(advertisement) => {
                self.l2_advertisements.insert(advertisement.name.clone(), *advertisement);
            }
            Entry::Bgp(advertisement) => {
                for pool in self.check_advertisement(&advertisement)? {
                    self.selecting.entry(pool).or_default().push(advertisement.name.clone());
                }
                self.local_prefs.insert(advertisement.local_pref);
                self.bgp_advertisements.insert(advertisement.name.clone(), *advertisement);
            }
            Entry::Peer(peer) => {
                self.check_peer(&peer)?;
                if uses_echo(&peer) {
                    self.echo_peers.insert(peer.name.clone());
                }
                self.peers.insert(peer.name.clone(), *peer);
            }
        }
        Ok(())
    }

    /// The advertisements that select the pool, if none of them contradicts it.
    fn check_pool(&self, pool: &Pool) -> Result<Vec<Arc<str>>, String> {
        match &pool.policy {
            Policy::Metallb(_) => {
                pool.ranges.iter().try_for_each(|range| self.ranges.check(&pool.name, range))?;
            }
            Policy::Antrea(policy) => {
                let overlap = policy.written.iter().find_map(|range| {
                    self.pools.values().find_map(|other| external_pool::overlap(range, other))
                });
                overlap.map_or(Ok(()), Err)?;
            }
        }
        let selecting: Vec<&BgpAdvertisement> = self
            .bgp_advertisements
            .values()
            .filter(|advertisement| advertisement.selects_pool(pool))
            .collect();
        for (index, one) in selecting.iter().enumerate() {
            check_aggregation(one, pool)?;
            self.check_echo(one, pool)?;
            if self.local_prefs.len() > 1 {
                for other in selecting.iter().take(index) {
                    self.check_local_pref(one, other, pool)?;
                }
            }
        }
        Ok(selecting.into_iter().map(|advertisement| advertisement.name.clone()).collect())
    }

    /// The pools that the advertisement selects, if none of them contradicts it, nor another
    /// advertisement of one of them.
    fn check_advertisement(&self, advertisement: &BgpAdvertisement) -> Result<Vec<PoolId>, String> {
        let pools = self.pools_of(advertisement);
        let others_differ = self.local_prefs.iter().any(|pref| *pref != advertisement.local_pref);
        for pool in &pools {
            check_aggregation(advertisement, pool)?;
            self.check_echo(advertisement, pool)?;
            if others_differ {
                self.selecting
                    .get(&pool.id())
                    .into_iter()
                    .flatten()
                    .filter_map(|other| self.bgp_advertisements.get(other))
                    .try_for_each(|other| self.check_local_pref(advertisement, other, pool))?;
            }
        }
        Ok(pools.into_iter().map(Pool::id).collect())
    }

    /// The admitted pools that the advertisement selects; those it names are looked up.
    fn pools_of(&self, advertisement: &BgpAdvertisement) -> Vec<&Pool> {
        let selection = &advertisement.pools;
        if selection.selectors.is_empty() && !selection.names.is_empty() {
            let own = selection.names.iter().map(|name| (PoolKind::IpAddressPool, name));
            let external = advertisement.external_ip_pools.iter();
            return own
                .chain(external.map(|name| (PoolKind::ExternalIpPool, name)))
                .filter_map(|(kind, name)| self.pools.get(&PoolId { kind, name: (**name).into() }))
                .filter(|pool| advertisement.selects_pool(pool))
                .collect();
        }
        self.pools.values().filter(|pool| advertisement.selects_pool(pool)).collect()
    }

    fn check_peer(&self, peer: &Peer) -> Result<(), String> {
        if !uses_echo(peer) {
            return Ok(());
        }
        self.bgp_advertisements
            .values()
            .filter(|advertisement| {
                advertisement.peers.is_empty() || advertisement.peers.contains(&*peer.name)
            })
            .try_for_each(|advertisement| {
                self.pools_of(advertisement)
                    .into_iter()
                    .try_for_each(|pool| check_echo_of(advertisement, pool, &peer.name))
            })
    }

    /// Two advertisements of one pool must not ask for different LOCAL_PREFs of the same route.
    fn check_local_pref(
        &self,
        one: &BgpAdvertisement,
        other: &BgpAdvertisement,
        pool: &Pool,
    ) -> Result<(), String> {
        let for_some_services =
            !one.service_selectors.is_empty() || !other.service_selectors.is_empty();
        if for_some_services || !one.conflicts_with(other, pool) || !self.share_a_node(one, other) {
            return Ok(());
        }
        Err(format!(
            "invalid local preference {}: local preferernce {} was already set for the same type of \
             BGP update, by BGPAdvertisement {:?} for pool {:?}",
            one.local_pref, other.local_pref, other.name, pool.name
        ))
    }

    fn share_a_node(&self, one: &BgpAdvertisement, other: &BgpAdvertisement) -> bool {
        self.nodes.is_empty()
            || self
                .nodes
                .values()
                .any(|labels| one.selects_node(labels) && other.selects_node(labels))
    }

    fn check_echo(&self, advertisement: &BgpAdvertisement, pool: &Pool) -> Result<(), String> {
        let targets_all = advertisement.peers.is_empty();
        self.echo_peers
            .iter()
            .filter(|peer| targets_all || advertisement.peers.contains(&***peer))
            .try_for_each(|peer| check_echo_of(advertisement, pool, peer))
    }
}

fn uses_echo(peer: &Peer) -> bool {
    peer.bfd_profile.as_ref().is_some_and(|profile| profile.echo_mode)
}

/// Echo packets are for IPv4, so a session that uses them carries no IPv6 pool that is selected.
fn check_echo_of(advertisement: &BgpAdvertisement, pool: &Pool, peer: &str) -> Result<(), String> {
    if !pool.has_family(Family::V6) {
        return Ok(());
    }
    Err(format!(
        "pool {} has bgpadvertisement {} which references peer {peer} which has bfd echo enabled, \
         which is not possible",
        pool.name, advertisement.name
    ))
}

/// An aggregate must not reach beyond what a selected pool holds: of each entry, one CIDR covers it.
fn check_aggregation(advertisement: &BgpAdvertisement, pool: &Pool) -> Result<(), String> {
    let default =
        (advertisement.aggregation_length, advertisement.aggregation_length_v6) == (32, 128);
    if default {
        return Ok(());
    }
    for range in &pool.ranges {
        let length = advertisement.length_for(range.family());
        let prefix = range.shortest_prefix();
        if length < prefix {
            return Err(format!(
                "invalid aggregation length {length}: prefix {prefix} in this pool is more specific \
                 than the aggregation length for addresses {range}"
            ));
        }
    }
    Ok(())
}
