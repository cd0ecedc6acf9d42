// SPDX-License-Identifier: Apache-2.0
//! Equal values that many objects hold, kept once: thousands of Services have the same ports and the annotation of the
//! same pool.

use std::collections::HashSet;
use std::hash::Hash;

/// The number of values from which the unused ones are looked for.
const FEW: usize = 64;

/// Values behind a counted pointer.
pub(crate) struct Shared<T> {
    known: HashSet<T>,
    /// True if no other holder of the value exists.
    is_alone: fn(&T) -> bool,
    limit: usize,
}

impl<T: Clone + Eq + Hash> Shared<T> {
    pub(crate) fn new(is_alone: fn(&T) -> bool) -> Self {
        Self { known: HashSet::new(), is_alone, limit: FEW }
    }

    /// Replaces the value by an equal one that is known already, or keeps the value as a known one.
    pub(crate) fn share(&mut self, value: &mut T) {
        if let Some(known) = self.known.get(value) {
            value.clone_from(known);
            return;
        }
        if self.known.len() >= self.limit {
            let is_alone = self.is_alone;
            self.known.retain(|known| !is_alone(known));
            self.known.shrink_to_fit();
            self.limit = FEW.max(2 * self.known.len());
        }
        self.known.insert(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn equal_values_are_kept_once_and_as_long_as_somebody_holds_them() {
        let mut shared = Shared::<Arc<str>>::new(|text| Arc::strong_count(text) == 1);
        let (mut one, mut other) = (Arc::<str>::from("a"), Arc::<str>::from("a"));
        shared.share(&mut one);
        shared.share(&mut other);
        assert!(Arc::ptr_eq(&one, &other));
        for number in 0..10 * FEW {
            shared.share(&mut number.to_string().into());
        }
        assert!(shared.known.len() <= FEW, "{}", shared.known.len());
        assert!(shared.known.contains("a"));
    }
}
