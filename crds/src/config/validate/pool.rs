// SPDX-License-Identifier: Apache-2.0
//! `IPAddressPool`: the rules that one pool can break by itself (contract 6.2).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::selector;
use crate::config::fault::{Fault, FieldPath, OtherEntry};
use crate::config::objects::ConfigKind;
use crate::config::pool::{MetallbPolicy, Policy, Pool, ServiceAllocation, without_special};
use crate::config::range::AddressRange;
use crate::labels::Labels;
use crate::metallb::{IpAddressPoolSpec, ServiceAllocationSpec};

/// Parses a pool of the `addresses` of an object of that kind.
pub(super) fn parse(
    kind: ConfigKind,
    name: &Arc<str>,
    labels: &Labels,
    spec: &IpAddressPoolSpec,
) -> Result<Pool, Fault> {
    let parsing =
        |fault: Fault| fault.reworded(|message| format!("parsing address pool {name}: {message}"));
    if spec.addresses.is_empty() {
        return Err(parsing(Fault::new("addresses", "pool has no prefixes defined")));
    }
    let ranges = spec
        .addresses
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            AddressRange::parse(entry).map_err(|error| {
                let message = format!("invalid CIDR {entry:?} in pool {name:?}: {error}");
                parsing(Fault::new(("addresses", index), message))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut seen = Ranges::default();
    for (index, range) in ranges.iter().enumerate() {
        seen.admit(name, range, index).map_err(|overlap| {
            let field = FieldPath::from(("addresses", overlap.holder)).within("spec".into());
            let other = OtherEntry { kind, name: Arc::clone(name), field };
            Fault::new(("addresses", index), overlap.message).against(other)
        })?;
    }
    let service_allocation = spec.service_allocation.as_ref().map(allocation).transpose();
    let service_allocation =
        service_allocation.map_err(|fault| parsing(fault).within("serviceAllocation"))?;
    let written = ranges.clone();
    let (ranges, special) = without_special(ranges);
    Ok(Pool {
        name: name.clone(),
        labels: labels.clone(),
        ranges,
        special,
        contested: Vec::new(),
        policy: Policy::Metallb(MetallbPolicy {
            auto_assign: spec.auto_assign.unwrap_or(true),
            address_pool: kind == ConfigKind::AddressPool,
            written,
            avoid_buggy_ips: spec.avoid_buggy_ips.unwrap_or(false),
            service_allocation,
        }),
    })
}

fn allocation(spec: &ServiceAllocationSpec) -> Result<ServiceAllocation, Fault> {
    if let Some((index, namespace)) = selector::repeated(spec.namespaces.as_deref()) {
        let message = format!("duplicate definition in namespaces field {namespace:?}");
        return Err(Fault::new(("namespaces", index), message));
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

/// Ranges that do not overlap: by their first address, the last one and who holds them.
pub(super) struct Ranges<H>(BTreeMap<IpAddr, (IpAddr, H)>);

/// A range of those before overlaps.
pub(super) struct Overlap<H> {
    /// The contract's words for it.
    pub(super) message: String,
    /// The earlier range.
    pub(super) earlier: AddressRange,
    /// Who holds that.
    pub(super) holder: H,
}

impl<H> Default for Ranges<H> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<H: Clone> Ranges<H> {
    /// Adds a range, or says which one of those before it overlaps.
    pub(super) fn admit(
        &mut self,
        pool: &str,
        range: &AddressRange,
        holder: H,
    ) -> Result<(), Overlap<H>> {
        self.check(pool, range)?;
        self.0.insert(range.first(), (range.last(), holder));
        Ok(())
    }

    /// Whether the range could be added.
    pub(super) fn check(&self, pool: &str, range: &AddressRange) -> Result<(), Overlap<H>> {
        // They are disjoint: if any overlaps, so does the one that begins last before this one's end.
        let before = self.0.range(..=range.last()).next_back();
        let Some((first, (last, holder))) = before else { return Ok(()) };
        let Some(earlier) = AddressRange::new(*first, *last).filter(|known| known.overlaps(range))
        else {
            return Ok(());
        };
        let cidrs = overlapping_cidrs(range, &earlier);
        let message = cidrs.map_or_else(
            || "ranges overlap".to_owned(),
            |(new, old)| {
                format!(
                    "CIDR \"{new}\" in pool {pool:?} overlaps with already defined CIDR \"{old}\""
                )
            },
        );
        Err(Overlap { message, earlier, holder: holder.clone() })
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
