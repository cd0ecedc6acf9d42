// SPDX-License-Identifier: Apache-2.0
//! CRC-32 of IEEE 802.3 (reflected polynomial 0xEDB88320), which packets to members of protocol version 5 carry.

/// What each value of an octet contributes.
const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut octet = 0_usize;
    let mut start = 0_u32;
    while octet < 256 {
        let mut remainder = start;
        let mut bit = 0;
        while bit < 8 {
            remainder = (remainder >> 1) ^ (0xedb8_8320 * (remainder & 1));
            bit += 1;
        }
        #[allow(
            clippy::indexing_slicing,
            reason = "the index is below 256; evaluated by the compiler"
        )]
        {
            table[octet] = remainder;
        }
        octet += 1;
        start += 1;
    }
    table
}

/// The checksum.
pub(crate) fn checksum(octets: &[u8]) -> u32 {
    !octets.iter().fold(u32::MAX, |remainder, octet| {
        let [low, ..] = remainder.to_le_bytes();
        let contribution = TABLE.get(usize::from(low ^ octet)).copied().unwrap_or_default();
        (remainder >> 8) ^ contribution
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_of_the_catalogue() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(super::checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::checksum(b""), 0);
    }
}
