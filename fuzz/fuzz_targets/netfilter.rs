// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as the kernel's list of nftables and of connections.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 32 << 10, per_octet: 64 },
    allocated: cost::Bound { fixed: 64 << 10, per_octet: 128 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(
    data,
    COST,
    steer::net::robustness::netfilter
));
