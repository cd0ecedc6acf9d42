// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as a file of manifests.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cluster::robustness::manifest(data));
