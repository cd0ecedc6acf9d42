// SPDX-License-Identifier: Apache-2.0
//! The configuration objects as their source delivers them: read into types, not yet judged.

mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use read::{insert, split};
use serde::Deserialize;
use serde_json::Value;

use super::fault::Fault;
use super::peer::Password;
use super::pool::{PoolId, PoolKind};
use crate::antrea::ExternalIpPoolSpec;
use crate::labels::Labels;
use crate::metallb::address_pool::AddressPoolSpec;
use crate::metallb::{
    BfdProfileSpec, BgpAdvertisementSpec, BgpPeerSpec, CommunitySpec, IpAddressPoolSpec,
    L2AdvertisementSpec,
};

/// The kinds that make up the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConfigKind {
    /// `IPAddressPool`
    IpAddressPool,
    /// `AddressPool`, which MetalLB had until 0.13.
    AddressPool,
    /// `ExternalIPPool`, Antrea's.
    ExternalIpPool,
    /// `L2Advertisement`
    L2Advertisement,
    /// `BGPAdvertisement`
    BgpAdvertisement,
    /// `BGPPeer`
    BgpPeer,
    /// `BFDProfile`
    BfdProfile,
    /// `Community`
    Community,
}

impl ConfigKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::IpAddressPool,
        Self::L2Advertisement,
        Self::BgpAdvertisement,
        Self::BgpPeer,
        Self::BfdProfile,
        Self::Community,
        Self::ExternalIpPool,
        Self::AddressPool,
    ];

    /// As objects name it.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::IpAddressPool => "IPAddressPool",
            Self::L2Advertisement => "L2Advertisement",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::BgpPeer => "BGPPeer",
            Self::BfdProfile => "BFDProfile",
            Self::Community => "Community",
            Self::ExternalIpPool => "ExternalIPPool",
            Self::AddressPool => "AddressPool",
        }
    }

    /// As URLs name it.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::IpAddressPool => "ipaddresspools",
            Self::L2Advertisement => "l2advertisements",
            Self::BgpAdvertisement => "bgpadvertisements",
            Self::BgpPeer => "bgppeers",
            Self::BfdProfile => "bfdprofiles",
            Self::Community => "communities",
            Self::ExternalIpPool => "externalippools",
            Self::AddressPool => "addresspools",
        }
    }

    /// The version that is stored.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::BgpPeer => "v1beta2",
            Self::IpAddressPool
            | Self::L2Advertisement
            | Self::BgpAdvertisement
            | Self::BfdProfile
            | Self::Community
            | Self::ExternalIpPool
            | Self::AddressPool => "v1beta1",
        }
    }

    /// The API group that it is of.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::ExternalIpPool => crate::antrea::GROUP,
            Self::IpAddressPool
            | Self::L2Advertisement
            | Self::BgpAdvertisement
            | Self::BgpPeer
            | Self::BfdProfile
            | Self::Community
            | Self::AddressPool => crate::metallb::GROUP,
        }
    }

    /// Whether its objects are in the namespace of the configuration; those of the others are in none.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::ExternalIpPool)
    }

    /// Whether many clusters lack it: its CRD is Antrea's, or of MetalLB 0.13.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::ExternalIpPool | Self::AddressPool)
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_kind(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.kind() == kind)
    }
}

impl fmt::Display for ConfigKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind())
    }
}

/// What is used of a Secret: its type, and the password it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// Such as `kubernetes.io/basic-auth`.
    pub kind: Box<str>,
    /// The value of the key `password`.
    pub password: Option<Password>,
}

impl Secret {
    /// Reads a `v1` Secret; what is not there, or is not what it should be, is absent. As in the API,
    /// `stringData` goes before `data`.
    #[must_use]
    pub fn parse(object: &Value) -> Self {
        let kind = object.get("type").and_then(Value::as_str).unwrap_or("Opaque").into();
        let plain =
            object.pointer("/stringData/password").and_then(Value::as_str).map(Password::from);
        let password = plain.or_else(|| {
            let ByteString(octets) =
                ByteString::deserialize(object.pointer("/data/password")?).ok()?;
            Some(Password::from(octets.as_slice()))
        });
        Self { kind, password }
    }
}

/// How old an object is, for deciding which of two that contradict each other stays. An object without
/// a time (a manifest in a folder has none) counts as oldest; equally old ones go by kind and name.
pub(super) type Age = Option<Timestamp>;

/// One object: what the configuration uses of its metadata, and its `spec` if that could be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object<S> {
    pub(super) uid: Box<str>,
    pub(super) namespace: Box<str>,
    pub(super) labels: Labels,
    pub(super) age: Age,
    pub(super) spec: Result<S, Fault>,
}

pub(super) type Stored<S> = BTreeMap<Arc<str>, Object<S>>;

/// The configuration objects as the source delivered them, by kind and name.
///
/// Only what validation uses is held: no status, no managed fields, no annotations.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub(super) pools: Stored<IpAddressPoolSpec>,
    pub(super) l2_advertisements: Stored<L2AdvertisementSpec>,
    pub(super) bgp_advertisements: Stored<BgpAdvertisementSpec>,
    pub(super) peers: Stored<BgpPeerSpec>,
    pub(super) bfd_profiles: Stored<BfdProfileSpec>,
    pub(super) communities: Stored<CommunitySpec>,
    pub(super) external_pools: Stored<ExternalIpPoolSpec>,
    pub(super) address_pools: Stored<AddressPoolSpec>,
    pub(super) secrets: BTreeMap<Box<str>, Secret>,
}

/// Runs `$body` with `$map` being the map of `$kind`, whatever it holds.
macro_rules! with_map {
    ($objects:expr, $kind:expr, $map:ident => $body:expr) => {
        match $kind {
            ConfigKind::IpAddressPool => {
                let $map = &mut $objects.pools;
                $body
            }
            ConfigKind::L2Advertisement => {
                let $map = &mut $objects.l2_advertisements;
                $body
            }
            ConfigKind::BgpAdvertisement => {
                let $map = &mut $objects.bgp_advertisements;
                $body
            }
            ConfigKind::BgpPeer => {
                let $map = &mut $objects.peers;
                $body
            }
            ConfigKind::BfdProfile => {
                let $map = &mut $objects.bfd_profiles;
                $body
            }
            ConfigKind::Community => {
                let $map = &mut $objects.communities;
                $body
            }
            ConfigKind::ExternalIpPool => {
                let $map = &mut $objects.external_pools;
                $body
            }
            ConfigKind::AddressPool => {
                let $map = &mut $objects.address_pools;
                $body
            }
        }
    };
}

impl Objects {
    /// Takes in an object, new or changed. An object that cannot be read is held as such, and rejected
    /// by validation; one without a name is not an object and ignored.
    ///
    /// Returns whether anything changed that validation looks at.
    pub fn apply(&mut self, kind: ConfigKind, object: Value) -> bool {
        let Some((name, object)) = split(kind, object) else { return false };
        with_map!(self, kind, map => insert(map, name, object))
    }

    /// Removes an object; returns whether it was there.
    pub fn delete(&mut self, kind: ConfigKind, name: &str) -> bool {
        with_map!(self, kind, map => map.remove(name).is_some())
    }

    /// Puts these objects in the place of all of that kind; returns whether anything changed.
    pub fn reset(&mut self, kind: ConfigKind, objects: Vec<Value>) -> bool {
        with_map!(self, kind, map => {
            let mut old = std::mem::take(map);
            let mut changed = false;
            for object in objects {
                let Some((name, object)) = split(kind, object) else { continue };
                if let Some((name, known)) = old.remove_entry(&*name) {
                    map.insert(name, known);
                }
                changed |= insert(map, name, object);
            }
            changed || !old.is_empty()
        })
    }

    /// The names of the objects of that kind, ascending.
    #[must_use]
    pub fn names(&self, kind: ConfigKind) -> Vec<Arc<str>> {
        match kind {
            ConfigKind::IpAddressPool => self.pools.keys().cloned().collect(),
            ConfigKind::L2Advertisement => self.l2_advertisements.keys().cloned().collect(),
            ConfigKind::BgpAdvertisement => self.bgp_advertisements.keys().cloned().collect(),
            ConfigKind::BgpPeer => self.peers.keys().cloned().collect(),
            ConfigKind::BfdProfile => self.bfd_profiles.keys().cloned().collect(),
            ConfigKind::Community => self.communities.keys().cloned().collect(),
            ConfigKind::ExternalIpPool => self.external_pools.keys().cloned().collect(),
            ConfigKind::AddressPool => self.address_pools.keys().cloned().collect(),
        }
    }

    /// A copy with the objects of these kinds only.
    #[must_use]
    pub(crate) fn only(&self, kinds: &[ConfigKind]) -> Self {
        let mut copy = Self::default();
        for kind in kinds {
            match kind {
                ConfigKind::IpAddressPool => copy.pools.clone_from(&self.pools),
                ConfigKind::L2Advertisement => {
                    copy.l2_advertisements.clone_from(&self.l2_advertisements);
                }
                ConfigKind::BgpAdvertisement => {
                    copy.bgp_advertisements.clone_from(&self.bgp_advertisements);
                }
                ConfigKind::BgpPeer => copy.peers.clone_from(&self.peers),
                ConfigKind::BfdProfile => copy.bfd_profiles.clone_from(&self.bfd_profiles),
                ConfigKind::Community => copy.communities.clone_from(&self.communities),
                ConfigKind::AddressPool => copy.address_pools.clone_from(&self.address_pools),
                ConfigKind::ExternalIpPool => {
                    copy.external_pools.clone_from(&self.external_pools);
                }
            }
        }
        copy
    }

    /// Takes out what refers to objects that may come later: BFD profiles, Secrets and aliases of communities
    /// (contract 6.4), and what MetalLB's webhook takes in spite of everything.
    pub(crate) fn forget_references(&mut self) {
        for peer in self.peers.values_mut() {
            if let Ok(spec) = &mut peer.spec {
                spec.bfd_profile = None;
                spec.password_secret = None;
                super::validate::forget_what_metallb_takes(spec);
            }
        }
        for advertisement in self.bgp_advertisements.values_mut() {
            if let Ok(spec) = &mut advertisement.spec
                && let Some(communities) = &mut spec.communities
            {
                communities.retain(|community| community.contains(':'));
            }
        }
    }

    /// The first peer, by name, that a BFD profile is used by.
    pub(crate) fn user_of_bfd_profile(&self, profile: &str) -> Option<&str> {
        let mut peers = self.peers.iter();
        peers.find_map(|(name, peer)| {
            let used = peer.spec.as_ref().ok()?.bfd_profile.as_deref()?;
            (used == profile).then_some(&**name)
        })
    }

    /// The uid of a pool's object, for events on it; empty in a folder.
    #[must_use]
    pub fn pool_uid(&self, pool: &PoolId) -> Option<&str> {
        match pool.kind {
            PoolKind::IpAddressPool => self.pools.get(&pool.name).map(|object| &*object.uid),
            PoolKind::ExternalIpPool => {
                self.external_pools.get(&pool.name).map(|object| &*object.uid)
            }
        }
    }

    /// The names of the Secrets, ascending.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(|name| &**name)
    }

    /// Takes in a Secret of the configuration's namespace; returns whether it changed.
    pub fn apply_secret(&mut self, name: &str, secret: Secret) -> bool {
        if self.secrets.get(name) == Some(&secret) {
            return false;
        }
        self.secrets.insert(name.into(), secret);
        true
    }

    /// Removes a Secret; returns whether it was there.
    pub fn delete_secret(&mut self, name: &str) -> bool {
        self.secrets.remove(name).is_some()
    }

    /// Puts these Secrets in the place of all; returns whether anything changed.
    pub fn reset_secrets(&mut self, secrets: impl IntoIterator<Item = (Box<str>, Secret)>) -> bool {
        let secrets: BTreeMap<Box<str>, Secret> = secrets.into_iter().collect();
        let changed = self.secrets != secrets;
        self.secrets = secrets;
        changed
    }

    /// The Secrets that peers refer to: no other is of use here.
    #[must_use]
    pub fn referenced_secrets(&self) -> std::collections::BTreeSet<&str> {
        self.peers
            .values()
            .filter_map(|peer| peer.spec.as_ref().ok()?.password_secret.as_ref()?.name.as_deref())
            .filter(|name| !name.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests;
