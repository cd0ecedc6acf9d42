// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as the body of a NOTIFICATION.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 4 << 10, per_octet: 32 },
    allocated: cost::Bound { fixed: 8 << 10, per_octet: 128 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(data, COST, bgp::robustness::notification));
