// SPDX-License-Identifier: Apache-2.0
//! The form into which every file is made: octets that one side sent, and the session as far as the file tells it.

use crate::piece::Piece;
use crate::{capture, hexadecimal, mrt};

/// The session as it is taken to have been negotiated where the file does not say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assumptions {
    pub(crate) internal: bool,
    pub(crate) four_octet_asn: bool,
    pub(crate) enhanced_route_refresh: bool,
    pub(crate) extended_message: bool,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            internal: false,
            four_octet_asn: true,
            enhanced_route_refresh: false,
            extended_message: false,
        }
    }
}

/// The pieces of a file; its form is told by its first octets.
pub(crate) fn pieces(octets: &[u8]) -> Result<Vec<Piece>, String> {
    if octets.is_empty() {
        Err("the file is empty".to_owned())
    } else if capture::is_capture(octets) {
        capture::pieces(octets)
    } else if hexadecimal::is_text(octets) {
        hexadecimal::pieces(octets)
    } else if mrt::is_mrt(octets) {
        mrt::pieces(octets)
    } else {
        Err("neither a capture (pcap, pcapng), nor an MRT dump, nor lines of hexadecimal octets"
            .to_owned())
    }
}
