// SPDX-License-Identifier: Apache-2.0
//! FNV-1a with 32 bits: a number for a text, the same in every build and on every host. Not for texts that a stranger chooses.

/// The hash of the octets.
#[must_use]
pub fn fnv1a(octets: impl IntoIterator<Item = u8>) -> u32 {
    octets
        .into_iter()
        .fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_hash_that_its_authors_publish() {
        // Three of the test vectors at isthe.com/chongo/tech/comp/fnv.
        assert_eq!(super::fnv1a(*b""), 0x811c_9dc5);
        assert_eq!(super::fnv1a(*b"a"), 0xe40c_292c);
        assert_eq!(super::fnv1a(*b"foobar"), 0xbf9c_f968);
    }
}
