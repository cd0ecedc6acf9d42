// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as a ConversionReview.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 128 << 10, per_octet: 512 },
    allocated: cost::Bound { fixed: 256 << 10, per_octet: 4096 },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| cost::bounded(data, COST, crds::robustness::conversion));
