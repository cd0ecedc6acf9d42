// SPDX-License-Identifier: Apache-2.0
//! A field of detectors on a simulated network: loss, delay, cuts, standstills. What one finds dead is told to all that it reaches, as the
//! memberlist would.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use members::heartbeat::wire::Message;
use members::heartbeat::{Cause, Detector, Options, Output};

/// SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn hits(&mut self, probability: f64) -> bool {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 <= probability && probability > 0.0
    }
}

enum Event {
    Wake(usize, u64),
    Arrive(usize, SocketAddr, Message),
    Closed(usize, SocketAddr),
    Death(usize, usize),
}

struct Pending(Instant, u64, Event);

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub(crate) struct Node {
    pub(crate) detector: Detector,
    pub(crate) dead: BTreeSet<usize>,
    /// Nothing runs on it before this.
    still_until: Option<Instant>,
    /// Its process is gone, its kernel is not.
    pub(crate) killed: bool,
    wake: u64,
    pub(crate) notices: Vec<(Arc<str>, Vec<u8>)>,
}

/// Who found whom dead, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) at: Instant,
    pub(crate) by: usize,
    pub(crate) of: usize,
    pub(crate) cause: Cause,
}

pub(crate) struct Field {
    pub(crate) now: Instant,
    pub(crate) begin: Instant,
    pub(crate) nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<Pending>>,
    count: u64,
    chance: Chance,
    pub(crate) loss: f64,
    /// How many port-unreachable messages are still sent.
    pub(crate) unreachable: u32,
    /// Pairs (from, to) that nothing passes.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) sent: u64,
    /// Whether deaths are told to the others.
    pub(crate) tell: bool,
}

fn address(node: usize) -> SocketAddr {
    ([10, 0, (node >> 8) as u8, node as u8], 7946).into()
}

fn number(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => {
            usize::from(v4.ip().octets()[2]) << 8 | usize::from(v4.ip().octets()[3])
        }
        SocketAddr::V6(_) => unreachable!(),
    }
}

pub(crate) fn name(node: usize) -> Arc<str> {
    format!("node-{node}").into()
}

impl Field {
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the beginning of simulated time")]
        let begin = Instant::now();
        let mut chance = Chance(seed);
        let nodes = (0..count)
            .map(|node| Node {
                detector: Detector::new(name(node), Options::default(), chance.next() | 1, begin),
                dead: BTreeSet::new(),
                still_until: None,
                killed: false,
                wake: 0,
                notices: Vec::new(),
            })
            .collect();
        let mut field = Self {
            now: begin,
            begin,
            nodes,
            queue: BinaryHeap::new(),
            count: 0,
            chance,
            loss: 0.0,
            unreachable: u32::MAX,
            cut: BTreeSet::new(),
            verdicts: Vec::new(),
            sent: 0,
            tell: true,
        };
        for node in 0..count {
            field.set_peers(node);
            field.settle(node);
        }
        field
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.queue.push(Reverse(Pending(at, self.count, event)));
    }

    fn set_peers(&mut self, node: usize) {
        let peers: Vec<_> = (0..self.nodes.len())
            .filter(|other| !self.nodes[node].dead.contains(other))
            .map(|other| (name(other), address(other)))
            .collect();
        self.nodes[node].detector.set_peers(self.now, peers);
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(100 + self.chance.below(900))
    }

    fn settle(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].detector.poll() {
            match output {
                Output::Send { to, message } => {
                    self.sent += 1;
                    let receiver = number(to);
                    let lost = self.chance.hits(self.loss);
                    let at = self.now + self.delay();
                    if !lost && !self.cut.contains(&(node, receiver)) {
                        self.push(at, Event::Arrive(receiver, address(node), message));
                    }
                }
                Output::Dead { name: of, cause } => {
                    let of: usize = of.strip_prefix("node-").unwrap().parse().unwrap();
                    self.verdicts.push(Verdict { at: self.now, by: node, of, cause });
                    if !self.tell {
                        continue;
                    }
                    self.bury(node, of);
                    for other in 0..self.nodes.len() {
                        if other != node && other != of && !self.cut.contains(&(node, other)) {
                            let at = self.now + self.delay();
                            self.push(at, Event::Death(other, of));
                        }
                    }
                }
                Output::Notice { from, bytes } => self.nodes[node].notices.push((from, bytes)),
                Output::Back { .. } | Output::Forgotten | Output::Marked { .. } => {}
            }
        }
        self.nodes[node].wake += 1;
        let at = self.nodes[node].detector.deadline().max(self.now);
        self.push(at, Event::Wake(node, self.nodes[node].wake));
    }

    fn bury(&mut self, node: usize, of: usize) {
        if self.nodes[node].dead.insert(of) {
            self.set_peers(node);
        }
    }

    /// Nothing runs on the node for so long; what arrives meanwhile waits.
    pub(crate) fn freeze(&mut self, node: usize, time: Duration) {
        self.nodes[node].still_until = Some(self.now + time);
    }

    /// Everything between the two groups is lost.
    pub(crate) fn part(&mut self, one: &[usize], other: &[usize]) {
        for a in one {
            for b in other {
                self.cut.insert((*a, *b));
                self.cut.insert((*b, *a));
            }
        }
    }

    pub(crate) fn isolate(&mut self, node: usize) {
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != node).collect();
        self.part(&[node], &others);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Runs until the condition holds; false if the end comes first.
    pub(crate) fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            match self.queue.peek() {
                Some(Reverse(next)) if next.0 <= end => {}
                _ => {
                    self.now = end;
                    return false;
                }
            }
            let Some(Reverse(Pending(at, _, event))) = self.queue.pop() else { return false };
            self.now = self.now.max(at);
            let node = match &event {
                Event::Wake(node, _)
                | Event::Arrive(node, ..)
                | Event::Closed(node, _)
                | Event::Death(node, _) => *node,
            };
            if let Some(until) = self.nodes[node].still_until {
                if self.now < until {
                    self.push(until, event);
                    continue;
                }
                self.nodes[node].still_until = None;
            }
            match event {
                Event::Wake(node, wake) => {
                    if self.nodes[node].killed || self.nodes[node].wake != wake {
                        continue;
                    }
                    self.nodes[node].detector.tick(self.now);
                }
                Event::Arrive(node, from, message) => {
                    if self.nodes[node].killed {
                        let at = self.now + self.delay();
                        let sender = number(from);
                        if !self.cut.contains(&(node, sender)) && self.unreachable > 0 {
                            self.unreachable -= 1;
                            self.push(at, Event::Closed(sender, address(node)));
                        }
                        continue;
                    }
                    self.nodes[node].detector.handle(self.now, from, message);
                }
                Event::Closed(node, address) => {
                    self.nodes[node].detector.port_closed(self.now, address)
                }
                Event::Death(node, of) => {
                    self.bury(node, of);
                    self.nodes[node].detector.news_of_death(self.now);
                }
            }
            self.settle(node);
        }
    }

    /// With how many this node knows itself, itself included.
    pub(crate) fn present(&self, node: usize) -> usize {
        1 + (0..self.nodes.len())
            .filter(|other| *other != node && !self.nodes[node].dead.contains(other))
            .filter(|other| self.nodes[node].detector.is_confirmed(self.now, &name(*other)))
            .count()
    }

    pub(crate) fn verdicts_of(&self, of: usize) -> BTreeMap<usize, Duration> {
        let of = self.verdicts.iter().filter(|verdict| verdict.of == of);
        of.map(|verdict| (verdict.by, verdict.at - self.begin)).collect()
    }
}
