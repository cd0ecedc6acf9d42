// SPDX-License-Identifier: Apache-2.0
//! The rules that several objects break together (contract 6.3).
//!
//! Objects are admitted one by one. What contradicts an admitted object is turned away, so that the
//! order of admission, which is age, decides which one stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::contest;
use super::entry::{Entry, PoolsOwn};
use super::pool::{Overlap, Ranges};
use super::{Rejection, external_pool};
use crate::config::Config;
use crate::config::advertisement::{BgpAdvertisement, L2Advertisement};
use crate::config::fault::{Fault, FieldPath, OtherEntry};
use crate::config::objects::{ConfigKind, Objects};
use crate::config::peer::Peer;
use crate::config::pool::{Policy, Pool, PoolId, PoolKind};
use crate::config::range::{AddressRange, Family};
use crate::labels::Labels;

/// The objects admitted so far; no two of them contradict each other.
pub(super) struct Admitted<'a> {
    objects: &'a Objects,
    nodes: &'a BTreeMap<Arc<str>, Labels>,
    ranges: Ranges<PoolId>,
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
    /// The BGP advertisements that are written in an `AddressPool`.
    of_pools: BTreeMap<Arc<str>, PoolsOwn>,
}

impl<'a> Admitted<'a> {
    pub(super) fn new(objects: &'a Objects, nodes: &'a BTreeMap<Arc<str>, Labels>) -> Self {
        Self {
            objects,
            nodes,
            ranges: Ranges::default(),
            pools: BTreeMap::new(),
            l2_advertisements: BTreeMap::new(),
            bgp_advertisements: BTreeMap::new(),
            peers: BTreeMap::new(),
            selecting: BTreeMap::new(),
            local_prefs: BTreeSet::new(),
            echo_peers: BTreeSet::new(),
            of_pools: BTreeMap::new(),
        }
    }

    /// Moves everything into the configuration; says what pools of both kinds hold.
    pub(super) fn finish(mut self, config: &mut Config) -> Vec<Rejection> {
        let contested = contest::contest(&mut self.pools);
        let (external, own) =
            self.pools.into_values().partition(|pool| pool.kind() == PoolKind::ExternalIpPool);
        config.pools = Vec::into_iter(own).collect();
        config.external_pools = Vec::into_iter(external).collect();
        config.l2_advertisements = self.l2_advertisements;
        config.bgp_advertisements = self.bgp_advertisements;
        config.peers = self.peers;
        contested
    }

    /// Takes an object in, or says what it contradicts.
    pub(super) fn admit(&mut self, entry: Entry) -> Result<(), Fault> {
        match entry {
            Entry::Pool(pool) => {
                if let Some(other) = self.pools.get(&pool.id()) {
                    let field = || FieldPath::from("metadata").name("name");
                    let message = format!("duplicate definition of pool {:?}", pool.name);
                    let (kind, name) = (other.object_kind(), Arc::clone(&other.name));
                    let other = OtherEntry { kind, name, field: field() };
                    return Err(Fault::new(field(), message).against(other));
                }
                let selecting = self.check_pool(&pool)?;
                self.selecting.insert(pool.id(), selecting);
                if pool.kind() == PoolKind::IpAddressPool {
                    for range in &pool.ranges {
                        self.ranges
                            .admit(&pool.name, range, pool.id())
                            .map_err(|overlap| self.overlap(&pool, range, overlap))?;
                    }
                }
                // Of a version that was valid before, the same may have become contested or free again.
                self.pools.insert(pool.id(), Pool { contested: Vec::new(), ..*pool });
            }
            Entry::L2(advertisement) => {
                self.l2_advertisements.insert(advertisement.name.clone(), *advertisement);
            }
            Entry::Bgp(advertisement, own) => {
                if let Some(own) = own {
                    self.of_pools.insert(advertisement.name.clone(), own);
                }
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
    fn check_pool(&self, pool: &Pool) -> Result<Vec<Arc<str>>, Fault> {
        match &pool.policy {
            Policy::Metallb(_) => {
                pool.ranges.iter().try_for_each(|range| {
                    let free = self.ranges.check(&pool.name, range);
                    free.map_err(|overlap| self.overlap(pool, range, overlap))
                })?;
            }
            Policy::Antrea(policy) => {
                let overlap = policy.written.iter().enumerate().find_map(|(index, range)| {
                    let mut others = self.pools.values();
                    others.find_map(|other| external_pool::overlap(index, range, other))
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
            if let Some(aggregate) = self.aggregation(one, pool) {
                let Aggregation { message, advertisement, entry } = aggregate;
                return Err(Fault::new(entry.field, message).against(advertisement));
            }
            if let Some((peer, range)) = self.echo_peer(one, pool) {
                let message = echo_text(one, pool, peer);
                return Err(Fault::new(pool.entry(range).field, message).against(bfd_profile(peer)));
            }
            if self.local_prefs.len() > 1 {
                for other in selecting.iter().take(index) {
                    if let Some(message) = self.local_pref(one, other, pool) {
                        // No entry of the pool is guilty of it.
                        let fault = Fault::new(FieldPath::default(), message);
                        return Err(fault.against(self.part(one, "localPref")));
                    }
                }
            }
        }
        Ok(selecting.into_iter().map(|advertisement| advertisement.name.clone()).collect())
    }

    /// The pools that the advertisement selects, if none of them contradicts it, nor another
    /// advertisement of one of them.
    fn check_advertisement(&self, advertisement: &BgpAdvertisement) -> Result<Vec<PoolId>, Fault> {
        let pools = self.pools_of(advertisement);
        let others_differ = self.local_prefs.iter().any(|pref| *pref != advertisement.local_pref);
        for pool in &pools {
            if let Some(aggregate) = self.aggregation(advertisement, pool) {
                let Aggregation { message, advertisement, entry } = aggregate;
                return Err(Fault::new(advertisement.field, message).against(entry));
            }
            if let Some((peer, _)) = self.echo_peer(advertisement, pool) {
                let message = echo_text(advertisement, pool, peer);
                let field = self.reference(advertisement, peer);
                return Err(Fault::new(field, message).against(bfd_profile(peer)));
            }
            if others_differ {
                let others = self.selecting.get(&pool.id()).into_iter().flatten();
                for other in others.filter_map(|other| self.bgp_advertisements.get(other)) {
                    if let Some(message) = self.local_pref(advertisement, other, pool) {
                        let fault =
                            Fault::new(self.part(advertisement, "localPref").field, message);
                        return Err(fault.against(self.part(other, "localPref")));
                    }
                }
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

    fn check_peer(&self, peer: &Peer) -> Result<(), Fault> {
        if !uses_echo(peer) {
            return Ok(());
        }
        let reaches =
            |it: &&BgpAdvertisement| it.peers.is_empty() || it.peers.contains(&*peer.name);
        for advertisement in self.bgp_advertisements.values().filter(reaches) {
            let pools = self.pools_of(advertisement);
            let mut ipv6 = pools.into_iter().filter_map(|pool| Some((pool, ipv6_range(pool)?)));
            if let Some((pool, range)) = ipv6.next() {
                let message = echo_text(advertisement, pool, &peer.name);
                let field = bfd_profile(&peer.name).field;
                return Err(Fault::new(field, message).against(pool.entry(range)));
            }
        }
        Ok(())
    }

    /// What is wrong with a range that overlaps with one of an admitted pool.
    fn overlap(&self, pool: &Pool, range: &AddressRange, overlap: Overlap<PoolId>) -> Fault {
        let Overlap { message, earlier, holder } = overlap;
        let holder = self.pools.get(&holder).unwrap_or(pool);
        Fault::new(pool.entry(range).field, message).against(holder.entry(&earlier))
    }

    /// A field of an advertisement, as it is written.
    fn part(&self, advertisement: &BgpAdvertisement, field: &'static str) -> OtherEntry {
        match self.of_pools.get(&advertisement.name) {
            Some(PoolsOwn { pool, field: outer }) => OtherEntry {
                kind: ConfigKind::AddressPool,
                name: Arc::clone(pool),
                field: outer.clone().name(field),
            },
            None => OtherEntry {
                kind: ConfigKind::BgpAdvertisement,
                name: Arc::clone(&advertisement.name),
                field: FieldPath::from("spec").name(field),
            },
        }
    }

    /// Where an advertisement names a peer. One that names none is for all of them.
    fn reference(&self, advertisement: &BgpAdvertisement, peer: &str) -> FieldPath {
        if let Some(own) = self.of_pools.get(&advertisement.name) {
            return own.field.clone();
        }
        let object = self.objects.bgp_advertisements.get(&advertisement.name);
        let peers = object.and_then(|object| object.spec.as_ref().ok()?.peers.as_ref());
        let list = FieldPath::from("spec").name("peers");
        match peers.into_iter().flatten().position(|name| name == peer) {
            Some(index) => list.index(index),
            None => list,
        }
    }

    /// Two advertisements of one pool must not ask for different LOCAL_PREFs of the same route.
    fn local_pref(
        &self,
        one: &BgpAdvertisement,
        other: &BgpAdvertisement,
        pool: &Pool,
    ) -> Option<String> {
        let for_some_services =
            !one.service_selectors.is_empty() || !other.service_selectors.is_empty();
        if for_some_services || !one.conflicts_with(other, pool) || !self.share_a_node(one, other) {
            return None;
        }
        Some(format!(
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

    /// The peer with echo that the pool must not be advertised to, and the range for which not. Echo packets are for IPv4, so a session that uses them carries
    /// no IPv6 pool.
    fn echo_peer<'p>(
        &self,
        advertisement: &BgpAdvertisement,
        pool: &'p Pool,
    ) -> Option<(&Arc<str>, &'p AddressRange)> {
        let targets_all = advertisement.peers.is_empty();
        let mut reached = self
            .echo_peers
            .iter()
            .filter(|peer| targets_all || advertisement.peers.contains(&***peer));
        reached.next().zip(ipv6_range(pool))
    }

    /// An aggregate must not reach beyond what a selected pool holds: of each entry, one CIDR covers it.
    fn aggregation(&self, advertisement: &BgpAdvertisement, pool: &Pool) -> Option<Aggregation> {
        let lengths = (advertisement.aggregation_length, advertisement.aggregation_length_v6);
        if lengths == (32, 128) {
            return None;
        }
        pool.ranges.iter().find_map(|range| {
            let length = advertisement.length_for(range.family());
            let prefix = range.shortest_prefix();
            let message = || {
                format!(
                    "invalid aggregation length {length}: prefix {prefix} in this pool is more specific \
                     than the aggregation length for addresses {range}"
                )
            };
            (length < prefix).then(|| Aggregation {
                message: message(),
                advertisement: self.part(
                    advertisement,
                    match range.family() {
                        Family::V4 => "aggregationLength",
                        Family::V6 => "aggregationLengthV6",
                    },
                ),
                entry: pool.entry(range),
            })
        })
    }
}

/// An aggregate that reaches beyond an entry of a pool.
struct Aggregation {
    message: String,
    /// The field of the advertisement.
    advertisement: OtherEntry,
    /// The entry of the pool.
    entry: OtherEntry,
}

fn uses_echo(peer: &Peer) -> bool {
    peer.bfd_profile.as_ref().is_some_and(|profile| profile.echo_mode)
}

fn ipv6_range(pool: &Pool) -> Option<&AddressRange> {
    pool.ranges.iter().find(|range| range.family() == Family::V6)
}

fn echo_text(advertisement: &BgpAdvertisement, pool: &Pool, peer: &str) -> String {
    format!(
        "pool {} has bgpadvertisement {} which references peer {peer} which has bfd echo enabled, \
         which is not possible",
        pool.name, advertisement.name
    )
}

/// Where a peer names its profile.
fn bfd_profile(peer: &Arc<str>) -> OtherEntry {
    let field = FieldPath::from("spec").name("bfdProfile");
    OtherEntry { kind: ConfigKind::BgpPeer, name: Arc::clone(peer), field }
}
