// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as what other speakers tell of their addresses.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 16 << 10, per_octet: 512 },
    allocated: cost::Bound { fixed: 32 << 10, per_octet: 2048 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(data, COST, ownership::robustness::notices));
