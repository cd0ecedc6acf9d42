// SPDX-License-Identifier: Apache-2.0
//! Keepers of several nodes that serve one address, with messages and kernels that take time. A connection is a value: a
//! packet of it has to reach the node where it began, whatever moves.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::buckets::BUCKETS;
use crate::history::{FIRST_TTL, Origin};
use crate::spread::Spread;

const MS: Duration = Duration::from_millis(1);
const LINGER: Duration = Duration::from_secs(600);

fn address() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn name(index: usize) -> Arc<str> {
    format!("n{index}").into()
}

#[derive(Clone, Debug)]
enum Arrival {
    Orders(usize, Vec<Order>),
    Ready(usize, Vec<Ready>),
    Applied(u64, Option<Arc<Spread>>),
    Claim(usize),
    /// The death of a node is noticed.
    Death,
    Expire,
}

struct Node {
    keeper: Keeper,
    kernel: Option<Arc<Spread>>,
    version: u64,
    announces: bool,
    alive: bool,
    drained: bool,
}

struct Net {
    start: Instant,
    now: Duration,
    nodes: Vec<Node>,
    waiting: BinaryHeap<Reverse<(Duration, u64)>>,
    arrivals: BTreeMap<u64, (usize, Arrival)>,
    sent: u64,
    chance: u64,
    owner: usize,
    /// The bucket of each connection, and the node where it began.
    connections: Vec<(u16, usize)>,
    /// The time of the last death, and the connections that were at the node of their bucket then.
    death: Duration,
    direct: BTreeSet<(u16, usize)>,
    /// The first connection that was not reached.
    broken: Option<String>,
}

impl Net {
    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn new(count: usize, seed: u64) -> Self {
        let start = Instant::now();
        let nodes = (0..count).map(|index| {
            let mut keeper = Keeper::new(name(index), LINGER);
            keeper
                .set_fellows(start, (0..count).filter(|other| *other != index).map(name).collect());
            Node { keeper, kernel: None, version: 0, announces: false, alive: true, drained: false }
        });
        let mut net = Self {
            start,
            now: Duration::ZERO,
            nodes: nodes.collect(),
            waiting: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            sent: 0,
            chance: seed | 1,
            owner: 0,
            connections: Vec::new(),
            death: Duration::ZERO,
            direct: BTreeSet::new(),
            broken: None,
        };
        net.gain(0);
        net.run(Duration::from_secs(5));
        net
    }

    fn below(&mut self, most: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % most
    }

    fn send(&mut self, to: usize, most: u64, arrival: Arrival) {
        let at = self.now + MS * u32::try_from(self.below(most)).unwrap();
        self.sent += 1;
        self.waiting.push(Reverse((at, self.sent)));
        self.arrivals.insert(self.sent, (to, arrival));
    }

    fn wish(&self) -> Wish {
        let weights = self.nodes.iter().enumerate().filter(|(_, node)| node.alive && !node.drained);
        let weights = weights.map(|(index, _)| (name(index), 1)).collect();
        let layer = Layer::spread(weights).unwrap_or_else(|| Layer::owned(name(self.owner)));
        Wish { address: address(), layer, hash: HashBy::Connection }
    }

    fn gain(&mut self, index: usize) {
        self.owner = index;
        let (now, wish) = (self.start + self.now, self.wish());
        if self.nodes[index].announces {
            self.nodes[index].keeper.insist(now, &[wish]);
            // Another node may have been about to take the address over.
            self.announce(index);
        } else if self.nodes[index].keeper.gain(now, &[wish]).is_empty() {
            self.announce(index);
        }
        self.settle(index);
    }

    fn announce(&mut self, index: usize) {
        self.nodes[index].announces = true;
        let now = self.start + self.now;
        self.nodes[index].keeper.claimed(now, &name(index), &[address()]);
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            self.send(other, 50, Arrival::Claim(index));
        }
    }

    fn settle(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].keeper.poll() {
            let others: Vec<usize> = (0..self.nodes.len()).filter(|it| *it != index).collect();
            match output {
                KeeperOutput::Tell(orders) => {
                    for to in others {
                        self.send(to, 50, Arrival::Orders(index, orders.clone()));
                    }
                }
                KeeperOutput::Answer { to, ready } => {
                    for to in others.into_iter().filter(|it| name(*it) == to) {
                        self.send(to, 50, Arrival::Ready(index, ready.clone()));
                    }
                }
                KeeperOutput::Apply(version) => {
                    let spread = {
                        let keeper = &self.nodes[index].keeper;
                        keeper.spreads(|node| !keeper.is_dead(node)).remove(&address())
                    };
                    self.send(index, 30, Arrival::Applied(version, spread));
                }
                KeeperOutput::Release(_) if self.owner == index => {
                    if !self.nodes[index].announces {
                        self.announce(index);
                    }
                }
                // A node that gives the address away wishes nothing any more.
                KeeperOutput::Settled(_) if self.nodes[index].announces && self.owner == index => {
                    let (now, wish) = (self.start + self.now, self.wish());
                    self.nodes[index].keeper.insist(now, &[wish]);
                }
                KeeperOutput::Release(_) | KeeperOutput::Settled(_) => {}
            }
        }
        if let Some(due) = self.nodes[index].keeper.deadline() {
            let wait = due.saturating_duration_since(self.start + self.now).as_millis();
            self.sent += 1;
            let at = self.now + Duration::from_millis(u64::try_from(wait).unwrap() + 1);
            self.waiting.push(Reverse((at, self.sent)));
            self.arrivals.insert(self.sent, (index, Arrival::Expire));
        }
    }

    fn arrive(&mut self, index: usize, arrival: Arrival) {
        let now = self.start + self.now;
        if !self.nodes[index].alive {
            return;
        }
        let node = &mut self.nodes[index];
        match arrival {
            Arrival::Orders(from, orders) => node.keeper.told(now, &name(from), orders),
            Arrival::Ready(from, ready) => node.keeper.ready(&name(from), &ready),
            Arrival::Applied(version, spread) => {
                // The kernel gets one table after the other.
                if node.version < version {
                    node.version = version;
                    node.kernel = spread;
                    node.keeper.applied(version);
                }
            }
            Arrival::Claim(from) => {
                node.announces &= self.owner == index;
                node.keeper.claimed(now, &name(from), &[address()]);
            }
            Arrival::Death => {
                let living = self.nodes.iter().enumerate().filter(|(_, node)| node.alive);
                let living: BTreeSet<_> =
                    living.map(|(it, _)| name(it)).filter(|it| *it != name(index)).collect();
                self.nodes[index].keeper.set_fellows(now, living);
                if self.owner == index || !self.nodes[self.owner].alive {
                    let next = self.nodes.iter().position(|node| node.alive && !node.drained);
                    let living = self.nodes.iter().position(|node| node.alive).unwrap();
                    if self.owner == index || next.unwrap_or(living) == index {
                        self.gain(index);
                    }
                }
            }
            Arrival::Expire => node.keeper.expire(now),
        }
        self.settle(index);
    }

    /// Goes on for this long. Connections begin meanwhile, and each is asked at every step.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, number))) = self.waiting.peek().copied() {
            if at > end {
                break;
            }
            self.waiting.pop();
            self.now = at;
            let (to, arrival) = self.arrivals.remove(&number).unwrap();
            self.arrive(to, arrival);
            if self.connections.len() < 400 && self.now < LINGER {
                self.open();
            }
            self.broken = self.broken.take().or_else(|| self.check());
        }
        self.now = end;
    }

    fn announcers(&self) -> Vec<usize> {
        let announces = |index: &usize| self.nodes[*index].announces && self.nodes[*index].alive;
        (0..self.nodes.len()).filter(announces).collect()
    }

    /// The node that a client's frame of the bucket is served by first, when it comes to `entry`.
    fn led(&self, entry: usize, bucket: u16) -> usize {
        let kernel = self.nodes[entry].kernel.as_ref();
        let node = kernel.and_then(|spread| spread.bucket(bucket));
        node.map_or(entry, |node| (0..self.nodes.len()).find(|it| name(*it) == *node).unwrap())
    }

    fn open(&mut self) {
        let bucket = u16::try_from(self.below(u64::from(BUCKETS))).unwrap();
        if let Some(entry) = self.announcers().first().copied() {
            let node = self.led(entry, bucket);
            if self.nodes[node].alive {
                self.connections.push((bucket, node));
            }
        }
    }

    /// The nodes that a packet of a connection visits which comes to `entry`.
    fn walk(&self, entry: usize, (bucket, knows): (u16, usize)) -> Vec<usize> {
        let mut own = self.led(entry, bucket);
        let mut visited = if own == entry { vec![entry] } else { vec![entry, own] };
        let mut from: Option<Arc<str>> = None;
        let mut ttl = FIRST_TTL;
        while own != knows && ttl > 1 && self.nodes[own].alive {
            let origin = from.as_deref().map_or(Origin::Client, Origin::Fellow);
            let kernel = self.nodes[own].kernel.as_ref();
            let Some(next) = kernel.and_then(|kernel| kernel.step(Some(bucket), origin)) else {
                break;
            };
            ttl -= 1;
            from = Some(name(own));
            own = (0..self.nodes.len()).find(|it| name(*it) == *next).unwrap();
            visited.push(own);
        }
        visited
    }

    /// Every connection of a living node is reached. After a death this holds at once for those that are at the node of their
    /// bucket, and for those that are led on when all tables have followed.
    fn check(&self) -> Option<String> {
        let is_dying = self.now < self.death + MS * 600;
        for connection in &self.connections {
            let (bucket, knows) = *connection;
            for entry in self.announcers() {
                let visited = self.walk(entry, *connection);
                let excused = is_dying && !self.direct.contains(connection);
                let reached = visited.last() == Some(&knows);
                if !reached && !excused && self.nodes[knows].alive {
                    let now = self.now;
                    return Some(format!(
                        "at {now:?} bucket {bucket} of node {knows} came by {visited:?}"
                    ));
                }
            }
        }
        None
    }

    fn kill(&mut self, index: usize) {
        let is_direct = |(bucket, knows): &&(u16, usize)| self.led(self.owner, *bucket) == *knows;
        self.direct = self.connections.iter().filter(is_direct).copied().collect();
        self.death = self.now;
        self.nodes[index].alive = false;
        self.nodes[index].announces = false;
        for other in 0..self.nodes.len() {
            self.send(other, 300, Arrival::Death);
        }
    }

    fn living(&self) -> usize {
        self.nodes.iter().filter(|node| node.alive).count()
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Drain(usize),
    Move(usize),
    Kill(usize),
}

fn play(count: usize, seed: u64, events: Vec<(Event, u64)>) -> Net {
    let mut net = Net::new(count, seed);
    for (event, pause) in events {
        match event {
            Event::Drain(index) if net.nodes[index].alive => {
                net.nodes[index].drained = !net.nodes[index].drained;
                let stays = |index: &usize| net.nodes[*index].alive && !net.nodes[*index].drained;
                let owner = Some(net.owner).filter(stays).or((0..count).find(stays));
                let owner = owner.unwrap_or(net.owner);
                net.gain(owner);
            }
            Event::Move(index) if net.nodes[index].alive && !net.nodes[index].drained => {
                net.gain(index);
            }
            Event::Kill(index) if net.nodes[index].alive && net.living() > 2 => {
                // A death within this time of a move may break connections of buckets that moved.
                net.run(SETTLE_TIME + SETTLE_TIME);
                net.kill(index);
                net.run(MS * 600);
            }
            _ => {}
        }
        net.run(MS * u32::try_from(pause).unwrap());
    }
    net.run(Duration::from_secs(5));
    net
}

/// A history of up to nine changes, 0.7 to 5 s apart.
fn history(seed: u64) -> Net {
    let mut chance = crate::hash::mix(seed + 1) | 1;
    let mut below = |most: u64| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        chance % most
    };
    let count = 2 + usize::try_from(below(4)).unwrap();
    let events = (0..1 + below(9)).map(|_| {
        let node = usize::try_from(below(5)).unwrap() % count;
        let event = match below(7) {
            0..4 => Event::Drain(node),
            4..6 => Event::Move(node),
            _ => Event::Kill(node),
        };
        (event, 700 + below(4_300))
    });
    let events = events.collect();
    play(count, seed, events)
}

/// `FERROLB_SEEDS` plays more of them: 4,000 have been played.
#[test]
fn every_connection_reaches_its_node() {
    let number = std::env::var("FERROLB_SEEDS").map_or(150, |number| number.parse().unwrap());
    let mut broken = Vec::new();
    for seed in 0..number {
        let net = history(seed);
        assert_eq!(net.announcers(), [net.owner], "seed {seed}");
        broken.extend(net.broken.map(|why| format!("seed {seed}: {why}")));
    }
    assert!(broken.is_empty(), "{} of {number}: {broken:#?}", broken.len());
}

#[test]
fn the_buckets_of_a_dead_node_are_served_at_once_and_then_given_to_the_others() {
    let mut net = Net::new(3, 7);
    let led = |net: &Net, to: usize| {
        let kernel = net.nodes[0].kernel.clone().unwrap();
        (0..BUCKETS).filter(|bucket| kernel.bucket(*bucket) == Some(&name(to))).count()
    };
    assert!(led(&net, 2).abs_diff(341) <= 1);
    net.kill(2);
    net.arrive(0, Arrival::Death);
    // The next table of the kernel does not name the dead node, although node 1 has not answered yet.
    net.run(MS * 32);
    assert_eq!(led(&net, 2), 0);
    net.run(MS * 200);
    assert_eq!(led(&net, 1), 512);
}

#[test]
fn an_address_that_one_node_serves_again_is_not_spread_any_more() {
    let mut net = Net::new(2, 5);
    assert!(net.nodes[1].keeper.history(address()).is_none());
    net.nodes[1].drained = true;
    net.gain(0);
    net.run(Duration::from_secs(5));
    // Those of node 1 are not led there for longer.
    net.connections.clear();
    net.run(LINGER + Duration::from_secs(5));
    for node in &net.nodes {
        assert_eq!(node.keeper.history(address()).unwrap().owner(), Some(&name(0)));
    }
    assert!(net.nodes[0].kernel.is_none());
}
