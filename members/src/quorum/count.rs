// SPDX-License-Identifier: Apache-2.0
//! One count of members: how many are present of those that are known, and whether they are enough.

use std::sync::Arc;

/// The result of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The number of members present, this one included.
    pub present: usize,
    /// The number of members known, this one included.
    pub known: usize,
    /// True if the members present are enough.
    pub enough: bool,
    /// True if they would be enough, had none of them told that it misses a majority; the ones that told so are not counted as present.
    pub disputed: bool,
}

impl Count {
    /// Counts these members; more than half is enough, and half with the smallest name.
    pub(super) fn of<'a>(
        names: impl Iterator<Item = &'a Arc<str>>,
        present: impl Fn(&Arc<str>) -> bool,
    ) -> Self {
        let (mut here, mut known, mut smallest) = (0, 0, None::<&Arc<str>>);
        for name in names {
            known += 1;
            here += usize::from(present(name));
            smallest = Some(smallest.map_or(name, |smallest| smallest.min(name)));
        }
        let half = here * 2 == known && smallest.is_some_and(present);
        Self { present: here, known, enough: here * 2 > known || half, disputed: false }
    }
}
