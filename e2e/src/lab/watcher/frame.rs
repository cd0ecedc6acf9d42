// SPDX-License-Identifier: Apache-2.0
//! The frames of a [`super::Watcher`]: its questions (RFC 826, RFC 4861 section 4.3), and what is read of those that come.
//!
//! Every question is asked in the name of another station, whose address holds the question's number: so each answer says which
//! question it answers, and no kernel learns anything from them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The station that asks; nobody has this hardware address.
const ASKING: [u8; 6] = [0x02, 0xfb, 0, 0, 0, 0xff];
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const ICMPV6: u8 = 58;

/// What a frame says of the address that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The hardware address that is said to have it.
    pub(super) mac: [u8; 6],
    /// Which question it answers; none for an announcement, or an answer to somebody else.
    pub(super) answers: Option<u16>,
}

/// The question with this number.
pub(super) fn question(target: IpAddr, number: u16) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => request(target, number),
        IpAddr::V6(target) => solicitation(target, number),
    }
}

/// What a frame says of an address, if it says anything.
pub(super) fn claim(frame: &[u8], address: IpAddr) -> Option<Claim> {
    match address {
        IpAddr::V4(address) => claim_v4(frame.get(14..42)?, address),
        IpAddr::V6(address) => claim_v6(frame.get(14..)?, address),
    }
}

fn request(target: Ipv4Addr, number: u16) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(ASKING);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(ASKING);
    let [high, low] = number.to_be_bytes();
    frame.extend([172, 29, high, low]);
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

fn claim_v4(arp: &[u8], address: Ipv4Addr) -> Option<Claim> {
    let (_, rest) = arp.split_at_checked(6)?;
    let (operation, rest) = rest.split_first_chunk::<2>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (sender, rest) = rest.split_first_chunk::<4>()?;
    let target = rest.get(6..10)?;
    if *sender != address.octets() {
        return None;
    }
    let answers = match (operation, target) {
        ([0, 2], [172, 29, high, low]) => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    };
    Some(Claim { mac: *mac, answers })
}

fn solicitation(target: Ipv6Addr, number: u16) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xfb, number);
    let mut message = vec![NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(ASKING);
    let sum = checksum(source, group, &message);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    let mut frame = vec![0x33, 0x33, 0xff, a, b, c];
    frame.extend(ASKING);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
    frame.extend(source.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

/// RFC 1071 over the pseudo-header of RFC 8200 section 8.1.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let mut octets = source.octets().to_vec();
    octets.extend(destination.octets());
    octets.extend([0, 0, 0, 32, 0, 0, 0, ICMPV6]);
    octets.extend(message);
    let mut sum: u32 = octets
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

fn claim_v6(packet: &[u8], address: Ipv6Addr) -> Option<Claim> {
    let (header, message) = packet.split_at_checked(40)?;
    if header.get(6) != Some(&ICMPV6) || message.first() != Some(&NEIGHBOR_ADVERTISEMENT) {
        return None;
    }
    let (_, rest) = message.split_at_checked(8)?;
    let (target, options) = rest.split_first_chunk::<16>()?;
    // A target's hardware address is the only option that anybody sends here (RFC 4861 section 4.4).
    let [2, 1, mac @ ..] = options.get(..8)? else { return None };
    if *target != address.octets() {
        return None;
    }
    let to = Ipv6Addr::from(*header.get(24..)?.first_chunk::<16>()?);
    let answers = match to.segments() {
        [0xfe80, 0, 0, 0, 0, 0, 0xfb, number] => Some(number),
        _ => None,
    };
    Some(Claim { mac: mac.try_into().ok()?, answers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: [u8; 6] = [2, 0xfb, 0, 0, 0, 7];

    #[test]
    fn an_arp_answer_names_its_question() {
        let address = Ipv4Addr::new(172, 30, 0, 200);
        let mut frame = question(address.into(), 0x1234);
        assert_eq!(claim(&frame, address.into()), None, "a question claims nothing");
        // Turned round: the reply to it.
        frame[21] = 2;
        frame.copy_within(22..32, 32);
        frame[22..28].copy_from_slice(&NODE);
        frame[28..32].copy_from_slice(&address.octets());
        let claimed = claim(&frame, address.into());
        assert_eq!(claimed, Some(Claim { mac: NODE, answers: Some(0x1234) }));
        assert_eq!(claim(&frame, Ipv4Addr::new(172, 30, 0, 201).into()), None);
        frame[38..42].copy_from_slice(&address.octets());
        assert_eq!(claim(&frame, address.into()), Some(Claim { mac: NODE, answers: None }));
        assert_eq!(claim(&frame[..41], address.into()), None);
    }

    #[test]
    fn an_advertisement_names_its_question() {
        let address: Ipv6Addr = "fd30::1000".parse().unwrap();
        let mut frame = question(address.into(), 0x1234);
        let sum = checksum(
            "fe80::fb:1234".parse().unwrap(),
            "ff02::1:ff00:1000".parse().unwrap(),
            &frame[54..],
        );
        assert_eq!(sum, 0, "the checksum is right");
        assert_eq!(claim(&frame, address.into()), None, "a question claims nothing");
        frame.copy_within(22..38, 38);
        frame[54] = NEIGHBOR_ADVERTISEMENT;
        frame[78] = 2;
        frame[80..86].copy_from_slice(&NODE);
        let claimed = claim(&frame, address.into());
        assert_eq!(claimed, Some(Claim { mac: NODE, answers: Some(0x1234) }));
        assert_eq!(claim(&frame, "fd30::1001".parse().unwrap()), None);
        assert_eq!(claim(&frame[..85], address.into()), None);
    }
}
