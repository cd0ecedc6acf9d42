// SPDX-License-Identifier: Apache-2.0
//! What is admitted: an object that has nothing wrong by itself.

use std::sync::Arc;

use crate::config::Config;
use crate::config::advertisement::{BgpAdvertisement, L2Advertisement};
use crate::config::fault::FieldPath;
use crate::config::objects::ConfigKind;
use crate::config::peer::Peer;
use crate::config::pool::Pool;

/// An object of one of the kinds that are looked at together.
pub(super) enum Entry {
    Pool(Box<Pool>),
    L2(Box<L2Advertisement>),
    /// The second is what an `AddressPool` says of it, if it is one of an `AddressPool`.
    Bgp(Box<BgpAdvertisement>, Option<PoolsOwn>),
    Peer(Box<Peer>),
}

/// Where an `AddressPool` has an advertisement.
#[derive(Clone, Debug)]
pub(super) struct PoolsOwn {
    /// The pool's name.
    pub(super) pool: Arc<str>,
    /// Where the advertisement stands in the pool.
    pub(super) field: FieldPath,
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
        Self::Bgp(Box::new(advertisement), None)
    }
}

impl From<Peer> for Entry {
    fn from(peer: Peer) -> Self {
        Self::Peer(Box::new(peer))
    }
}

impl Entry {
    /// An advertisement of an `AddressPool`.
    pub(super) fn of_pool(advertisement: BgpAdvertisement, own: PoolsOwn) -> Self {
        Self::Bgp(Box::new(advertisement), Some(own))
    }

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
