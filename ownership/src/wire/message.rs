// SPDX-License-Identifier: Apache-2.0
//! Messages from one speaker to another, as notices of the heartbeat: its metadata, before the memberlist has it; the addresses that it
//! answers for from now; and, where owners stay or are spread, all addresses that it owns.
//!
//! ```text
//!   kind (1): 1 metadata
//!             2 took over: for each address its length (4 or 16) and its octets
//!             3 sync request
//!             4 owned snapshot: generation (8), part (2), parts (2), addresses as in 2, each with its term (4)
//!             5 owned delta: generation (8), addresses as in 4, with 128 added to the length of one that is lost
//!             6 conflict report: address as in 4, the name of a node
//!             7 to 11: see `KeepingMessage`
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use crate::wire::metadata::NodeMetadata;

const METADATA: u8 = 1;
const TOOK_OVER: u8 = 2;
const SYNC_REQUEST: u8 = 3;
const OWNED_SNAPSHOT: u8 = 4;
const OWNED_DELTA: u8 = 5;
const CONFLICT_REPORT: u8 = 6;
const LOST: u8 = 128;
/// The greatest length of one notice, in octets.
pub(super) const OCTET_LIMIT: usize = 1_000;

/// The count of the owners that an address has had: of two owners the one with the higher term is the newer.
pub type Term = u32;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// The sender's metadata from now on.
    Metadata(NodeMetadata),
    /// The sender answers for these addresses from now, and has announced them.
    TookOver(Vec<IpAddr>),
    /// The sender may have missed messages, and wants to hear them again.
    SyncRequest,
    /// The addresses that the sender owns, all of them or a part.
    OwnedSnapshot(OwnedSnapshot),
    /// A change of the addresses that the sender owns.
    OwnedDelta(OwnedDelta),
    /// The receiver and another node, which may not hear one another, both say that they own this address.
    ConflictReport {
        /// The address.
        address: IpAddr,
        /// The term in which the other node owns the address.
        term: Term,
        /// The other node.
        node: Arc<str>,
    },
}

/// A part of the list of addresses that a speaker owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedSnapshot {
    /// Grows with each change, also over restarts.
    pub generation: u64,
    /// The number of this part, from 0.
    pub part: u16,
    /// The number of parts.
    pub parts: u16,
    /// The addresses, each with its term.
    pub addresses: Vec<(IpAddr, Term)>,
}

/// The change from the generation before to this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedDelta {
    /// The generation after the change.
    pub generation: u64,
    /// The addresses that are owned from now, each with its term.
    pub gained: Vec<(IpAddr, Term)>,
    /// The addresses that are owned no more.
    pub lost: Vec<IpAddr>,
}

impl PeerMessage {
    /// The notices that carry the message. Addresses that were taken over are split so that each notice fits. Of the other kinds every
    /// message fits by itself: see [`OwnedSnapshot::split`] and [`OwnedDelta::split`].
    #[must_use]
    pub fn encode(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Metadata(metadata) => vec![[&[METADATA], &metadata.encode()[..]].concat()],
            Self::SyncRequest => vec![vec![SYNC_REQUEST]],
            Self::TookOver(addresses) => {
                let mut notices: Vec<Vec<u8>> = Vec::new();
                for address in addresses {
                    let octets = octets(*address);
                    match notices.last_mut() {
                        Some(last) if last.len() + octets.len() <= OCTET_LIMIT => {
                            last.extend(octets)
                        }
                        _ => notices.push([&[TOOK_OVER], &octets[..]].concat()),
                    }
                }
                notices
            }
            Self::OwnedSnapshot(held) => {
                let mut notice = vec![OWNED_SNAPSHOT];
                notice.extend(held.generation.to_be_bytes());
                notice.extend(held.part.to_be_bytes());
                notice.extend(held.parts.to_be_bytes());
                for (address, term) in &held.addresses {
                    put(&mut notice, *address, *term, 0);
                }
                vec![notice]
            }
            Self::OwnedDelta(changed) => {
                let mut notice = vec![OWNED_DELTA];
                notice.extend(changed.generation.to_be_bytes());
                for (address, term) in &changed.gained {
                    put(&mut notice, *address, *term, 0);
                }
                for address in &changed.lost {
                    put(&mut notice, *address, 0, LOST);
                }
                vec![notice]
            }
            Self::ConflictReport { address, term, node } => {
                let mut notice = vec![CONFLICT_REPORT];
                put(&mut notice, *address, *term, 0);
                notice.extend(node.bytes());
                vec![notice]
            }
        }
    }

    /// Reads a notice; none if its meaning is not known here.
    #[must_use]
    pub fn decode(notice: &[u8]) -> Option<Self> {
        let (kind, rest) = notice.split_first()?;
        match *kind {
            METADATA => NodeMetadata::decode(rest).map(Self::Metadata),
            TOOK_OVER => {
                let mut rest = rest;
                let mut addresses = Vec::new();
                while !rest.is_empty() {
                    let (address, lost) = address(&mut rest)?;
                    addresses.push((!lost).then_some(address)?);
                }
                Some(Self::TookOver(addresses))
            }
            SYNC_REQUEST => Some(Self::SyncRequest),
            OWNED_SNAPSHOT => {
                let (generation, rest) = rest.split_first_chunk::<8>()?;
                let (part, rest) = rest.split_first_chunk::<2>()?;
                let (parts, rest) = rest.split_first_chunk::<2>()?;
                if part >= parts {
                    return None;
                }
                let entries = entries(rest)?;
                Some(Self::OwnedSnapshot(OwnedSnapshot {
                    generation: u64::from_be_bytes(*generation),
                    part: u16::from_be_bytes(*part),
                    parts: u16::from_be_bytes(*parts),
                    addresses: entries
                        .into_iter()
                        .map(|(address, term, lost)| (!lost).then_some((address, term)))
                        .collect::<Option<_>>()?,
                }))
            }
            OWNED_DELTA => {
                let (generation, rest) = rest.split_first_chunk::<8>()?;
                let (lost, gained): (Vec<_>, Vec<_>) =
                    entries(rest)?.into_iter().partition(|(_, _, lost)| *lost);
                Some(Self::OwnedDelta(OwnedDelta {
                    generation: u64::from_be_bytes(*generation),
                    gained: gained.into_iter().map(|(address, term, _)| (address, term)).collect(),
                    lost: lost.into_iter().map(|(address, _, _)| address).collect(),
                }))
            }
            CONFLICT_REPORT => {
                let mut rest = rest;
                let (address, lost) = address(&mut rest)?;
                let (term, name) = rest.split_first_chunk::<4>()?;
                let node = std::str::from_utf8(name).ok()?.into();
                let term = Term::from_be_bytes(*term);
                (!lost).then_some(Self::ConflictReport { address, term, node })
            }
            _ => None,
        }
    }
}

impl OwnedSnapshot {
    /// The list in parts that each fit into a notice; an empty list has one part too.
    #[must_use]
    pub fn split(generation: u64, addresses: &[(IpAddr, Term)]) -> Vec<Self> {
        let chunks: Vec<&[(IpAddr, Term)]> = match addresses {
            [] => vec![&[]],
            _ => addresses.chunks(PER_NOTICE).collect(),
        };
        let parts = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
        let held = |(part, addresses): (u16, &[(IpAddr, Term)])| Self {
            generation,
            part,
            parts,
            addresses: addresses.to_vec(),
        };
        (0..parts).zip(chunks).map(held).collect()
    }
}

impl OwnedDelta {
    /// Changes that each fit into a notice, with generations that follow `generation`.
    #[must_use]
    pub fn split(generation: u64, gained: &[(IpAddr, Term)], lost: &[IpAddr]) -> Vec<Self> {
        let gained = gained.iter().map(|(address, term)| (*address, Some(*term)));
        let all: Vec<(IpAddr, Option<Term>)> =
            gained.chain(lost.iter().map(|address| (*address, None))).collect();
        let mut generation = generation;
        let step = |entries: &[(IpAddr, Option<Term>)]| {
            generation += 1;
            let gained = entries.iter().filter_map(|(address, term)| Some((*address, (*term)?)));
            let lost = entries.iter().filter(|(_, term)| term.is_none());
            Self {
                generation,
                gained: gained.collect(),
                lost: lost.map(|(address, _)| *address).collect(),
            }
        };
        all.chunks(PER_NOTICE).map(step).collect()
    }
}

/// The number of addresses, even of IPv6, that fit into a notice behind its head.
const PER_NOTICE: usize = (OCTET_LIMIT - 16) / 21;

/// Reads addresses with their terms, each with true if it is marked as lost.
fn entries(mut rest: &[u8]) -> Option<Vec<(IpAddr, Term, bool)>> {
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (address, lost) = address(&mut rest)?;
        let (term, more) = rest.split_first_chunk::<4>()?;
        entries.push((address, Term::from_be_bytes(*term), lost));
        rest = more;
    }
    Some(entries)
}

/// Reads the next address, with true if it is marked as lost.
pub(super) fn address(rest: &mut &[u8]) -> Option<(IpAddr, bool)> {
    let (length, more) = rest.split_first()?;
    let lost = length & LOST != 0;
    let length = length & !LOST;
    let (octets, more) = more.split_at_checked(usize::from(length))?;
    *rest = more;
    let address = match length {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        _ => return None,
    };
    Some((address, lost))
}

fn put(notice: &mut Vec<u8>, address: IpAddr, term: Term, mark: u8) {
    let octets = octets(address);
    notice.extend(octets.iter().enumerate().map(|(at, it)| if at == 0 { it | mark } else { *it }));
    notice.extend(term.to_be_bytes());
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => [&[4], &v4.octets()[..]].concat(),
        IpAddr::V6(v6) => [&[16], &v6.octets()[..]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_told_is_read() {
        let claims =
            PeerMessage::TookOver(vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()]);
        let [notice] = &claims.encode()[..] else { panic!() };
        assert_eq!(&notice[..6], b"\x02\x04\x0a\x00\x00\x01");
        assert_eq!(PeerMessage::decode(notice), Some(claims));
        let metadata =
            PeerMessage::Metadata(NodeMetadata { leaving: true, ..NodeMetadata::default() });
        assert_eq!(PeerMessage::decode(&metadata.encode()[0]), Some(metadata));
        assert_eq!(
            PeerMessage::decode(&PeerMessage::SyncRequest.encode()[0]),
            Some(PeerMessage::SyncRequest)
        );
        for foreign in [
            &b""[..],
            b"\x04",
            b"\x07",
            b"\x06\x04\x01\x02\x03\x04\x00",
            b"\x02\x05",
            b"\x02\x04\x01",
            b"\x02\x84\x01\x02\x03\x04",
            b"\x01nothing",
        ] {
            assert_eq!(PeerMessage::decode(foreign), None);
        }
        let rival = PeerMessage::ConflictReport {
            address: "fd00::1".parse().unwrap(),
            term: 3,
            node: "n".into(),
        };
        assert_eq!(PeerMessage::decode(&rival.encode()[0]), Some(rival));
        assert!(PeerMessage::TookOver(Vec::new()).encode().is_empty());
    }

    proptest! {
        #[test]
        fn any_number_of_claims_arrives(addresses: Vec<IpAddr>, bytes: Vec<u8>) {
            let mut read = Vec::new();
            for notice in PeerMessage::TookOver(addresses.clone()).encode() {
                prop_assert!(notice.len() <= OCTET_LIMIT);
                let Some(PeerMessage::TookOver(part)) = PeerMessage::decode(&notice) else { panic!() };
                read.extend(part);
            }
            prop_assert_eq!(read, addresses);
            let _ = PeerMessage::decode(&bytes);
        }

        #[test]
        fn what_is_held_arrives_in_parts(generation in 0..u64::MAX / 2, addresses: Vec<(IpAddr, Term)>, lost: Vec<IpAddr>) {
            let mut read = Vec::new();
            for (part, held) in OwnedSnapshot::split(generation, &addresses).into_iter().enumerate() {
                prop_assert_eq!(usize::from(held.part), part);
                let notice = PeerMessage::OwnedSnapshot(held.clone()).encode().remove(0);
                prop_assert!(notice.len() <= OCTET_LIMIT);
                prop_assert_eq!(PeerMessage::decode(&notice), Some(PeerMessage::OwnedSnapshot(held.clone())));
                read.extend(held.addresses);
            }
            prop_assert_eq!(&read, &addresses);
            let (mut gone, mut come) = (Vec::new(), Vec::new());
            for (step, changed) in OwnedDelta::split(generation, &addresses, &lost).into_iter().enumerate() {
                prop_assert_eq!(changed.generation, generation + 1 + step as u64);
                let notice = PeerMessage::OwnedDelta(changed.clone()).encode().remove(0);
                prop_assert!(notice.len() <= OCTET_LIMIT);
                prop_assert_eq!(PeerMessage::decode(&notice), Some(PeerMessage::OwnedDelta(changed.clone())));
                come.extend(changed.gained);
                gone.extend(changed.lost);
            }
            prop_assert_eq!((come, gone), (addresses, lost));
        }
    }
}
