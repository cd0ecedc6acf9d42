// SPDX-License-Identifier: Apache-2.0
//! A set of numbers kept as disjoint, non-adjacent intervals.
//!
//! The next number that is not in the set is found in logarithmic time however many are in it, and numbers
//! that are not in it take no memory. That is what makes 10,000 Services in a /16 linear, and a v6 /64 free.

use std::collections::BTreeMap;

/// Intervals by their first number; inclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IntervalSet(BTreeMap<u128, u128>);

impl IntervalSet {
    /// The interval that holds `number`.
    fn around(&self, number: u128) -> Option<(u128, u128)> {
        let (first, last) = self.0.range(..=number).next_back()?;
        (number <= *last).then_some((*first, *last))
    }

    /// Whether nothing is in.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last number of the interval that holds `number`.
    pub(crate) fn end_around(&self, number: u128) -> Option<u128> {
        self.around(number).map(|(_, last)| last)
    }

    /// Adds a number; one that is in already stays.
    pub(crate) fn insert(&mut self, number: u128) {
        if self.around(number).is_some() {
            return;
        }
        let mut first = number;
        let mut last = number;
        if let Some((left, _)) = number.checked_sub(1).and_then(|n| self.around(n)) {
            self.0.remove(&left);
            first = left;
        }
        if let Some((right, end)) = number.checked_add(1).and_then(|n| self.around(n)) {
            self.0.remove(&right);
            last = end;
        }
        self.0.insert(first, last);
    }

    /// Removes a number, if it is in.
    pub(crate) fn remove(&mut self, number: u128) {
        let Some((first, last)) = self.around(number) else { return };
        self.0.remove(&first);
        if first < number {
            self.0.insert(first, number - 1);
        }
        if number < last {
            self.0.insert(number + 1, last);
        }
    }

    /// The smallest number from `from` to `to`, both inclusive, that is not in the set.
    pub(crate) fn first_gap(&self, from: u128, to: u128) -> Option<u128> {
        let candidate = match self.around(from) {
            Some((_, last)) => last.checked_add(1)?,
            None => from,
        };
        (candidate <= to).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::IntervalSet;

    proptest! {
        #[test]
        fn behaves_as_a_set_of_numbers(
            steps in proptest::collection::vec((any::<bool>(), 0_u128..40), 0..200),
            from in 0_u128..45,
            to in 0_u128..45,
        ) {
            let mut intervals = IntervalSet::default();
            let mut model = BTreeSet::new();
            for (insert, number) in steps {
                if insert {
                    intervals.insert(number);
                    model.insert(number);
                } else {
                    intervals.remove(number);
                    model.remove(&number);
                }
            }
            let gap = (from..=to).find(|number| !model.contains(number));
            prop_assert_eq!(intervals.first_gap(from, to), gap);
            let expanded: BTreeSet<u128> =
                intervals.0.iter().flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(expanded, model);
        }
    }

    #[test]
    fn the_largest_number_has_no_gap_behind_it() {
        let mut intervals = IntervalSet::default();
        intervals.insert(u128::MAX);
        assert_eq!(intervals.first_gap(u128::MAX, u128::MAX), None);
    }
}
