// SPDX-License-Identifier: Apache-2.0
//! Ethernet frames as they go over a packet socket: the numbers that both protocols share and a small buffer for what is sent.
//! Not a general packet library; ARP is in [`arp`], NDP in [`ndp`].

pub mod arp;
pub mod ndp;

use pnet::packet::ethernet::{EtherType, MutableEthernetPacket};

use crate::MacAddress;

/// Octets of an untagged Ethernet header.
pub const ETHERNET_HEADER: usize = 14;
/// The longest frame that is ever sent: a Neighbor Solicitation with two options, the second for the precedence.
pub const LONGEST: usize = ndp::FRAME + ndp::OPTION;

/// A frame to be sent, header and all, without padding and checksum of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    bytes: [u8; LONGEST],
    length: usize,
}

/// Why bytes are not the frame that they were taken for; such a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It ends before its fixed part or its own stated length does.
    #[error("the frame is cut short")]
    Truncated,
    /// It is of another protocol, hardware or version.
    #[error("the frame is of another protocol")]
    OtherProtocol,
    /// It is neither a question nor an answer.
    #[error("the operation or type is of no interest")]
    OtherOperation,
    /// The hop limit is not 255: it came through a router.
    #[error("the hop limit is not 255")]
    HopLimit,
    /// The checksum is wrong.
    #[error("the checksum is wrong")]
    Checksum,
    /// RFC 4861 §7.1 says to discard it.
    #[error("RFC 4861 section 7.1 discards it: {0}")]
    Invalid(&'static str),
}

impl Frame {
    pub(crate) fn ethernet(
        destination: MacAddress,
        source: MacAddress,
        ethertype: EtherType,
    ) -> Self {
        let mut frame = Self { bytes: [0; LONGEST], length: ETHERNET_HEADER };
        if let Some(mut header) = MutableEthernetPacket::new(&mut frame.bytes) {
            header.set_destination(destination.0.into());
            header.set_source(source.0.into());
            header.set_ethertype(ethertype);
        }
        frame
    }

    /// The rest of the buffer after `offset`, as the next layer; the frame then ends at `offset + length`.
    pub(crate) fn layer(&mut self, offset: usize, length: usize) -> &mut [u8] {
        self.length = (offset + length).min(LONGEST);
        self.bytes.get_mut(offset..self.length).unwrap_or_default()
    }

    /// The octets to send.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// pnet's hardware address, whose type its packet crate does not name, as ours.
pub(crate) fn ours(mac: impl Into<[u8; 6]>) -> MacAddress {
    MacAddress(mac.into())
}
