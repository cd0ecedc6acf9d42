// SPDX-License-Identifier: Apache-2.0
//! The bucket of a packet, as expressions of nf_tables. The same ones stand in the table of the family netdev, which leads on
//! by bucket, and in those of the families ip and ip6, which have steps by bucket: so all nodes agree, and both kinds of tables.

use super::expression::{Base, Comparison, Expression, R1, Verdict};
use super::rules::{TCP, UDP, compare, is_protocol};
use super::ruleset::Version;
use crate::buckets::BUCKETS;
use crate::hash::fnv1a;
use crate::spread::HashBy;

/// The seed of the hash: the same on every node, else two nodes disagree. A change of it moves every connection.
const SEED: u32 = 0x5eed;
const ICMP_V4: u8 = 1;
const ICMP_V6: u8 = 58;
/// Octets of a header of ICMP before the packet that an error is about.
const ERROR_HEADER: u32 = 8;

impl HashBy {
    /// The protocols whose packets have a bucket, and whether the client's port counts.
    pub(super) fn protocols(self) -> [(u8, bool); 2] {
        match self {
            Self::Connection => [(TCP, true), (UDP, false)],
            Self::ConnectionAndDatagram => [(TCP, true), (UDP, true)],
            Self::Client => [(TCP, false), (UDP, false)],
        }
    }
}

impl Version {
    /// The types of ICMP's errors that are about a packet: destination unreachable (with "fragmentation needed" or "packet too
    /// big"), time exceeded, parameter problem.
    pub(super) fn errors(self) -> &'static [u8] {
        match self {
            Self::V4 => &[3, 11, 12],
            Self::V6 => &[1, 2, 3, 4],
        }
    }

    /// The header of an IP packet without options: its octets, and the place of the number of the protocol in it.
    fn header(self) -> (u32, u32) {
        match self {
            Self::V4 => (20, 9),
            Self::V6 => (40, 6),
        }
    }
}

/// Puts the bucket of a packet of this protocol into [`R1`], or goes on with the next rule.
pub(super) fn bucket(version: Version, (protocol, port): (u8, bool)) -> Vec<Expression> {
    let mut rule = is_protocol(protocol).to_vec();
    rule.extend(hash(version, (Base::Network, version.source_offset()), port.then_some(0)));
    rule
}

/// Puts the bucket of the connection that an error of ICMP is about into [`R1`], or goes on with the next rule. The address has
/// sent the packet that the error has inside, so there the client is the destination.
pub(super) fn bucket_of_error(
    version: Version,
    errors: &str,
    (protocol, port): (u8, bool),
) -> Vec<Expression> {
    let (header, protocol_place) = version.header();
    let inside = |offset, length| Expression::Load {
        register: R1,
        base: Base::Transport,
        offset: ERROR_HEADER + offset,
        length,
    };
    let icmp = if version == Version::V4 { ICMP_V4 } else { ICMP_V6 };
    let mut rule = is_protocol(icmp).to_vec();
    rule.extend([
        Expression::Load { register: R1, base: Base::Transport, offset: 0, length: 1 },
        Expression::Member { set: errors.to_owned(), register: R1, inverted: false },
    ]);
    if version == Version::V4 {
        // Five words of header, and no later fragment: the ports have to be where they are looked for.
        rule.extend([inside(0, 1), compare(Comparison::Equal, &[0x45])]);
        let mask = vec![0x1f, 0xff];
        let offset = Expression::Bits { register: R1, mask, xor: vec![0, 0] };
        rule.extend([inside(6, 2), offset, compare(Comparison::Equal, &[0, 0])]);
    }
    rule.extend([inside(protocol_place, 1), compare(Comparison::Equal, &[protocol])]);
    let destination = ERROR_HEADER + version.source_offset() + version.address_length();
    let port_place = ERROR_HEADER + header + 2;
    rule.extend(hash(version, (Base::Transport, destination), port.then_some(port_place)));
    rule
}

/// The bucket of an address at this place, with a port at another one of the transport header.
fn hash(version: Version, (base, offset): (Base, u32), port: Option<u32>) -> Vec<Expression> {
    let length = version.address_length();
    let mut hash = vec![Expression::Load { register: R1, base, offset, length }];
    if let Some(offset) = port {
        let register = version.behind_address();
        hash.push(Expression::Load { register, base: Base::Transport, offset, length: 2 });
    }
    // The kernel pads the two octets of a port with zeros to four.
    let length = length + if port.is_some() { 4 } else { 0 };
    let (source, register, modulus) = (R1, R1, u32::from(BUCKETS));
    hash.push(Expression::Hash { source, length, register, modulus, seed: SEED });
    hash
}

/// A bucket as a key of maps.
pub(super) fn key(bucket: u16) -> Vec<u8> {
    u32::from(bucket).to_ne_bytes().to_vec()
}

/// A name for content, so that equal content is there once: of the hash, and of elements with their verdicts.
pub(super) fn fingerprint<'a>(
    hash: HashBy,
    elements: impl Iterator<Item = (&'a Vec<u8>, &'a Option<Verdict>)>,
) -> String {
    let mut octets = vec![match hash {
        HashBy::Connection => 0,
        HashBy::ConnectionAndDatagram => 1,
        HashBy::Client => 2,
    }];
    for (key, verdict) in elements {
        octets.extend(key);
        if let Some(Verdict::Goto(chain)) = verdict {
            octets.extend(chain.bytes());
        }
        // No name has this octet.
        octets.push(0xff);
    }
    format!("{:016x}", fnv1a(octets))
}
