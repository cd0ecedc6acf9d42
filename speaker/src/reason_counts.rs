// SPDX-License-Identifier: Apache-2.0
//! The number of Services that are not announced from this node, by the reason's name.

use std::collections::BTreeMap;

use crate::reason::Withhold;

/// Counts by the name of a reason ([`Withhold::name`]); a reason that counts 0 is there too.
#[derive(Clone, Debug)]
pub struct ReasonCounts(BTreeMap<&'static str, u64>);

impl Default for ReasonCounts {
    fn default() -> Self {
        Self(Withhold::NAMES.map(|name| (name, 0)).into())
    }
}

impl ReasonCounts {
    /// Counts a Service that was withheld for the first reason, if for any, and is now withheld for the second, if for any.
    pub fn change(&mut self, was: Option<&'static str>, is: Option<&'static str>) {
        if let Some(count) = was.and_then(|name| self.0.get_mut(name)) {
            *count = count.saturating_sub(1);
        }
        if let Some(name) = is {
            *self.0.entry(name).or_default() += 1;
        }
    }

    /// Each reason and its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_counts_once_whatever_happens_to_it() {
        let mut reason_counts = ReasonCounts::default();
        reason_counts.change(None, Some("notOwner"));
        reason_counts.change(None, Some("notOwner"));
        reason_counts.change(Some("notOwner"), Some("silent"));
        reason_counts.change(Some("notOwner"), None);
        assert_eq!(
            reason_counts.iter().filter(|(_, count)| *count != 0).collect::<Vec<_>>(),
            [("silent", 1)]
        );
        assert_eq!(reason_counts.iter().count(), Withhold::NAMES.len());
    }
}
