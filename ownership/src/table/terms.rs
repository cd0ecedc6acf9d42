// SPDX-License-Identifier: Apache-2.0
//! The highest known term of each address: the next owner takes the one after it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::wire::message::Term;

/// Terms of addresses without an owner are forgotten when there are this many more than twice the number kept the last
/// time.
pub(super) const FORGET_LIMIT: usize = 1_024;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Terms {
    highest: BTreeMap<IpAddr, Term>,
    /// The number of terms that were kept at the last clean-up.
    kept: usize,
}

impl Terms {
    /// An owner has the address in this term.
    pub(super) fn note(&mut self, address: IpAddr, term: Term) {
        let known = self.highest.entry(address).or_default();
        *known = (*known).max(term);
    }

    /// Begins the next term of the address: 1 if no owner is known before.
    pub(super) fn begin(&mut self, address: IpAddr) -> Term {
        let term = self.highest.get(&address).map_or(1, |term| term.saturating_add(1));
        self.highest.insert(address, term);
        term
    }

    /// The number of addresses of which a term is known.
    pub(super) fn count(&self) -> usize {
        self.highest.len()
    }

    /// True if there are so many terms that a clean-up is worth its work.
    pub(super) fn are_many(&self) -> bool {
        self.count() > self.kept * 2 + FORGET_LIMIT
    }

    /// Keeps the terms of these addresses alone.
    pub(super) fn retain(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.highest.retain(|address, _| addresses.contains(address));
        self.kept = self.highest.len();
    }
}
