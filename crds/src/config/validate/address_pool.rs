// SPDX-License-Identifier: Apache-2.0
//! `AddressPool` of MetalLB 0.13 (contract 8.3): a pool, and advertisements that are for it alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cross::Admitted;
use super::entry::{Entry, PoolsOwn};
use super::{Rejection, advertisement, pool};
use crate::config::community::Community;
use crate::config::fault::{Fault, FieldPath};
use crate::config::objects::{ConfigKind, Objects};
use crate::config::pool::Pool;
use crate::labels::Labels;
use crate::metallb::address_pool::{AddressPoolSpec, Advertised};
use crate::metallb::{BgpAdvertisementSpec, IpAddressPoolSpec};

/// The pool that it is.
pub(super) fn parse(
    name: &Arc<str>,
    labels: &Labels,
    spec: &AddressPoolSpec,
) -> Result<Pool, Fault> {
    let as_today = IpAddressPoolSpec {
        addresses: spec.addresses.clone(),
        auto_assign: spec.auto_assign,
        ..IpAddressPoolSpec::default()
    };
    pool::parse(ConfigKind::AddressPool, name, labels, &as_today)
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
            if let Err(fault) = entry.and_then(|entry| admitted.admit(entry)) {
                let pool = Arc::clone(name);
                rejections.push(Rejection::new(ConfigKind::AddressPool, pool, fault, true));
            }
        }
    }
    rejections
}

fn entries(
    pool: &Arc<str>,
    spec: &AddressPoolSpec,
    communities: &BTreeMap<Box<str>, Community>,
) -> Vec<Result<Entry, Fault>> {
    // No object can have such a name.
    let name = |number: usize| -> Arc<str> { format!("{pool} (AddressPool, {number})").into() };
    let protocol = || FieldPath::from("spec").name("protocol");
    match spec.advertised(pool) {
        Advertised::Layer2(today) => {
            let parsed = advertisement::parse_l2(&name(1), &today).map(Entry::from);
            vec![parsed.map_err(|fault| Fault { field: protocol(), ..fault })]
        }
        Advertised::Bgp(specs) => {
            let entry = |(index, today): (usize, &BgpAdvertisementSpec)| {
                // Without any there is one, by the defaults.
                let field = match spec.bgp_advertisements.is_empty() {
                    true => protocol(),
                    false => FieldPath::from(("bgpAdvertisements", index)).within("spec".into()),
                };
                let parsed = advertisement::parse_bgp(&name(index + 1), today, communities);
                let parsed = parsed.map_err(|fault| fault.within(field.clone()))?;
                Ok(Entry::of_pool(parsed, PoolsOwn { pool: Arc::clone(pool), field }))
            };
            specs.iter().enumerate().map(entry).collect()
        }
    }
}
