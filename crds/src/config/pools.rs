// SPDX-License-Identifier: Apache-2.0
//! The valid pools, by name and by address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::pool::Pool;
use super::range::AddressRange;

/// Pools by name, with an index by address that is always in step with them.
///
/// Reads like a map; is made as a whole, by `collect`.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    by_name: BTreeMap<Arc<str>, Pool>,
    // Ascending, and without overlaps, as validated pools have none.
    by_address: Vec<(AddressRange, Arc<str>)>,
}

impl Pools {
    /// The pool whose ranges hold `address`.
    #[must_use]
    pub fn holding(&self, address: IpAddr) -> Option<&Pool> {
        let behind = self.by_address.partition_point(|(range, _)| range.first() <= address);
        let (range, name) = self.by_address.get(behind.checked_sub(1)?)?;
        if !range.contains(address) {
            return None;
        }
        self.by_name.get(name)
    }
}

impl Deref for Pools {
    type Target = BTreeMap<Arc<str>, Pool>;

    fn deref(&self) -> &Self::Target {
        &self.by_name
    }
}

impl From<BTreeMap<Arc<str>, Pool>> for Pools {
    fn from(by_name: BTreeMap<Arc<str>, Pool>) -> Self {
        let mut by_address: Vec<(AddressRange, Arc<str>)> = by_name
            .iter()
            .flat_map(|(name, pool)| pool.ranges.iter().map(|range| (*range, name.clone())))
            .collect();
        by_address.sort();
        by_address.shrink_to_fit();
        Self { by_name, by_address }
    }
}

impl FromIterator<Pool> for Pools {
    fn from_iter<I: IntoIterator<Item = Pool>>(pools: I) -> Self {
        pools.into_iter().map(|pool| (pool.name.clone(), pool)).collect::<BTreeMap<_, _>>().into()
    }
}

impl<'a> IntoIterator for &'a Pools {
    type Item = (&'a Arc<str>, &'a Pool);
    type IntoIter = std::collections::btree_map::Iter<'a, Arc<str>, Pool>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_name.iter()
    }
}

impl PartialEq for Pools {
    fn eq(&self, other: &Self) -> bool {
        self.by_name == other.by_name
    }
}

impl Eq for Pools {}
