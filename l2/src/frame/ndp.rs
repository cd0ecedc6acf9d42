// SPDX-License-Identifier: Apache-2.0
//! Neighbor Solicitation and Advertisement (RFC 4861 §4.3, §4.4) in whole Ethernet frames, with the validation of §7.1.
//! Not Router Discovery, Redirect or SEND, of which only the Nonce option is borrowed; extension headers before ICMPv6
//! are not followed.

use std::net::Ipv6Addr;

use pnet::packet::Packet;
use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NeighborAdvertPacket,
    NeighborSolicitPacket,
};
use pnet::packet::icmpv6::{Icmpv6Code, Icmpv6Packet, Icmpv6Types, checksum};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use super::{ETHERNET_HEADER, Frame, FrameError, ours};
use crate::{MacAddress, Precedence, solicited_node};

/// Octets of the fixed IPv6 header.
const IPV6_HEADER: usize = 40;
/// Octets of both messages before their options.
const FIXED: usize = 24;
/// Octets of a link-layer address option for Ethernet, and of a Nonce option of the least length.
pub const OPTION: usize = 8;
/// Octets of a whole frame with one option.
pub const FRAME: usize = ETHERNET_HEADER + IPV6_HEADER + FIXED + OPTION;

/// Source Link-Layer Address option (RFC 4861 §4.6.1).
const SOURCE_LINK_LAYER: u8 = 1;
/// Target Link-Layer Address option (RFC 4861 §4.6.1).
const TARGET_LINK_LAYER: u8 = 2;
/// Nonce option (RFC 3971 §5.3.2). The place of the precedence: a receiver that knows no SEND ignores the option, and
/// one that does copies it.
const NONCE: u8 = 14;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;
/// ff02::1, every node on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The addresses around a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Ethernet destination.
    pub ethernet_destination: MacAddress,
    /// Ethernet source.
    pub ethernet_source: MacAddress,
    /// IPv6 source.
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
}

/// Who has the target? (RFC 4861 §4.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborSolicitation {
    /// The address asked for.
    pub target: Ipv6Addr,
    /// Source Link-Layer Address option; absent in a DAD probe.
    pub source_link_layer: Option<MacAddress>,
    /// The precedence in the first Nonce option, where it holds one. Always `None` in a DAD probe, whose Nonce is a random
    /// number (RFC 7527 §4.1).
    pub precedence: Option<Precedence>,
}

/// The target is here (RFC 4861 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborAdvertisement {
    /// The address advertised.
    pub target: Ipv6Addr,
    /// R: the sender is a router.
    pub router: bool,
    /// S: an answer to a unicast question.
    pub solicited: bool,
    /// O: replace a cached hardware address.
    pub override_: bool,
    /// Target Link-Layer Address option.
    pub target_link_layer: Option<MacAddress>,
}

/// One of the two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 135.
    Solicitation(NeighborSolicitation),
    /// Type 136.
    Advertisement(NeighborAdvertisement),
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ndp {
    /// Around the message.
    pub envelope: Envelope,
    /// The message.
    pub message: Message,
}

impl Ndp {
    /// Reads an Ethernet frame and applies every check of RFC 4861 §7.1.1 and §7.1.2.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let ethernet = EthernetPacket::new(frame).ok_or(FrameError::Truncated)?;
        if ethernet.get_ethertype() != EtherTypes::Ipv6 {
            return Err(FrameError::OtherProtocol);
        }
        let ipv6 = Ipv6Packet::new(ethernet.payload()).ok_or(FrameError::Truncated)?;
        if ipv6.get_version() != 6 || ipv6.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
            return Err(FrameError::OtherProtocol);
        }
        let end = IPV6_HEADER + usize::from(ipv6.get_payload_length());
        let bytes = ethernet.payload().get(IPV6_HEADER..end).ok_or(FrameError::Truncated)?;
        let envelope = Envelope {
            ethernet_destination: ours(ethernet.get_destination()),
            ethernet_source: ours(ethernet.get_source()),
            source: ipv6.get_source(),
            destination: ipv6.get_destination(),
        };
        let icmp = Icmpv6Packet::new(bytes).ok_or(FrameError::Truncated)?;
        let kind = icmp.get_icmpv6_type();
        if kind != Icmpv6Types::NeighborSolicit && kind != Icmpv6Types::NeighborAdvert {
            return Err(FrameError::OtherOperation);
        }
        if ipv6.get_hop_limit() != 255 {
            return Err(FrameError::HopLimit);
        }
        if icmp.get_icmpv6_code() != Icmpv6Code(0) {
            return Err(FrameError::Invalid("code is not zero"));
        }
        if checksum(&icmp, &envelope.source, &envelope.destination) != icmp.get_checksum() {
            return Err(FrameError::Checksum);
        }
        let options = bytes.get(FIXED..).ok_or(FrameError::Truncated)?;
        let message = if kind == Icmpv6Types::NeighborSolicit {
            Message::Solicitation(solicitation(bytes, options, &envelope)?)
        } else {
            Message::Advertisement(advertisement(bytes, options, &envelope)?)
        };
        Ok(Self { envelope, message })
    }

    /// The octets of this frame.
    #[must_use]
    pub fn emit(&self) -> Frame {
        let Envelope { ethernet_destination, ethernet_source, source, destination } = self.envelope;
        let (kind, link_layer, nonce) = match &self.message {
            Message::Solicitation(message) => {
                let nonce = message.precedence.map(Precedence::octets);
                (SOURCE_LINK_LAYER, message.source_link_layer, nonce)
            }
            Message::Advertisement(message) => (TARGET_LINK_LAYER, message.target_link_layer, None),
        };
        let options = [link_layer.map(|mac| (kind, mac.0)), nonce.map(|nonce| (NONCE, nonce))];
        let length = FIXED + OPTION * options.iter().flatten().count();
        let mut frame = Frame::ethernet(ethernet_destination, ethernet_source, EtherTypes::Ipv6);
        if let Some(mut ipv6) = MutableIpv6Packet::new(frame.layer(ETHERNET_HEADER, IPV6_HEADER)) {
            ipv6.set_version(6);
            ipv6.set_payload_length(u16::try_from(length).unwrap_or(0));
            ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
            ipv6.set_hop_limit(255);
            ipv6.set_source(source);
            ipv6.set_destination(destination);
        }
        let bytes = frame.layer(ETHERNET_HEADER + IPV6_HEADER, length);
        match &self.message {
            Message::Solicitation(message) => {
                if let Some(mut packet) = MutableNeighborSolicitPacket::new(bytes) {
                    packet.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
                    packet.set_target_addr(message.target);
                }
            }
            Message::Advertisement(message) => {
                if let Some(mut packet) = MutableNeighborAdvertPacket::new(bytes) {
                    packet.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
                    packet.set_flags(message.flags());
                    packet.set_target_addr(message.target);
                }
            }
        }
        let places = bytes.get_mut(FIXED..).unwrap_or_default().chunks_exact_mut(OPTION);
        for (place, (kind, [a, b, c, d, e, f])) in places.zip(options.into_iter().flatten()) {
            place.copy_from_slice(&[kind, 1, a, b, c, d, e, f]);
        }
        let sum = Icmpv6Packet::new(bytes).map(|icmp| checksum(&icmp, &source, &destination));
        if let (Some(sum), Some(field)) = (sum, bytes.get_mut(2..4)) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        frame
    }

    /// The announcement of an address that nobody asked for (RFC 4861 §7.2.6): to all nodes, S=0, O=1.
    #[must_use]
    pub const fn unsolicited(mac: MacAddress, source: Ipv6Addr, target: Ipv6Addr) -> Self {
        Self {
            envelope: Envelope {
                ethernet_destination: MacAddress([0x33, 0x33, 0, 0, 0, 1]),
                ethernet_source: mac,
                source,
                destination: ALL_NODES,
            },
            message: Message::Advertisement(NeighborAdvertisement {
                target,
                router: false,
                solicited: false,
                override_: true,
                target_link_layer: Some(mac),
            }),
        }
    }

    /// The question whether somebody else has the address: to its solicited-node group, from our link-local address, so
    /// that the answer comes to us alone (a DAD probe from `::` would be answered to everybody).
    #[must_use]
    pub fn probe(mac: MacAddress, source: Ipv6Addr, target: Ipv6Addr) -> Self {
        let destination = solicited_node(target);
        Self {
            envelope: Envelope {
                ethernet_destination: multicast(destination),
                ethernet_source: mac,
                source,
                destination,
            },
            message: Message::Solicitation(NeighborSolicitation {
                target,
                source_link_layer: Some(mac),
                precedence: None,
            }),
        }
    }

    /// This probe with a precedence in a Nonce option. An advertisement stays as it is.
    #[must_use]
    pub const fn with_precedence(mut self, precedence: Precedence) -> Self {
        if let Message::Solicitation(message) = &mut self.message {
            message.precedence = Some(precedence);
        }
        self
    }
}

impl NeighborSolicitation {
    /// The answer from the station `mac`, sent from the address `source` (RFC 4861 §7.2.4). To one who asks: unicast, S=1,
    /// O=0. To a DAD probe, which has no address to answer to: all nodes, S=0, O=1. `None` when the asker cannot be reached.
    #[must_use]
    pub fn answer(&self, envelope: &Envelope, mac: MacAddress, source: Ipv6Addr) -> Option<Ndp> {
        if envelope.source.is_unspecified() {
            return Some(Ndp::unsolicited(mac, source, self.target));
        }
        let asker = self.source_link_layer.unwrap_or(envelope.ethernet_source);
        asker.is_station().then_some(Ndp {
            envelope: Envelope {
                ethernet_destination: asker,
                ethernet_source: mac,
                source,
                destination: envelope.source,
            },
            message: Message::Advertisement(NeighborAdvertisement {
                target: self.target,
                router: false,
                solicited: true,
                override_: false,
                target_link_layer: Some(mac),
            }),
        })
    }
}

impl NeighborAdvertisement {
    const fn flags(&self) -> u8 {
        (if self.router { FLAG_ROUTER } else { 0 })
            | (if self.solicited { FLAG_SOLICITED } else { 0 })
            | (if self.override_ { FLAG_OVERRIDE } else { 0 })
    }
}

/// The Ethernet group of an IPv6 group (RFC 2464 §7).
#[must_use]
pub const fn multicast(group: Ipv6Addr) -> MacAddress {
    let [.., a, b, c, d] = group.octets();
    MacAddress([0x33, 0x33, a, b, c, d])
}

/// RFC 4861 §7.1.1, beyond what both messages share.
fn solicitation(
    bytes: &[u8],
    options: &[u8],
    envelope: &Envelope,
) -> Result<NeighborSolicitation, FrameError> {
    let packet = NeighborSolicitPacket::new(bytes).ok_or(FrameError::Truncated)?;
    let target = packet.get_target_addr();
    let source_link_layer = option_of_eight(options, SOURCE_LINK_LAYER)?.map(MacAddress);
    let nonce = option_of_eight(options, NONCE)?.and_then(Precedence::from_octets);
    if target.is_multicast() {
        return Err(FrameError::Invalid("the target is a group"));
    }
    if envelope.source.is_multicast() || envelope.source.is_loopback() {
        return Err(FrameError::Invalid("the source is no station"));
    }
    if envelope.source.is_unspecified() {
        // Any solicited-node group does; with another one than the target's the frame is of no use to its sender.
        if envelope.destination != solicited_node(envelope.destination) {
            return Err(FrameError::Invalid("a DAD probe to another group"));
        }
        if source_link_layer.is_some() {
            return Err(FrameError::Invalid("a DAD probe with a source link-layer address"));
        }
    }
    let precedence = nonce.filter(|_| !envelope.source.is_unspecified());
    Ok(NeighborSolicitation { target, source_link_layer, precedence })
}

/// RFC 4861 §7.1.2, beyond what both messages share.
fn advertisement(
    bytes: &[u8],
    options: &[u8],
    envelope: &Envelope,
) -> Result<NeighborAdvertisement, FrameError> {
    let packet = NeighborAdvertPacket::new(bytes).ok_or(FrameError::Truncated)?;
    let (target, flags) = (packet.get_target_addr(), packet.get_flags());
    let target_link_layer = option_of_eight(options, TARGET_LINK_LAYER)?.map(MacAddress);
    if target.is_multicast() {
        return Err(FrameError::Invalid("the target is a group"));
    }
    let solicited = flags & FLAG_SOLICITED != 0;
    if envelope.destination.is_multicast() && solicited {
        return Err(FrameError::Invalid("solicited, but to a group"));
    }
    Ok(NeighborAdvertisement {
        target,
        router: flags & FLAG_ROUTER != 0,
        solicited,
        override_: flags & FLAG_OVERRIDE != 0,
        target_link_layer,
    })
}

/// Walks the options (RFC 4861 §4.6) to the end, since any of length zero or beyond the end voids the message, and returns the
/// content of the first of the wanted type that is eight octets long: an Ethernet address, or a Nonce of six octets.
fn option_of_eight(mut options: &[u8], wanted: u8) -> Result<Option<[u8; 6]>, FrameError> {
    let mut found = None;
    while !options.is_empty() {
        let [kind, units, ..] = *options else { return Err(FrameError::Truncated) };
        if units == 0 {
            return Err(FrameError::Invalid("an option of length zero"));
        }
        let (option, rest) =
            options.split_at_checked(usize::from(units) * 8).ok_or(FrameError::Truncated)?;
        if kind == wanted && units == 1 && found.is_none() {
            found = option.get(2..).and_then(|content| content.try_into().ok());
        }
        options = rest;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
