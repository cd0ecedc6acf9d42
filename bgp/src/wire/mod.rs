// SPDX-License-Identifier: Apache-2.0
//! Messages of BGP-4 as octets (RFC 4271 §4).

pub mod iana;
