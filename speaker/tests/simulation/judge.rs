// SPDX-License-Identifier: Apache-2.0
//! Watches at every virtual moment who answers for what, and measures how long nobody or more than one does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
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
    /// The nodes of the part of the link.
    pub(crate) link: Rc<BTreeSet<usize>>,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// Empty if nobody did; else all that answered meanwhile, of which two at least hear one another.
    pub(crate) owners: BTreeSet<usize>,
    /// The fewest members that one of them knew, itself included.
    pub(crate) known: usize,
}

/// How many answer among those that hear one another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    None,
    One,
    Several,
}

struct Watched {
    number: Number,
    owners: BTreeSet<usize>,
    /// Since when nobody, one or more than one.
    since: Duration,
    /// All that took part in the present interval.
    all: BTreeSet<usize>,
    known: usize,
}

pub(crate) struct Judge {
    addresses: BTreeSet<IpAddr>,
    /// The parts of the link: nodes that hear one another both ways, directly or by way of others.
    links: Vec<Rc<BTreeSet<usize>>>,
    /// The pairs that do not hear one another both ways, the smaller one first.
    apart: BTreeSet<(usize, usize)>,
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
            links: Vec::new(),
            apart: BTreeSet::new(),
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
        for link in 0..self.links.len() {
            self.watched.insert((address, link), self.watched_from(address, link, now));
        }
    }

    /// From now no frame passes from the first to the second of each of these pairs.
    pub(crate) fn cut(&mut self, now: Duration, cut: &BTreeSet<(usize, usize)>) {
        let apart = cut.iter().map(|(one, other)| (*one.min(other), *one.max(other)));
        let apart: BTreeSet<(usize, usize)> = apart.collect();
        if apart == self.apart {
            return;
        }
        self.intervals = self.all_until(now);
        self.apart = apart;
        self.begin(now);
    }

    fn begin(&mut self, now: Duration) {
        self.links = components(self.owned.len(), |one, other| !self.is_apart(one, other));
        let links = 0..self.links.len();
        let keys = self.addresses.iter().flat_map(|it| links.clone().map(|link| (*it, link)));
        let all = keys.map(|(it, link)| ((it, link), self.watched_from(it, link, now)));
        self.watched = all.collect();
    }

    fn is_apart(&self, one: usize, other: usize) -> bool {
        self.apart.contains(&(one.min(other), one.max(other)))
    }

    fn watched_from(&self, address: IpAddr, link: usize, now: Duration) -> Watched {
        let owns = |host: &&usize| self.owned[**host].contains(&address);
        let owners: BTreeSet<usize> = self.links[link].iter().filter(owns).copied().collect();
        let known = owners.iter().map(|it| self.known[*it]).min().unwrap_or(usize::MAX);
        Watched { number: self.number(&owners), all: owners.clone(), owners, since: now, known }
    }

    fn number(&self, owners: &BTreeSet<usize>) -> Number {
        let met = |one: &usize| owners.range(one + 1..).any(|other| !self.is_apart(*one, *other));
        match owners.is_empty() {
            true => Number::None,
            false if owners.iter().any(met) => Number::Several,
            false => Number::One,
        }
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
            for link in 0..self.links.len() {
                if self.links[link].contains(&host) {
                    self.turn(now, host, (address, link));
                }
            }
        }
    }

    /// A node begins or ends to answer among these.
    fn turn(&mut self, now: Duration, host: usize, key: (IpAddr, usize)) {
        let Some(watched) = self.watched.get(&key) else { return };
        let mut owners = watched.owners.clone();
        if !owners.remove(&host) {
            owners.insert(host);
        }
        let number = self.number(&owners);
        let least = owners.iter().map(|it| self.known[*it]).min().unwrap_or(usize::MAX);
        let known = self.known[host];
        let link = Rc::clone(&self.links[key.1]);
        let Some(watched) = self.watched.get_mut(&key) else { return };
        watched.owners = owners;
        if watched.number == number {
            watched.all.insert(host);
            watched.known = watched.known.min(known);
            return;
        }
        self.intervals.extend(interval(key.0, link, watched, now));
        watched.number = number;
        watched.since = now;
        watched.all = watched.owners.clone();
        watched.known = least;
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
        self.all_until(self.now)
    }

    fn all_until(&self, now: Duration) -> Vec<Interval> {
        let open = self.watched.iter().filter_map(|((address, link), watched)| {
            interval(*address, Rc::clone(&self.links[*link]), watched, now)
        });
        self.intervals.iter().cloned().chain(open).collect()
    }
}

/// The numbers below `count`, divided into sets that are connected by pairs that meet.
pub(crate) fn components(
    count: usize,
    meet: impl Fn(usize, usize) -> bool,
) -> Vec<Rc<BTreeSet<usize>>> {
    let mut left: BTreeSet<usize> = (0..count).collect();
    let mut found = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut part = BTreeSet::from([first]);
        let mut ahead = vec![first];
        while let Some(one) = ahead.pop() {
            let near: Vec<usize> = left.iter().copied().filter(|it| meet(one, *it)).collect();
            for other in near {
                left.remove(&other);
                part.insert(other);
                ahead.push(other);
            }
        }
        found.push(Rc::new(part));
    }
    found
}

fn interval(
    address: IpAddr,
    link: Rc<BTreeSet<usize>>,
    watched: &Watched,
    now: Duration,
) -> Option<Interval> {
    (watched.number != Number::One && now > watched.since).then(|| Interval {
        address,
        link,
        from: watched.since,
        to: now,
        owners: watched.all.clone(),
        known: watched.known,
    })
}
