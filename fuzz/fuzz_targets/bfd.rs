// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as a history of BFD packets, deadlines and changes for a table of sessions.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 32 << 10, per_octet: 256 },
    allocated: cost::Bound { fixed: 64 << 10, per_octet: 512 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(data, COST, bfd::robustness::history));
