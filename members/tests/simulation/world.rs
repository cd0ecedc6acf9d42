// SPDX-License-Identifier: Apache-2.0
//! A network of rings with a virtual clock: loss, delay, partitions, members that crash, pause or have a fast or slow clock. All
//! follows from the seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use members::{Config, Event, Output, Ring, Settings, State};

/// What is on its way, by the time of its arrival and in the order of its departure.
type Arrivals = BinaryHeap<Reverse<(Duration, u64, usize, Arrival)>>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    Packet {
        from: usize,
        octets: Vec<u8>,
    },
    Request {
        from: usize,
        stream: u64,
        octets: Vec<u8>,
    },
    Response {
        stream: u64,
        result: Result<Vec<u8>, String>,
    },
    /// Its deadline; looked up anew when it comes.
    Wake,
}

/// A member and its host.
pub(crate) struct Node {
    pub(crate) ring: Ring,
    pub(crate) up: bool,
    /// Until then it does nothing; what arrives waits, or is lost.
    paused_until: Option<Duration>,
    deaf: bool,
    waiting: Vec<Arrival>,
    /// Seconds on its clock in a million true ones, less a million.
    rate: i64,
    woken_at: Option<Duration>,
    pub(crate) events: Vec<(Duration, Event)>,
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Duration,
    start: Instant,
    settings: Settings,
    arrivals: Arrivals,
    departures: u64,
    random: u64,
    /// Packets lost of a thousand.
    pub(crate) loss: u64,
    /// The longest that a packet takes.
    pub(crate) delay: Duration,
    /// Those on one side; the others are on the other one.
    pub(crate) apart: BTreeSet<usize>,
    /// Requests whose answer is waited for: who asked, and under which number.
    asked: BTreeMap<u64, (usize, u64)>,
    pub(crate) packets: u64,
}

pub(crate) fn name(index: usize) -> String {
    format!("node-{index}")
}

fn address(index: usize) -> SocketAddr {
    let index = u32::try_from(index).unwrap();
    (Ipv4Addr::from_bits(0x0a00_0001 + index), 7946).into()
}

fn index(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { panic!("all have IPv4") };
    usize::try_from(address.ip().to_bits() - 0x0a00_0001).unwrap()
}

impl World {
    pub(crate) fn new(seed: u64, count: usize, settings: &Settings) -> Self {
        #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let start = Instant::now();
        let mut world = Self {
            nodes: Vec::new(),
            now: Duration::ZERO,
            start,
            settings: settings.clone(),
            arrivals: BinaryHeap::new(),
            departures: 0,
            random: seed,
            loss: 0,
            delay: Duration::from_millis(2),
            apart: BTreeSet::new(),
            asked: BTreeMap::new(),
            packets: 0,
        };
        for index in 0..count {
            let ring = world.ring(index);
            world.nodes.push(Node {
                ring,
                up: true,
                paused_until: None,
                deaf: false,
                waiting: Vec::new(),
                rate: 0,
                woken_at: None,
                events: Vec::new(),
            });
            world.after(index);
        }
        world
    }

    pub(crate) fn random(&mut self, bound: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn ring(&mut self, index: usize) -> Ring {
        let seed = self.random(u64::MAX);
        let config = Config {
            name: name(index).into(),
            address: address(index),
            settings: self.settings.clone(),
            meta: Vec::new(),
            overhead: 0,
            seed,
        };
        Ring::new(config, self.start + self.now).unwrap()
    }

    /// The time on a member's clock.
    fn clock(&self, index: usize, at: Duration) -> Instant {
        let rate =
            u64::try_from(1_000_000 + self.nodes.get(index).map_or(0, |node| node.rate)).unwrap();
        let nanoseconds = u128::from(rate) * at.as_nanos() / 1_000_000;
        self.start + Duration::from_nanos(u64::try_from(nanoseconds).unwrap())
    }

    /// The true time at which a member's clock shows this, at the earliest.
    fn true_time(&self, index: usize, at: Instant) -> Duration {
        let rate = u64::try_from(1_000_000 + self.nodes[index].rate).unwrap();
        let nanoseconds = at.saturating_duration_since(self.start).as_nanos();
        Duration::from_nanos(u64::try_from(nanoseconds * 1_000_000 / u128::from(rate)).unwrap() + 1)
    }

    pub(crate) fn set_rate(&mut self, index: usize, per_million: i64) {
        assert_eq!(self.now, Duration::ZERO, "clocks do not jump");
        self.nodes[index].rate = per_million;
        self.nodes[index].woken_at = None;
        self.after(index);
    }

    /// Lets a member act.
    pub(crate) fn with(&mut self, index: usize, act: impl FnOnce(&mut Ring, Instant)) {
        let now = self.clock(index, self.now);
        act(&mut self.nodes[index].ring, now);
        self.after(index);
    }

    pub(crate) fn join(&mut self, index: usize, other: usize) {
        self.with(index, |ring, now| ring.join(now, [address(other)]));
    }

    pub(crate) fn crash(&mut self, index: usize) {
        self.nodes[index].up = false;
    }

    /// A new life, which knows nothing of the old one.
    pub(crate) fn restart(&mut self, index: usize) {
        assert_eq!(self.nodes[index].rate, 0, "its clock would jump");
        let ring = self.ring(index);
        let node = &mut self.nodes[index];
        (node.ring, node.up, node.woken_at) = (ring, true, None);
        self.after(index);
    }

    /// Stops a member for a time, as a signal does, or if it is deaf as the suspension of its machine does.
    pub(crate) fn pause(&mut self, index: usize, time: Duration, deaf: bool) {
        self.nodes[index].deaf = deaf;
        let until = self.now + time;
        self.nodes[index].paused_until = Some(until);
        self.nodes[index].woken_at = Some(until);
        self.depart(until - self.now, index, Arrival::Wake);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Runs until the condition holds, and tells how long that took; `None` if it does not hold in time. It is looked at now and then.
    pub(crate) fn run_while_not(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        let mut look = start;
        while look < start + limit {
            look += Duration::from_millis(if self.nodes.len() > 100 { 1000 } else { 50 });
            self.run_until(look, |_| false);
            if condition(self) {
                return Some(self.now - start);
            }
        }
        None
    }

    fn run_until(&mut self, end: Duration, stop: impl Fn(&Self) -> bool) {
        while let Some(Reverse((at, ..))) = self.arrivals.peek()
            && *at <= end
            && !stop(self)
        {
            let Some(Reverse((at, _, index, arrival))) = self.arrivals.pop() else { return };
            self.now = at;
            self.arrive(index, arrival);
        }
        self.now = end;
    }

    fn arrive(&mut self, index: usize, arrival: Arrival) {
        let at = self.now;
        let node = &mut self.nodes[index];
        if !node.up {
            if let Arrival::Request { from, stream, .. } = arrival {
                self.fail(from, stream, "connection refused");
            }
            return;
        }
        if let Some(until) = node.paused_until {
            if at < until {
                if !node.deaf || arrival == Arrival::Wake {
                    node.waiting.push(arrival);
                }
                return;
            }
            // As the shell does it: what has come first, then the time.
            node.paused_until = None;
            let mut waiting = std::mem::take(&mut node.waiting);
            waiting.sort_by_key(|waited| *waited == Arrival::Wake);
            for waited in waiting {
                self.take(index, waited);
            }
        }
        self.take(index, arrival);
    }

    fn take(&mut self, index: usize, arrival: Arrival) {
        let now = self.clock(index, self.now);
        let ring = &mut self.nodes[index].ring;
        match arrival {
            Arrival::Packet { from, octets } => {
                ring.receive(now, address(from), &octets);
            }
            Arrival::Response { stream, result } => {
                let result = result.as_deref().map_err(String::as_str);
                ring.response(now, stream, result);
            }
            Arrival::Request { from, stream, octets } => {
                self.departures += 1;
                let number = self.departures;
                self.asked.insert(number, (from, stream));
                ring.request(now, number, &octets);
            }
            Arrival::Wake => {
                self.nodes[index].woken_at = None;
                let ring = &mut self.nodes[index].ring;
                if ring.deadline().is_some_and(|deadline| deadline <= now) {
                    ring.expire(now);
                }
            }
        }
        self.after(index);
    }

    /// Carries out what a member wants, and wakes it when it is due.
    fn after(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].ring.poll() {
            match output {
                Output::Packet { to, octets } => {
                    self.packets += 1;
                    let to = self::index(to);
                    if self.connected(index, to) && self.random(1000) >= self.loss {
                        let delay = self.some_delay();
                        self.depart(delay, to, Arrival::Packet { from: index, octets });
                    }
                }
                // A stream survives loss, and takes three ways until the message is there.
                Output::Open { stream, to, timeout } => {
                    let to = self::index(to);
                    let octets = self.nodes[index].ring.stream_message(stream).unwrap();
                    if self.connected(index, to) && self.nodes.get(to).is_some_and(|node| node.up) {
                        let delay = self.some_delay() * 3;
                        self.depart(delay, to, Arrival::Request { from: index, stream, octets });
                    } else {
                        let result = Err("no answer".to_owned());
                        self.depart(timeout, index, Arrival::Response { stream, result });
                    }
                }
                Output::Answer { stream, octets } => {
                    let Some((to, stream)) = self.asked.remove(&stream) else { continue };
                    if self.connected(index, to) {
                        let delay = self.some_delay();
                        self.depart(delay, to, Arrival::Response { stream, result: Ok(octets) });
                    } else {
                        self.fail(to, stream, "connection lost");
                    }
                }
                Output::Refuse { stream } => {
                    if let Some((to, stream)) = self.asked.remove(&stream) {
                        self.fail(to, stream, "closed");
                    }
                }
                Output::Event(event) => {
                    let at = self.now;
                    self.nodes[index].events.push((at, event));
                }
                Output::Heartbeat { .. } | Output::StoodStill(_) | Output::DeclaredDead { .. } => {
                    unreachable!("that is not the memberlist's")
                }
            }
        }
        if let Some(deadline) = self.nodes[index].ring.deadline() {
            let at = self.true_time(index, deadline).max(self.now);
            if self.nodes[index].woken_at.is_none_or(|woken| woken > at) {
                self.nodes[index].woken_at = Some(at);
                self.depart(at - self.now, index, Arrival::Wake);
            }
        }
    }

    fn fail(&mut self, to: usize, stream: u64, error: &str) {
        let delay = self.some_delay();
        self.depart(delay, to, Arrival::Response { stream, result: Err(error.to_owned()) });
    }

    fn some_delay(&mut self) -> Duration {
        let most = u64::try_from(self.delay.as_micros()).unwrap();
        Duration::from_micros(self.random(most) + 1)
    }

    fn depart(&mut self, after: Duration, to: usize, arrival: Arrival) {
        self.departures += 1;
        self.arrivals.push(Reverse((self.now + after, self.departures, to, arrival)));
    }

    fn connected(&self, one: usize, other: usize) -> bool {
        self.apart.contains(&one) == self.apart.contains(&other)
    }

    /// Whether all that are up and on the same side agree that exactly those are there.
    pub(crate) fn agree(&self) -> bool {
        let up = |index: &usize| self.nodes[*index].up;
        let all: Vec<usize> = (0..self.nodes.len()).filter(up).collect();
        all.iter().all(|index| {
            let expected = all.iter().filter(|other| self.connected(*index, **other));
            let expected: BTreeSet<SocketAddr> = expected.map(|other| address(*other)).collect();
            let members = self.nodes[*index].ring.members();
            let there =
                members.filter(|member| matches!(member.state, State::Alive | State::Suspect));
            there.map(|member| member.address).collect::<BTreeSet<_>>() == expected
        })
    }

    /// How many of those that are up hold this member for alive.
    pub(crate) fn believers(&self, index: usize) -> usize {
        let name = name(index);
        let up = self.nodes.iter().filter(|node| node.up);
        up.filter(|node| {
            node.ring
                .member(&name)
                .is_some_and(|it| matches!(it.state, State::Alive | State::Suspect))
        })
        .count()
    }

    /// Deaths that were told anywhere.
    pub(crate) fn deaths(&self) -> Vec<(Duration, usize, String)> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .flat_map(|(index, node)| {
                node.events.iter().filter_map(move |(at, event)| match event {
                    Event::Dead { member, .. } => Some((*at, index, member.name.to_string())),
                    _ => None,
                })
            })
            .collect()
    }

    pub(crate) fn forget_events(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.events.clear());
    }
}
