// SPDX-License-Identifier: Apache-2.0
//! How many prefixes there are of each family.

use crate::config::Family;
use crate::route::Routes;

/// A number of prefixes per family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    ipv4: usize,
    ipv6: usize,
}

impl Counts {
    pub(super) fn of(routes: &Routes) -> Self {
        let mut counts = Self::default();
        for prefix in routes.keys() {
            *counts.of_mut(Family::of(prefix)) += 1;
        }
        counts
    }

    pub(super) const fn in_family(&self, family: Family) -> usize {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }

    pub(super) const fn of_mut(&mut self, family: Family) -> &mut usize {
        match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        }
    }

    /// A prefix was one of these and is one now.
    pub(super) fn exchange(&mut self, family: Family, before: bool, now: bool) {
        let count = self.of_mut(family);
        *count = count.saturating_add(usize::from(now)).saturating_sub(usize::from(before));
    }
}
