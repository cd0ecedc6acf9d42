// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::*;

#[test]
fn metadata_is_read_back() {
    let facts = Facts {
        generation: 0x0a,
        leaving: true,
        sticky: false,
        spread: true,
        links: PoolLinks { digest: 0x0102_0304, bits: vec![0x80, 1] },
    };
    let bytes = facts.encode();
    assert_eq!(bytes, b"ferrolb\x01\x05\0\0\0\0\0\0\0\x0a\x01\x02\x03\x04\x80\x01");
    assert_eq!(Member::parse(&bytes), Member::Ferrolb(facts));
    for foreign in [&b""[..], b"ferrolb", b"ferrolb\x00\x00\x00\x00\x00\x00", b"something else"] {
        assert_eq!(Member::parse(foreign), Member::MetalLb, "{foreign:?}");
    }
}

proptest! {
    #[test]
    fn no_metadata_panics(bytes in prop::collection::vec(any::<u8>(), 0..520)) {
        let mut marked = MAGIC.to_vec();
        marked.extend(&bytes);
        for bytes in [&bytes, &marked] {
            if let Member::Ferrolb(facts) = Member::parse(bytes) {
                prop_assert_eq!(Facts::decode(&facts.encode()), Some(facts));
            }
        }
    }
}
