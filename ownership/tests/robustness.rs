// SPDX-License-Identifier: Apache-2.0
//! What the fuzz target of the notices does, on random octets and on notices that are nearly right.

use proptest::prelude::*;

/// A notice of addresses that can be read, from either of the two.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let entry = (0_u8..4, 0_u8..3, any::<bool>()).prop_map(|(host, term, lost)| {
        [&[if lost { 132 } else { 4 }, 10, 0, 0, host], &[0, 0, 0, term][..]].concat()
    });
    let entries = proptest::collection::vec(entry, 0..4).prop_map(|entries| entries.concat());
    let list = (0_u8..4, 0_u8..3, 1_u8..4, entries.clone()).prop_map(
        |(generation, part, parts, entries)| {
            [&[4, 0, 0, 0, 0, 0, 0, 0, generation, 0, part, 0, parts], &entries[..]].concat()
        },
    );
    let change = (0_u8..5, entries).prop_map(|(generation, entries)| {
        [&[5, 0, 0, 0, 0, 0, 0, 0, generation], &entries[..]].concat()
    });
    let other = proptest::collection::vec(any::<u8>(), 0..40);
    (any::<u8>(), prop_oneof![list, change, other]).prop_map(|(head, notice)| {
        let length = u16::try_from(notice.len()).unwrap_or_default().to_be_bytes();
        [&[head], &length[..], &notice[..]].concat()
    })
}

proptest! {
    #[test]
    fn whatever_others_tell_is_taken_or_left(pieces in proptest::collection::vec(piece(), 0..40)) {
        ownership::robustness::notices(&pieces.concat());
    }
}
