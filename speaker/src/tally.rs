// SPDX-License-Identifier: Apache-2.0
//! How many Services are not announced from this node, by the reason's name.

use std::collections::BTreeMap;

use crate::reason::Withhold;

/// Counts by the name of a reason ([`Withhold::name`]), also of those that are 0.
#[derive(Clone, Debug)]
pub struct Tally(BTreeMap<&'static str, i64>);

impl Default for Tally {
    fn default() -> Self {
        Self(Withhold::NAMES.map(|name| (name, 0)).into())
    }
}

impl Tally {
    /// A Service was withheld for one reason, if it was, and is for another, if it is.
    pub fn change(&mut self, was: Option<&'static str>, is: Option<&'static str>) {
        if let Some(count) = was.and_then(|name| self.0.get_mut(name)) {
            *count -= 1;
        }
        if let Some(name) = is {
            *self.0.entry(name).or_default() += 1;
        }
    }

    /// Each reason and its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, i64)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_counts_once_whatever_happens_to_it() {
        let mut tally = Tally::default();
        tally.change(None, Some("notOwner"));
        tally.change(None, Some("notOwner"));
        tally.change(Some("notOwner"), Some("silent"));
        tally.change(Some("notOwner"), None);
        assert_eq!(
            tally.iter().filter(|(_, count)| *count != 0).collect::<Vec<_>>(),
            [("silent", 1)]
        );
        assert_eq!(tally.iter().count(), Withhold::NAMES.len());
    }
}
