// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as the body of a ROUTE-REFRESH.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 1 << 10, per_octet: 16 },
    allocated: cost::Bound { fixed: 2 << 10, per_octet: 64 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(
    data,
    COST,
    bgp::robustness::route_refresh
));
