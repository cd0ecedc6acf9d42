// SPDX-License-Identifier: Apache-2.0
//! Packets: rounds of gossip, and messages with gossip in the room that they leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::timers::Timer;
use super::{Departure, Event, Output, Ring, broadcasts};
use crate::State;
use crate::wire::compound;
use crate::wire::message::{Accusation, Message};
use crate::wire::packet::{self, CRC};

impl Ring {
    /// A round of gossip, to some members that are there, or died so recently that they may not know.
    pub(super) fn gossip(&mut self, now: Instant) {
        self.timers.set(Timer::Gossip, now + self.settings.gossip_interval);
        if self.broadcasts.is_empty() {
            return;
        }
        let remembered = self.settings.gossip_to_the_dead_time;
        let chosen = self.choose(self.settings.gossip_nodes, |record| match record.state {
            State::Alive | State::Suspect => true,
            State::Dead => {
                let lately = now.saturating_duration_since(record.changed) <= remembered;
                lately && record.may_listen()
            }
            State::Left => false,
        });
        for name in chosen {
            let Some(to) = self.records.get(&name).map(super::Record::to) else { continue };
            let mut messages = Vec::new();
            self.fill(&mut messages);
            if messages.is_empty() {
                break;
            }
            for messages in messages.chunks(compound::MESSAGES) {
                self.send(to, Some(&name), messages);
            }
        }
        self.look_whether_departed();
    }

    /// Sends a message, with gossip in the same packet if there is any. `name` is the receiver's, if it is known.
    pub(super) fn send_with_gossip(
        &mut self,
        to: SocketAddr,
        name: Option<&str>,
        message: Vec<u8>,
    ) {
        let mut messages = vec![message];
        self.fill(&mut messages);
        messages.truncate(compound::MESSAGES);
        self.send(to, name, &messages);
        self.look_whether_departed();
    }

    /// Sends messages as they are.
    pub(super) fn send(&mut self, to: SocketAddr, name: Option<&str>, messages: &[Vec<u8>]) {
        // Members with protocol version 5 check the checksum.
        let record = name.and_then(|name| self.records.get(name));
        let with_crc = record.is_some_and(|record| record.versions.maximum >= 5);
        let octets = packet::encode(messages, self.settings.enable_compression, with_crc);
        self.outputs.push_back(Output::Packet { to, octets });
    }

    /// Sends the state of a member to every other one, at once.
    pub(super) fn tell_everyone(&mut self, name: &str) {
        let others: Vec<SocketAddr> = self
            .records
            .values()
            .filter(|record| !record.is_gone() && *record.name != *self.name)
            .map(super::Record::to)
            .collect();
        for to in others {
            self.tell(to, name);
        }
    }

    /// Sends the state of a member to an address.
    pub(super) fn tell(&mut self, to: SocketAddr, name: &str) {
        let Some(record) = self.records.get(name) else { return };
        if matches!(record.state, State::Alive) {
            let message = Message::Alive(record.alive()).encode();
            return self.send(to, None, &[message]);
        }
        let from = match record.state {
            State::Left => Arc::clone(&record.name),
            State::Dead => Arc::clone(&self.name),
            State::Alive | State::Suspect => return,
        };
        let accusation = Accusation { incarnation: record.incarnation, node: name, from: &from };
        let message = Message::Dead(accusation).encode();
        self.send(to, None, &[message]);
    }

    /// Tells once when nothing more is to be said about this member's departure, or no other member is left.
    pub(super) fn look_whether_departed(&mut self) {
        if self.departure != Departure::Leaving {
            return;
        }
        let said = !self.broadcasts.contains(&self.name);
        let alone =
            || self.records.values().all(|record| record.is_gone() || self.is_us(&record.name));
        if said || alone() {
            self.departure = Departure::Gone;
            self.outputs.push_back(Output::Event(Event::Departed));
        }
    }

    /// Appends gossip to the messages of a packet as far as there is room.
    fn fill(&mut self, messages: &mut Vec<Vec<u8>>) {
        if self.broadcasts.is_empty() {
            return;
        }
        let used: usize = messages.iter().map(|message| message.len() + compound::EACH).sum();
        let used = used + compound::HEAD + CRC + self.overhead;
        let room = self.settings.udp_buffer_size.saturating_sub(used);
        let limit = broadcasts::limit(self.settings.retransmit_mult, self.order.len());
        self.broadcasts.take(room, compound::EACH, limit, messages);
    }
}
