// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as the body of a NOTIFICATION.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp::robustness::notification(data));
