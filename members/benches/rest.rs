// SPDX-License-Identifier: Apache-2.0
//! What a member costs at rest: agents on a network without faults and a virtual clock, of which the time is taken that their
//! calls last, with the datagrams' bytes and seals. What the kernel does for a datagram is not in it. Prints a line for each size:
//! the members, the share of a core in per cent, datagrams and octets per second of each.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and reads the clock"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use members::heartbeat::wire::Message;
use members::quorum::Fencing;
use members::{
    Agent, AgentConfig, Command, Config, Detection, Envelope, Event, Input, Key, Moment, Output,
    Settings,
};

/// At rest nothing changes: so long it is measured.
const MEASURED: Duration = Duration::from_secs(20);

enum Arrival {
    Packet(usize, Vec<u8>),
    Beat(usize, Vec<u8>),
    Request(usize, u64, Vec<u8>),
    Response(u64, Vec<u8>),
    Wake,
}

struct Node {
    agent: Agent,
    woken: Option<Duration>,
}

struct Rack {
    nodes: Vec<Node>,
    start: Instant,
    now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    arrivals: BTreeMap<u64, Arrival>,
    count: u64,
    asked: BTreeMap<u64, (usize, u64)>,
    key: Key,
    envelope: Envelope,
    spent: Duration,
    datagrams: usize,
    octets: usize,
}

fn address(index: usize) -> SocketAddr {
    (Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(index).unwrap()), 7946).into()
}

fn index(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { unreachable!("all have IPv4") };
    usize::try_from(address.ip().to_bits() - 0x0a00_0001).unwrap()
}

impl Rack {
    fn new(count: usize) -> Self {
        let start = Instant::now();
        let key = Key::from_secret(b"a secret of sixteen octets and more");
        let envelope = Envelope::new("", Some(key.clone().into()), true, true).unwrap();
        let nodes = (0..count)
            .map(|number| {
                let ring = Config {
                    name: format!("node-{number}").into(),
                    address: address(number),
                    settings: Settings::lan(),
                    meta: b"ferrolb".to_vec(),
                    overhead: envelope.overhead(),
                    seed: number as u64,
                };
                let detection = Detection {
                    fencing: Fencing::Majority,
                    session: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1) | 1,
                    start_wait: Duration::from_secs(2),
                    alone: false,
                    speaks: |meta| meta == b"ferrolb",
                    ..Detection::off()
                };
                let moment = Moment { monotonic: start, boottime: Duration::ZERO };
                Node {
                    agent: Agent::new(AgentConfig { ring, detection }, moment).unwrap(),
                    woken: None,
                }
            })
            .collect();
        let mut rack = Self {
            nodes,
            start,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            count: 0,
            asked: BTreeMap::new(),
            key,
            envelope,
            spent: Duration::ZERO,
            datagrams: 0,
            octets: 0,
        };
        for number in 0..count {
            if number > 0 {
                let join = Input::Command(Command::Join(vec![address(0)]));
                let now = rack.moment();
                rack.nodes[number].agent.handle(now, join);
            }
            rack.settle(number);
        }
        rack
    }

    fn push(&mut self, after: Duration, to: usize, arrival: Arrival) {
        self.count += 1;
        self.queue.push(Reverse((self.now + after, self.count, to)));
        self.arrivals.insert(self.count, arrival);
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, number, to))) = self.queue.peek().copied()
            && at <= end
        {
            self.queue.pop();
            self.now = at;
            let Some(arrival) = self.arrivals.remove(&number) else { continue };
            self.take(to, arrival);
            self.settle(to);
        }
        self.now = end;
    }

    fn moment(&self) -> Moment {
        Moment { monotonic: self.start + self.now, boottime: self.now }
    }

    fn take(&mut self, to: usize, arrival: Arrival) {
        let now = self.moment();
        let began = Instant::now();
        let node = &mut self.nodes[to];
        match arrival {
            Arrival::Packet(from, mut octets) => {
                let octets = self.envelope.open_packet(&mut octets).unwrap();
                node.agent.handle(now, Input::Packet { from: address(from), octets });
            }
            Arrival::Beat(from, mut octets) => {
                let (nonce, sealed) = octets.split_first_chunk_mut::<{ Key::NONCE }>().unwrap();
                let length = self.key.open(*nonce, b"", sealed).unwrap();
                let message = Message::decode(&sealed[..length]).unwrap();
                node.agent.handle(now, Input::Heartbeat { from: address(from), message });
            }
            Arrival::Request(from, stream, octets) => {
                self.count += 1;
                self.asked.insert(self.count, (from, stream));
                node.agent.handle(now, Input::Request { stream: self.count, octets: &octets });
            }
            Arrival::Response(stream, octets) => {
                node.agent.handle(now, Input::Response { stream, result: Ok(&octets) });
            }
            Arrival::Wake => {
                node.woken = None;
                node.agent.handle(now, Input::Deadline { time_of_day: None });
            }
        }
        self.spent += began.elapsed();
    }

    fn settle(&mut self, from: usize) {
        let delay = Duration::from_micros(300);
        loop {
            let began = Instant::now();
            let output = self.nodes[from].agent.poll();
            self.spent += began.elapsed();
            let Some(output) = output else { break };
            match output {
                Output::Packet { to, octets } => {
                    let began = Instant::now();
                    let octets = self.envelope.seal_packet([7; 12], &octets);
                    self.spent += began.elapsed();
                    (self.datagrams, self.octets) =
                        (self.datagrams + 1, self.octets + octets.len());
                    self.push(delay, index(to), Arrival::Packet(from, octets));
                }
                Output::Heartbeat { to, message } => {
                    let began = Instant::now();
                    let mut body = message.encode();
                    self.key.seal([9; 12], b"", &mut body);
                    let octets = [&[9; 12], &body[..]].concat();
                    self.spent += began.elapsed();
                    (self.datagrams, self.octets) =
                        (self.datagrams + 1, self.octets + octets.len() + 3);
                    self.push(delay, index(to), Arrival::Beat(from, octets));
                }
                Output::Open { stream, to, .. } => {
                    let octets = self.nodes[from].agent.stream_message(stream).unwrap();
                    self.push(delay * 3, index(to), Arrival::Request(from, stream, octets));
                }
                Output::Answer { stream, octets } => {
                    let (to, stream) = self.asked.remove(&stream).unwrap();
                    self.push(delay, to, Arrival::Response(stream, octets));
                }
                Output::Event(Event::Standing(_)) => {
                    let now = self.moment();
                    self.nodes[from]
                        .agent
                        .handle(now, Input::Command(Command::Resume { by_link: false }));
                }
                Output::DeclaredDead { name, .. } => panic!("nobody is dead: {name}"),
                Output::Refuse { .. } | Output::Event(_) | Output::StoodStill(_) => {}
            }
        }
        let began = Instant::now();
        let node = &mut self.nodes[from];
        let due = node.agent.deadline();
        self.spent += began.elapsed();
        let due = due.saturating_duration_since(self.start).max(self.now);
        if node.woken.is_none_or(|woken| woken > due) {
            node.woken = Some(due);
            let after = due - self.now;
            self.push(after, from, Arrival::Wake);
        }
    }
}

fn main() {
    for count in [10, 100, 500] {
        let mut rack = Rack::new(count);
        // Until the gossip about who has joined has died away.
        rack.run(Duration::from_secs(40));
        (rack.spent, rack.datagrams, rack.octets) = (Duration::ZERO, 0, 0);
        rack.run(MEASURED);
        let each = |number: usize| number as f64 / count as f64 / MEASURED.as_secs_f64();
        println!(
            "{count} {:.3} {:.1} {:.0}",
            rack.spent.as_secs_f64() / MEASURED.as_secs_f64() / count as f64 * 100.0,
            each(rack.datagrams),
            each(rack.octets),
        );
    }
}
