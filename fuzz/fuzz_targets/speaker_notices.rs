// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as what other speakers tell of their addresses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| speaker::robustness::notices(data));
