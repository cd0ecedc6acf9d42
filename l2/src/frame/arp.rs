// SPDX-License-Identifier: Apache-2.0
//! ARP for IPv4 over Ethernet (RFC 826) with the forms that RFC 5227 §1.1 names: probe and announcement. Not RARP, InARP or
//! other hardware.

use std::net::Ipv4Addr;

use pnet::packet::Packet;
use pnet::packet::arp::{
    ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket};

use super::{ETHERNET_HEADER, Frame, FrameError, ours};
use crate::{MacAddress, Precedence};

/// Octets of an ARP message for IPv4 over Ethernet.
const MESSAGE: usize = 28;

/// Question or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// 1: who has the target address?
    Request,
    /// 2: the sender has the sender address.
    Reply,
}

/// An ARP message and the Ethernet header that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Ethernet destination.
    pub destination: MacAddress,
    /// Ethernet source.
    pub source: MacAddress,
    /// Question or answer.
    pub operation: Operation,
    /// Hardware address of the sender.
    pub sender_hardware: MacAddress,
    /// Protocol address of the sender; 0.0.0.0 in a probe.
    pub sender: Ipv4Addr,
    /// Hardware address of the target.
    pub target_hardware: MacAddress,
    /// Protocol address of the target.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads an Ethernet frame; octets after the message are padding.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let ethernet = EthernetPacket::new(frame).ok_or(FrameError::Truncated)?;
        if ethernet.get_ethertype() != EtherTypes::Arp {
            return Err(FrameError::OtherProtocol);
        }
        let arp = ArpPacket::new(ethernet.payload()).ok_or(FrameError::Truncated)?;
        if arp.get_hardware_type() != ArpHardwareTypes::Ethernet
            || arp.get_protocol_type() != EtherTypes::Ipv4
            || arp.get_hw_addr_len() != 6
            || arp.get_proto_addr_len() != 4
        {
            return Err(FrameError::OtherProtocol);
        }
        let operation = match arp.get_operation() {
            ArpOperations::Request => Operation::Request,
            ArpOperations::Reply => Operation::Reply,
            ArpOperation(_) => return Err(FrameError::OtherOperation),
        };
        Ok(Self {
            destination: ours(ethernet.get_destination()),
            source: ours(ethernet.get_source()),
            operation,
            sender_hardware: ours(arp.get_sender_hw_addr()),
            sender: arp.get_sender_proto_addr(),
            target_hardware: ours(arp.get_target_hw_addr()),
            target: arp.get_target_proto_addr(),
        })
    }

    /// The octets of this message.
    #[must_use]
    pub fn emit(&self) -> Frame {
        let mut frame = Frame::ethernet(self.destination, self.source, EtherTypes::Arp);
        if let Some(mut arp) = MutableArpPacket::new(frame.layer(ETHERNET_HEADER, MESSAGE)) {
            arp.set_hardware_type(ArpHardwareTypes::Ethernet);
            arp.set_protocol_type(EtherTypes::Ipv4);
            arp.set_hw_addr_len(6);
            arp.set_proto_addr_len(4);
            arp.set_operation(match self.operation {
                Operation::Request => ArpOperations::Request,
                Operation::Reply => ArpOperations::Reply,
            });
            arp.set_sender_hw_addr(self.sender_hardware.0.into());
            arp.set_sender_proto_addr(self.sender);
            arp.set_target_hw_addr(self.target_hardware.0.into());
            arp.set_target_proto_addr(self.target);
        }
        frame
    }

    /// The answer to this request from the station `mac`: unicast to the hardware address that asked.
    #[must_use]
    pub const fn reply(&self, mac: MacAddress) -> Self {
        Self {
            destination: self.sender_hardware,
            source: mac,
            operation: Operation::Reply,
            sender_hardware: mac,
            sender: self.target,
            target_hardware: self.sender_hardware,
            target: self.sender,
        }
    }

    /// One of the two frames of an announcement (RFC 5227 §2.3, and the same as a reply for those who only learn from
    /// replies): sender and target are the address, all to broadcast.
    #[must_use]
    pub const fn announcement(operation: Operation, mac: MacAddress, address: Ipv4Addr) -> Self {
        Self {
            destination: MacAddress::BROADCAST,
            source: mac,
            operation,
            sender_hardware: mac,
            sender: address,
            target_hardware: MacAddress::BROADCAST,
            target: address,
        }
    }

    /// An ARP Probe (RFC 5227 §2.1.1): a broadcast question from nobody, so that no cache is touched.
    #[must_use]
    pub const fn probe(mac: MacAddress, address: Ipv4Addr) -> Self {
        Self {
            destination: MacAddress::BROADCAST,
            source: mac,
            operation: Operation::Request,
            sender_hardware: mac,
            sender: Ipv4Addr::UNSPECIFIED,
            target_hardware: MacAddress([0; 6]),
            target: address,
        }
    }

    /// This probe with a precedence in its target hardware address. RFC 5227 §2.1.1 has that field ignored and says
    /// that it SHOULD be zero: of all fields of a probe it is the only one that may hold something without a change of
    /// what other stations understand.
    #[must_use]
    pub const fn with_precedence(self, precedence: Precedence) -> Self {
        Self { target_hardware: MacAddress(precedence.octets()), ..self }
    }

    /// Whether it is an ARP Probe (RFC 5227 §1.1): a question from nobody.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        matches!(self.operation, Operation::Request) && self.sender.is_unspecified()
    }

    /// The precedence that a probe carries; `None` in every other message.
    #[must_use]
    pub const fn precedence(&self) -> Option<Precedence> {
        if self.is_probe() { Precedence::from_octets(self.target_hardware.0) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    const MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x0a]);

    // Built by hand from RFC 826 "Packet format": 192.0.2.7 at 02:00:00:00:00:07 asks for 192.0.2.100.
    const REQUEST: [u8; 42] = hex!(
        "ffffffffffff 020000000007 0806"
        "0001 0800 06 04 0001"
        "020000000007 c0000207"
        "000000000000 c0000264"
    );
    // Built by hand from the same section: 192.0.2.100 is at 02:00:00:00:00:0a.
    const REPLY: [u8; 42] = hex!(
        "020000000007 02000000000a 0806"
        "0001 0800 06 04 0002"
        "02000000000a c0000264"
        "020000000007 c0000207"
    );

    #[test]
    fn request_and_reply_are_the_bytes_of_rfc_826() {
        let request = Arp::parse(&REQUEST).unwrap();
        assert_eq!(request.target, Ipv4Addr::new(192, 0, 2, 100));
        assert_eq!(request.emit().as_bytes(), REQUEST);
        assert_eq!(request.reply(MAC).emit().as_bytes(), REPLY);
        assert_eq!(Arp::parse(&REPLY).unwrap(), request.reply(MAC));
    }

    #[test]
    fn padding_to_sixty_octets_is_ignored() {
        let mut padded = REQUEST.to_vec();
        padded.resize(60, 0x5a);
        assert_eq!(Arp::parse(&padded), Arp::parse(&REQUEST));
    }

    #[test]
    fn announcement_is_broadcast_with_sender_equal_to_target() {
        // Built by hand: what MetalLB sends as its gratuitous request, 192.0.2.100 at 02:00:00:00:00:0a.
        let golden = hex!(
            "ffffffffffff 02000000000a 0806"
            "0001 0800 06 04 0001"
            "02000000000a c0000264"
            "ffffffffffff c0000264"
        );
        let announcement =
            Arp::announcement(Operation::Request, MAC, Ipv4Addr::new(192, 0, 2, 100));
        assert_eq!(announcement.emit().as_bytes(), golden);
    }

    #[test]
    fn probe_has_the_sender_zero() {
        // Built by hand from RFC 5227 §2.1.1.
        let golden = hex!(
            "ffffffffffff 02000000000a 0806"
            "0001 0800 06 04 0001"
            "02000000000a 00000000"
            "000000000000 c0000264"
        );
        assert_eq!(Arp::probe(MAC, Ipv4Addr::new(192, 0, 2, 100)).emit().as_bytes(), golden);
        assert_eq!(Arp::parse(&golden).unwrap().precedence(), None);
    }

    #[test]
    fn a_precedence_is_in_the_target_hardware_address_of_a_probe_and_read_in_a_probe_alone() {
        // Built by hand from RFC 5227 §2.1.1: 513 members, position 772.
        let golden = hex!(
            "ffffffffffff 02000000000a 0806"
            "0001 0800 06 04 0001"
            "02000000000a 00000000"
            "464c02010304 c0000264"
        );
        let precedence = Precedence { members: 513, position: 772 };
        let probe = Arp::probe(MAC, Ipv4Addr::new(192, 0, 2, 100)).with_precedence(precedence);
        assert_eq!(probe.emit().as_bytes(), golden);
        let read = Arp::parse(&golden).unwrap();
        assert_eq!((read, read.precedence()), (probe, Some(precedence)));
        let question = Arp { sender: Ipv4Addr::new(192, 0, 2, 7), ..probe };
        let reply = Arp { operation: Operation::Reply, ..probe };
        let unmarked = Arp { target_hardware: MacAddress::BROADCAST, ..probe };
        for other in [question, reply, unmarked] {
            assert_eq!(other.precedence(), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_not_arp_for_ipv4_over_ethernet_is_refused() {
        for length in 0..REQUEST.len() {
            assert_eq!(Arp::parse(&REQUEST[..length]), Err(FrameError::Truncated), "{length}");
        }
        for (offset, value, error) in [
            (13, 0x00, FrameError::OtherProtocol),
            (15, 0x06, FrameError::OtherProtocol),
            (16, 0x86, FrameError::OtherProtocol),
            (18, 0x08, FrameError::OtherProtocol),
            (19, 0x10, FrameError::OtherProtocol),
            (21, 0x03, FrameError::OtherOperation),
        ] {
            let mut frame = REQUEST;
            frame[offset] = value;
            assert_eq!(Arp::parse(&frame), Err(error), "{offset}");
        }
    }
}
