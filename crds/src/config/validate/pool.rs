// SPDX-License-Identifier: Apache-2.0
//! `IPAddressPool`: the rules that one pool can break by itself (contract 6.2).

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::selector;
use crate::config::pool::{MetallbPolicy, Policy, Pool, ServiceAllocation, without_special};
use crate::config::range::AddressRange;
use crate::labels::Labels;
use crate::metallb::{IpAddressPoolSpec, ServiceAllocationSpec};

pub(super) fn parse(
    name: &Arc<str>,
    labels: &Labels,
    spec: &IpAddressPoolSpec,
) -> Result<Pool, String> {
    let within = |message: String| format!("parsing address pool {name}: {message}");
    if spec.addresses.is_empty() {
        return Err(within("pool has no prefixes defined".into()));
    }
    let ranges = spec
        .addresses
        .iter()
        .map(|entry| {
            AddressRange::parse(entry).map_err(|error| {
                within(format!("invalid CIDR {entry:?} in pool {name:?}: {error}"))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut seen = Ranges::default();
    for range in &ranges {
        seen.admit(name, range)?;
    }
    let service_allocation =
        spec.service_allocation.as_ref().map(allocation).transpose().map_err(within)?;
    let (ranges, special) = without_special(ranges);
    Ok(Pool {
        name: name.clone(),
        labels: labels.clone(),
        ranges,
        special,
        contested: Vec::new(),
        policy: Policy::Metallb(MetallbPolicy {
            auto_assign: spec.auto_assign.unwrap_or(true),
            address_pool: false,
            avoid_buggy_ips: spec.avoid_buggy_ips.unwrap_or(false),
            service_allocation,
        }),
    })
}

fn allocation(spec: &ServiceAllocationSpec) -> Result<ServiceAllocation, String> {
    if let Some(namespace) = selector::repeated(spec.namespaces.as_deref()) {
        return Err(format!("duplicate definition in namespaces field {namespace:?}"));
    }
    Ok(ServiceAllocation {
        priority: spec.priority.unwrap_or_default(),
        namespaces: selector::names("namespaces", spec.namespaces.as_deref())?,
        namespace_selectors: selector::parse(
            "namespaceSelectors",
            spec.namespace_selectors.as_deref(),
        )?,
        service_selectors: selector::parse("serviceSelectors", spec.service_selectors.as_deref())?,
    })
}

/// Ranges that do not overlap: by their first address, the last one.
#[derive(Default)]
pub(super) struct Ranges(std::collections::BTreeMap<IpAddr, IpAddr>);

impl Ranges {
    /// Adds a range, or says which one of those before it overlaps.
    pub(super) fn admit(&mut self, pool: &str, range: &AddressRange) -> Result<(), String> {
        self.check(pool, range)?;
        self.0.insert(range.first(), range.last());
        Ok(())
    }

    /// Whether the range could be added.
    pub(super) fn check(&self, pool: &str, range: &AddressRange) -> Result<(), String> {
        // They are disjoint: if any overlaps, so does the one that begins last before this one's end.
        let Some((first, last)) = self.0.range(..=range.last()).next_back() else { return Ok(()) };
        let Some(earlier) = AddressRange::new(*first, *last).filter(|known| known.overlaps(range))
        else {
            return Ok(());
        };
        let (new, old) = overlapping_cidrs(range, &earlier).ok_or("ranges overlap")?;
        Err(format!("CIDR \"{new}\" in pool {pool:?} overlaps with already defined CIDR \"{old}\""))
    }
}

/// The CIDRs, of those the two ranges consist of, that overlap.
fn overlapping_cidrs(a: &AddressRange, b: &AddressRange) -> Option<(IpNet, IpNet)> {
    let others = b.cidrs();
    a.cidrs().into_iter().find_map(|net| {
        let other = others.iter().find(|other| other.contains(&net) || net.contains(*other))?;
        Some((net, *other))
    })
}
