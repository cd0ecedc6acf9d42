// SPDX-License-Identifier: Apache-2.0
//! The rules of the ring, for one member under a virtual clock. Whole rings are in tests/simulation.

mod claims;
mod exchanges;
mod probes;

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::DecodeError;
use crate::wire::message::{Accusation, Alive, IndirectPing, Ping, Source};
use crate::wire::push_pull::{self, NodeState};
use crate::wire::stream::StreamMessage;

const SECOND: Duration = Duration::from_secs(1);

struct One {
    ring: Ring,
    now: Instant,
}

/// A message that left, without borrowed parts.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    to: SocketAddr,
    kind: u8,
    node: String,
    sequence: u32,
    incarnation: u32,
}

fn address(last: u8) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, last), 7946).into()
}

fn alive<'a>(node: &'a str, last: u8, incarnation: u32, meta: &'a [u8]) -> Message<'a> {
    let (address, port) = (address(last).ip(), 7946);
    Message::Alive(Alive { incarnation, node, address, port, meta, versions: Some(VERSIONS) })
}

fn suspect<'a>(node: &'a str, incarnation: u32, from: &'a str) -> Message<'a> {
    Message::Suspect(Accusation { incarnation, node, from })
}

fn dead<'a>(node: &'a str, incarnation: u32, from: &'a str) -> Message<'a> {
    Message::Dead(Accusation { incarnation, node, from })
}

impl One {
    /// "us" at .1, with this number of others: "m2" at .2 and so on, all silent.
    fn new(others: u8) -> Self {
        Self::with(others, Settings { enable_compression: false, ..Settings::lan() })
    }

    fn with(others: u8, settings: Settings) -> Self {
        #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let now = Instant::now();
        let (name, meta) = ("us".into(), vec![1]);
        let config = Config { name, address: address(1), settings, meta, overhead: 0, seed: 7 };
        let mut one = Self { ring: Ring::new(config, now).unwrap(), now };
        for last in 2..2 + others {
            one.hear(&alive(&format!("m{last}"), last, 1, &[]));
        }
        one.events();
        one
    }

    fn hear(&mut self, message: &Message<'_>) {
        let octets = message.encode();
        self.ring.receive(self.now, address(9), &octets);
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.ring.poll()).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        let outputs = self.outputs().into_iter();
        outputs
            .filter_map(|it| if let Output::Event(event) = it { Some(event) } else { None })
            .collect()
    }

    /// The messages of the packets that left, in order.
    fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for output in self.outputs() {
            let Output::Packet { to, octets } = output else { continue };
            packet::decode(&octets, &mut |message| {
                let (kind, node, sequence, incarnation) = match &message {
                    Message::Ping(ping) => (0, ping.node, ping.sequence, 0),
                    Message::IndirectPing(ping) => (1, ping.node, ping.sequence, 0),
                    Message::Ack { sequence } => (2, "", *sequence, 0),
                    Message::Nack { sequence } => (11, "", *sequence, 0),
                    Message::Suspect(accusation) => (3, accusation.node, 0, accusation.incarnation),
                    Message::Alive(alive) => (4, alive.node, 0, alive.incarnation),
                    Message::Dead(accusation) => (5, accusation.node, 0, accusation.incarnation),
                    Message::User => (8, "", 0, 0),
                };
                sent.push(Sent { to, kind, node: node.to_owned(), sequence, incarnation });
            })
            .unwrap();
        }
        sent
    }

    /// Lets time pass in steps of the deadlines.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.ring.deadline().filter(|at| *at <= end) {
            self.now = at;
            self.ring.expire(at);
        }
        self.now = end;
    }

    fn state(&self, name: &str) -> (State, u32) {
        let member = self.ring.member(name).unwrap();
        (member.state, member.incarnation)
    }

    /// Lets time pass until a probe begins; returns its ping.
    fn next_probe(&mut self) -> Sent {
        loop {
            let at = self.ring.deadline().unwrap();
            self.now = at;
            self.ring.expire(at);
            if let Some(ping) = self.sent().into_iter().find(|sent| sent.kind == 0) {
                return ping;
            }
        }
    }
}
