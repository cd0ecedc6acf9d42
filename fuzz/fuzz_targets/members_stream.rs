// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as a stream of a ring.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| members::robustness::stream(data));
