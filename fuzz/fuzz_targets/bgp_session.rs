// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as what a BGP peer does, in any state of the session.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 64 << 10, per_octet: 64 },
    allocated: cost::Bound { fixed: 256 << 10, per_octet: 4096 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(data, COST, |data| {
    bgp::robustness::session(std::time::Instant::now(), data)
}));
