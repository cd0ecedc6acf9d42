// SPDX-License-Identifier: Apache-2.0
//! The heartbeat as the companion of a ring: opens and seals its datagrams, keeps the permit of this member, and tells who
//! listens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::run::random;
use super::{COMPANION, Companion, CompanionCommand, CompanionOutput};
use crate::heartbeat::wire::{Mark, Message, VERSION};
use crate::watch::{Neighbour, Standing, Watch, WatchOptions, WatchOutput};
use crate::{Event, Key, Member, State};

/// The flag of a sealed datagram.
const SEALED: u8 = 1;
/// What stands before the seal: first octet, version, flags.
const HEAD: usize = 3;

/// What the heartbeat needs to begin.
pub struct HeartbeatOptions {
    /// How the watch is set up.
    pub watch: WatchOptions,
    /// Whether there is nobody to wait for at the start.
    pub alone: bool,
    /// The key of the ring.
    pub key: Option<Key>,
    /// Whether what is not sealed is taken, although there is a key (`GossipVerifyIncoming` off).
    pub accept_plain: bool,
    /// Whether nothing is sealed, although there is a key (`GossipVerifyOutgoing` off).
    pub send_plain: bool,
    /// The label of the ring.
    pub label: String,
    /// Whether a member with this metadata speaks the heartbeat.
    pub speaks: fn(&[u8]) -> bool,
    /// Until when this member may speak, in nanoseconds of `CLOCK_BOOTTIME`.
    pub permit: Arc<AtomicU64>,
    /// Who listens.
    pub told: UnboundedSender<HeartbeatEvent>,
}

/// What the heartbeat tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatEvent {
    /// Whether this member may speak, and why not.
    Standing(Standing),
    /// A member's mark is another one.
    Marked {
        /// Its name.
        name: Arc<str>,
        /// The mark.
        mark: Mark,
    },
    /// A member tells something.
    Notice {
        /// Its name.
        from: Arc<str>,
        /// What.
        octets: Vec<u8>,
    },
}

/// See the module's head.
pub struct Heartbeat {
    watch: Watch,
    options: HeartbeatOptions,
    members: BTreeMap<Arc<str>, Neighbour>,
    last: u64,
    stall: Duration,
    /// Whether whoever listens has looked at the members since this member may speak (again).
    resumed: bool,
    /// What is told when the members are published.
    telling: Vec<HeartbeatEvent>,
}

impl Heartbeat {
    /// Begins, at this moment.
    #[must_use]
    pub fn new(options: HeartbeatOptions, now: Instant) -> Self {
        let heartbeat = &options.watch.heartbeat;
        let stall = heartbeat.detection_time().saturating_sub(heartbeat.interval / 10);
        Self {
            watch: Watch::new(options.watch.clone(), options.alone, now),
            options,
            members: BTreeMap::new(),
            last: boottime(),
            stall,
            resumed: false,
            telling: Vec::new(),
        }
    }

    /// Before anything is believed: whether this thread stood still.
    fn wake(&mut self, now: Instant) {
        let current = boottime();
        let gap = Duration::from_nanos(current.saturating_sub(self.last));
        self.last = current;
        if gap >= self.stall {
            tracing::warn!(event = "standstill", time = ?gap,
                "this process stood still; it is silent until the others confirm it");
            self.watch.stalled(now, gap);
        }
    }

    /// After everything: the permit as it is now.
    fn settle(&mut self) {
        if !self.watch.standing().speaks() {
            self.resumed = false;
        }
        let until = match self.watch.lease() {
            _ if !self.resumed => 0,
            None => u64::MAX,
            Some(Duration::ZERO) => 0,
            Some(time) => {
                boottime().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
            }
        };
        self.options.permit.store(until, Ordering::Release);
    }

    fn open(&self, octets: &mut [u8]) -> Option<Message> {
        let (head, rest) = octets.split_at_mut_checked(HEAD)?;
        let [_, version, flags] = *head else { return None };
        if version != VERSION {
            return None;
        }
        let body = match (&self.options.key, flags & SEALED != 0) {
            (Some(key), true) => {
                let (nonce, sealed) = rest.split_first_chunk_mut::<{ Key::NONCE }>()?;
                let associated = associated(head, &self.options.label);
                let length = key.open(*nonce, &associated, sealed)?;
                sealed.get(..length)?
            }
            (Some(_), false) if self.options.accept_plain => rest,
            (None, false) => rest,
            (Some(_), false) | (None, true) => return None,
        };
        Message::decode(body).ok()
    }

    fn seal(&self, message: &Message) -> Option<Vec<u8>> {
        let mut body = message.encode();
        let key = self.options.key.as_ref().filter(|_| !self.options.send_plain);
        let head = [COMPANION, VERSION, if key.is_some() { SEALED } else { 0 }];
        let mut octets = head.to_vec();
        if let Some(key) = key {
            let nonce = random()?;
            octets.extend_from_slice(&nonce);
            key.seal(nonce, &associated(&head, &self.options.label), &mut body);
        }
        octets.append(&mut body);
        Some(octets)
    }

    fn neighbour(&self, member: &Member) -> Neighbour {
        Neighbour {
            name: Arc::clone(&member.name),
            address: member.address,
            heartbeat: (self.options.speaks)(&member.meta),
        }
    }
}

/// What is not secret and must be as it was: the head, and the label, by which rings on one port are told apart.
fn associated(head: &[u8], label: &str) -> Vec<u8> {
    [head, label.as_bytes()].concat()
}

impl Companion for Heartbeat {
    fn datagram(&mut self, now: Instant, from: SocketAddr, octets: &mut [u8]) {
        self.wake(now);
        if let Some(message) = self.open(octets) {
            self.watch.handle(now, from, message);
        }
        self.settle();
    }

    fn port_closed(&mut self, now: Instant, to: SocketAddr) {
        self.wake(now);
        self.watch.port_closed(now, to);
        self.settle();
    }

    fn member_event(&mut self, now: Instant, event: &Event) {
        self.wake(now);
        let mut left = Vec::new();
        match event {
            Event::Joined(member) | Event::Updated(member) | Event::Refuted(member)
                if *member.name != *self.options.watch.name =>
            {
                let neighbour = self.neighbour(member);
                if member.state == State::Alive || member.state == State::Suspect {
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
                self.settle();
                return;
            }
            Event::Joined(_)
            | Event::Updated(_)
            | Event::Refuted(_)
            | Event::Suspected { .. }
            | Event::Conflict { .. }
            | Event::Contacted { .. }
            | Event::Departed => return,
        }
        self.watch.set_members(now, self.members.values().cloned().collect(), &left);
        self.settle();
    }

    fn command(&mut self, now: Instant, command: CompanionCommand) {
        self.wake(now);
        match command {
            CompanionCommand::Notify { to, octets } => {
                self.watch.notify(now, to.as_deref(), &octets);
            }
            CompanionCommand::Mark(mark) => self.watch.set_mark(mark),
            CompanionCommand::Gone(gone) => self.watch.set_gone(now, gone),
            CompanionCommand::Alone => self.watch.alone(now),
            CompanionCommand::Resume => self.resumed = self.watch.standing().speaks(),
        }
        self.settle();
    }

    fn expire(&mut self, now: Instant) {
        self.wake(now);
        self.watch.tick(now);
        self.settle();
    }

    fn poll(&mut self) -> Option<CompanionOutput> {
        loop {
            let told = match self.watch.poll()? {
                WatchOutput::Send { to, message } => match self.seal(&message) {
                    Some(octets) => return Some(CompanionOutput::Send { to, octets }),
                    None => continue,
                },
                WatchOutput::DeclareDead { name, cause } => {
                    tracing::warn!(
                        event = "memberDead",
                        member = &*name,
                        ?cause,
                        "a speaker is dead: nobody hears it"
                    );
                    return Some(CompanionOutput::DeclareDead((*name).to_owned()));
                }
                WatchOutput::Vouch(name) => {
                    return Some(CompanionOutput::Vouch((*name).to_owned()));
                }
                WatchOutput::Reappear => return Some(CompanionOutput::Reappear),
                WatchOutput::Standing(standing) => HeartbeatEvent::Standing(standing),
                WatchOutput::Marked { name, mark } => HeartbeatEvent::Marked { name, mark },
                WatchOutput::Notice { from, bytes } => {
                    HeartbeatEvent::Notice { from, octets: bytes }
                }
            };
            self.telling.push(told);
        }
    }

    fn published(&mut self) {
        for told in self.telling.drain(..) {
            // Whoever listens ends after this thread.
            let _ = self.options.told.send(told);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.watch.deadline())
    }
}

/// Nanoseconds of the clock that goes on while the system is suspended.
fn boottime() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own, which the call fills; this clock exists on every Linux.
    #[allow(unsafe_code, reason = "the standard library has no clock that counts suspension")]
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    if result != 0 {
        return 0;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
