// SPDX-License-Identifier: Apache-2.0
//! `AddressPool` of MetalLB 0.13 (contract, manifests): a pool, and advertisements that are for it alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cross::{Admitted, Entry};
use super::{Rejection, advertisement, pool};
use crate::config::community::Community;
use crate::config::objects::{ConfigKind, Objects};
use crate::config::pool::{Policy, Pool};
use crate::labels::Labels;
use crate::metallb::address_pool::{AddressPoolSpec, Advertised};
use crate::metallb::{BgpAdvertisementSpec, IpAddressPoolSpec};

/// The pool that it is.
pub(super) fn parse(
    name: &Arc<str>,
    labels: &Labels,
    spec: &AddressPoolSpec,
) -> Result<Pool, String> {
    let as_today = IpAddressPoolSpec {
        addresses: spec.addresses.clone(),
        auto_assign: spec.auto_assign,
        ..IpAddressPoolSpec::default()
    };
    let mut pool = pool::parse(name, labels, &as_today)?;
    if let Policy::Metallb(policy) = &mut pool.policy {
        policy.address_pool = true;
    }
    Ok(pool)
}

/// The names that no advertisement but their own selects. An older IPAddressPool of that name goes before.
pub(super) fn names(objects: &Objects) -> Arc<BTreeSet<Arc<str>>> {
    let stays = |(name, object): &(&Arc<str>, &super::Object<AddressPoolSpec>)| {
        objects.pools.get(*name).is_none_or(|other| object.age < other.age)
    };
    Arc::new(objects.address_pools.iter().filter(stays).map(|(name, _)| Arc::clone(name)).collect())
}

/// Takes in their advertisements; what cannot be is told as that pool's, which stays.
pub(super) fn advertise(
    objects: &Objects,
    communities: &BTreeMap<Box<str>, Community>,
    admitted: &mut Admitted<'_>,
) -> Vec<Rejection> {
    let mut rejections = Vec::new();
    for name in names(objects).iter() {
        let spec = objects.address_pools.get(name).and_then(|object| object.spec.as_ref().ok());
        for entry in spec.map(|spec| entries(name, spec, communities)).unwrap_or_default() {
            if let Err(message) = entry.and_then(|entry| admitted.admit(entry)) {
                rejections.push(Rejection {
                    kind: ConfigKind::AddressPool,
                    name: Arc::clone(name),
                    message,
                    kept_last_valid: true,
                });
            }
        }
    }
    rejections
}

fn entries(
    pool: &Arc<str>,
    spec: &AddressPoolSpec,
    communities: &BTreeMap<Box<str>, Community>,
) -> Vec<Result<Entry, String>> {
    // No object can have such a name.
    let name = |number: usize| -> Arc<str> { format!("{pool} (AddressPool, {number})").into() };
    match spec.advertised(pool) {
        Advertised::Layer2(spec) => {
            vec![advertisement::parse_l2(&name(1), &spec).map(Entry::from)]
        }
        Advertised::Bgp(specs) => {
            let entry = |(number, spec): (usize, &BgpAdvertisementSpec)| {
                advertisement::parse_bgp(&name(number + 1), spec, communities).map(Entry::from)
            };
            specs.iter().enumerate().map(entry).collect()
        }
    }
}
