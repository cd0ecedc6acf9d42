// SPDX-License-Identifier: Apache-2.0
//! Probes (SWIM section 3.1, Lifeguard section IV): in each interval one member is pinged, all in turn. If it does not answer in time, others
//! are asked to ping it, and it is pinged over TCP; if nobody has heard of it at the end, it is suspected. The other sides are here too:
//! answers to pings, and pings for others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Ring;
use super::exchange::Purpose;
use super::timers::Timer;
use crate::State;
use crate::wire::message::{Accusation, IndirectPing, Message, Ping, Source};
use crate::wire::stream;

/// The number of members that this one pings for others at the same time, at most.
const RELAYS: usize = 1024;

/// The probe that is going on.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) sequence: u32,
    pub(super) name: Arc<str>,
    to: SocketAddr,
    /// The incarnation at the beginning of the probe; later claims are not affected.
    incarnation: u32,
    end: Instant,
    /// True once others have been asked.
    indirect: bool,
    /// The number of helpers that will tell if they got no answer either, and the number of those that have told.
    nacks_expected: u32,
    nacks: u32,
    /// True if the member answered over TCP.
    pub(super) contacted: bool,
}

/// A ping for another member.
#[derive(Debug)]
pub(super) struct Relay {
    origin: SocketAddr,
    origin_name: Arc<str>,
    origin_sequence: u32,
    nack: bool,
}

impl Ring {
    /// A probe is due.
    pub(super) fn probe_next(&mut self, now: Instant) {
        self.timers.set(Timer::Probe, now + self.settings.probe_interval);
        if self.probe.is_some() {
            // One probe at a time; the next begins when this one ends.
            self.probe_owed = true;
            return;
        }
        self.probe_owed = false;
        if let Some(name) = self.next_in_turn(now) {
            self.probe_member(now, &name);
        }
    }

    /// The next member in the order that is there. After the last one the long dead are forgotten and the order is shuffled.
    fn next_in_turn(&mut self, now: Instant) -> Option<Arc<str>> {
        let mut seen = 0;
        while seen < self.order.len() {
            seen += 1;
            match self.order.get(self.next_probed) {
                None => {
                    self.forget(now);
                    self.next_probed = 0;
                }
                Some(name) => {
                    self.next_probed += 1;
                    let there = self.records.get(name).is_some_and(|record| !record.is_gone());
                    if there && !self.is_us(name) {
                        return Some(Arc::clone(name));
                    }
                }
            }
        }
        None
    }

    fn forget(&mut self, now: Instant) {
        let remembered = self.settings.gossip_to_the_dead_time;
        let us = Arc::clone(&self.name);
        self.records.retain(|name, record| {
            let recent = now.saturating_duration_since(record.changed) <= remembered;
            *name == us || !record.is_gone() || recent
        });
        self.order.retain(|name| self.records.contains_key(name));
        self.random.shuffle(&mut self.order);
    }

    fn probe_member(&mut self, now: Instant, name: &str) {
        let sequence = self.next_sequence();
        let Some(record) = self.records.get(name) else { return };
        let (to, state, incarnation) = (record.to(), record.state, record.incarnation);
        let end = now + self.awareness.scale(self.settings.probe_interval);
        self.probe = Some(Probe {
            sequence,
            name: Arc::clone(&record.name),
            to,
            incarnation,
            end,
            indirect: false,
            nacks_expected: 0,
            nacks: 0,
            contacted: false,
        });
        self.timers.set(Timer::ProbeTimeout, now + self.settings.probe_timeout);
        self.timers.set(Timer::ProbeEnd, end);
        let us = Arc::clone(&self.name);
        let ping = Ping { sequence, node: name, source: self.source(&us) };
        let ping = Message::Ping(ping).encode();
        if state == State::Alive {
            self.send_with_gossip(to, Some(name), ping);
        } else {
            // The member may refute at once.
            let suspect = Message::Suspect(Accusation { incarnation, node: name, from: &us });
            self.send(to, Some(name), &[ping, suspect.encode()]);
        }
    }

    /// The probed member has not answered, or cannot be reached.
    pub(super) fn probe_indirectly(&mut self, now: Instant) {
        self.timers.cancel(&Timer::ProbeTimeout);
        let Some(probe) = self.probe.as_mut().filter(|probe| !probe.indirect) else { return };
        probe.indirect = true;
        let (sequence, name, to, end) =
            (probe.sequence, Arc::clone(&probe.name), probe.to, probe.end);
        let Some(record) = self.records.get(&name) else { return };
        let (target, port, tcp) = (record.address, record.port, record.versions.maximum >= 3);
        let us = Arc::clone(&self.name);
        let helpers = self.choose(self.settings.indirect_checks, |record| {
            record.state == State::Alive && *record.name != *name
        });
        let mut nacks_expected = 0;
        for helper in helpers {
            let Some(record) = self.records.get(&helper) else { continue };
            let to = record.to();
            // Members with protocol version 4 tell if they got no answer.
            let nack = record.versions.maximum >= 4;
            nacks_expected += u32::from(nack);
            let source = self.source(&us);
            let ping = IndirectPing { sequence, target, port, node: &name, nack, source };
            self.send_with_gossip(to, Some(&helper), Message::IndirectPing(ping).encode());
        }
        if let Some(probe) = &mut self.probe {
            probe.nacks_expected = nacks_expected;
        }
        if tcp && !self.settings.disable_tcp_pings {
            let ping = Ping { sequence, node: &name, source: self.source(&us) };
            let octets =
                stream::encode(Message::Ping(ping).encode(), self.settings.enable_compression);
            let timeout = end.saturating_duration_since(now);
            self.open(Purpose::Ping { sequence, octets }, to, timeout);
        }
    }

    /// The end of the probe's time.
    pub(super) fn probe_ended(&mut self, now: Instant) {
        if self.probe.as_ref().is_some_and(|probe| probe.contacted) {
            self.probe_succeeded(now);
            return;
        }
        let Some(probe) = self.probe.take() else { return };
        self.timers.cancel(&Timer::ProbeTimeout);
        // A member that gets no answer from anyone is to blame itself.
        self.awareness.worse(match probe.nacks_expected {
            0 => 1,
            expected => expected.saturating_sub(probe.nacks),
        });
        let us = Arc::clone(&self.name);
        let Probe { incarnation, name, .. } = probe;
        self.suspect(now, &Accusation { incarnation, node: &name, from: &us });
        self.probe_done(now);
    }

    pub(super) fn probe_succeeded(&mut self, now: Instant) {
        if let Some(probe) = self.probe.take() {
            if let Some(record) = self.records.get_mut(&probe.name) {
                record.reached = true;
            }
            self.timers.cancel(&Timer::ProbeTimeout);
            self.timers.cancel(&Timer::ProbeEnd);
            self.awareness.better();
            self.probe_done(now);
        }
    }

    fn probe_done(&mut self, now: Instant) {
        if self.probe_owed {
            self.probe_owed = false;
            if let Some(name) = self.next_in_turn(now) {
                self.probe_member(now, &name);
            }
        }
    }

    /// A packet to this address could not be sent, or (`port_closed`) the host says that nobody listens there: helpers are asked at once.
    pub fn unreachable(&mut self, now: Instant, to: SocketAddr, port_closed: bool) {
        if port_closed {
            for record in self.records.values_mut().filter(|record| record.to() == to) {
                record.closed = Some(now);
            }
        }
        if self.probe.as_ref().is_some_and(|probe| probe.to == to) {
            self.probe_indirectly(now);
        }
    }

    /// An answer to a ping of this member, which may be for another one.
    pub(super) fn acknowledged(&mut self, now: Instant, sequence: u32) {
        if self.probe.as_ref().is_some_and(|probe| probe.sequence == sequence) {
            self.probe_succeeded(now);
        } else if let Some(relay) = self.relays.remove(&sequence) {
            self.timers.cancel(&Timer::Relay(sequence));
            let ack = Message::Ack { sequence: relay.origin_sequence };
            self.send_with_gossip(relay.origin, Some(&relay.origin_name), ack.encode());
        }
    }

    /// A helper got no answer from the probed member.
    pub(super) fn refused(&mut self, sequence: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.sequence == sequence) {
            probe.nacks = probe.nacks.saturating_add(1).min(probe.nacks_expected);
        }
    }

    /// A ping, perhaps for a member that was at this address before.
    pub(super) fn pinged(&mut self, from: SocketAddr, ping: &Ping<'_>) {
        if !ping.node.is_empty() && !self.is_us(ping.node) {
            return;
        }
        let to = ping.source.address.unwrap_or(from);
        let ack = Message::Ack { sequence: ping.sequence };
        self.send_with_gossip(canonical(to), Some(ping.source.node), ack.encode());
    }

    /// A request to ping another member.
    pub(super) fn pinged_for(&mut self, now: Instant, from: SocketAddr, ping: &IndirectPing<'_>) {
        if self.relays.len() >= RELAYS {
            return;
        }
        let sequence = self.next_sequence();
        let relay = Relay {
            origin: canonical(ping.source.address.unwrap_or(from)),
            origin_name: ping.source.node.into(),
            origin_sequence: ping.sequence,
            nack: ping.nack,
        };
        self.relays.insert(sequence, relay);
        self.timers.set(Timer::Relay(sequence), now + self.settings.probe_timeout);
        // Protocol version 1 has one port for all members.
        let port = if ping.port == 0 { self.address.port() } else { ping.port };
        let us = Arc::clone(&self.name);
        let ours = Ping { sequence, node: ping.node, source: self.source(&us) };
        let to = canonical(SocketAddr::new(ping.target, port));
        self.send_with_gossip(to, Some(ping.node), Message::Ping(ours).encode());
    }

    /// A member that was pinged for another one has not answered.
    pub(super) fn relay_ended(&mut self, sequence: u32) {
        if let Some(relay) = self.relays.remove(&sequence).filter(|relay| relay.nack) {
            let nack = Message::Nack { sequence: relay.origin_sequence };
            self.send_with_gossip(relay.origin, Some(&relay.origin_name), nack.encode());
        }
    }

    fn source<'a>(&self, name: &'a str) -> Source<'a> {
        Source { address: Some(self.address), node: name }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
