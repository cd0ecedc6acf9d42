// SPDX-License-Identifier: Apache-2.0
//! The [`Watch`] as a ring's companion needs it: it follows the ring's events, notices a standstill of its own, and says until when
//! this member may speak. A synchronous value; the shell reads the clocks and seals the datagrams.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::heartbeat::wire::{Mark, Message};
use crate::watch::{Neighbour, Watch, WatchOptions, WatchOutput};
use crate::{Event, Member, State};

/// Whether a member with this metadata speaks the heartbeat.
pub type Speaks = fn(&[u8]) -> bool;

/// Until when this member may speak, by the clock that goes on in suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It may not.
    None,
    /// Until then, if it isn't renewed.
    Until(Duration),
    /// For ever.
    Unlimited,
}

/// See the module's head.
pub struct Guard {
    name: Arc<str>,
    watch: Watch,
    speaks: Speaks,
    members: BTreeMap<Arc<str>, Neighbour>,
    /// What the clock that goes on in suspend showed last.
    last: Duration,
    /// A standstill of that length may have cost this member its life.
    stall: Duration,
    /// Whether whoever listens has looked at the members since this member may speak (again).
    resumed: bool,
}

impl Guard {
    /// Begins, at this moment, which `clock` shows as well: the clock that goes on in suspend, since any beginning.
    #[must_use]
    pub fn new(
        options: WatchOptions,
        speaks: Speaks,
        alone: bool,
        now: Instant,
        clock: Duration,
    ) -> Self {
        let heartbeat = &options.heartbeat;
        let stall = heartbeat.detection_time().saturating_sub(heartbeat.interval / 10);
        Self {
            name: Arc::clone(&options.name),
            watch: Watch::new(options, alone, now),
            speaks,
            members: BTreeMap::new(),
            last: clock,
            stall,
            resumed: false,
        }
    }

    /// Before anything is believed: whether this member stood still, and for how long. To be called before everything else.
    pub fn wake(&mut self, now: Instant, clock: Duration) -> Option<Duration> {
        let gap = clock.saturating_sub(self.last);
        self.last = clock;
        let stood_still = gap >= self.stall;
        if stood_still {
            self.watch.stalled(now, gap);
        }
        self.note_standing();
        stood_still.then_some(gap)
    }

    /// As [`Watch::handle`].
    pub fn handle(&mut self, now: Instant, from: SocketAddr, message: Message) {
        self.watch.handle(now, from, message);
        self.note_standing();
    }

    /// As [`Watch::port_closed`].
    pub fn port_closed(&mut self, now: Instant, address: SocketAddr) {
        self.watch.port_closed(now, address);
        self.note_standing();
    }

    /// What the ring told of a member.
    pub fn member_event(&mut self, now: Instant, event: &Event) {
        let mut left = Vec::new();
        match event {
            Event::Joined(member) | Event::Updated(member) | Event::Refuted(member)
                if *member.name != *self.name =>
            {
                if member.state == State::Alive || member.state == State::Suspect {
                    let neighbour = self.neighbour(member);
                    self.members.insert(Arc::clone(&member.name), neighbour);
                }
            }
            Event::Left(member) => {
                self.members.remove(&member.name);
                left.push(Arc::clone(&member.name));
            }
            Event::Dead { member, .. } => {
                self.members.remove(&member.name);
            }
            Event::Accused => {
                self.watch.accused(now);
                self.note_standing();
                return;
            }
            Event::Joining(joining) => {
                self.watch.set_joining(now, *joining);
                self.note_standing();
                return;
            }
            Event::Exchanged { name, began } => {
                self.watch.exchanged(now, name, *began);
                self.note_standing();
                return;
            }
            Event::Refuted(_) => {
                self.watch.contradicted(now);
                return;
            }
            Event::Joined(_)
            | Event::Updated(_)
            | Event::Suspected { .. }
            | Event::Conflict { .. }
            | Event::Contacted { .. }
            | Event::Departed => return,
        }
        self.watch.set_members(now, self.members.values().cloned().collect(), &left);
        self.note_standing();
    }

    /// As [`Watch::notify`].
    pub fn notify(&mut self, now: Instant, to: Option<&str>, octets: &[u8]) {
        self.watch.notify(now, to, octets);
        self.note_standing();
    }

    /// As [`Watch::set_mark`].
    pub fn set_mark(&mut self, mark: Mark) {
        self.watch.set_mark(mark);
    }

    /// As [`Watch::set_gone`].
    pub fn set_gone(&mut self, now: Instant, gone: BTreeSet<Arc<str>>) {
        self.watch.set_gone(now, gone);
        self.note_standing();
    }

    /// As [`Watch::forget`].
    pub fn forget(&mut self, now: Instant, names: &BTreeSet<Arc<str>>) {
        self.watch.forget(now, names);
        self.note_standing();
    }

    /// As [`Watch::set_expected`].
    pub fn set_expected(&mut self, now: Instant, expected: BTreeSet<Arc<str>>) {
        self.watch.set_expected(now, expected);
        self.note_standing();
    }

    /// As [`Watch::alone`].
    pub fn alone(&mut self, now: Instant) {
        self.watch.alone(now);
        self.note_standing();
    }

    /// Whoever listens knows the members as they are now that this one may speak (again).
    pub fn resume(&mut self) {
        self.resumed = self.watch.standing().speaks();
    }

    /// As [`Watch::set_time_of_day`].
    pub fn set_time_of_day(&mut self, now: Instant, since_epoch: Duration) {
        self.watch.set_time_of_day(now, since_epoch);
    }

    /// As [`Watch::gathers_until`].
    #[must_use]
    pub fn gathers_until(&self, now: Instant) -> Option<Instant> {
        self.watch.gathers_until(now)
    }

    /// As [`Watch::tick`].
    pub fn tick(&mut self, now: Instant) {
        self.watch.tick(now);
        self.note_standing();
    }

    /// As [`Watch::poll`].
    pub fn poll(&mut self) -> Option<WatchOutput> {
        self.watch.poll()
    }

    /// As [`Watch::deadline`].
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.watch.deadline()
    }

    /// The watch.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Until when this member may speak; to be asked after everything, at this time.
    #[must_use]
    pub fn permit(&self, clock: Duration) -> Permit {
        match self.watch.lease() {
            _ if !self.resumed => Permit::None,
            None => Permit::Unlimited,
            Some(Duration::ZERO) => Permit::None,
            Some(time) => Permit::Until(clock + time),
        }
    }

    fn note_standing(&mut self) {
        if !self.watch.standing().speaks() {
            self.resumed = false;
        }
    }

    fn neighbour(&self, member: &Member) -> Neighbour {
        Neighbour {
            name: Arc::clone(&member.name),
            address: member.address,
            heartbeat: (self.speaks)(&member.meta),
        }
    }
}
