// SPDX-License-Identifier: Apache-2.0
//! Validated advertisements: which pools are announced, by which protocol, from where.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::community::{Community, CommunityReference, ExtendedCommunity};
use super::pool::{Pool, PoolKind};
use super::range::Family;
use crate::labels::{Labels, Selector, any_matches};

/// Which pools an advertisement applies to (contract 1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolSelection {
    /// Pools by name; unknown names select nothing.
    pub names: Vec<Box<str>>,
    /// Pools by their labels, in union with `names`.
    pub selectors: Vec<Selector>,
    /// The names of AddressPools: each has advertisements of its own, and no other selects it.
    pub except: Arc<BTreeSet<Arc<str>>>,
}

impl PoolSelection {
    /// Whether the pool of that name and labels is selected; without names and selectors every pool is, but those that are excepted.
    #[must_use]
    pub fn selects(&self, name: &str, labels: &Labels) -> bool {
        if self.except.contains(name) {
            return false;
        }
        (self.names.is_empty() && self.selectors.is_empty())
            || self.names.iter().any(|selected| &**selected == name)
            || any_matches(&self.selectors, labels)
    }

    /// `selects` for a validated pool.
    #[must_use]
    pub fn selects_pool(&self, pool: &Pool) -> bool {
        self.selects(&pool.name, &pool.labels)
    }
}

/// A soft preference for nodes (contract 1.2, 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferredNodes {
    /// 1 to 100.
    pub weight: u32,
    /// Which nodes it prefers.
    pub preference: Selector,
}

/// A validated `L2Advertisement` (contract 1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2Advertisement {
    /// The object's name.
    pub name: Arc<str>,
    /// Which pools it applies to.
    pub pools: PoolSelection,
    /// Which nodes may announce; empty means all.
    pub node_selectors: Vec<Selector>,
    /// Exact interface names; empty means all.
    pub interfaces: BTreeSet<Box<str>>,
    /// Which Services; empty means all.
    pub service_selectors: Vec<Selector>,
    /// Soft preferences among the nodes.
    pub preferred_nodes: Vec<PreferredNodes>,
    /// True if all nodes that may announce serve an address together.
    pub spreads: bool,
}

impl L2Advertisement {
    /// Whether a node with these labels may announce by it.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        self.node_selectors.is_empty() || any_matches(&self.node_selectors, labels)
    }

    /// Whether a Service with these labels is announced by it.
    #[must_use]
    pub fn selects_service(&self, labels: &Labels) -> bool {
        self.service_selectors.is_empty() || any_matches(&self.service_selectors, labels)
    }
}

/// A validated `BGPAdvertisement` (contract 1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpAdvertisement {
    /// The object's name.
    pub name: Arc<str>,
    /// Which pools it applies to.
    pub pools: PoolSelection,
    /// IPv4 prefix length, 1 to 32.
    pub aggregation_length: u8,
    /// IPv6 prefix length, 0 to 128.
    pub aggregation_length_v6: u8,
    /// LOCAL_PREF for iBGP.
    pub local_pref: u32,
    /// As written, for messages.
    pub community_references: Vec<CommunityReference>,
    /// Resolved communities, ascending.
    pub communities: BTreeSet<Community>,
    /// Which nodes announce; empty means all.
    pub node_selectors: Vec<Selector>,
    /// `BGPPeer` names; empty means all.
    pub peers: BTreeSet<Box<str>>,
    /// Which Services; empty means all.
    pub service_selectors: Vec<Selector>,
    /// How many further times our AS number stands in front of AS_PATH, at most 10.
    pub as_path_prepend: u8,
    /// MULTI_EXIT_DISC, when one is sent.
    pub med: Option<u32>,
    /// Extended communities, ascending.
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// Antrea ExternalIPPools by name, in addition to `pools`.
    pub external_ip_pools: BTreeSet<Box<str>>,
}

impl BgpAdvertisement {
    /// Whether the pool of that kind, name and labels is announced by it. An `ExternalIPPool` is only by its name.
    #[must_use]
    pub fn selects(&self, kind: PoolKind, name: &str, labels: &Labels) -> bool {
        match kind {
            PoolKind::IpAddressPool => self.pools.selects(name, labels),
            PoolKind::ExternalIpPool => self.external_ip_pools.contains(name),
        }
    }

    /// `selects` for a validated pool.
    #[must_use]
    pub fn selects_pool(&self, pool: &Pool) -> bool {
        self.selects(pool.kind(), &pool.name, &pool.labels)
    }

    /// Whether a node with these labels announces by it.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        self.node_selectors.is_empty() || any_matches(&self.node_selectors, labels)
    }

    /// Whether a Service with these labels is announced by it.
    #[must_use]
    pub fn selects_service(&self, labels: &Labels) -> bool {
        self.service_selectors.is_empty() || any_matches(&self.service_selectors, labels)
    }

    /// The length of the prefixes announced for addresses of `family`.
    #[must_use]
    pub fn length_for(&self, family: Family) -> u8 {
        match family {
            Family::V4 => self.aggregation_length,
            Family::V6 => self.aggregation_length_v6,
        }
    }

    /// Whether both would send the same routes of `pool` to the same peer, with different LOCAL_PREFs
    /// (contract 6.3). Whether they select a common node or Service is for the caller to know.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self, pool: &Pool) -> bool {
        let differs = |family| {
            !pool.has_family(family) || self.length_for(family) != other.length_for(family)
        };
        let disjoint = !self.peers.is_empty()
            && !other.peers.is_empty()
            && self.peers.is_disjoint(&other.peers);
        self.local_pref != other.local_pref
            && !disjoint
            && !(differs(Family::V4) && differs(Family::V6))
    }
}
