// SPDX-License-Identifier: Apache-2.0
//! What speakers tell one another directly, as notices of the heartbeat: what they say of themselves, before the ring has it, which
//! addresses they answer for from now, and, where owners stay or are spread, all that they hold.
//!
//! ```text
//!   kind (1): 1 facts: metadata; 2 claims: for each address its length (4 or 16) and its octets;
//!             3 question
//!             4 held: generation (8), part (2), parts (2), addresses as in 2, each with its term (4)
//!             5 changed: generation (8), addresses as in 4, with 128 added to the length of one that is lost
//!             6 rival: address as in 4, the name of a node
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use crate::wire::metadata::Facts;

const FACTS: u8 = 1;
const CLAIMS: u8 = 2;
const QUESTION: u8 = 3;
const HELD: u8 = 4;
const CHANGED: u8 = 5;
const RIVAL: u8 = 6;
const LOST: u8 = 128;
/// What one notice may hold.
const LIMIT: usize = 1_000;

/// Counts the owners that an address has had: of two that hold it the one in the higher term is the newer.
pub type Term = u32;

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The sender says this of itself from now.
    Facts(Facts),
    /// The sender answers for these from now, and has announced them.
    Claims(Vec<IpAddr>),
    /// The sender may have missed what was told, and wants to hear it again.
    Question,
    /// What the sender holds, all of it or a part.
    Held(Held),
    /// What became different in what the sender holds.
    Changed(Changed),
    /// The receiver and that node, who may not hear one another, both say that they hold this address.
    Rival {
        /// The address.
        address: IpAddr,
        /// In which term the other node holds it.
        term: Term,
        /// The other node.
        node: Arc<str>,
    },
}

/// A part of the list of what a speaker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Grows with each change, also over restarts.
    pub generation: u64,
    /// Which part this is, from 0.
    pub part: u16,
    /// Of how many.
    pub parts: u16,
    /// The addresses, each with its term.
    pub addresses: Vec<(IpAddr, Term)>,
}

/// The step from the generation before to this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The generation after it.
    pub generation: u64,
    /// These are held from now, each in its term.
    pub gained: Vec<(IpAddr, Term)>,
    /// These no more.
    pub lost: Vec<IpAddr>,
}

impl Told {
    /// The notices that say it; claims are split so that each fits. Of the others each says no more than fits: see [`Held::split`] and
    /// [`Changed::split`].
    #[must_use]
    pub fn encode(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Facts(facts) => vec![[&[FACTS], &facts.encode()[..]].concat()],
            Self::Question => vec![vec![QUESTION]],
            Self::Claims(addresses) => {
                let mut notices: Vec<Vec<u8>> = Vec::new();
                for address in addresses {
                    let octets = octets(*address);
                    match notices.last_mut() {
                        Some(last) if last.len() + octets.len() <= LIMIT => last.extend(octets),
                        _ => notices.push([&[CLAIMS], &octets[..]].concat()),
                    }
                }
                notices
            }
            Self::Held(held) => {
                let mut notice = vec![HELD];
                notice.extend(held.generation.to_be_bytes());
                notice.extend(held.part.to_be_bytes());
                notice.extend(held.parts.to_be_bytes());
                for (address, term) in &held.addresses {
                    put(&mut notice, *address, *term, 0);
                }
                vec![notice]
            }
            Self::Changed(changed) => {
                let mut notice = vec![CHANGED];
                notice.extend(changed.generation.to_be_bytes());
                for (address, term) in &changed.gained {
                    put(&mut notice, *address, *term, 0);
                }
                for address in &changed.lost {
                    put(&mut notice, *address, 0, LOST);
                }
                vec![notice]
            }
            Self::Rival { address, term, node } => {
                let mut notice = vec![RIVAL];
                put(&mut notice, *address, *term, 0);
                notice.extend(node.bytes());
                vec![notice]
            }
        }
    }

    /// Reads a notice; none if it says nothing that is known here.
    #[must_use]
    pub fn decode(notice: &[u8]) -> Option<Self> {
        let (kind, rest) = notice.split_first()?;
        match *kind {
            FACTS => Facts::decode(rest).map(Self::Facts),
            CLAIMS => {
                let mut rest = rest;
                let mut addresses = Vec::new();
                while !rest.is_empty() {
                    let (address, lost) = address(&mut rest)?;
                    addresses.push((!lost).then_some(address)?);
                }
                Some(Self::Claims(addresses))
            }
            QUESTION => Some(Self::Question),
            HELD => {
                let (generation, rest) = rest.split_first_chunk::<8>()?;
                let (part, rest) = rest.split_first_chunk::<2>()?;
                let (parts, rest) = rest.split_first_chunk::<2>()?;
                if part >= parts {
                    return None;
                }
                let entries = entries(rest)?;
                Some(Self::Held(Held {
                    generation: u64::from_be_bytes(*generation),
                    part: u16::from_be_bytes(*part),
                    parts: u16::from_be_bytes(*parts),
                    addresses: entries
                        .into_iter()
                        .map(|(address, term, lost)| (!lost).then_some((address, term)))
                        .collect::<Option<_>>()?,
                }))
            }
            CHANGED => {
                let (generation, rest) = rest.split_first_chunk::<8>()?;
                let (lost, gained): (Vec<_>, Vec<_>) =
                    entries(rest)?.into_iter().partition(|(_, _, lost)| *lost);
                Some(Self::Changed(Changed {
                    generation: u64::from_be_bytes(*generation),
                    gained: gained.into_iter().map(|(address, term, _)| (address, term)).collect(),
                    lost: lost.into_iter().map(|(address, _, _)| address).collect(),
                }))
            }
            RIVAL => {
                let mut rest = rest;
                let (address, lost) = address(&mut rest)?;
                let (term, name) = rest.split_first_chunk::<4>()?;
                let node = std::str::from_utf8(name).ok()?.into();
                let term = Term::from_be_bytes(*term);
                (!lost).then_some(Self::Rival { address, term, node })
            }
            _ => None,
        }
    }
}

impl Held {
    /// The list in parts that each fit into a notice; of nothing too there is one.
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

impl Changed {
    /// Steps that each fit into a notice, with generations that follow `generation`.
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

/// So many addresses, even of IPv6, and what stands before them fit into a notice.
const PER_NOTICE: usize = (LIMIT - 16) / 21;

/// Addresses with their terms, and whether each is marked as lost.
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

/// The next address, and whether it is marked as lost.
fn address(rest: &mut &[u8]) -> Option<(IpAddr, bool)> {
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

fn octets(address: IpAddr) -> Vec<u8> {
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
        let claims = Told::Claims(vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()]);
        let [notice] = &claims.encode()[..] else { panic!() };
        assert_eq!(&notice[..6], b"\x02\x04\x0a\x00\x00\x01");
        assert_eq!(Told::decode(notice), Some(claims));
        let facts = Told::Facts(Facts { leaving: true, ..Facts::default() });
        assert_eq!(Told::decode(&facts.encode()[0]), Some(facts));
        assert_eq!(Told::decode(&Told::Question.encode()[0]), Some(Told::Question));
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
            assert_eq!(Told::decode(foreign), None);
        }
        let rival = Told::Rival { address: "fd00::1".parse().unwrap(), term: 3, node: "n".into() };
        assert_eq!(Told::decode(&rival.encode()[0]), Some(rival));
        assert!(Told::Claims(Vec::new()).encode().is_empty());
    }

    proptest! {
        #[test]
        fn any_number_of_claims_arrives(addresses: Vec<IpAddr>, bytes: Vec<u8>) {
            let mut read = Vec::new();
            for notice in Told::Claims(addresses.clone()).encode() {
                prop_assert!(notice.len() <= LIMIT);
                let Some(Told::Claims(part)) = Told::decode(&notice) else { panic!() };
                read.extend(part);
            }
            prop_assert_eq!(read, addresses);
            let _ = Told::decode(&bytes);
        }

        #[test]
        fn what_is_held_arrives_in_parts(generation in 0..u64::MAX / 2, addresses: Vec<(IpAddr, Term)>, lost: Vec<IpAddr>) {
            let mut read = Vec::new();
            for (part, held) in Held::split(generation, &addresses).into_iter().enumerate() {
                prop_assert_eq!(usize::from(held.part), part);
                let notice = Told::Held(held.clone()).encode().remove(0);
                prop_assert!(notice.len() <= LIMIT);
                prop_assert_eq!(Told::decode(&notice), Some(Told::Held(held.clone())));
                read.extend(held.addresses);
            }
            prop_assert_eq!(&read, &addresses);
            let (mut gone, mut come) = (Vec::new(), Vec::new());
            for (step, changed) in Changed::split(generation, &addresses, &lost).into_iter().enumerate() {
                prop_assert_eq!(changed.generation, generation + 1 + step as u64);
                let notice = Told::Changed(changed.clone()).encode().remove(0);
                prop_assert!(notice.len() <= LIMIT);
                prop_assert_eq!(Told::decode(&notice), Some(Told::Changed(changed.clone())));
                come.extend(changed.gained);
                gone.extend(changed.lost);
            }
            prop_assert_eq!((come, gone), (addresses, lost));
        }
    }
}
