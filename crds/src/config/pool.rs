// SPDX-License-Identifier: Apache-2.0
//! A validated pool of addresses.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::fault::{FieldPath, OtherEntry};
use super::objects::ConfigKind;
use super::range::{AddressRange, Family, to_number};
use super::special::{self, SpecialBlock};
use crate::labels::{Labels, Selector, any_matches};

/// A validated pool of either kind: `IPAddressPool` (contract 1.1) or `ExternalIPPool` (contract C.2). What
/// they have in common is here; in what they differ is their policy. Its ranges overlap neither each other nor those of
/// any other pool of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The object's name.
    pub name: Arc<str>,
    /// The object's labels, for the pool selectors of advertisements.
    pub labels: Labels,
    /// In the order of the spec: allocation walks them in this order. Parts that are never given are left out.
    pub ranges: Vec<AddressRange>,
    /// The parts of the written ranges that are never given: no station could be reached there.
    pub special: Vec<(SpecialBlock, AddressRange)>,
    /// What a pool of the other kind holds as well: no new address is given from there.
    pub contested: Vec<AddressRange>,
    /// Who may have its addresses, and where they are announced.
    pub policy: Policy,
}

/// In what the kinds of pools differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Of an `IPAddressPool`.
    Metallb(MetallbPolicy),
    /// Of an `ExternalIPPool`.
    Antrea(AntreaPolicy),
}

/// Serves Services that ask for it, or for nothing; advertisements say where it is announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetallbPolicy {
    /// Whether it is used for Services that ask for nothing in particular.
    pub auto_assign: bool,
    /// The ranges as they are written, in order.
    pub written: Vec<AddressRange>,
    /// Whether it is made from an `AddressPool`, which has advertisements of its own and no status.
    pub address_pool: bool,
    /// Whether IPv4 addresses that end in .0 or .255 are unusable.
    pub avoid_buggy_ips: bool,
    /// Which Services it is pinned to; `None` means all.
    pub service_allocation: Option<ServiceAllocation>,
}

/// Serves exactly the Services whose annotation names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AntreaPolicy {
    /// Which nodes may announce its addresses; none where the selector cannot be read.
    pub node_selector: Option<Selector>,
    /// `subnetInfo.gateway`: given only to a Service that asks for it.
    pub gateway: Option<IpAddr>,
    /// The ranges as they are written, in order.
    pub written: Vec<WrittenRange>,
}

/// A range of an `ExternalIPPool` with all that it covers, also what is never given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRange {
    /// The CIDR as written, or `start-end`.
    pub text: Box<str>,
    /// From the first to the last address.
    pub whole: AddressRange,
}

/// Which world a pool, and so a Service, belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PoolKind {
    /// `IPAddressPool`, MetalLB's.
    #[default]
    IpAddressPool,
    /// `ExternalIPPool`, Antrea's.
    ExternalIpPool,
}

/// A pool's name among those of both kinds, which may have the same names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId {
    /// Its kind.
    pub kind: PoolKind,
    /// The object's name.
    pub name: Arc<str>,
}

impl fmt::Display for PoolId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind.name(), self.name)
    }
}

impl PoolKind {
    /// As objects name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IpAddressPool => "IPAddressPool",
            Self::ExternalIpPool => "ExternalIPPool",
        }
    }
}

/// Whom a pool is pinned to (contract 1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAllocation {
    /// Lower positive numbers win; zero or less is the lowest precedence.
    pub priority: i64,
    /// Namespaces by name.
    pub namespaces: Vec<Box<str>>,
    /// Namespaces by their labels, in union with `namespaces`.
    pub namespace_selectors: Vec<Selector>,
    /// Services by their labels.
    pub service_selectors: Vec<Selector>,
}

impl ServiceAllocation {
    /// The order of pinned pools: positive priorities ascending, then all others.
    #[must_use]
    pub fn rank(&self) -> u64 {
        u64::try_from(self.priority).ok().filter(|priority| *priority > 0).unwrap_or(u64::MAX)
    }

    /// Whether a Service of that namespace with these labels may use the pool. Namespaces and Services
    /// are AND; each unset part allows everything. Selectors that match no namespace allow nobody.
    #[must_use]
    pub fn allows(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        let namespace_fits = (self.namespaces.is_empty() && self.namespace_selectors.is_empty())
            || self.namespaces.iter().any(|name| &**name == namespace)
            || any_matches(&self.namespace_selectors, namespace_labels);
        let service_fits =
            self.service_selectors.is_empty() || any_matches(&self.service_selectors, labels);
        namespace_fits && service_fits
    }
}

/// The largest number a pool counter can show (contract 1.1).
pub const MAX_CAPACITY: u64 = i64::MAX.unsigned_abs();

/// Parts the written ranges into those that are given, in their order, and those that never are.
pub(super) fn without_special(
    written: impl IntoIterator<Item = AddressRange>,
) -> (Vec<AddressRange>, Vec<(SpecialBlock, AddressRange)>) {
    let (mut given, mut left_out) = (Vec::new(), Vec::new());
    for range in written {
        let (plain, special) = special::split(&range);
        given.extend(plain);
        left_out.extend(special);
    }
    (given, left_out)
}

impl Pool {
    /// Which kind of object it is made from.
    #[must_use]
    pub fn kind(&self) -> PoolKind {
        match self.policy {
            Policy::Metallb(_) => PoolKind::IpAddressPool,
            Policy::Antrea(_) => PoolKind::ExternalIpPool,
        }
    }

    /// The kind of its object.
    #[must_use]
    pub fn object_kind(&self) -> ConfigKind {
        match &self.policy {
            Policy::Metallb(policy) if policy.address_pool => ConfigKind::AddressPool,
            Policy::Metallb(_) => ConfigKind::IpAddressPool,
            Policy::Antrea(_) => ConfigKind::ExternalIpPool,
        }
    }

    /// The entry of its object that holds the whole range, or the list of entries if none does.
    #[must_use]
    pub fn entry(&self, range: &AddressRange) -> OtherEntry {
        let holds =
            |whole: &AddressRange| whole.contains(range.first()) && whole.contains(range.last());
        let (list, index) = match &self.policy {
            Policy::Metallb(policy) => ("addresses", policy.written.iter().position(holds)),
            Policy::Antrea(policy) => {
                ("ipRanges", policy.written.iter().position(|written| holds(&written.whole)))
            }
        };
        let list = FieldPath::from("spec").name(list);
        let field = match index {
            Some(index) => list.index(index),
            None => list,
        };
        OtherEntry { kind: self.object_kind(), name: Arc::clone(&self.name), field }
    }

    /// Its name among those of both kinds.
    #[must_use]
    pub fn id(&self) -> PoolId {
        PoolId { kind: self.kind(), name: Arc::clone(&self.name) }
    }

    /// Whether it is made from an `AddressPool` of MetalLB 0.13.
    #[must_use]
    pub fn is_address_pool(&self) -> bool {
        matches!(&self.policy, Policy::Metallb(policy) if policy.address_pool)
    }

    /// Whether it is used for Services that ask for nothing in particular.
    #[must_use]
    pub fn auto_assigns(&self) -> bool {
        matches!(&self.policy, Policy::Metallb(policy) if policy.auto_assign)
    }

    /// Which Services it is pinned to; `None` means all.
    #[must_use]
    pub fn service_allocation(&self) -> Option<&ServiceAllocation> {
        match &self.policy {
            Policy::Metallb(policy) => policy.service_allocation.as_ref(),
            Policy::Antrea(_) => None,
        }
    }

    /// Whether a node with these labels may announce its addresses, as far as the pool says.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        match &self.policy {
            Policy::Metallb(_) => true,
            Policy::Antrea(policy) => {
                policy.node_selector.as_ref().is_some_and(|selector| selector.matches(labels))
            }
        }
    }

    /// The end of the contested range that holds `address`, if one does.
    #[must_use]
    pub fn contested_until(&self, address: IpAddr) -> Option<IpAddr> {
        self.contested.iter().find(|range| range.contains(address)).map(AddressRange::last)
    }

    fn avoids_buggy_ips(&self) -> bool {
        matches!(&self.policy, Policy::Metallb(policy) if policy.avoid_buggy_ips)
    }

    /// Whether the last octet makes `address` unusable here.
    #[must_use]
    pub fn is_buggy(&self, address: IpAddr) -> bool {
        self.avoids_buggy_ips()
            && matches!(address, IpAddr::V4(v4) if matches!(v4.octets(), [_, _, _, 0 | 255]))
    }

    /// Whether `address` is in a range, usable or not.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Whether `address` may be given from here: contained, and not buggy.
    #[must_use]
    pub fn is_usable(&self, address: IpAddr) -> bool {
        self.contains(address) && !self.is_buggy(address)
    }

    /// Whether any range is of `family`.
    #[must_use]
    pub fn has_family(&self, family: Family) -> bool {
        self.ranges.iter().any(|range| range.family() == family)
    }

    /// How many addresses of `family` can be given, `MAX_CAPACITY` at most. A CIDR with 62 or more host
    /// bits counts as that many by itself (contract 1.1).
    #[must_use]
    pub fn capacity(&self, family: Family) -> u64 {
        let ranges = || self.ranges.iter().filter(|range| range.family() == family);
        let is_huge = |range: &AddressRange| {
            range.size() >= 1 << 62 && u32::from(range.shortest_prefix()) + 62 <= 128
        };
        if ranges().any(is_huge) {
            return MAX_CAPACITY;
        }
        let total = ranges()
            .map(|range| range.size().saturating_sub(self.buggy_in(range)))
            .fold(0_u128, u128::saturating_add);
        u64::try_from(total).unwrap_or(MAX_CAPACITY).min(MAX_CAPACITY)
    }

    fn buggy_in(&self, range: &AddressRange) -> u128 {
        if !self.avoids_buggy_ips() || range.family() == Family::V6 {
            return 0;
        }
        // How many numbers up to and including `n` end in `octet`.
        let up_to = |n: u128, octet: u128| (n + 256 - octet) / 256;
        let count = |octet: u128| {
            let below = to_number(range.first()).checked_sub(1).map_or(0, |n| up_to(n, octet));
            up_to(to_number(range.last()), octet) - below
        };
        count(0) + count(255)
    }
}

#[cfg(test)]
mod tests;
