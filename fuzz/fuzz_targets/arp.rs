// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as an ARP frame.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 1 << 20, per_octet: 1 << 10 },
    allocated: cost::Bound { fixed: 16 << 20, per_octet: 1 << 14 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(data, COST, l2::robustness::arp));
