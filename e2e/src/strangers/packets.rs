// SPDX-License-Identifier: Apache-2.0
//! IPv4 packets in anybody's name (raw(7), `IP_HDRINCL`).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

/// The protocol's number of ICMP.
pub(super) const ICMP: u8 = 1;
/// That of UDP.
pub(super) const UDP: u8 = 17;
/// `IPPROTO_RAW`: the header is the sender's.
const RAW: i32 = 255;
/// Octets of a header without options.
const HEADER: usize = 20;

/// A socket for whole packets.
pub(super) fn socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))?;
    socket.set_header_included_v4(true)?;
    // What is not sent in time is not sent: a full queue shall not slow the stranger.
    socket.set_send_buffer_size(4 << 20)?;
    Ok(socket)
}

pub(super) fn send(socket: &Socket, to: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
    socket.send_to(packet, &SocketAddrV4::new(to, 0).into()).map(drop)
}

/// A packet (RFC 791 section 3.1).
pub(super) fn packet(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + payload.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let [high, low] = checksum(&packet).to_be_bytes();
    if let Some(place) = packet.get_mut(10..12) {
        place.copy_from_slice(&[high, low]);
    }
    packet.extend(payload);
    packet
}

/// A datagram from and to these ports, without checksum (RFC 768).
pub(super) fn datagram(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let mut datagram = Vec::with_capacity(usize::from(length));
    datagram.extend(from.to_be_bytes());
    datagram.extend(to.to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// The Internet checksum (RFC 1071).
pub(super) fn checksum(octets: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in octets.chunks(2) {
        let high = pair.first().copied().unwrap_or_default();
        let low = pair.get(1).copied().unwrap_or_default();
        sum += u32::from(u16::from_be_bytes([high, low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_its_checksum_sums_up_to_nothing() {
        let from = Ipv4Addr::new(172, 30, 0, 11);
        let packet = packet(UDP, from, Ipv4Addr::new(172, 30, 0, 12), b"abc");
        assert_eq!(checksum(&packet[..HEADER]), 0);
        // The example of RFC 1071 section 3.
        assert_eq!(!checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }
}
