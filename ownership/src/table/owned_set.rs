// SPDX-License-Identifier: Apache-2.0
//! The addresses that one speaker says it owns, with a generation and a digest that tell one state of the list from
//! another.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::wire::message::Term;

/// A digest that every heartbeat carries: the generation, then the hash of all entries, each as eight octets in network
/// order.
pub(crate) type Mark = [u8; 16];

/// The addresses of one speaker.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnedSet {
    pub(super) generation: u64,
    digest: u64,
    addresses: BTreeMap<IpAddr, Term>,
}

impl OwnedSet {
    /// A list of this generation without an address.
    pub(super) fn empty(generation: u64) -> Self {
        Self { generation, ..Self::default() }
    }

    /// Adds an address, or gives it another term.
    pub(super) fn gain(&mut self, address: IpAddr, term: Term) {
        self.lose(address);
        self.addresses.insert(address, term);
        self.digest ^= digest(address, term);
    }

    /// Removes an address. Returns true if the list had it.
    pub(super) fn lose(&mut self, address: IpAddr) -> bool {
        let term = self.addresses.remove(&address);
        if let Some(term) = term {
            self.digest ^= digest(address, term);
        }
        term.is_some()
    }

    /// The addresses with their terms.
    pub(super) fn addresses(&self) -> &BTreeMap<IpAddr, Term> {
        &self.addresses
    }

    /// The term of an address, if the list has it.
    pub(super) fn term(&self, address: IpAddr) -> Option<Term> {
        self.addresses.get(&address).copied()
    }

    /// The generation and the digest, as a heartbeat carries them.
    pub(super) fn mark(&self) -> Mark {
        let mut mark = Mark::default();
        let octets = self.generation.to_be_bytes().into_iter().chain(self.digest.to_be_bytes());
        for (place, octet) in mark.iter_mut().zip(octets) {
            *place = octet;
        }
        mark
    }

    /// True if this list is the one with that generation and digest, or a newer one.
    pub(super) fn reaches(&self, (generation, digest): (u64, u64)) -> bool {
        self.generation > generation || self.generation == generation && self.digest == digest
    }
}

/// The generation and the digest of a mark.
pub(super) fn parts(mark: Mark) -> Option<(u64, u64)> {
    let (generation, digest) = (mark.first_chunk::<8>()?, mark.last_chunk::<8>()?);
    Some((u64::from_be_bytes(*generation), u64::from_be_bytes(*digest)))
}

/// The share of one address in a digest, in which the order does not count.
fn digest(address: IpAddr, term: Term) -> u64 {
    let hash = Sha256::new().chain_update(term.to_be_bytes());
    let hash = match address {
        IpAddr::V4(v4) => hash.chain_update(v4.octets()),
        IpAddr::V6(v6) => hash.chain_update(v6.octets()),
    };
    hash.finalize().first_chunk::<8>().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}
