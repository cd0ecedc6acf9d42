// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as an NDP frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| l2::robustness::ndp(data));
