// SPDX-License-Identifier: Apache-2.0
//! The next step of a writer to the API: level-triggered, so that of all wishes about one object only the newest is
//! written. A writer knows no client, no runtime and no log; `net::writer` carries its orders out.
//!
//! ```text
//! set, settle, doubt ──> wish per key ── differs from what was written ──> poll ──> order ── done ──> written per key
//!                                                └── settle, rest, back-off, pause after a refusal ──> deadline
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The pause after a failure, where a writer has no reason for another.
pub const RETRY: Duration = Duration::from_secs(2);
/// The time after a refusal until the next check whether the kind and the permission are there.
pub const REFUSED: Duration = Duration::from_secs(30);

/// How much a writer does at once, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of keys that are written at the same time.
    pub concurrent: usize,
    /// The time in which wishes about one key are collected before it is written.
    pub settle: Duration,
    /// The least time between two writes of one key.
    pub rest: Duration,
    /// The pauses of a key after failures: the first, which each further failure doubles, and the longest.
    pub retry: (Duration, Duration),
    /// The pause after a refusal. None where a refusal concerns one object alone, and is a failure like any other.
    pub refused: Option<Duration>,
    /// False if a wish is carried out even if it equals what was written: then nothing is kept about a key that is
    /// done.
    pub remembers: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let (settle, rest) = (Duration::ZERO, Duration::ZERO);
        let (retry, refused) = ((RETRY, RETRY), Some(REFUSED));
        Self { concurrent: 1, settle, rest, retry, refused, remembers: true }
    }
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The kind or the permission is absent.
    Refused,
    /// It may work the next time.
    Failed,
}

/// The state of one key.
#[derive(Debug)]
struct Entry<V> {
    /// The content that the object is to have; none if there is to be no object.
    wish: Option<V>,
    /// False for an object that was found and of which nobody has said anything: it is left alone.
    is_wished: bool,
    /// The content that the object has, or will have when what is under way is done; none if there is no object.
    written: Option<V>,
    /// True if the object may have another content.
    is_doubted: bool,
    in_flight: bool,
    /// The number of failures in a row.
    failures: u32,
    /// The end of the rest or the back-off.
    not_before: Option<Instant>,
    /// Its moment in `Writer::due`.
    due: Option<Instant>,
}

impl<V: PartialEq> Entry<V> {
    fn new(in_flight: bool, is_doubted: bool) -> Self {
        let (wish, written, not_before, due) = (None, None, None, None);
        let (is_wished, failures) = (false, 0);
        Self { wish, is_wished, written, is_doubted, in_flight, failures, not_before, due }
    }

    fn is_owed(&self) -> bool {
        self.is_wished && (self.is_doubted || self.written != self.wish)
    }
}

/// The wishes of one writer, and how far they are carried out.
#[derive(Debug)]
pub struct Writer<K, V> {
    limits: Limits,
    entries: BTreeMap<K, Entry<V>>,
    /// The keys that are to be looked at, by the moment.
    due: BTreeSet<(Instant, K)>,
    in_flight: usize,
    /// True once an object that nobody wishes is removed.
    is_settled: bool,
    paused_until: Option<Instant>,
    /// True if something was written since the last refusal.
    is_accepted: bool,
    /// The number of keys whose last attempt failed.
    failing: usize,
    /// The troubles that the log has been told of, until nothing fails any more.
    told: BTreeSet<Trouble>,
}

impl<K: Clone + Ord, V: Clone + PartialEq> Writer<K, V> {
    /// One without wishes.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (entries, due, told) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let (in_flight, failing, paused_until) = (0, 0, None);
        let (is_settled, is_accepted) = (false, false);
        Self {
            limits,
            entries,
            due,
            in_flight,
            is_settled,
            paused_until,
            is_accepted,
            failing,
            told,
        }
    }

    /// Sets what the object is to be; none if there is to be none.
    pub fn set(&mut self, key: K, wish: Option<V>, now: Instant) {
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(false, false));
        (entry.wish, entry.is_wished) = (wish, true);
        entry.is_doubted |= !self.limits.remembers;
        self.look_at(&key, now + self.limits.settle);
    }

    /// Sets what all objects are to be. Others are removed.
    pub fn set_all(&mut self, wishes: BTreeMap<K, V>, now: Instant) {
        let others = self.entries.keys().filter(|key| !wishes.contains_key(*key)).cloned();
        let others: Vec<_> = others.map(|key| (key, None)).collect();
        let wishes = wishes.into_iter().map(|(key, wish)| (key, Some(wish)));
        others.into_iter().chain(wishes).for_each(|(key, wish)| self.set(key, wish, now));
        self.is_settled = true;
    }

    /// Every wish has been said: objects that were found and nobody wishes are removed.
    pub fn settle(&mut self, now: Instant) {
        self.is_settled = true;
        let left = self.entries.iter().filter(|(_, entry)| !entry.is_wished);
        for key in left.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.set(key, None, now);
        }
    }

    /// Takes over an object of an earlier process, with its content where that is known. To be called before the first
    /// [`Writer::poll`].
    pub fn adopt(&mut self, key: K, content: Option<V>, now: Instant) {
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(false, false));
        entry.is_doubted = content.is_none();
        entry.written = content;
        entry.is_wished |= self.is_settled;
        self.look_at(&key, now + self.limits.settle);
    }

    /// The wish about a key, as long as it is not carried out.
    #[must_use]
    pub fn wish(&self, key: &K) -> Option<&V> {
        self.entries.get(key)?.wish.as_ref()
    }

    /// Somebody else may have changed the object: it is written again, not at once, since two that write different
    /// things would never rest.
    pub fn doubt(&mut self, key: &K, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_doubted = true;
            self.look_at(key, now + self.limits.retry.0);
        }
    }

    /// Drops every wish: another process writes now. A write under way ends.
    pub fn release(&mut self) {
        self.due.clear();
        self.entries.retain(|_, entry| entry.in_flight);
        self.entries.values_mut().for_each(|entry| *entry = Entry::new(true, true));
        self.failing = 0;
    }

    /// The next order, if there is one now: the key, and the content of its object, which is to be removed if there
    /// is none.
    pub fn poll(&mut self, now: Instant) -> Option<(K, Option<V>)> {
        while self.deadline().is_some_and(|at| at <= now) {
            let (_, key) = self.due.pop_first()?;
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.due = None;
            if entry.is_owed() {
                (entry.in_flight, entry.is_doubted) = (true, false);
                entry.written.clone_from(&entry.wish);
                self.in_flight += 1;
                return Some((key, entry.wish.clone()));
            }
            self.forget(&key);
        }
        None
    }

    /// The moment at which [`Writer::poll`] may have an order, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let (first, _) = self.due.first().filter(|_| self.in_flight < self.limits.concurrent)?;
        Some(self.paused_until.map_or(*first, |until| until.max(*first)))
    }

    /// Takes the result of an order. True if a trouble is to be told, once until nothing fails any more.
    pub fn done(&mut self, key: &K, result: Result<(), Trouble>, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.in_flight) else {
            return false;
        };
        entry.in_flight = false;
        self.in_flight -= 1;
        if !entry.is_wished {
            self.entries.remove(key);
            return false;
        }
        let had_failed = entry.failures > 0;
        let (pause, is_told) = match result {
            Ok(()) => {
                entry.failures = 0;
                self.failing -= usize::from(had_failed);
                self.is_accepted = true;
                if self.failing == 0 {
                    self.told.clear();
                }
                (self.limits.rest, false)
            }
            Err(trouble) => {
                entry.failures = entry.failures.saturating_add(1);
                entry.is_doubted = true;
                self.failing += usize::from(!had_failed);
                let pause = match self.limits.refused.filter(|_| trouble == Trouble::Refused) {
                    Some(refused) => {
                        // One object that is refused among others that are written is not the kind's fault.
                        if !std::mem::take(&mut self.is_accepted) {
                            self.paused_until = Some(now + refused);
                        }
                        refused
                    }
                    None => back_off(self.limits.retry, entry.failures),
                };
                (pause, self.told.insert(trouble))
            }
        };
        entry.not_before = Some(now + pause);
        match entry.is_owed() {
            false if pause.is_zero() => self.forget(key),
            _ => self.look_at(key, now + self.limits.settle),
        }
        is_told
    }

    /// The key is looked at in this moment, or when its rest or its back-off is over.
    fn look_at(&mut self, key: &K, at: Instant) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| !entry.in_flight) else {
            return;
        };
        let at = entry.not_before.map_or(at, |end| end.max(at));
        match entry.due {
            Some(known) if known <= at => return,
            Some(known) => drop(self.due.remove(&(known, key.clone()))),
            None => {}
        }
        entry.due = Some(at);
        self.due.insert((at, key.clone()));
    }

    /// Drops what need not be known about a key to which nothing is owed.
    fn forget(&mut self, key: &K) {
        let remembers = self.limits.remembers;
        if self
            .entries
            .get(key)
            .is_some_and(|entry| entry.is_wished && (entry.wish.is_none() || !remembers))
        {
            self.entries.remove(key);
        }
    }
}

/// The pause after so many failures in a row.
fn back_off((first, last): (Duration, Duration), failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(last)
}

#[cfg(test)]
mod tests;
