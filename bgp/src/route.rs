// SPDX-License-Identifier: Apache-2.0
//! What a peer shall be told: prefixes, each with the attributes that the caller decides. Next hop, AS_PATH and ORIGIN are the
//! session's own affair.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

/// LOCAL_PREF that internal peers get where none is set.
pub(crate) const DEFAULT_LOCAL_PREF: u32 = 100;

/// The whole table that one peer shall have. Prefixes must be given with their host bits zero ([`IpNet::trunc`]). Equal
/// attributes may be shared or not: they are compared by value.
pub type Routes = BTreeMap<IpNet, Arc<Attributes>>;

/// The attributes of a path. Lists are sorted and without duplicates, so that equal sets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    local_pref: Option<u32>,
    med: Option<u32>,
    as_path_prepend: u8,
    communities: Box<[u32]>,
    large_communities: Box<[[u32; 3]]>,
    extended_communities: Box<[[u8; 8]]>,
}

impl Attributes {
    /// LOCAL_PREF, sent on internal sessions only. Without it internal peers get 100.
    #[must_use]
    pub const fn with_local_pref(mut self, local_pref: u32) -> Self {
        self.local_pref = Some(local_pref);
        self
    }

    /// MULTI_EXIT_DISC, sent on all sessions.
    #[must_use]
    pub const fn with_med(mut self, med: u32) -> Self {
        self.med = Some(med);
        self
    }

    /// How often the local AS is put into AS_PATH in addition to the once that is needed. External sessions only.
    #[must_use]
    pub const fn with_as_path_prepend(mut self, times: u8) -> Self {
        self.as_path_prepend = times;
        self
    }

    /// COMMUNITIES (RFC 1997), as `high << 16 | low`; these replace what was there.
    #[must_use]
    pub fn with_communities(mut self, communities: impl IntoIterator<Item = u32>) -> Self {
        self.communities = set(communities);
        self
    }

    /// LARGE_COMMUNITY (RFC 8092); these replace what was there.
    #[must_use]
    pub fn with_large_communities(
        mut self,
        communities: impl IntoIterator<Item = [u32; 3]>,
    ) -> Self {
        self.large_communities = set(communities);
        self
    }

    /// EXTENDED COMMUNITIES (RFC 4360), as on the wire; these replace what was there.
    #[must_use]
    pub fn with_extended_communities(
        mut self,
        communities: impl IntoIterator<Item = [u8; 8]>,
    ) -> Self {
        self.extended_communities = set(communities);
        self
    }

    /// See [`Attributes::with_local_pref`].
    #[must_use]
    pub const fn local_pref(&self) -> Option<u32> {
        self.local_pref
    }

    /// See [`Attributes::with_med`].
    #[must_use]
    pub const fn med(&self) -> Option<u32> {
        self.med
    }

    /// See [`Attributes::with_as_path_prepend`].
    #[must_use]
    pub const fn as_path_prepend(&self) -> u8 {
        self.as_path_prepend
    }

    /// Sorted, without duplicates.
    #[must_use]
    pub const fn communities(&self) -> &[u32] {
        &self.communities
    }

    /// Sorted, without duplicates.
    #[must_use]
    pub const fn large_communities(&self) -> &[[u32; 3]] {
        &self.large_communities
    }

    /// Sorted, without duplicates.
    #[must_use]
    pub const fn extended_communities(&self) -> &[[u8; 8]] {
        &self.extended_communities
    }

    /// Merges two wishes for the same prefix, in either order with the same result: communities are united, the highest
    /// LOCAL_PREF, the lowest MED and the fewest prepends win. An unset LOCAL_PREF counts as the 100 that internal peers get.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let med = match (self.med, other.med) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        // Of an explicit 100 and an unset one the explicit, so that the order does not matter.
        let preference = |one: Option<u32>| (one.unwrap_or(DEFAULT_LOCAL_PREF), one.is_some());
        let (one, two) = (self.local_pref, other.local_pref);
        let local_pref = if preference(one) < preference(two) { two } else { one };
        Self {
            local_pref,
            med,
            as_path_prepend: self.as_path_prepend.min(other.as_path_prepend),
            communities: unite(&self.communities, &other.communities),
            large_communities: unite(&self.large_communities, &other.large_communities),
            extended_communities: unite(&self.extended_communities, &other.extended_communities),
        }
    }
}

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> Box<[T]> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_unstable();
    items.dedup();
    items.into()
}

fn unite<T: Ord + Copy>(one: &[T], two: &[T]) -> Box<[T]> {
    set(one.iter().chain(two).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sets_whatever_the_order() {
        let one = Attributes::default().with_communities([3, 1, 2, 1]);
        assert_eq!(one.communities(), [1, 2, 3]);
        assert_eq!(one, Attributes::default().with_communities([1, 2, 3]));
    }

    #[test]
    fn union_unites_communities_and_takes_the_better_path_in_either_order() {
        let one = Attributes::default()
            .with_local_pref(100)
            .with_med(5)
            .with_as_path_prepend(2)
            .with_communities([1])
            .with_large_communities([[1, 2, 3]])
            .with_extended_communities([[1; 8]]);
        let two = Attributes::default().with_local_pref(200).with_communities([2, 1]);
        let both = one.union(&two);
        assert_eq!(both, two.union(&one));
        assert_eq!(both.local_pref(), Some(200));
        assert_eq!(both.med(), Some(5));
        assert_eq!(both.as_path_prepend(), 0);
        assert_eq!(both.communities(), [1, 2]);
        assert_eq!(both.large_communities(), [[1, 2, 3]]);
        assert_eq!(both.extended_communities(), [[1; 8]]);
        assert_eq!(both.union(&both), both);
    }
    #[test]
    fn an_unset_local_pref_counts_as_the_default_of_internal_peers() {
        let with = |local_pref: Option<u32>| {
            local_pref.map_or_else(Attributes::default, |local_pref| {
                Attributes::default().with_local_pref(local_pref)
            })
        };
        for (one, two, both) in [
            (None, Some(50), None),
            (None, Some(101), Some(101)),
            (None, Some(100), Some(100)),
            (None, None, None),
            (Some(50), Some(0), Some(50)),
        ] {
            assert_eq!(with(one).union(&with(two)).local_pref(), both, "{one:?} {two:?}");
            assert_eq!(with(two).union(&with(one)).local_pref(), both, "{two:?} {one:?}");
        }
    }
}
