// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as a history of BFD packets, deadlines and changes for a table of sessions.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bfd::robustness::history(data));
