// SPDX-License-Identifier: Apache-2.0
//! The table of owned addresses, where owners stay or are spread: the addresses that each speaker says it owns. A
//! synchronous value.
//!
//! Each speaker tells the others every change of what it owns, with a generation, and each of its heartbeats carries the generation and a
//! digest of the whole. A list that does not fit them needs sync: the speaker that has the list asks the sender for a new one.

mod conflicts;
mod owned_set;
mod replica;
mod terms;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wire::message::{OwnedDelta, OwnedSnapshot, PeerMessage, Term};
use conflicts::Conflicts;
pub(crate) use owned_set::Mark;
use owned_set::OwnedSet;
use replica::Replica;
use terms::Terms;

/// The time for which a speaker keeps an address that it had given away and nobody took: the others know something that
/// it does not.
const REFUSED_HANDOFF_TIME: Duration = Duration::from_secs(10);

/// See the module's head.
#[derive(Debug, Default)]
pub struct OwnershipTable {
    own: OwnedSet,
    terms: Terms,
    /// The lists of the speakers that take part and may answer.
    peers: BTreeMap<Arc<str>, Replica>,
    /// The last generation and digest of each member, also of those that may not answer: the next change may be far.
    marks: BTreeMap<Arc<str>, (u64, u64)>,
    /// Addresses whose owners, as others tell them, changed since the last [`Self::take_changes`].
    changed: BTreeSet<IpAddr>,
    conflicts: Conflicts,
    /// Addresses that nobody took when this speaker gave them away, and until when it keeps them.
    handoff_refused: BTreeMap<IpAddr, Instant>,
    /// The list of a speaker needs sync no more, or is not waited for any more.
    synchronised: bool,
    /// This speaker owns more or less than when it last decided who takes the addresses without an owner.
    own_changed: bool,
}

impl OwnershipTable {
    /// The table of a speaker that starts at this time, in microseconds since 1970.
    #[must_use]
    pub fn new(time: u64) -> Self {
        Self { own: OwnedSet::empty(time), ..Self::default() }
    }

    /// The digest for this speaker's heartbeats.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.own.mark()
    }

    /// The term in which this speaker owns the address, if it does.
    #[must_use]
    pub fn term(&self, address: IpAddr) -> Option<Term> {
        self.own.term(address)
    }

    /// The number of addresses that this speaker owns.
    #[must_use]
    pub fn count(&self) -> usize {
        self.own.addresses().len()
    }

    /// The number of addresses that each of the others owns.
    pub fn counts(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.peers.iter().map(|(name, peer)| (name, peer.count()))
    }

    /// The others that own the address, by their own word or by a report of a conflict, each with its term.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = (Term, &Arc<str>)> {
        said(&self.peers, address).chain(self.conflicts.rival(address))
    }

    /// A speaker whose list needs sync, if there is one.
    #[must_use]
    pub fn needs_sync(&self) -> Option<&Arc<str>> {
        self.peers.iter().find(|(_, peer)| peer.needs_sync()).map(|(name, _)| name)
    }

    /// True if some list has needed sync for so long that nobody should wait for this speaker to take an address.
    #[must_use]
    pub fn is_unsynchronised(&self, now: Instant) -> bool {
        self.peers.values().any(|peer| peer.is_overdue(now))
    }

    /// Nobody has claimed these addresses within the time that a handover takes.
    pub fn note_unclaimed(&mut self, now: Instant, addresses: &[IpAddr]) {
        for address in addresses {
            if said(&self.peers, *address).next().is_none() {
                self.handoff_refused.insert(*address, now + REFUSED_HANDOFF_TIME);
                self.changed.insert(*address);
            }
        }
    }

    /// True if nobody took the address when this speaker gave it away.
    #[must_use]
    pub fn is_handoff_refused(&self, address: IpAddr) -> bool {
        self.handoff_refused.contains_key(&address)
    }

    /// Forgets the digests of speakers that are no members any more: one that comes back may have another clock.
    pub fn retain(&mut self, is_member: impl Fn(&Arc<str>) -> bool) {
        self.marks.retain(|name, _| is_member(name));
    }

    /// These others take part and may answer. The lists of the rest are forgotten.
    pub fn attend<'a>(&mut self, now: Instant, names: impl Iterator<Item = &'a Arc<str>>) {
        let names: BTreeSet<&Arc<str>> = names.collect();
        for (_, peer) in self.peers.extract_if(.., |name, _| !names.contains(name)) {
            self.changed.extend(peer.addresses().map(|(address, _)| *address));
            self.synchronised |= peer.needs_sync();
        }
        self.changed.extend(self.conflicts.forget_absent(|name| names.contains(name)));
        let contested: Vec<IpAddr> = self.conflicts.contested().collect();
        self.contest(now, contested);
        for name in names {
            let mark = self.marks.get(name).copied();
            self.peers.entry(Arc::clone(name)).or_default().compare(now, mark);
        }
    }

    /// This speaker owns other addresses now: returns the messages for the others.
    pub fn change(
        &mut self,
        gained: impl Iterator<Item = IpAddr>,
        lost: impl Iterator<Item = IpAddr>,
    ) -> Vec<PeerMessage> {
        let lost: Vec<IpAddr> = lost.filter(|address| self.own.lose(*address)).collect();
        let gained: BTreeSet<IpAddr> =
            gained.filter(|address| self.own.term(*address).is_none()).collect();
        let mut new = Vec::new();
        for address in gained {
            let term = self.terms.begin(address);
            self.own.gain(address, term);
            new.push((address, term));
        }
        let steps = OwnedDelta::split(self.own.generation, &new, &lost);
        self.own_changed |= !steps.is_empty();
        self.own.generation += steps.len() as u64;
        steps.into_iter().map(PeerMessage::OwnedDelta).collect()
    }

    /// Forgets, from time to time, the terms of addresses that nobody owns and no Service has; `given` returns the
    /// addresses of the Services.
    pub fn forget(&mut self, given: impl FnOnce() -> BTreeSet<IpAddr>) {
        if !self.terms.are_many() {
            return;
        }
        let mut of_account = given();
        of_account.extend(self.own.addresses().keys());
        let said = self.peers.values().flat_map(Replica::addresses);
        of_account.extend(said.map(|(address, _)| *address));
        self.terms.retain(&of_account);
        self.conflicts.retain(&of_account);
    }

    /// The lists of the others may be old: all of them need sync.
    pub fn require_sync(&mut self, now: Instant) {
        for (name, peer) in &mut self.peers {
            self.changed.extend(peer.addresses().map(|(address, _)| *address));
            peer.forget();
            peer.compare(now, self.marks.get(name).copied());
        }
    }

    /// All addresses that this speaker owns, as messages.
    #[must_use]
    pub fn list(&self) -> Vec<PeerMessage> {
        let addresses: Vec<(IpAddr, Term)> =
            self.own.addresses().iter().map(|(address, term)| (*address, *term)).collect();
        let parts = OwnedSnapshot::split(self.own.generation, &addresses);
        parts.into_iter().map(PeerMessage::OwnedSnapshot).collect()
    }

    /// A heartbeat carries this digest.
    pub fn handle_mark(&mut self, now: Instant, from: &Arc<str>, mark: Mark) {
        let Some(mark @ (generation, _)) = owned_set::parts(mark) else { return };
        // A heartbeat that its successor overtook, or the heartbeat of a speaker that keeps no table.
        if generation == 0 || self.marks.get(from).is_some_and(|(known, _)| *known > generation) {
            return;
        }
        self.marks.insert(Arc::clone(from), mark);
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.compare(now, Some(mark));
        // The sender is heard, and says itself what it owns: reports on it, which may have come late, are void.
        let reported = self.conflicts.reported(from);
        let void: BTreeSet<IpAddr> = reported.filter(|address| peer.denies(*address)).collect();
        if !void.is_empty() {
            self.note_changed(now, from, void);
        }
    }

    /// Another speaker tells a change.
    pub fn handle_delta(&mut self, now: Instant, from: &str, change: &OwnedDelta) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        if let Some(changed) = peer.apply(change) {
            // Of a list that has become too long nothing counts.
            if peer.is_known() {
                for (address, term) in &change.gained {
                    self.terms.note(*address, *term);
                }
            }
            self.note_changed(now, from, changed);
        }
        self.compare(now, from);
    }

    /// Another speaker tells its list, or a part of it.
    pub fn handle_snapshot(&mut self, now: Instant, from: &str, held: &OwnedSnapshot) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        let Some(mut changed) = peer.receive(held) else { return };
        for (address, term) in peer.addresses() {
            self.terms.note(*address, term);
        }
        // Reports of other speakers are older.
        changed.extend(self.conflicts.reported(from));
        self.note_changed(now, from, changed);
        self.compare(now, from);
    }

    /// A speaker has said something else of these addresses.
    fn note_changed(&mut self, now: Instant, from: &str, addresses: BTreeSet<IpAddr>) {
        self.conflicts.refute(from, &addresses);
        for address in &addresses {
            if said(&self.peers, *address).next().is_some() {
                self.handoff_refused.remove(address);
            }
        }
        self.changed.extend(&addresses);
        self.contest(now, addresses);
    }

    /// Notes which of these addresses several of the others own.
    fn contest(&mut self, now: Instant, addresses: impl IntoIterator<Item = IpAddr>) {
        let several = |address| said(&self.peers, address).nth(1).is_some();
        self.conflicts.contest(now, addresses, several);
    }

    /// Compares a speaker's list with its last heartbeat.
    fn compare(&mut self, now: Instant, name: &str) {
        if let Some(peer) = self.peers.get_mut(name) {
            self.synchronised |= peer.compare(now, self.marks.get(name).copied());
        }
    }

    /// Reports for the owners of addresses that have had several for a while: each is told of the one that keeps the
    /// address, as they may not hear one another.
    pub fn disputes(&mut self, now: Instant) -> Vec<(Arc<str>, PeerMessage)> {
        let mut told = Vec::new();
        for address in self.conflicts.due(now) {
            let owners = || said(&self.peers, address).map(|(term, name)| (Reverse(term), name));
            let Some((Reverse(term), keeper)) = owners().min() else { continue };
            let others = owners().map(|(_, name)| name).filter(|name| *name != keeper);
            let rival = PeerMessage::ConflictReport { address, term, node: Arc::clone(keeper) };
            told.extend(others.map(|name| (Arc::clone(name), rival.clone())));
        }
        told
    }

    /// A third speaker tells that another one owns an address of this speaker's too.
    pub fn handle_conflict_report(
        &mut self,
        now: Instant,
        address: IpAddr,
        term: Term,
        node: &Arc<str>,
    ) {
        if self.peers.contains_key(node) && self.own.term(address).is_some() {
            self.terms.note(address, term);
            self.conflicts.handle_report(now, address, term, node);
            self.changed.insert(address);
        }
    }

    /// The speakers to ask for their list now: their list needs sync, or only a third speaker has told of it.
    pub fn questions(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut asked = Vec::new();
        for (name, peer) in &mut self.peers {
            if peer.is_asked_for(now) {
                asked.push(Arc::clone(name));
            }
        }
        asked.extend(self.conflicts.questions(now));
        asked
    }

    /// The time at which [`Self::questions`] or [`Self::disputes`] has something to say, [`Self::is_unsynchronised`] becomes
    /// true, or [`Self::reconsider`] is due.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let asked = self.peers.values().flat_map(|peer| peer.deadlines(now));
        asked
            .chain(self.conflicts.deadlines())
            .chain(self.handoff_refused.values().copied())
            .chain(self.own_changed.then_some(now))
            .min()
    }

    /// Addresses without an owner are to be decided again if this speaker owns more or less since, as that says who has
    /// room; so are the addresses that it has kept for long enough.
    pub fn reconsider(&mut self, now: Instant) {
        self.synchronised |= std::mem::take(&mut self.own_changed);
        let over = self.handoff_refused.extract_if(.., |_, until| *until <= now);
        self.changed.extend(over.map(|(address, _)| address));
    }

    /// Addresses that others own, or no more, since the last call; and whether the list of some speaker needed sync
    /// then and does not now.
    pub fn take_changes(&mut self) -> (BTreeSet<IpAddr>, bool) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.synchronised))
    }
}

/// The speakers that say themselves that they own the address, each with its term.
fn said(
    peers: &BTreeMap<Arc<str>, Replica>,
    address: IpAddr,
) -> impl Iterator<Item = (Term, &Arc<str>)> {
    peers.iter().filter_map(move |(name, peer)| Some((peer.term(address)?, name)))
}

#[cfg(test)]
mod tests;
