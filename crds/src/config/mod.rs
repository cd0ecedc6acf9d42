// SPDX-License-Identifier: Apache-2.0
//! The validated configuration: what the objects mean once every rule of the contract holds.
//!
//! Validity is per object (docs/design/rules.md, rule 6): [`validate`] leaves out, or keeps at its last valid
//! version, the one object that is wrong, and says so in [`Rejection`]s; everything else applies.

mod advertisement;
mod community;
mod fault;
mod objects;
mod peer;
mod pool;
mod pools;
mod range;
mod special;
mod validate;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use advertisement::{BgpAdvertisement, L2Advertisement, PoolSelection, PreferredNodes};
pub use community::{Community, CommunityError, CommunityReference, ExtendedCommunity};
pub use fault::{FieldPath, OtherEntry};
pub use objects::{ConfigKind, Objects, Secret};
pub use peer::{BfdProfile, Ipv6NextHop, Password, Peer, PeerAddress, PeerAsn, Role, Timers};
pub use pool::{
    AntreaPolicy, MAX_CAPACITY, MetallbPolicy, Policy, Pool, PoolId, PoolKind, ServiceAllocation,
    WrittenRange,
};
pub use pools::Pools;
pub use range::{AddressRange, Family, RangeError, from_number, to_number};
pub use special::SpecialBlock;
pub(crate) use validate::removed_ranges;
pub use validate::{Rejection, Scope, validate};

use crate::labels::{Labels, Selector};

/// The validated configuration. Deterministic: it depends on the objects and on the last valid versions
/// of those that are invalid now, never on the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Valid `IPAddressPool`s by name; read like a map, and searched by address.
    pub pools: Pools,
    /// Valid `ExternalIPPool`s, likewise.
    pub external_pools: Pools,
    /// Pools that are present but invalid and have no last valid version: nothing is given from them,
    /// nothing that they gave is taken back.
    pub invalid_pools: BTreeMap<Arc<str>, InvalidPool>,
    /// The same of `ExternalIPPool`s.
    pub invalid_external_pools: BTreeMap<Arc<str>, InvalidPool>,
    /// Valid L2 advertisements, by name.
    pub l2_advertisements: BTreeMap<Arc<str>, L2Advertisement>,
    /// Valid BGP advertisements, by name.
    pub bgp_advertisements: BTreeMap<Arc<str>, BgpAdvertisement>,
    /// Of a speaker: BGP advertisements that do not select its node, as far as they can be read. They tell whether another node
    /// announces a Service.
    pub bgp_elsewhere: Vec<BgpAdvertisement>,
    /// Valid peers, by name.
    pub peers: BTreeMap<Arc<str>, Peer>,
    /// Peers whose own fields are valid and that cannot be used nevertheless, by name: their Secret is missing, say, or they
    /// contradict an older one. They have no session; whoever counts sessions counts them.
    pub unusable_peers: BTreeMap<Arc<str>, UnusablePeer>,
    /// The names of all peers, usable or not, the oldest first.
    pub peers_by_age: Vec<Arc<str>>,
    /// Valid BFD profiles, by name.
    pub bfd_profiles: BTreeMap<Arc<str>, BfdProfile>,
    /// Community aliases, of all objects together.
    pub communities: BTreeMap<Box<str>, Community>,
    /// The aliases that each valid `Community` object defines, by the object's name: its last valid
    /// version, should it become invalid.
    pub community_objects: BTreeMap<Arc<str>, BTreeMap<Box<str>, Community>>,
}

/// What is known of a pool that is present but invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPool {
    /// The object's labels: advertisements still select it by them.
    pub labels: Labels,
    /// Of an `ExternalIPPool`, which nodes announce what it gave, as far as that can be read.
    pub node_selector: Option<Selector>,
    /// Why it is invalid, in the contract's text.
    pub reason: Arc<str>,
}

/// A peer that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusablePeer {
    /// What its own fields say: without password and BFD profile.
    pub peer: Peer,
    /// Why it cannot be used, in the contract's text.
    pub reason: Arc<str>,
}

impl Config {
    /// The pools of one kind.
    #[must_use]
    pub fn pools_of(&self, kind: PoolKind) -> &Pools {
        match kind {
            PoolKind::IpAddressPool => &self.pools,
            PoolKind::ExternalIpPool => &self.external_pools,
        }
    }

    /// The `IPAddressPool` whose ranges hold `address`; there is at most one.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.holding(address)
    }

    /// Whether there is no `IPAddressPool` at all, valid or not.
    #[must_use]
    pub fn has_no_pools(&self) -> bool {
        self.pools.is_empty() && self.invalid_pools.is_empty()
    }
}
