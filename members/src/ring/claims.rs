// SPDX-License-Identifier: Apache-2.0
//! Claims about members, by others or by this one: that a member is alive, suspect or dead. The rules decide which claims are believed,
//! passed on and refuted (SWIM section 4.2; the library's `aliveNode`, `suspectNode`, `deadNode`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::record::Record;
use super::suspicion::Suspicion;
use super::timers::Timer;
use super::{Departure, Event, MEMBERS, META_INTERVAL, Member, Output, Ring, VERSIONS};
use crate::wire::message::{Accusation, Alive, Message};
use crate::{State, Versions};

/// The greatest step of an incarnation that is believed between two messages of its member. An incarnation grows by one when its member
/// contradicts a claim or changes its metadata, once a second at most, so the step stands for more than half a year.
const LEAP: u32 = 1 << 24;

impl Ring {
    /// Returns true if an incarnation can be a member's. Accusations near the end of the numbers are not believed, since nothing could
    /// contradict them.
    pub(super) fn is_credible(&mut self, name: &str, incarnation: u32, accusation: bool) -> bool {
        let known = self.records.get(name).map_or(0, |record| record.incarnation);
        let most = if accusation { u32::MAX - LEAP } else { u32::MAX };
        let credible = incarnation.saturating_sub(known) <= LEAP && incarnation <= most;
        self.discarded += u64::from(!credible);
        credible
    }

    /// Makes this member one of the ring, under a new incarnation. Metadata that may not be told yet is told later.
    pub(super) fn appear(&mut self, now: Instant) {
        let name = Arc::clone(&self.name);
        if !self.records.contains_key(&name) {
            self.enter(now, &name, self.address, Versions::default());
        }
        self.incarnation = self.incarnation.saturating_add(1);
        let due = self.meta_due(now);
        let (incarnation, meta, address) = (self.incarnation, Arc::clone(&self.meta), self.address);
        if let Some(us) = self.records.get_mut(&name) {
            us.incarnation = incarnation;
            us.address = address.ip();
            us.port = address.port();
            if *us.meta != *meta {
                if due <= now {
                    us.meta = meta;
                    self.meta_told = Some(now);
                    self.timers.cancel(&Timer::Meta);
                } else {
                    self.timers.set(Timer::Meta, due);
                }
            }
            us.versions = VERSIONS;
            if us.state != State::Alive {
                us.state = State::Alive;
                us.changed = now;
            }
        }
        self.pass_on_alive(&name);
    }

    /// The time at which the newest metadata may be told.
    pub(super) fn meta_due(&self, now: Instant) -> Instant {
        self.meta_told.map_or(now, |told| now.max(told + META_INTERVAL))
    }

    /// Tells the newest metadata.
    pub(super) fn tell_meta(&mut self, now: Instant) {
        self.timers.cancel(&Timer::Meta);
        if self.departure == Departure::Staying {
            self.appear(now);
            let us = self.records.get(&self.name).map(Record::member);
            self.outputs.extend(us.map(|us| Output::Event(Event::Updated(us))));
        }
    }

    /// A member is said to be alive, perhaps by itself.
    pub(super) fn alive(&mut self, now: Instant, alive: &Alive<'_>) {
        let us = self.is_us(alive.node);
        if us && self.departure != Departure::Staying {
            return;
        }
        if let Some(Versions { minimum, maximum, .. }) = alive.versions
            && (minimum == 0 || maximum == 0 || minimum > maximum)
        {
            return;
        }
        // Protocol version 1 has one port for all members.
        let port = if alive.port == 0 { self.address.port() } else { alive.port };
        let at = SocketAddr::new(alive.address, port);
        let mut moved = false;
        match self.records.get_mut(alive.node) {
            None => {
                if alive.incarnation == 0 || self.records.len() >= MEMBERS && !self.make_room() {
                    return;
                }
                self.enter(now, &Arc::from(alive.node), at, alive.versions.unwrap_or_default());
            }
            Some(record) if record.to() != canonical(at) => {
                // Only a member that has left may come back at another address.
                if record.state != State::Left {
                    let other = canonical(at);
                    if record.conflict.replace(other) != Some(other) {
                        let member = record.member();
                        self.outputs.push_back(Output::Event(Event::Conflict { member, other }));
                    }
                    return;
                }
                moved = true;
            }
            Some(_) => {}
        }
        if us {
            self.defend(alive);
        } else {
            self.believe_alive(now, alive, at, moved);
        }
    }

    /// This member is said to be alive, perhaps with an incarnation or metadata of an earlier run.
    fn defend(&mut self, alive: &Alive<'_>) {
        let Some(record) = self.records.get(&self.name) else { return };
        let same = *record.meta == *alive.meta && alive.versions == Some(record.versions);
        if alive.incarnation > record.incarnation
            || (alive.incarnation == record.incarnation && !same)
        {
            self.refute(alive.incarnation);
        }
    }

    fn believe_alive(&mut self, now: Instant, alive: &Alive<'_>, at: SocketAddr, moved: bool) {
        let Some(record) = self.records.get_mut(alive.node) else { return };
        if alive.incarnation <= record.incarnation && !moved {
            return;
        }
        let before = record.state;
        let updated = *record.meta != *alive.meta;
        record.suspicion = None;
        record.incarnation = alive.incarnation;
        record.meta = if updated { alive.meta.into() } else { Arc::clone(&record.meta) };
        record.address = at.ip();
        record.port = at.port();
        record.conflict = None;
        if let Some(versions) = alive.versions {
            record.versions = versions;
        }
        if before != State::Alive {
            record.state = State::Alive;
            record.changed = now;
        }
        let member = record.member();
        let event = match before {
            State::Dead | State::Left => Some(Event::Joined(member)),
            State::Suspect => {
                if updated {
                    let event = Event::Updated(member.clone());
                    self.outputs.push_back(Output::Event(event));
                }
                Some(Event::Refuted(member))
            }
            State::Alive => updated.then_some(Event::Updated(member)),
        };
        self.outputs.extend(event.map(Output::Event));
        let name = Arc::clone(&record.name);
        let (to, returns) = (record.to(), before == State::Dead && alive.incarnation > 1);
        self.timers.cancel(&Timer::Suspicion(Arc::clone(&name)));
        self.pass_on_alive(&name);
        if returns {
            self.tell_deaths(now, to);
        }
    }

    /// Tells a member that was away of the deaths that it has missed. An exchange of states would only make it suspect the dead, which takes
    /// its time.
    fn tell_deaths(&mut self, now: Instant, to: SocketAddr) {
        let lately = self.settings.gossip_to_the_dead_time;
        let dead = self.records.values().filter(|record| {
            record.state == State::Dead && now.saturating_duration_since(record.changed) <= lately
        });
        let dead: Vec<Arc<str>> = dead.map(|record| Arc::clone(&record.name)).collect();
        for name in dead {
            self.tell(to, &name);
        }
    }

    /// A member is said not to answer.
    pub(super) fn suspect(&mut self, now: Instant, accusation: &Accusation<'_>) {
        let us = self.is_us(accusation.node);
        let count = self.order.len();
        let Some(record) = self.records.get_mut(accusation.node) else { return };
        if accusation.incarnation < record.incarnation {
            return;
        }
        let name = Arc::clone(&record.name);
        if let Some(suspicion) = &mut record.suspicion {
            if suspicion.confirm(accusation.from) {
                let end = suspicion.end();
                self.timers.set(Timer::Suspicion(Arc::clone(&name)), end);
                self.broadcasts.push(&name, Message::Suspect(accusation.clone()).encode());
            }
            return;
        }
        if record.state != State::Alive {
            return;
        }
        if us {
            self.refute(accusation.incarnation);
            return;
        }
        let suspicion = Suspicion::new(now, accusation.from, count, &self.settings);
        self.timers.set(Timer::Suspicion(Arc::clone(&name)), suspicion.end());
        let by = Arc::clone(&suspicion.from);
        record.suspicion = Some(suspicion);
        record.incarnation = accusation.incarnation;
        record.state = State::Suspect;
        record.changed = now;
        let member = record.member();
        self.outputs.push_back(Output::Event(Event::Suspected { member, by }));
        self.broadcasts.push(&name, Message::Suspect(accusation.clone()).encode());
    }

    /// A member is said to be dead, or says itself that it leaves.
    pub(super) fn dead(&mut self, now: Instant, accusation: &Accusation<'_>) {
        let us = self.is_us(accusation.node);
        let Some(record) = self.records.get_mut(accusation.node) else { return };
        if accusation.incarnation < record.incarnation {
            return;
        }
        let name = Arc::clone(&record.name);
        record.suspicion = None;
        self.timers.cancel(&Timer::Suspicion(Arc::clone(&name)));
        if record.is_gone() {
            return;
        }
        if us && self.departure == Departure::Staying {
            self.refute(accusation.incarnation);
            self.outputs.push_back(Output::Event(Event::Accused));
            self.tell_everyone(&name);
            return;
        }
        record.incarnation = accusation.incarnation;
        record.state = if *name == *accusation.from { State::Left } else { State::Dead };
        record.changed = now;
        let member = record.member();
        self.broadcasts.push(&name, Message::Dead(accusation.clone()).encode());
        if !us {
            self.outputs.push_back(Output::Event(match member.state {
                State::Left => Event::Left(member),
                State::Dead | State::Alive | State::Suspect => {
                    Event::Dead { member, by: accusation.from.into() }
                }
            }));
            self.look_whether_departed();
        }
    }

    /// Makes a member dead under its known incarnation, on the word of `from`.
    pub(super) fn bury(&mut self, now: Instant, name: &str, from: &str) {
        if let Some(record) = self.records.get(name) {
            let incarnation = record.incarnation;
            self.dead(now, &Accusation { incarnation, node: name, from });
        }
    }

    /// Contradicts a claim about this member, by an incarnation that beats the claim's.
    fn refute(&mut self, accused: u32) {
        self.incarnation = self.incarnation.max(accused).saturating_add(1);
        self.awareness.worse(1);
        let (name, incarnation) = (Arc::clone(&self.name), self.incarnation);
        if let Some(us) = self.records.get_mut(&name) {
            us.incarnation = incarnation;
            self.outputs.push_back(Output::Event(Event::Refuted(us.member())));
        }
        self.pass_on_alive(&name);
    }

    fn pass_on_alive(&mut self, name: &Arc<str>) {
        if let Some(record) = self.records.get(name) {
            self.broadcasts.push(name, Message::Alive(record.alive()).encode());
        }
    }

    /// Forgets a member that is gone, or else one that neither this member nor the failure detector ever reached; among several the one with
    /// the oldest change. Returns true if there was one: members that are there are not pushed out by names that a stranger made up.
    fn make_room(&mut self) -> bool {
        let us = &self.name;
        let others = self.records.values().filter(|record| record.name != *us);
        let spare = others.filter(|record| record.is_gone() || !record.reached);
        let least = spare.min_by_key(|it| (!it.is_gone(), it.reached, it.changed));
        let Some(name) = least.map(|record| Arc::clone(&record.name)) else { return false };
        self.timers.cancel(&Timer::Suspicion(Arc::clone(&name)));
        self.broadcasts.remove(&name);
        if let Some(at) = self.order.iter().position(|other| *other == name) {
            self.order.swap_remove(at);
        }
        if let Some(record) = self.records.remove(&name).filter(|record| !record.is_gone()) {
            let member = Member { state: State::Left, ..record.member() };
            self.outputs.push_back(Output::Event(Event::Left(member)));
        }
        true
    }

    /// Makes a record of a member that is not alive yet. Its place in the order is random, so that it does not have to wait for a whole round
    /// until it is probed.
    fn enter(&mut self, now: Instant, name: &Arc<str>, at: SocketAddr, versions: Versions) {
        let record = Record {
            name: Arc::clone(name),
            address: at.ip(),
            port: at.port(),
            meta: Arc::default(),
            versions,
            incarnation: 0,
            state: State::Dead,
            changed: now,
            suspicion: None,
            conflict: None,
            reached: false,
            closed: None,
        };
        self.records.insert(Arc::clone(name), record);
        let last = self.order.len();
        self.order.push(Arc::clone(name));
        if let Some(place) = self.random.index(last) {
            self.order.swap(place, last);
        }
    }
}

fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}
