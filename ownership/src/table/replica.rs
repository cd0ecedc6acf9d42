// SPDX-License-Identifier: Apache-2.0
//! The list of another speaker as it arrived here: applied change by change, compared with the digests of that
//! speaker's heartbeats, and asked for anew when it does not fit them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::owned_set::OwnedSet;
use crate::wire::message::{OwnedDelta, OwnedSnapshot, Term};

/// A missing message is mostly under way: the list is asked for only after this time.
pub(super) const DELIVERY_TIME: Duration = Duration::from_millis(30);
/// The time between two requests for the same list.
pub(super) const SYNC_REQUEST_INTERVAL: Duration = Duration::from_millis(400);
/// The time for which a list is waited for. After it this speaker leaves addresses without an owner to others.
pub(super) const SYNC_TIME: Duration = Duration::from_secs(1);
/// The addresses that one speaker is believed to own at most. The list of a speaker that claims more counts as unknown.
pub(super) const ADDRESS_LIMIT: usize = 65_536;

/// The list of one other speaker.
#[derive(Debug, Default)]
pub(super) struct Replica {
    /// The speaker's list, as far as it is known completely.
    said: Option<OwnedSet>,
    /// A list of which parts are still missing, and the numbers of the parts that have arrived.
    arriving: Option<(OwnedSet, BTreeSet<u16>)>,
    /// Set while the list needs sync.
    pending_sync: Option<PendingSync>,
}

/// The wait for a list that needs sync.
#[derive(Clone, Copy, Debug)]
struct PendingSync {
    /// The time since which the list needs sync.
    since: Instant,
    /// The time of the next request for the list.
    next_request: Instant,
}

impl Replica {
    /// The term in which the speaker owns the address, if it says so.
    pub(super) fn term(&self, address: IpAddr) -> Option<Term> {
        self.said.as_ref()?.term(address)
    }

    /// The addresses of the speaker, as far as its list is known.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&IpAddr, Term)> {
        self.said.iter().flat_map(|said| said.addresses()).map(|(address, term)| (address, *term))
    }

    /// The number of these addresses.
    pub(super) fn count(&self) -> usize {
        self.said.as_ref().map_or(0, |said| said.addresses().len())
    }

    /// True if a list of the speaker is known, even one that needs sync.
    pub(super) fn is_known(&self) -> bool {
        self.said.is_some()
    }

    /// True while the list needs sync: it does not fit the newest mark of the speaker's heartbeats, or is not known.
    pub(super) fn needs_sync(&self) -> bool {
        self.pending_sync.is_some()
    }

    /// True if the list has needed sync for longer than anybody should wait for it.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.pending_sync.is_some_and(|pending| now >= pending.since + SYNC_TIME)
    }

    /// True if the speaker itself says now that it does not own the address. False if its list needs sync.
    pub(super) fn denies(&self, address: IpAddr) -> bool {
        let said = self.said.as_ref().filter(|_| !self.needs_sync());
        said.is_some_and(|said| said.term(address).is_none())
    }

    /// Compares the list with the newest mark of the speaker's heartbeats. Returns true if the list needed sync before,
    /// and does not now.
    pub(super) fn compare(&mut self, now: Instant, mark: Option<(u64, u64)>) -> bool {
        let said = self.said.as_ref();
        if said.is_some_and(|said| mark.is_none_or(|mark| said.reaches(mark))) {
            return self.pending_sync.take().is_some();
        }
        let next_request = now + DELIVERY_TIME;
        self.pending_sync.get_or_insert(PendingSync { since: now, next_request });
        false
    }

    /// Forgets the list, which may be old.
    pub(super) fn forget(&mut self) {
        self.said = None;
    }

    /// Applies a change that follows on the list. Returns the addresses that it touches; none if the change does not
    /// fit the list.
    pub(super) fn apply(&mut self, change: &OwnedDelta) -> Option<BTreeSet<IpAddr>> {
        let said = self.said.as_mut()?;
        if said.generation.checked_add(1) != Some(change.generation) {
            return None;
        }
        said.generation = change.generation;
        for address in &change.lost {
            said.lose(*address);
        }
        for (address, term) in &change.gained {
            said.gain(*address, *term);
        }
        let mut changed: BTreeSet<IpAddr> = change.lost.iter().copied().collect();
        changed.extend(change.gained.iter().map(|(address, _)| *address));
        if said.addresses().len() > ADDRESS_LIMIT {
            changed.extend(said.addresses().keys());
            self.said = None;
        }
        Some(changed)
    }

    /// Takes a part of a whole list. Returns the addresses of which the list says something else than the one before,
    /// once all parts have arrived; none before that, and for a list that is old or too long.
    pub(super) fn receive(&mut self, held: &OwnedSnapshot) -> Option<BTreeSet<IpAddr>> {
        if self.said.as_ref().is_some_and(|said| said.generation > held.generation) {
            return None;
        }
        let fits = |(stock, _): &(OwnedSet, _)| stock.generation == held.generation;
        let fresh = || (OwnedSet::empty(held.generation), BTreeSet::new());
        let (mut stock, mut parts) = self.arriving.take().filter(fits).unwrap_or_else(fresh);
        // A part that comes twice says nothing new, whatever its content.
        if parts.insert(held.part) {
            for (address, term) in &held.addresses {
                stock.gain(*address, *term);
            }
        }
        if stock.addresses().len() > ADDRESS_LIMIT {
            return None;
        }
        if parts.len() < usize::from(held.parts) {
            self.arriving = Some((stock, parts));
            return None;
        }
        let before = self.said.take().unwrap_or_default();
        let changed = differing(before.addresses(), stock.addresses())
            .chain(differing(stock.addresses(), before.addresses()))
            .collect();
        self.said = Some(stock);
        Some(changed)
    }

    /// True if the list is to be asked for now. The next request is due an interval later.
    pub(super) fn is_asked_for(&mut self, now: Instant) -> bool {
        match &mut self.pending_sync {
            Some(pending) if now >= pending.next_request => {
                pending.next_request = now + SYNC_REQUEST_INTERVAL;
                true
            }
            _ => false,
        }
    }

    /// The times at which [`Self::is_asked_for`] or [`Self::is_overdue`] becomes true.
    pub(super) fn deadlines(&self, now: Instant) -> impl Iterator<Item = Instant> + use<> {
        self.pending_sync.into_iter().flat_map(move |pending| {
            let overdue = Some(pending.since + SYNC_TIME).filter(|at| *at > now);
            overdue.into_iter().chain([pending.next_request])
        })
    }
}

/// The addresses of `one` that `other` lacks or has with another term.
fn differing<'a>(
    one: &'a BTreeMap<IpAddr, Term>,
    other: &'a BTreeMap<IpAddr, Term>,
) -> impl Iterator<Item = IpAddr> + 'a {
    let new = one.iter().filter(|(address, term)| other.get(*address) != Some(term));
    new.map(|(address, _)| *address)
}
