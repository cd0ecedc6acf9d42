// SPDX-License-Identifier: Apache-2.0
//! Addresses that several speakers say they own. The owners may not hear one another, so a third speaker that hears
//! both reports each conflict to those that are to give the address up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::replica::SYNC_REQUEST_INTERVAL;
use crate::wire::message::Term;

/// The time for which several speakers may say that they own an address, as one passes it to the other.
pub(super) const CONFLICT_TIME: Duration = Duration::from_millis(300);
/// The time between two requests to a speaker of which only reports tell that it owns an address.
pub(super) const HEARSAY_INTERVAL: Duration = Duration::from_secs(1);

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// Addresses that several of the other speakers own, and the time of the next report on each.
    contested: BTreeMap<IpAddr, Instant>,
    /// Addresses of this speaker that another one owns too, or did, by the report of a third: the other one may not be
    /// heard here.
    rivals: BTreeMap<IpAddr, (Term, Arc<str>)>,
    /// The speakers of such reports, and the time at which each is to be asked itself: the report may have come late.
    hearsay: BTreeMap<Arc<str>, Instant>,
}

impl Conflicts {
    /// The speaker that owns an address of this one by a report, with its term.
    pub(super) fn rival(&self, address: IpAddr) -> Option<(Term, &Arc<str>)> {
        self.rivals.get(&address).map(|(term, name)| (*term, name))
    }

    /// The addresses that the speaker owns by reports.
    pub(super) fn reported<'a>(&'a self, name: &'a str) -> impl Iterator<Item = IpAddr> + 'a {
        self.rivals.iter().filter(move |(_, (_, rival))| **rival == *name).map(|(it, _)| *it)
    }

    /// A report: the speaker owns an address of this one too.
    pub(super) fn handle_report(
        &mut self,
        now: Instant,
        address: IpAddr,
        term: Term,
        node: &Arc<str>,
    ) {
        self.rivals.insert(address, (term, Arc::clone(node)));
        self.hearsay.entry(Arc::clone(node)).or_insert(now + SYNC_REQUEST_INTERVAL);
    }

    /// The speaker has itself said something of these addresses: reports on them are void.
    pub(super) fn refute(&mut self, name: &str, addresses: &BTreeSet<IpAddr>) {
        self.rivals.retain(|address, (_, rival)| **rival != *name || !addresses.contains(address));
    }

    /// Forgets the reports on speakers that do not take part any more. Returns their addresses.
    pub(super) fn forget_absent(&mut self, takes_part: impl Fn(&Arc<str>) -> bool) -> Vec<IpAddr> {
        let absent = self.rivals.extract_if(.., |_, (_, name)| !takes_part(name));
        absent.map(|(address, _)| address).collect()
    }

    /// Forgets the reports on all but these addresses.
    pub(super) fn retain(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.rivals.retain(|address, _| addresses.contains(address));
    }

    /// The addresses that several of the other speakers own.
    pub(super) fn contested(&self) -> impl Iterator<Item = IpAddr> {
        self.contested.keys().copied()
    }

    /// The owners of these addresses have changed: `several` says of which there are several now.
    pub(super) fn contest(
        &mut self,
        now: Instant,
        addresses: impl IntoIterator<Item = IpAddr>,
        several: impl Fn(IpAddr) -> bool,
    ) {
        for address in addresses {
            if several(address) {
                self.contested.entry(address).or_insert(now + CONFLICT_TIME);
            } else {
                self.contested.remove(&address);
            }
        }
    }

    /// The contested addresses to report now. The next report on each is due an interval later.
    pub(super) fn due(&mut self, now: Instant) -> Vec<IpAddr> {
        let mut due = Vec::new();
        for (address, next) in self.contested.iter_mut().filter(|(_, next)| now >= **next) {
            *next = now + SYNC_REQUEST_INTERVAL;
            due.push(*address);
        }
        due
    }

    /// The speakers to ask now whether the reports on them are true.
    pub(super) fn questions(&mut self, now: Instant) -> Vec<Arc<str>> {
        let rivals: BTreeSet<&Arc<str>> = self.rivals.values().map(|(_, name)| name).collect();
        self.hearsay.retain(|name, _| rivals.contains(name));
        let mut asked = Vec::new();
        for (name, next) in self.hearsay.iter_mut().filter(|(_, next)| now >= **next) {
            *next = now + HEARSAY_INTERVAL;
            asked.push(Arc::clone(name));
        }
        asked
    }

    /// The times at which [`Self::due`] or [`Self::questions`] has something to return.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> + '_ {
        self.contested.values().chain(self.hearsay.values()).copied()
    }
}
