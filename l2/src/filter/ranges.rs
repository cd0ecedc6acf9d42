// SPDX-License-Identifier: Apache-2.0
//! Covering a set of keys by few ranges. Not exact when the set is scattered: then the narrowest gaps are covered, too.

/// The most ranges in a program: 2,000 comparisons, about half of what the kernel takes.
pub const MOST_RANGES: usize = 1000;

/// Keys from `first` to `last`, both inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The lowest key.
    pub first: u32,
    /// The highest key.
    pub last: u32,
}

impl Range {
    /// Whether the key is inside.
    #[must_use]
    pub const fn contains(self, key: u32) -> bool {
        self.first <= key && key <= self.last
    }
}

/// At most `most` sorted ranges, none touching the next, that hold every key. With `widen` bits every key stands for its whole
/// aligned block of 2^`widen` keys. While there are too many, those with the narrowest gaps between them are joined.
#[must_use]
pub fn cover(mut keys: Vec<u32>, widen: u32, most: usize) -> Vec<Range> {
    let mask = 1_u32.checked_shl(widen).map_or(u32::MAX, |size| size - 1);
    keys.sort_unstable();
    let mut ranges: Vec<Range> = Vec::new();
    for key in keys {
        let (first, last) = (key & !mask, key | mask);
        match ranges.last_mut() {
            Some(range) if first <= range.last.saturating_add(1) => {
                range.last = last.max(range.last)
            }
            _ => ranges.push(Range { first, last }),
        }
    }
    join(ranges, most.max(1))
}

fn join(ranges: Vec<Range>, most: usize) -> Vec<Range> {
    let excess = ranges.len().saturating_sub(most);
    if excess == 0 {
        return ranges;
    }
    let gap = |pair: &[Range]| match pair {
        [left, right] => right.first - left.last,
        _ => u32::MAX,
    };
    let mut gaps: Vec<u32> = ranges.windows(2).map(gap).collect();
    let (_, limit, _) = gaps.select_nth_unstable(excess - 1);
    let limit = *limit;
    // Gaps equal to the limit are closed only as far as needed.
    let narrower = ranges.windows(2).filter(|pair| gap(pair) < limit).count();
    let mut equal = excess - narrower;
    let mut joined: Vec<Range> = Vec::with_capacity(most);
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.first - last.last < limit => last.last = range.last,
            Some(last) if range.first - last.last == limit && equal > 0 => {
                equal -= 1;
                last.last = range.last;
            }
            _ => joined.push(range),
        }
    }
    joined
}
