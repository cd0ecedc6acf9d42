// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as what a BGP peer does, in any state of the session.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp::robustness::session(
    std::time::Instant::now(),
    data
));
