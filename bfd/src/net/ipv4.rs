// SPDX-License-Identifier: Apache-2.0
//! The IPv4 and UDP headers of Echo packets (RFC 791, RFC 768), which pass by a packet socket since they carry our own address as
//! source and destination. No options, no fragments.

use std::net::Ipv4Addr;

use crate::EchoPacket;

/// Octets of an Echo packet of ours.
pub(super) const LENGTH: usize = 20 + 8 + EchoPacket::LENGTH;
/// The port of Echo packets (RFC 5881 section 4).
const PORT: u16 = 3785;

/// An Echo packet, ours or another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo<'a> {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) ttl: u8,
    pub(super) payload: &'a [u8],
}

/// From our address to our address, with the greatest TTL.
pub(super) fn emit(address: Ipv4Addr, payload: &[u8; EchoPacket::LENGTH]) -> [u8; LENGTH] {
    let [a, b, c, d] = address.octets();
    let port = PORT.to_be_bytes();
    // Version and header length, CS6, total length, identification, do not fragment, TTL, UDP, checksum.
    let head = [0x45, 0xc0, 0, 52, 0, 0, 0x40, 0, 255, 17, 0, 0, a, b, c, d, a, b, c, d];
    // Without a UDP checksum: our cookie tells more.
    let udp = [port[0], port[1], port[0], port[1], 0, 32, 0, 0];
    let mut octets = [0; LENGTH];
    for (place, octet) in octets.iter_mut().zip(head.iter().chain(&udp).chain(payload)) {
        *place = *octet;
    }
    put_checksum(&mut octets);
    octets
}

/// Reads a packet that begins with the IPv4 header.
pub(super) fn parse(octets: &[u8]) -> Option<Echo<'_>> {
    let head: &[u8; 20] = octets.first_chunk()?;
    let [first, _, high, low, _, _, fragment, offset, ttl, protocol, _, _, addresses @ ..] = head;
    let [a, b, c, d, destination @ ..] = addresses;
    let (total, header) = (u16::from_be_bytes([*high, *low]), usize::from(first & 15) * 4);
    let unfragmented = fragment & 0x3f == 0 && *offset == 0;
    if first >> 4 != 4 || header < 20 || !unfragmented || *protocol != 17 {
        return None;
    }
    let udp = octets.get(header..usize::from(total))?;
    let ([_, _, port @ .., high, low, _, _], payload) = udp.split_first_chunk::<8>()?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let payload = payload.get(..length.checked_sub(8)?)?;
    (*port == PORT.to_be_bytes()).then_some(Echo {
        source: Ipv4Addr::new(*a, *b, *c, *d),
        destination: Ipv4Addr::from(*destination),
        ttl: *ttl,
        payload,
    })
}

/// One hop more, as a router does it (RFC 1812 section 5.3.1).
pub(super) fn decrement_ttl(octets: &mut [u8]) {
    if let Some(ttl) = octets.get_mut(8) {
        *ttl = ttl.saturating_sub(1);
    }
    put_checksum(octets);
}

/// The checksum of the header, over its own length.
fn put_checksum(octets: &mut [u8]) {
    let header = octets.first().map_or(0, |first| usize::from(first & 15) * 4);
    let Some(header) = octets.get_mut(..header) else { return };
    let (words, _) = header.as_chunks_mut::<2>();
    if let Some(checksum) = words.get_mut(5) {
        *checksum = [0, 0];
    }
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    if let Some(checksum) = words.get_mut(5) {
        *checksum = (!u16::try_from(folded).unwrap_or(0)).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn packet() -> [u8; LENGTH] {
        emit(ADDRESS, &EchoPacket { discriminator: 1, sequence: 2, cookie: 3 }.encode())
    }

    fn sum(octets: &[u8]) -> u32 {
        let words = octets[..20].as_chunks::<2>().0.iter();
        let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        (sum & 0xffff) + (sum >> 16)
    }

    #[test]
    fn what_is_emitted_is_parsed_and_sums_up() {
        let octets = packet();
        let echo = parse(&octets).unwrap();
        assert_eq!((echo.source, echo.destination, echo.ttl), (ADDRESS, ADDRESS, 255));
        assert!(EchoPacket::decode(echo.payload).is_some());
        assert_eq!(sum(&octets), 0xffff);
    }

    #[test]
    fn a_hop_takes_one_from_the_ttl_and_the_checksum_stays_right() {
        let mut octets = packet();
        decrement_ttl(&mut octets);
        assert_eq!(parse(&octets).unwrap().ttl, 254);
        assert_eq!(sum(&octets), 0xffff);
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_is_refused() {
        let octets = packet();
        for length in 0..LENGTH {
            assert_eq!(parse(&octets[..length]), None);
        }
        for (at, value) in
            [(0, 0x65), (0, 0x44), (2, 0xff), (6, 0x20), (9, 6), (22, 0), (24, 0xff), (25, 7)]
        {
            let mut wrong = octets;
            wrong[at] = value;
            assert_eq!(parse(&wrong), None, "octet {at} = {value:#x}");
        }
        let mut short = [0x4f; 3];
        decrement_ttl(&mut short);
        assert_eq!(short, [0x4f; 3]);
    }
}
