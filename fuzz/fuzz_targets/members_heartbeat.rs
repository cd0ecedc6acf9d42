// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as datagrams of the heartbeat.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| members::heartbeat::robustness::heartbeat(data));
