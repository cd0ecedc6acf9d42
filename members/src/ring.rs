// SPDX-License-Identifier: Apache-2.0
//! The ring as one member sees it: SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips, Currey 2017), with the rules and the
//! timing of HashiCorp's memberlist 0.5. A synchronous value without sockets and clock. The ring has 4,096 members at most, of which the ones
//! that nobody has reached make room for others, and everything else that it keeps is bounded by their number.
//!
//! Additions to the library are only those that do not look strange on the wire: a certain death is told to every member at once
//! ([`Ring::declare_dead`]), and so is leaving; other signs of life count ([`Ring::vouch`]); and after a stall of this member nobody is
//! suspected for answers that it may have missed.

mod awareness;
mod broadcasts;
mod claims;
mod exchange;
mod gossip;
mod joins;
mod probe;
mod record;
mod suspicion;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{Event, Member, Output};
use crate::random::Random;
use crate::wire::message::Message;
use crate::wire::packet;
use crate::{META, Settings, State, Versions};
use awareness::Awareness;
use broadcasts::Broadcasts;
use record::Record;
use timers::{Timer, Timers};

/// The number of members that are kept, at most.
pub const MEMBERS: usize = 4096;
/// The least time between two messages with changed metadata.
const META_INTERVAL: Duration = Duration::from_secs(1);
/// The versions that MetalLB's speakers tell: they understand 1 to 5 and use 2; there is no protocol above.
const VERSIONS: Versions = Versions {
    minimum: 1,
    maximum: 5,
    current: 2,
    delegate_minimum: 0,
    delegate_maximum: 0,
    delegate_current: 0,
};

/// The identity and the behaviour of this member.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member's name, which no other member has; 255 octets at most.
    pub name: Arc<str>,
    /// The address at which the others reach this member, for packets and streams.
    pub address: SocketAddr,
    /// The times and numbers of the memberlist.
    pub settings: Settings,
    /// The metadata of this member; 512 octets at most.
    pub meta: Vec<u8>,
    /// Octets that the envelope adds to each packet: [`Envelope::overhead`](crate::Envelope::overhead).
    pub overhead: usize,
    /// The seed for the choice of members and the spread of times.
    pub seed: u64,
}

/// The reason why the ring cannot take its configuration or metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The name is empty or too long.
    #[error("a member's name has 1 to 255 octets")]
    Name,
    /// The metadata is too long.
    #[error("meta data has 512 octets at most")]
    Meta,
}

/// The ring.
#[derive(Debug)]
pub struct Ring {
    name: Arc<str>,
    address: SocketAddr,
    settings: Settings,
    overhead: usize,
    random: Random,
    records: BTreeMap<Arc<str>, Record>,
    /// All names, in the order in which they are probed.
    order: Vec<Arc<str>>,
    next_probed: usize,
    /// The number of this member's last message about itself.
    incarnation: u32,
    sequence: u32,
    meta: Arc<[u8]>,
    meta_told: Option<Instant>,
    awareness: Awareness,
    broadcasts: Broadcasts,
    timers: Timers,
    probe: Option<probe::Probe>,
    probe_owed: bool,
    relays: BTreeMap<u32, probe::Relay>,
    exchanges: BTreeMap<u64, exchange::Purpose>,
    next_stream: u64,
    joins: joins::Joins,
    departure: Departure,
    outputs: VecDeque<Output>,
    discarded: u64,
}

/// The progress of this member's departure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Departure {
    Staying,
    /// The message that this member leaves is being gossiped.
    Leaving,
    Gone,
}

impl Ring {
    /// A ring of one.
    pub fn new(config: Config, now: Instant) -> Result<Self, ConfigError> {
        let Config { name, address, settings, meta, overhead, seed } = config;
        if name.is_empty() || name.len() > crate::wire::NAME {
            return Err(ConfigError::Name);
        }
        if meta.len() > META {
            return Err(ConfigError::Meta);
        }
        let mut ring = Self {
            name,
            address,
            awareness: Awareness::new(settings.awareness_max_multiplier),
            settings,
            overhead,
            random: Random::new(seed),
            records: BTreeMap::new(),
            order: Vec::new(),
            next_probed: 0,
            incarnation: 0,
            sequence: 0,
            meta: meta.into(),
            meta_told: None,
            broadcasts: Broadcasts::default(),
            timers: Timers::default(),
            probe: None,
            probe_owed: false,
            relays: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            next_stream: 0,
            joins: joins::Joins::new(seed),
            departure: Departure::Staying,
            outputs: VecDeque::new(),
            discarded: 0,
        };
        ring.sequence = ring.random.up_to(u32::MAX);
        ring.appear(now);
        ring.start(now);
        Ok(ring)
    }

    /// The next output to carry out.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The time at which [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// All members by name, this one and the dead ones that are still remembered included.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.records.values().map(Record::member)
    }

    /// A member.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Member> {
        self.records.get(name).map(Record::member)
    }

    /// Zero if this member does well; the higher, the more answers it has missed.
    #[must_use]
    pub const fn health_score(&self) -> u32 {
        self.awareness.score()
    }

    /// The number of packets and messages that could not be read.
    #[must_use]
    pub const fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Tells the others new metadata: at once, or a second after the last message, with the newest metadata at that time.
    pub fn set_meta(&mut self, now: Instant, meta: &[u8]) -> Result<(), ConfigError> {
        if meta.len() > META {
            return Err(ConfigError::Meta);
        }
        if *self.meta != *meta {
            self.meta = meta.into();
            let due = self.meta_due(now);
            self.timers.set(Timer::Meta, due);
            if due <= now {
                self.tell_meta(now);
            }
        }
        Ok(())
    }

    /// Exchanges states with the members at these addresses, in random order, after the addresses of earlier calls; ends a departure. Each
    /// address is answered by [`Event::Contacted`].
    pub fn join(&mut self, now: Instant, addresses: impl IntoIterator<Item = SocketAddr>) {
        if self.departure != Departure::Staying {
            self.departure = Departure::Staying;
            self.appear(now);
        }
        let own = self.address;
        let others = addresses.into_iter().filter(|address| *address != own);
        self.joins.add(others);
        self.contact();
    }

    /// Tells every member that this one leaves; [`Event::Departed`] follows when that is done, which takes a few rounds of gossip. Until then
    /// the ring must go on being served.
    pub fn leave(&mut self, now: Instant) {
        match self.departure {
            Departure::Staying => {}
            Departure::Leaving => return,
            Departure::Gone => {
                self.outputs.push_back(Output::Event(Event::Departed));
                return;
            }
        }
        self.departure = Departure::Leaving;
        self.timers.cancel(&Timer::Meta);
        let name = Arc::clone(&self.name);
        self.bury(now, &name, &name);
        self.tell_everyone(&name);
        self.look_whether_departed();
    }

    /// The failure detector has found for certain that this member is dead: it is dead from now, and every member hears of it at once.
    pub fn declare_dead(&mut self, now: Instant, name: &str) {
        let Some(record) = self.records.get(name) else { return };
        if record.is_gone() || *record.name == *self.name {
            return;
        }
        let (name, us) = (Arc::clone(&record.name), Arc::clone(&self.name));
        let to = record.to();
        self.bury(now, &name, &us);
        self.tell_everyone(&name);
        // The verdict may be wrong, and in this case the member should be the first to know.
        if self.records.get(&name).is_some_and(Record::may_listen) {
            self.tell(to, &name);
        }
    }

    /// Exchanges states with this member over a stream, now; [`Event::Exchanged`] follows if it answers. Nothing happens if the name is no
    /// member's, or while too many streams are open.
    pub fn exchange(&mut self, now: Instant, name: &str) {
        if self.departure == Departure::Staying && !self.is_us(name) {
            self.exchange_with(now, name);
        }
    }

    /// Another member is known to count this one as dead or not at all: this member is told anew, to every member at once.
    pub fn reappear(&mut self, now: Instant) {
        if self.departure == Departure::Staying {
            self.appear(now);
            let us = Arc::clone(&self.name);
            self.tell_everyone(&us);
        }
    }

    /// There is another sign that this member lives: a probe counts as answered, and a suspicion that this ring had first is dropped.
    pub fn vouch(&mut self, now: Instant, name: &str) {
        if self.probe.as_ref().is_some_and(|probe| *probe.name == *name) {
            self.probe_succeeded(now);
        }
        let Some(record) = self.records.get_mut(name) else { return };
        record.reached = true;
        if record.suspicion.as_ref().is_some_and(|suspicion| suspicion.from == self.name) {
            record.suspicion = None;
            record.state = State::Alive;
            record.changed = now;
            self.timers.cancel(&Timer::Suspicion(Arc::clone(&record.name)));
            self.broadcasts.remove(name);
            self.outputs.push_back(Output::Event(Event::Refuted(record.member())));
        }
    }

    /// A packet has come; label and encryption are off.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, octets: &[u8]) {
        let result = packet::decode(octets, &mut |message| self.message(now, from, &message));
        if result.is_err() {
            self.discarded += 1;
        }
    }

    fn message(&mut self, now: Instant, from: SocketAddr, message: &Message<'_>) {
        match message {
            Message::Ping(ping) => self.pinged(from, ping),
            Message::IndirectPing(ping) => self.pinged_for(now, from, ping),
            Message::Ack { sequence } => self.acknowledged(now, *sequence),
            Message::Nack { sequence } => self.refused(*sequence),
            Message::Suspect(accusation) => {
                if self.is_credible(accusation.node, accusation.incarnation, true) {
                    self.suspect(now, accusation);
                }
            }
            Message::Alive(alive) => {
                if self.is_credible(alive.node, alive.incarnation, false) {
                    self.alive(now, alive);
                }
            }
            Message::Dead(accusation) => {
                if self.is_credible(accusation.node, accusation.incarnation, true) {
                    self.dead(now, accusation);
                }
            }
            Message::User => {}
        }
    }

    fn is_us(&self, name: &str) -> bool {
        *self.name == *name
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Chooses up to `count` members at random among the ones that fit, never this one.
    fn choose(&mut self, count: u32, fits: impl Fn(&Record) -> bool) -> Vec<Arc<str>> {
        let mut chosen: Vec<Arc<str>> = Vec::new();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // Enough tries to make it likely that all members have been seen where there are few.
        for _ in 0..self.order.len().saturating_mul(3) {
            if chosen.len() >= count {
                break;
            }
            let index = self.random.index(self.order.len());
            let Some(name) = index.and_then(|index| self.order.get(index)) else { break };
            let fits = !self.is_us(name) && self.records.get(name).is_some_and(&fits);
            if fits && !chosen.contains(name) {
                chosen.push(Arc::clone(name));
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests;
