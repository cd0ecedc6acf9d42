// SPDX-License-Identifier: Apache-2.0
//! What pools of both kinds hold.

use std::collections::BTreeMap;

use super::Rejection;
use crate::config::fault::Fault;
use crate::config::pool::{Pool, PoolId, PoolKind};
use crate::config::range::AddressRange;

/// Pools of different kinds may hold the same addresses, since nobody checks that when they are made. Neither gives any of them
/// anew, and both say so.
pub(super) fn contest(pools: &mut BTreeMap<PoolId, Pool>) -> Vec<Rejection> {
    let of_kind = |kind| pools.values().filter(move |pool: &&Pool| pool.kind() == kind);
    let mut found: BTreeMap<PoolId, Vec<(AddressRange, Fault)>> = BTreeMap::new();
    for external in of_kind(PoolKind::ExternalIpPool) {
        for own in of_kind(PoolKind::IpAddressPool) {
            for (a, b) in
                external.ranges.iter().flat_map(|a| own.ranges.iter().map(move |b| (a, b)))
            {
                let Some(both) = a.intersection(b) else { continue };
                let says = |(range, pool): (&AddressRange, &Pool),
                            (other, holder): (&AddressRange, &Pool)| {
                    let message = format!(
                        "range [{range}] overlaps with range [{other}] of {}: no new address is given from \
                         what both hold",
                        holder.id()
                    );
                    Fault::new(pool.entry(range).field, message).against(holder.entry(other))
                };
                let (a, b) = ((a, external), (b, own));
                found.entry(external.id()).or_default().push((both, says(a, b)));
                found.entry(own.id()).or_default().push((both, says(b, a)));
            }
        }
    }
    let mut rejections = Vec::new();
    for (id, contests) in found {
        let messages: Vec<&str> = contests.iter().map(|(_, fault)| &*fault.message).collect();
        let message = messages.join("\n");
        let Some((pool, (_, first))) = pools.get_mut(&id).zip(contests.first()) else {
            continue;
        };
        let fault = Fault { message, ..first.clone() };
        rejections.push(Rejection::new(pool.object_kind(), id.name, fault, true));
        pool.contested = contests.into_iter().map(|(range, _)| range).collect();
    }
    rejections
}
