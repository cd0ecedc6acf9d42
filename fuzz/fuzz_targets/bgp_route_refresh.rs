// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as the body of a ROUTE-REFRESH.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp::robustness::route_refresh(data));
