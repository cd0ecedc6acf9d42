// SPDX-License-Identifier: Apache-2.0
//! Histories: faults at random, and what must hold whatever they are.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use members::quorum::Fencing;
use speaker::Modes;

use crate::events::Chance;
use crate::host::{Host, Pause};
use crate::judge::Interval;
use crate::world::{MS, World};

/// How long two may answer for an address, whatever happens: a planned move ends after a second, and what it is told by takes its time.
pub(crate) const TWO: Duration = Duration::from_millis(1_200);
/// The same where some hear others one way only, or not all: what is said goes round by those that hear it.
pub(crate) const TWO_PARTIAL: Duration = Duration::from_millis(2_200);
/// Within this time after the last fault a majority that is connected, and cut off from all others, has an owner for every address.
pub(crate) const CLEAN: Duration = Duration::from_millis(500);
/// The same where it comes within [`BACK`] after another one's end: members come back one by one, each has others watch the rest, and
/// whoever begins to watch waits anew.
pub(crate) const SHORTLY: Duration = Duration::from_millis(1_000);
/// How long it may take until all have met again.
pub(crate) const BACK: Duration = Duration::from_millis(1_000);
/// The same where some hear one another one way only, or hear some and not the others.
pub(crate) const PARTIAL: Duration = Duration::from_millis(3_000);
/// The same where there was no majority before.
pub(crate) const GATHERING: Duration = Duration::from_millis(5_000);

/// The same after any fault where the link has the last word.
pub(crate) const BY_LINK: Duration = Duration::from_millis(3_000);
/// How long two may answer on one link that has the last word: one probing period, and 0.3 s.
pub(crate) const TWO_BY_LINK: Duration = Duration::from_millis(2_300);

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Part,
    OneWay,
    Link,
    Stopped,
    Suspended,
    Machine,
    Killed,
    Power,
    Loss,
    Drain,
    Planned,
    Api,
    /// A node has no carrier.
    Carrier,
}

pub(crate) const ALL: [Fault; 12] = [
    Fault::Part,
    Fault::OneWay,
    Fault::Link,
    Fault::Stopped,
    Fault::Suspended,
    Fault::Machine,
    Fault::Killed,
    Fault::Power,
    Fault::Loss,
    Fault::Drain,
    Fault::Planned,
    Fault::Api,
];

/// What a cut of the ring takes along of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkCuts {
    /// The same cuts; the judge's client reaches all nodes nevertheless, by ways of its own.
    Unseen,
    /// Nothing: the link stays whole.
    None,
    /// The same cuts, and clients hear the stations of their own part alone.
    Equal,
}

/// From when on what is required.
#[derive(Clone, Debug)]
struct Required {
    at: Duration,
    /// An owner, after this time.
    bound: Option<Duration>,
    /// The nodes that may be the owner.
    running: BTreeSet<usize>,
}

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Begin(usize),
    End(usize),
}

/// A fault with its time.
#[derive(Clone, Debug)]
struct Incident {
    fault: Fault,
    nodes: Vec<usize>,
    amount: u64,
}

pub(crate) struct History {
    pub(crate) world: World,
    incidents: Vec<Incident>,
    open: BTreeSet<usize>,
    required: Vec<Required>,
    link_cuts: LinkCuts,
    /// From when on whether not all that hear one another hear the same ones, both ways.
    partial: Vec<(Duration, bool)>,
    /// When members last came back.
    back: Option<Duration>,
    pub(crate) count: usize,
}

/// How many nodes a history has: mostly few.
fn size(chance: &mut Chance) -> usize {
    match chance.below(200) {
        0 => 100,
        1..4 => 40,
        4..20 => 10 + chance.index(10),
        20..60 => 6 + chance.index(4),
        _ => 3 + chance.index(3),
    }
}

impl History {
    /// A world in which all have found one another.
    pub(crate) fn begin(seed: u64, count: usize) -> Self {
        Self::begin_fenced(seed, count, Fencing::Majority, false)
    }

    pub(crate) fn begin_fenced(seed: u64, count: usize, fencing: Fencing, of_two: bool) -> Self {
        Self::begin_with(seed, count, 6, Modes::default(), fencing, of_two)
    }

    pub(crate) fn begin_with(
        seed: u64,
        count: usize,
        addresses: usize,
        modes: Modes,
        fencing: Fencing,
        of_two: bool,
    ) -> Self {
        let mut world = World::new(seed, count, addresses);
        (world.fencing, world.fence_two, world.modes) = (fencing, of_two, modes);
        for index in 0..count {
            world.boot(index);
        }
        world.run(4_000 * MS);
        Self::of(world, count)
    }

    /// A world of so many nodes as it is.
    pub(crate) fn of(world: World, count: usize) -> Self {
        Self {
            world,
            incidents: Vec::new(),
            open: BTreeSet::new(),
            required: vec![Required {
                at: 4_000 * MS,
                bound: Some(Duration::ZERO),
                running: (0..count).collect(),
            }],
            link_cuts: LinkCuts::Unseen,
            partial: vec![(Duration::ZERO, false)],
            back: None,
            count,
        }
    }

    /// Plays a random history of these faults; what was wrong.
    pub(crate) fn play(
        seed: u64,
        faults: &[Fault],
        fencing: Fencing,
        link_cuts: LinkCuts,
    ) -> Result<Self, String> {
        let mut chance = Chance(seed ^ 0x5eed);
        let count = size(&mut chance);
        let modes = Modes { sticky: seed % 4 == 2 || seed % 8 == 3, spread: seed % 4 == 3 };
        let mut history = Self::begin_with(seed, count, 6, modes, fencing, false);
        history.link_cuts = link_cuts;
        history.world.link_cut = (link_cuts == LinkCuts::None).then(BTreeSet::new);
        let incidents = 1 + chance.index(5);
        let mut steps: Vec<(Duration, Step)> = Vec::new();
        for number in 0..incidents {
            let fault = faults[chance.index(faults.len())];
            let from = chance.micros(0, 8_000_000);
            let length = match chance.below(3) {
                0 => chance.micros(1_000, 600_000),
                1 => chance.micros(300_000, 2_000_000),
                _ => chance.micros(1_000_000, 6_000_000),
            };
            let nodes = history.some(&mut chance);
            let amount = 1 + chance.below(200);
            history.incidents.push(Incident { fault, nodes, amount });
            steps.push((from, Step::Begin(number)));
            steps.push((from + length, Step::End(number)));
        }
        if seed.is_multiple_of(3) {
            // Beside the faults, a node loses its carrier for a time.
            let mut chance = Chance(seed ^ 0x_ca44);
            let from = chance.micros(0, 8_000_000);
            let length = chance.micros(1_000, 3_000_000);
            let incident =
                Incident { fault: Fault::Carrier, nodes: vec![chance.index(count)], amount: 0 };
            steps.push((from, Step::Begin(history.incidents.len())));
            steps.push((from + length, Step::End(history.incidents.len())));
            history.incidents.push(incident);
        }
        steps.sort_by_key(|(at, _)| *at);
        let begin = history.world.now;
        for (at, step) in steps {
            let wait = (begin + at).saturating_sub(history.world.now);
            history.world.run(wait);
            match step {
                Step::Begin(number) => history.start(number),
                Step::End(number) => history.end(number),
            }
        }
        history.recover();
        history.world.run(GATHERING + 5_000 * MS);
        history.verdict()?;
        Ok(history)
    }

    /// One or a few nodes.
    fn some(&self, chance: &mut Chance) -> Vec<usize> {
        let most = if chance.below(2) == 0 { 1 } else { self.count / 2 + 1 };
        let number = 1 + chance.index(most);
        let nodes: BTreeSet<usize> = (0..number).map(|_| chance.index(self.count)).collect();
        nodes.into_iter().collect()
    }

    /// A fault strikes now.
    pub(crate) fn strike(&mut self, fault: Fault, nodes: &[usize]) -> usize {
        self.incidents.push(Incident { fault, nodes: nodes.to_vec(), amount: 100 });
        self.start(self.incidents.len() - 1);
        self.incidents.len() - 1
    }

    fn start(&mut self, number: usize) {
        let Incident { fault, nodes, amount } = self.incidents[number].clone();
        self.world.note(format!("begin {number} {fault:?} {nodes:?}"));
        self.open.insert(number);
        let first = nodes[0];
        let up = self.world.hosts[first].process.is_some();
        let free = self.world.hosts[first].paused.is_none();
        match fault {
            Fault::Part | Fault::OneWay | Fault::Link => {}
            Fault::Stopped if up && free => self.world.pause(first, Pause::Stopped),
            Fault::Suspended if up && free => self.world.pause(first, Pause::Suspended),
            Fault::Machine if up && free => self.world.pause(first, Pause::Machine),
            Fault::Killed if up => self.world.kill(first, true),
            Fault::Power if up => self.world.kill(first, false),
            Fault::Loss => self.world.loss = amount,
            Fault::Drain => self.world.drain(first, true),
            Fault::Carrier => self.world.set_carrier(first, false),
            Fault::Planned if up && free => self.world.terminate(first),
            Fault::Api => {
                for node in nodes {
                    self.world.set_api(node, false);
                }
            }
            // It happens to somebody who is not there at the moment.
            Fault::Stopped
            | Fault::Suspended
            | Fault::Machine
            | Fault::Killed
            | Fault::Power
            | Fault::Planned => {
                self.open.remove(&number);
            }
        }
        self.connect();
        self.require(fault, true);
    }

    pub(crate) fn end(&mut self, number: usize) {
        if !self.open.remove(&number) {
            return;
        }
        let Incident { fault, nodes, .. } = self.incidents[number].clone();
        self.world.note(format!("end {number} {fault:?} {nodes:?}"));
        let first = nodes[0];
        let mut fault = fault;
        match fault {
            Fault::Part | Fault::OneWay | Fault::Link => {}
            Fault::Stopped | Fault::Suspended | Fault::Machine => self.world.resume(first),
            Fault::Killed | Fault::Power | Fault::Planned => {
                // Whoever is stopped in order may still be there; or it was started again already.
                let process = self.world.hosts[first].process.as_ref();
                if process.is_none_or(|process| process.leaves) {
                    if process.is_some() {
                        // It was not given the time to hand over.
                        fault = Fault::Killed;
                    }
                    self.world.kill(first, true);
                    self.world.boot(first);
                }
            }
            Fault::Loss => self.world.loss = 0,
            Fault::Drain => self.world.drain(first, false),
            Fault::Carrier => self.world.set_carrier(first, true),
            Fault::Api => {
                for node in nodes {
                    self.world.set_api(node, true);
                }
            }
        }
        if !matches!(fault, Fault::Loss | Fault::Drain | Fault::Api | Fault::Carrier) {
            self.back = Some(self.world.now);
        }
        self.connect();
        self.require(fault, false);
    }

    /// All is well again.
    pub(crate) fn recover(&mut self) {
        for number in self.open.clone() {
            self.end(number);
        }
        for index in 0..self.count {
            if self.world.hosts[index].process.is_none() {
                self.world.boot(index);
            }
        }
        self.require(Fault::Part, false);
    }

    /// What passes, by the faults that are open.
    fn connect(&mut self) {
        self.world.cut.clear();
        for number in self.open.clone() {
            let Incident { fault, nodes, amount } = self.incidents[number].clone();
            let others = (0..self.count).filter(|other| !nodes.contains(other));
            match fault {
                Fault::Part => self.world.part(&nodes),
                Fault::OneWay => {
                    for other in others {
                        for node in &nodes {
                            let pair = (*node, other);
                            self.world.cut.insert(if amount % 2 == 0 {
                                pair
                            } else {
                                (other, *node)
                            });
                        }
                    }
                }
                Fault::Link => {
                    let other = (nodes[0] + 1 + usize::try_from(amount).unwrap()) % self.count;
                    self.world.cut.insert((nodes[0], other));
                    self.world.cut.insert((other, nodes[0]));
                }
                _ => {}
            }
        }
        if self.link_cuts == LinkCuts::Equal {
            self.world.judge_link();
        }
    }

    fn is_divided(&self) -> bool {
        let cut = |one: usize, other: usize| self.world.cut.contains(&(one, other));
        let all = 0..self.count;
        // Equal parts: who hears a node hears what that one hears.
        let same = |one: usize, other: usize| {
            all.clone()
                .all(|third| third == one || third == other || cut(one, third) == cut(other, third))
        };
        all.clone().any(|one| {
            all.clone().filter(|other| one != *other).any(|other| {
                cut(one, other) != cut(other, one) || !cut(one, other) && !same(one, other)
            })
        })
    }

    /// Notes what is required from now, when a fault begins or ends.
    fn require(&mut self, fault: Fault, begins: bool) {
        self.partial.push((self.world.now, !self.world.cut.is_empty() && self.is_divided()));
        let world = &self.world;
        let ready = |index: &usize| {
            let host = &world.hosts[*index];
            let process = host.process.as_ref();
            let reaches = self.link_cuts == LinkCuts::Unseen || host.carrier;
            reaches && host.paused.is_none() && process.is_some_and(|it| it.synced && !it.leaves)
        };
        let running: Vec<usize> = (0..self.count).filter(ready).collect();
        let joined = |one: usize, other: usize| {
            !world.cut.contains(&(one, other)) && !world.cut.contains(&(other, one))
        };
        let mut by_degree = running.clone();
        by_degree.sort_by_key(|one| {
            std::cmp::Reverse(running.iter().filter(|other| joined(*one, **other)).count())
        });
        let mut clique: Vec<usize> = Vec::new();
        for one in by_degree {
            if clique.iter().all(|other| joined(one, *other)) {
                clique.push(one);
            }
        }
        // Whoever leaves in order counts no more.
        let left = |number: &&usize| self.incidents[**number].fault == Fault::Planned;
        let left = self.open.iter().filter(left).count();
        let majority = clique.len() * 2 > self.count - left;
        // The ring counts a node without carrier too. If all that it counts are no majority, such a node is silent.
        let counted = |host: &&Host| {
            host.paused.is_none() && host.process.as_ref().is_some_and(|process| !process.leaves)
        };
        let counted = world.hosts.iter().filter(counted).count();
        let asks = world.fencing == Fencing::Link && counted * 2 <= self.count - left;
        let planned = match fault {
            Fault::Drain | Fault::Planned | Fault::Api | Fault::Loss => true,
            Fault::Carrier => !asks,
            _ => false,
        };
        // What is planned, and what the API does, costs nobody an owner; but who leaves may take the majority along, until he is back.
        let before = self.required.last().is_some_and(|it| it.bound.is_some());
        let turns = fault == Fault::Planned && if begins { !majority } else { majority };
        if planned && world.cut.is_empty() && !(turns && before == begins) {
            return;
        }
        let clean = running.iter().filter(|one| !clique.contains(one)).all(|one| {
            clique.iter().all(|other| {
                world.cut.contains(&(*one, *other)) && world.cut.contains(&(*other, *one))
            })
        });
        let gathering =
            self.required.iter().any(|it| it.bound.is_none() && world.now < it.at + GATHERING);
        let by_link = world.fencing == Fencing::Link && !running.is_empty();
        let required = match (majority, clean) {
            (false, _) if by_link => Some(BY_LINK),
            (false, _) => None,
            (true, _) if gathering || self.required.last().is_some_and(|it| it.bound.is_none()) => {
                Some(GATHERING)
            }
            (true, true) if begins && self.back.is_some_and(|at| world.now < at + BACK) => {
                Some(SHORTLY)
            }
            (true, true) => Some(CLEAN),
            (true, false) => Some(PARTIAL),
        };
        // By link an answer may take as long after any fault: those that come back ask the others before they speak.
        let required = required.map(|bound| if by_link { bound.max(BY_LINK) } else { bound });
        let running = running.into_iter().collect();
        self.required.push(Required { at: world.now, bound: required, running });
    }

    /// What was wrong.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let mut wrong = String::new();
        for interval in self.world.judge.all() {
            if let Some(text) = self.judge(&interval) {
                let _ = writeln!(wrong, "{}: {text}: {interval:?}", interval.address);
            }
        }
        for address in &self.world.addresses {
            let owners = self.world.owners(*address);
            if owners.len() != 1 {
                let _ = writeln!(wrong, "at the end {owners:?} answer for {address}");
            }
        }
        for index in 0..self.count {
            let members = self.world.members_of(index);
            if members != self.count {
                let _ =
                    writeln!(wrong, "at the end node {index} knows {members} of {}", self.count);
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(self.story() + &wrong)
    }

    /// All that happened, and each node as it is.
    pub(crate) fn story(&self) -> String {
        let mut text = format!("{} nodes\n", self.count);
        for (at, what) in &self.world.log {
            let _ = writeln!(text, "  {at:?} {what}");
        }
        for (index, host) in self.world.hosts.iter().enumerate() {
            let _ = writeln!(text, "  node {index}: {}", host.describe());
        }
        text
    }

    /// The nodes that answer for each address.
    pub(crate) fn owners(&self) -> Vec<Vec<usize>> {
        self.world.addresses.iter().map(|it| self.world.owners(*it)).collect()
    }

    /// Whether some heard one another one way only, or only some of the others, while it lasted or just before.
    fn is_partial(&self, interval: &Interval) -> bool {
        let ends = self.partial.iter().skip(1).map(|it| it.0).chain([Duration::MAX]);
        self.partial.iter().zip(ends).any(|((from, partial), end)| {
            *partial && *from < interval.to && end + TWO > interval.from
        })
    }

    fn judge(&self, interval: &Interval) -> Option<String> {
        let length = interval.to - interval.from;
        if interval.owners.len() > 1 {
            // Of two known, or none, both go on: the table says so.
            let by_link = self.world.fencing == Fencing::Link;
            let bound = match by_link {
                true => TWO_BY_LINK,
                false if self.is_partial(interval) => TWO_PARTIAL,
                false => TWO,
            };
            return (length > bound && (by_link || interval.known > 2))
                .then(|| format!("several answer for {length:?} ({bound:?})"));
        }
        for (place, required) in self.required.iter().enumerate() {
            let Required { at, bound: Some(bound), running } = required else { continue };
            if self.link_cuts == LinkCuts::Equal && running.is_disjoint(&interval.link) {
                continue;
            }
            // A part that hears the others, and is not heard by them, gives way to their announcements, again and again.
            let one_way = self.link_cuts == LinkCuts::Equal && self.is_partial(interval);
            let bound = if one_way { &GATHERING } else { bound };
            let end = self.required.get(place + 1).map_or(Duration::MAX, |next| next.at);
            let (from, to) = (interval.from.max(*at + *bound), interval.to.min(end));
            if from < to {
                let after = interval.to.min(end) - *at;
                return Some(format!("nobody answers {after:?} after the last fault ({bound:?})"));
            }
        }
        None
    }
}
