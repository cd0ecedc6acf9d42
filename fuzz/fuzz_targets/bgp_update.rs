// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as the body of an UPDATE.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 16 << 10, per_octet: 128 },
    allocated: cost::Bound { fixed: 64 << 10, per_octet: 2048 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(data, COST, bgp::robustness::update));
