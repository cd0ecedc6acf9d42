// SPDX-License-Identifier: Apache-2.0
//! A hash of 64 bits and its negative logarithm, in whole numbers alone: the same on every host. Not for texts that a
//! stranger chooses.

/// FNV-1a of 64 bits.
pub(crate) fn fnv1a(octets: impl IntoIterator<Item = u8>) -> u64 {
    octets.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Spreads each bit over all others: the last step of MurmurHash3 (`fmix64`).
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// The bits of a logarithm behind the point.
const FRACTION: u32 = 24;

/// `-log2(bits / 2^64)` in units of 2^-24: from 0 to `64 << 24`. Zero bits count as one.
pub(crate) fn negative_log2(bits: u64) -> u64 {
    let bits = bits.max(1);
    let zeros = bits.leading_zeros();
    // From 1 up to 2, as a number with 63 bits behind the point. Each squaring gives one bit of the logarithm.
    let mut mantissa = bits << zeros;
    let mut fraction = 0_u64;
    for _ in 0..FRACTION {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let over = square >> 64 != 0;
        fraction = (fraction << 1) | u64::from(over);
        // Below 2^64 by the shift.
        mantissa = u64::try_from(square >> u32::from(over)).unwrap_or(u64::MAX);
    }
    (u64::from(zeros + 1) << FRACTION) - fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_that_its_authors_publish() {
        // Three of the test vectors at isthe.com/chongo/tech/comp/fnv.
        assert_eq!(fnv1a(*b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(*b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(*b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_logarithm_agrees_with_that_of_floating_point_numbers() {
        let unit = f64::from(1 << FRACTION);
        let drawn = (0..2_000).map(mix);
        for bits in drawn.chain([0, 1, 2, 3, 1 << 63, (1 << 63) - 1, u64::MAX]) {
            let exact = 64.0 - (bits.max(1) as f64).log2();
            let own = negative_log2(bits) as f64 / unit;
            assert!((own - exact).abs() < 2.0 / unit, "{bits:#x}: {own} and {exact}");
        }
    }
}
