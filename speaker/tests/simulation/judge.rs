// SPDX-License-Identifier: Apache-2.0
//! Watches at every virtual moment who answers for what, and measures how long nobody or more than one does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// The beginning of a FNV-1a hash of 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv1a(hash: u64, octets: impl Iterator<Item = u8>) -> u64 {
    octets.fold(hash, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3))
}

/// How many answered for an address for a time, if not exactly one.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    pub(crate) address: IpAddr,
    /// The part of the link.
    pub(crate) group: usize,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// Empty if nobody did.
    pub(crate) owners: BTreeSet<usize>,
    /// The fewest members that one of them knew, itself included.
    pub(crate) known: usize,
}

struct Watched {
    owners: BTreeSet<usize>,
    /// Since when nobody, one or more than one.
    since: Duration,
    /// All that took part in the present interval.
    all: BTreeSet<usize>,
    known: usize,
}

pub(crate) struct Judge {
    addresses: BTreeSet<IpAddr>,
    /// The part of the link that each node is on.
    groups: Vec<usize>,
    watched: BTreeMap<(IpAddr, usize), Watched>,
    seen: Vec<(bool, u64, u64)>,
    owned: Vec<BTreeSet<IpAddr>>,
    known: Vec<usize>,
    pub(crate) intervals: Vec<Interval>,
    now: Duration,
    digest: u64,
}

impl Judge {
    pub(crate) fn new(addresses: &[IpAddr], count: usize) -> Self {
        let mut judge = Self {
            addresses: addresses.iter().copied().collect(),
            groups: vec![0; count],
            watched: BTreeMap::new(),
            seen: vec![(false, 0, 0); count],
            owned: vec![BTreeSet::new(); count],
            known: vec![0; count],
            intervals: Vec::new(),
            now: Duration::ZERO,
            digest: FNV_OFFSET,
        };
        judge.begin(Duration::ZERO);
        judge
    }

    /// There is one more address from now.
    pub(crate) fn watch(&mut self, address: IpAddr, now: Duration) {
        self.addresses.insert(address);
        let groups: BTreeSet<usize> = self.groups.iter().copied().collect();
        for group in groups {
            self.watched.insert((address, group), self.watched_from(address, group, now));
        }
    }

    /// From now each node is on this part of the link.
    pub(crate) fn regroup(&mut self, now: Duration, groups: Vec<usize>) {
        let open = self.watched.iter().filter_map(|(key, watched)| interval(*key, watched, now));
        let open: Vec<Interval> = open.collect();
        self.intervals.extend(open);
        self.groups = groups;
        self.begin(now);
    }

    fn begin(&mut self, now: Duration) {
        let groups: BTreeSet<usize> = self.groups.iter().copied().collect();
        let keys = self.addresses.iter().flat_map(|it| groups.iter().map(|group| (*it, *group)));
        let all = keys.map(|(it, group)| ((it, group), self.watched_from(it, group, now)));
        self.watched = all.collect();
    }

    fn watched_from(&self, address: IpAddr, group: usize, now: Duration) -> Watched {
        let owns =
            |host: &usize| self.groups[*host] == group && self.owned[*host].contains(&address);
        let owners: BTreeSet<usize> = (0..self.groups.len()).filter(owns).collect();
        let known = owners.iter().map(|it| self.known[*it]).min().unwrap_or(usize::MAX);
        Watched { all: owners.clone(), owners, since: now, known }
    }

    pub(crate) fn is_news(&mut self, host: usize, key: (bool, u64, u64)) -> bool {
        std::mem::replace(&mut self.seen[host], key) != key
    }

    /// A node answers for these from now.
    pub(crate) fn see(
        &mut self,
        now: Duration,
        host: usize,
        owned: BTreeSet<IpAddr>,
        known: usize,
    ) {
        self.known[host] = known;
        let before = std::mem::replace(&mut self.owned[host], owned);
        let changed: Vec<IpAddr> =
            before.symmetric_difference(&self.owned[host]).copied().collect();
        for address in changed {
            let begins = self.owned[host].contains(&address);
            self.digest = fnv1a(self.digest, format!("{now:?} {host} {address} {begins}").bytes());
            let key = (address, self.groups[host]);
            let Some(watched) = self.watched.get_mut(&key) else { continue };
            let class = watched.owners.len().min(2);
            let closed = interval(key, watched, now);
            if !watched.owners.remove(&host) {
                watched.owners.insert(host);
            }
            if watched.owners.len().min(2) == class {
                watched.all.insert(host);
                watched.known = watched.known.min(known);
                continue;
            }
            self.intervals.extend(closed);
            watched.since = now;
            watched.all = watched.owners.clone();
            watched.known =
                watched.owners.iter().map(|it| self.known[*it]).min().unwrap_or(usize::MAX);
        }
    }

    pub(crate) fn pass(&mut self, now: Duration) {
        self.now = now;
    }

    /// A number that stands for the whole history of who answered for what, and when.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// What is over, and what goes on.
    pub(crate) fn all(&self) -> Vec<Interval> {
        let open = self.watched.iter().filter_map(|(it, watched)| interval(*it, watched, self.now));
        self.intervals.iter().cloned().chain(open).collect()
    }
}

fn interval(
    (address, group): (IpAddr, usize),
    watched: &Watched,
    now: Duration,
) -> Option<Interval> {
    (watched.owners.len() != 1 && now > watched.since).then(|| Interval {
        address,
        group,
        from: watched.since,
        to: now,
        owners: watched.all.clone(),
        known: watched.known,
    })
}
