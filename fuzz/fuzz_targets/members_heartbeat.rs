// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as datagrams of the heartbeat.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 64 << 10, per_octet: 512 },
    allocated: cost::Bound { fixed: 128 << 10, per_octet: 4096 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(
    data,
    COST,
    members::heartbeat::robustness::heartbeat
));
