// SPDX-License-Identifier: Apache-2.0
//! Who says to hold which addresses, where owners stay or are spread. A synchronous value.
//!
//! Each speaker tells the others every change of what it holds, with a generation; and each of its heartbeats has the generation and a
//! digest of the whole. Whoever finds that these do not fit what it has been told is behind with that speaker, and asks for the list.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::wire::message::{OwnedDelta, OwnedSnapshot, PeerMessage, Term};

/// What is missing is mostly under way.
const DELIVERY_TIME: Duration = Duration::from_millis(30);
/// How often it is asked for.
const SYNC_REQUEST_INTERVAL: Duration = Duration::from_millis(400);
/// How often somebody is asked of whom only a third tells that it holds something.
const HEARSAY_INTERVAL: Duration = Duration::from_secs(1);
/// For so long several may say that they hold an address, as one passes it to the other.
const CONFLICT_TIME: Duration = Duration::from_millis(300);
/// How long it is waited for. After that whoever is behind leaves addresses without an owner to others.
pub(crate) const SYNC_TIME: Duration = Duration::from_secs(1);

/// For so long a speaker keeps what it had given away and nobody took: what it knows of the others differs from what they know.
const REFUSED_HANDOFF_TIME: Duration = Duration::from_secs(10);

/// Of so many addresses at most it is believed that one speaker holds them. Of one that says more it counts as unknown what it holds.
const ADDRESS_LIMIT: usize = 65_536;
/// Terms of addresses that are of no account any more are forgotten when there are this many more than were kept the last time.
const FORGET_LIMIT: usize = 1_024;

/// What every heartbeat carries: the generation, then the digest.
pub(crate) type Mark = [u8; 16];

/// What one speaker holds.
#[derive(Clone, Debug, Default)]
struct OwnedSet {
    generation: u64,
    digest: u64,
    addresses: BTreeMap<IpAddr, Term>,
}

impl OwnedSet {
    fn gain(&mut self, address: IpAddr, term: Term) {
        self.lose(address);
        self.addresses.insert(address, term);
        self.digest ^= digest(address, term);
    }

    fn lose(&mut self, address: IpAddr) -> bool {
        let term = self.addresses.remove(&address);
        if let Some(term) = term {
            self.digest ^= digest(address, term);
        }
        term.is_some()
    }
}

/// One address's share of a digest, in which the order does not count.
fn digest(address: IpAddr, term: Term) -> u64 {
    let hash = Sha256::new().chain_update(term.to_be_bytes());
    let hash = match address {
        IpAddr::V4(v4) => hash.chain_update(v4.octets()),
        IpAddr::V6(v6) => hash.chain_update(v6.octets()),
    };
    hash.finalize().first_chunk::<8>().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

#[derive(Debug, Default)]
struct Peer {
    /// What it said, as far as it is known completely.
    said: Option<OwnedSet>,
    /// A list of which parts are still missing, and which are there.
    arriving: Option<(OwnedSet, BTreeSet<u16>)>,
    /// Since when it is not known what it holds, and when it is to be asked (again).
    behind: Option<(Instant, Instant)>,
}

impl Peer {
    /// Whether what is known is what the heartbeats say.
    fn is_current(&self, mark: Option<(u64, u64)>) -> bool {
        match (&self.said, mark) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(said), Some((generation, digest))) => {
                said.generation > generation
                    || said.generation == generation && said.digest == digest
            }
        }
    }

    fn settle(&mut self, now: Instant, mark: Option<(u64, u64)>) {
        if self.is_current(mark) {
            self.behind = None;
        } else {
            self.behind.get_or_insert((now, now + DELIVERY_TIME));
        }
    }

    fn term(&self, address: IpAddr) -> Option<Term> {
        self.said.as_ref()?.addresses.get(&address).copied()
    }
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct OwnershipTable {
    own: OwnedSet,
    /// The highest term of each address that is known of.
    terms: BTreeMap<IpAddr, Term>,
    /// How many terms were kept when it was last looked which are of account.
    kept: usize,
    /// Those that take part and speak.
    peers: BTreeMap<Arc<str>, Peer>,
    /// What the heartbeats of all members have said last, also of those who do not speak: the next change may be far.
    marks: BTreeMap<Arc<str>, (u64, u64)>,
    /// Addresses of which it is said that others hold them, or no more, since it was last asked.
    changed: BTreeSet<IpAddr>,
    /// Addresses that this speaker and another hold, or did, as a third has told: that one may not be heard here.
    rivals: BTreeMap<IpAddr, (Term, Arc<str>)>,
    /// Addresses that nobody took when this speaker gave them away, and until when it keeps them.
    handoff_refused: BTreeMap<IpAddr, Instant>,
    /// When those are to be asked themselves of whom a third has told: its word may have come late.
    hearsay: BTreeMap<Arc<str>, Instant>,
    /// Addresses that several of the others hold, and when they are to be told (again).
    contested: BTreeMap<IpAddr, Instant>,
    /// Somebody has caught up, or is not waited for any more.
    resettled: bool,
    /// This speaker holds more or less than when it last decided who takes what nobody holds.
    own_changed: bool,
}

impl OwnershipTable {
    /// Of a speaker that starts at this time, in microseconds since 1970.
    #[must_use]
    pub fn new(time: u64) -> Self {
        Self { own: OwnedSet { generation: time, ..OwnedSet::default() }, ..Self::default() }
    }

    /// What this speaker's heartbeats say.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let mut mark = Mark::default();
        let octets =
            self.own.generation.to_be_bytes().into_iter().chain(self.own.digest.to_be_bytes());
        for (place, octet) in mark.iter_mut().zip(octets) {
            *place = octet;
        }
        mark
    }

    /// In which term this speaker holds it, if it does.
    #[must_use]
    pub fn term(&self, address: IpAddr) -> Option<Term> {
        self.own.addresses.get(&address).copied()
    }

    /// How many this speaker holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.own.addresses.len()
    }

    /// How many each of the others holds.
    pub fn counts(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.peers
            .iter()
            .map(|(name, peer)| (name, peer.said.as_ref().map_or(0, |said| said.addresses.len())))
    }

    /// The others that say they hold it, each with the term in which it does.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = (Term, &Arc<str>)> {
        let rival = self.rivals.get(&address).map(|(term, name)| (*term, name));
        self.said(address).chain(rival)
    }

    /// Those that have said themselves that they hold it.
    fn said(&self, address: IpAddr) -> impl Iterator<Item = (Term, &Arc<str>)> {
        self.peers.iter().filter_map(move |(name, peer)| Some((peer.term(address)?, name)))
    }

    /// Somebody of whom it is not known what it holds.
    #[must_use]
    pub fn unknown(&self) -> Option<&Arc<str>> {
        self.peers.iter().find(|(_, peer)| peer.behind.is_some()).map(|(name, _)| name)
    }

    /// Whether it has not been known of somebody for so long that nobody should wait for this speaker to take an address.
    #[must_use]
    pub fn is_behind(&self, now: Instant) -> bool {
        self.peers
            .values()
            .any(|peer| peer.behind.is_some_and(|(since, _)| now >= since + SYNC_TIME))
    }

    /// Nobody has claimed these within the time for which whoever gives something away waits.
    pub fn note_unclaimed(&mut self, now: Instant, addresses: &[IpAddr]) {
        for address in addresses {
            if self.said(*address).next().is_none() {
                self.handoff_refused.insert(*address, now + REFUSED_HANDOFF_TIME);
                self.changed.insert(*address);
            }
        }
    }

    /// Whether nobody took it when this speaker gave it away.
    #[must_use]
    pub fn is_handoff_refused(&self, address: IpAddr) -> bool {
        self.handoff_refused.contains_key(&address)
    }

    /// Forgets what the heartbeats of those have said that are no members any more: one that comes back may have another clock.
    pub fn retain(&mut self, is_member: impl Fn(&Arc<str>) -> bool) {
        self.marks.retain(|name, _| is_member(name));
    }

    /// These others take part and speak. Of what the rest hold nothing is kept.
    pub fn attend<'a>(&mut self, now: Instant, names: impl Iterator<Item = &'a Arc<str>>) {
        let names: BTreeSet<&Arc<str>> = names.collect();
        for (name, peer) in &self.peers {
            if !names.contains(name) {
                self.changed.extend(peer.said.iter().flat_map(|said| said.addresses.keys()));
                self.resettled |= peer.behind.is_some();
            }
        }
        self.peers.retain(|name, _| names.contains(name));
        let gone = |name: &Arc<str>| !names.contains(name);
        let gone: Vec<IpAddr> =
            self.rivals.iter().filter(|(_, (_, name))| gone(name)).map(|(it, _)| *it).collect();
        for address in gone {
            self.rivals.remove(&address);
            self.changed.insert(address);
        }
        let contested = self.contested.keys().copied().collect();
        self.contest(now, contested);
        for name in names {
            let mark = self.marks.get(name).copied();
            self.peers.entry(Arc::clone(name)).or_default().settle(now, mark);
        }
    }

    /// What this speaker holds became different: what the others are to be told.
    pub fn change(
        &mut self,
        gained: impl Iterator<Item = IpAddr>,
        lost: impl Iterator<Item = IpAddr>,
    ) -> Vec<PeerMessage> {
        let lost: Vec<IpAddr> = lost.filter(|address| self.own.lose(*address)).collect();
        let mut new = Vec::new();
        for address in gained
            .filter(|address| !self.own.addresses.contains_key(address))
            .collect::<BTreeSet<_>>()
        {
            let term = self.terms.get(&address).map_or(1, |term| term.saturating_add(1));
            self.terms.insert(address, term);
            self.own.gain(address, term);
            new.push((address, term));
        }
        let steps = OwnedDelta::split(self.own.generation, &new, &lost);
        self.own_changed |= !steps.is_empty();
        self.own.generation += steps.len() as u64;
        steps.into_iter().map(PeerMessage::OwnedDelta).collect()
    }

    /// Forgets the terms of addresses that nobody holds and no Service has, from time to time.
    pub fn forget(&mut self, given: impl FnOnce() -> BTreeSet<IpAddr>) {
        if self.terms.len() <= self.kept * 2 + FORGET_LIMIT {
            return;
        }
        let mut of_account = given();
        of_account.extend(self.own.addresses.keys());
        let said = self.peers.values().filter_map(|peer| peer.said.as_ref());
        of_account.extend(said.flat_map(|said| said.addresses.keys()));
        self.terms.retain(|address, _| of_account.contains(address));
        self.rivals.retain(|address, _| of_account.contains(address));
        self.kept = self.terms.len();
    }

    fn note_term(&mut self, address: IpAddr, term: Term) {
        let known = self.terms.entry(address).or_default();
        *known = (*known).max(term);
    }

    /// What others have told may be old.
    pub fn doubt(&mut self, now: Instant) {
        for (name, peer) in &mut self.peers {
            self.changed.extend(peer.said.iter().flat_map(|said| said.addresses.keys()));
            peer.said = None;
            peer.settle(now, self.marks.get(name).copied());
        }
    }

    /// Everything that this speaker holds.
    #[must_use]
    pub fn list(&self) -> Vec<PeerMessage> {
        let addresses: Vec<(IpAddr, Term)> =
            self.own.addresses.iter().map(|(address, term)| (*address, *term)).collect();
        let parts = OwnedSnapshot::split(self.own.generation, &addresses);
        parts.into_iter().map(PeerMessage::OwnedSnapshot).collect()
    }

    /// A heartbeat says this.
    pub fn handle_mark(&mut self, now: Instant, from: &Arc<str>, mark: Mark) {
        let (Some(generation), Some(digest)) = (mark.first_chunk::<8>(), mark.last_chunk::<8>())
        else {
            return;
        };
        let generation = u64::from_be_bytes(*generation);
        // What was under way longer than its successor, or somebody who holds nothing to tell of.
        if generation == 0 || self.marks.get(from).is_some_and(|(known, _)| *known > generation) {
            return;
        }
        let mark = (generation, u64::from_be_bytes(*digest));
        self.marks.insert(Arc::clone(from), mark);
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.settle(now, Some(mark));
        // It is heard, and says itself what it holds: what a third told of it, which may have come late, is void.
        let Some(said) = peer.said.as_ref().filter(|_| peer.behind.is_none()) else { return };
        let told = self.rivals.iter().filter(|(_, (_, name))| name == from);
        let void: BTreeSet<IpAddr> = told
            .map(|(address, _)| *address)
            .filter(|address| !said.addresses.contains_key(address))
            .collect();
        if !void.is_empty() {
            self.note_changed(now, from, void);
        }
    }

    /// Another speaker tells a step.
    pub fn handle_delta(&mut self, now: Instant, from: &str, change: &OwnedDelta) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        if let Some(said) = &mut peer.said
            && said.generation.checked_add(1) == Some(change.generation)
        {
            said.generation = change.generation;
            for address in &change.lost {
                said.lose(*address);
            }
            for (address, term) in &change.gained {
                said.gain(*address, *term);
            }
            let mut changed: BTreeSet<IpAddr> = change.lost.iter().copied().collect();
            changed.extend(change.gained.iter().map(|(address, _)| *address));
            if said.addresses.len() > ADDRESS_LIMIT {
                changed.extend(said.addresses.keys());
                peer.said = None;
            } else {
                for (address, term) in &change.gained {
                    self.note_term(*address, *term);
                }
            }
            self.note_changed(now, from, changed);
        }
        self.settle(now, from);
    }

    /// Another speaker tells all that it holds, or a part of that.
    pub fn handle_snapshot(&mut self, now: Instant, from: &str, held: &OwnedSnapshot) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        if peer.said.as_ref().is_some_and(|said| said.generation > held.generation) {
            return;
        }
        let fits = |(stock, _): &(OwnedSet, _)| stock.generation == held.generation;
        let fresh =
            || (OwnedSet { generation: held.generation, ..OwnedSet::default() }, BTreeSet::new());
        let (mut stock, mut parts) = peer.arriving.take().filter(fits).unwrap_or_else(fresh);
        // What comes twice says nothing new, whatever it says.
        if parts.insert(held.part) {
            for (address, term) in &held.addresses {
                stock.gain(*address, *term);
            }
        }
        if stock.addresses.len() > ADDRESS_LIMIT {
            return;
        }
        if parts.len() < usize::from(held.parts) {
            peer.arriving = Some((stock, parts));
            return;
        }
        let after = stock.addresses.clone();
        let before = peer.said.replace(stock).map(|said| said.addresses).unwrap_or_default();
        for (address, term) in &after {
            self.note_term(*address, *term);
        }
        let differs = |one: &BTreeMap<IpAddr, Term>, other: &BTreeMap<IpAddr, Term>| {
            let new = one.iter().filter(|(address, term)| other.get(*address) != Some(term));
            new.map(|(address, _)| *address).collect::<Vec<_>>()
        };
        let changed = differs(&before, &after).into_iter().chain(differs(&after, &before));
        // Whatever a third has told of it is older.
        let told = self.rivals.iter().filter(|(_, (_, name))| **name == *from);
        let changed = changed.chain(told.map(|(address, _)| *address)).collect();
        self.note_changed(now, from, changed);
        self.settle(now, from);
    }

    /// A speaker has said something else of these.
    fn note_changed(&mut self, now: Instant, from: &str, addresses: BTreeSet<IpAddr>) {
        self.rivals.retain(|address, (_, name)| **name != *from || !addresses.contains(address));
        for address in &addresses {
            if self.said(*address).next().is_some() {
                self.handoff_refused.remove(address);
            }
        }
        self.changed.extend(&addresses);
        self.contest(now, addresses);
    }

    /// Looks which of these several of the others hold.
    fn contest(&mut self, now: Instant, addresses: BTreeSet<IpAddr>) {
        for address in addresses {
            if self.said(address).nth(1).is_some() {
                self.contested.entry(address).or_insert(now + CONFLICT_TIME);
            } else {
                self.contested.remove(&address);
            }
        }
    }

    /// Of those that hold an address which is held by several for a while: whom to tell of whom. They may not hear one another.
    pub fn disputes(&mut self, now: Instant) -> Vec<(Arc<str>, PeerMessage)> {
        let mut told = Vec::new();
        for (address, next) in &mut self.contested {
            if now < *next {
                continue;
            }
            *next = now + SYNC_REQUEST_INTERVAL;
            let said = || {
                let held = self.peers.iter();
                held.filter_map(|(name, peer)| Some((Reverse(peer.term(*address)?), name)))
            };
            let Some((Reverse(term), keeper)) = said().min() else { continue };
            let others = said().map(|(_, name)| name).filter(|name| *name != keeper);
            let rival =
                PeerMessage::ConflictReport { address: *address, term, node: Arc::clone(keeper) };
            told.extend(others.map(|name| (Arc::clone(name), rival.clone())));
        }
        told
    }

    /// A third tells that another one holds an address of this speaker's too.
    pub fn handle_conflict_report(
        &mut self,
        now: Instant,
        address: IpAddr,
        term: Term,
        node: &Arc<str>,
    ) {
        if self.peers.contains_key(node) && self.own.addresses.contains_key(&address) {
            self.note_term(address, term);
            self.rivals.insert(address, (term, Arc::clone(node)));
            self.hearsay.entry(Arc::clone(node)).or_insert(now + SYNC_REQUEST_INTERVAL);
            self.changed.insert(address);
        }
    }

    fn settle(&mut self, now: Instant, name: &str) {
        if let Some(peer) = self.peers.get_mut(name) {
            let behind = peer.behind.is_some();
            peer.settle(now, self.marks.get(name).copied());
            self.resettled |= behind && peer.behind.is_none();
        }
    }

    /// Those that are to be asked for their list now: of whom it is not known what they hold, or only by a third.
    pub fn questions(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut asked = Vec::new();
        for (name, peer) in &mut self.peers {
            if let Some((_, next)) = &mut peer.behind
                && now >= *next
            {
                *next = now + SYNC_REQUEST_INTERVAL;
                asked.push(Arc::clone(name));
            }
        }
        let rivals: BTreeSet<&Arc<str>> = self.rivals.values().map(|(_, name)| name).collect();
        self.hearsay.retain(|name, _| rivals.contains(name));
        for (name, next) in self.hearsay.iter_mut().filter(|(_, next)| now >= **next) {
            *next = now + HEARSAY_INTERVAL;
            asked.push(Arc::clone(name));
        }
        asked
    }

    /// When [`Self::questions`] or [`Self::disputes`] has something to say, or [`Self::is_behind`] becomes true, or [`Self::reconsider`] is due.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let behind = self.peers.values().filter_map(|peer| peer.behind);
        let late = |since: Instant| Some(since + SYNC_TIME).filter(|at| *at > now);
        let asked = behind.flat_map(|(since, next)| late(since).into_iter().chain([next]));
        let asked = asked.chain(self.contested.values().copied());
        let asked = asked.chain(self.hearsay.values().copied());
        asked
            .chain(self.handoff_refused.values().copied())
            .chain(self.own_changed.then_some(now))
            .min()
    }

    /// What nobody holds is to be decided again if this speaker holds more or less since, as who has room depends on that; and so is what it
    /// has kept for long enough.
    pub fn reconsider(&mut self, now: Instant) {
        self.resettled |= std::mem::take(&mut self.own_changed);
        let over = self.handoff_refused.extract_if(.., |_, until| *until <= now);
        self.changed.extend(over.map(|(address, _)| address));
    }

    /// Which addresses others hold, or no more, since this was last asked; and whether it is known of more speakers than then what they
    /// hold.
    pub fn take_changes(&mut self) -> (BTreeSet<IpAddr>, bool) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.resettled))
    }
}

#[cfg(test)]
mod tests;
