// SPDX-License-Identifier: Apache-2.0
//! The heartbeat as the companion of a ring: opens and seals its datagrams, keeps the permit of this member, and tells who
//! listens.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::UnboundedSender;

use super::clock::random;
use super::{COMPANION, Companion, CompanionCommand, CompanionOutput};
use crate::guard::{Guard, Permit, Speaks};
use crate::heartbeat::wire::{Mark, Message, VERSION};
use crate::watch::{Standing, WatchOptions, WatchOutput};
use crate::{DecodeError, Event, Key, Keyring};

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
    /// The keys of the ring.
    pub key: Option<Keyring>,
    /// Whether what is not sealed is taken, although there is a key (`GossipVerifyIncoming` off).
    pub accept_plain: bool,
    /// Whether nothing is sealed, although there is a key (`GossipVerifyOutgoing` off).
    pub send_plain: bool,
    /// The label of the ring.
    pub label: String,
    /// Whether a member with this metadata speaks the heartbeat.
    pub speaks: Speaks,
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
    /// These members answer over TCP, and no datagram of theirs comes; told when they are others.
    Unheard(BTreeSet<Arc<str>>),
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
    guard: Guard,
    options: HeartbeatOptions,
    /// What is told when the members are published.
    telling: Vec<HeartbeatEvent>,
}

impl Heartbeat {
    /// Begins, at this moment.
    #[must_use]
    pub fn new(options: HeartbeatOptions, now: Instant) -> Self {
        let HeartbeatOptions { watch, speaks, alone, .. } = &options;
        let guard = Guard::new(watch.clone(), *speaks, *alone, now, boottime());
        Self { guard, options, telling: Vec::new() }
    }

    /// Before anything is believed: whether this thread stood still.
    fn wake(&mut self, now: Instant) {
        if let Some(time) = self.guard.wake(now, boottime()) {
            tracing::warn!(
                event = "standstill",
                ?time,
                "this process stood still; it is silent until the others confirm it"
            );
        }
    }

    /// After everything: the permit as it is now.
    fn settle(&self) {
        let until = match self.guard.permit(boottime()) {
            Permit::None => 0,
            Permit::Until(time) => u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            Permit::Unlimited => u64::MAX,
        };
        self.options.permit.store(until, Ordering::Release);
    }

    fn open(&self, octets: &mut [u8]) -> Result<Message, DecodeError> {
        let (head, rest) = octets.split_at_mut_checked(HEAD).ok_or(DecodeError::Truncated)?;
        let [_, version, flags] = *head else { return Err(DecodeError::Truncated) };
        if version != VERSION {
            return Err(DecodeError::Kind(version));
        }
        let body = match (&self.options.key, flags & SEALED != 0) {
            (Some(key), true) => {
                let parts = rest.split_first_chunk_mut::<{ Key::NONCE }>();
                let (nonce, sealed) = parts.ok_or(DecodeError::Truncated)?;
                let associated = associated(head, &self.options.label);
                let length = key.open(*nonce, &associated, sealed);
                sealed.get(..length.ok_or(DecodeError::Decryption)?).unwrap_or_default()
            }
            (Some(_), false) if self.options.accept_plain => rest,
            (None, false) => rest,
            (Some(_), false) => return Err(DecodeError::Plaintext),
            (None, true) => return Err(DecodeError::NoKey),
        };
        Message::decode(body).map_err(|_| DecodeError::Value)
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
}

/// What is not secret and must be as it was: the head, and the label, by which rings on one port are told apart.
fn associated(head: &[u8], label: &str) -> Vec<u8> {
    [head, label.as_bytes()].concat()
}

impl Companion for Heartbeat {
    fn datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        octets: &mut [u8],
    ) -> Result<(), DecodeError> {
        // What cannot be opened is nobody's word, and costs no more than that was to be found out.
        let message = self.open(octets)?;
        self.wake(now);
        self.guard.handle(now, from, message);
        self.settle();
        Ok(())
    }

    fn port_closed(&mut self, now: Instant, to: SocketAddr) {
        self.wake(now);
        self.guard.port_closed(now, to);
        self.settle();
    }

    fn member_event(&mut self, now: Instant, event: &Event) {
        self.wake(now);
        self.guard.member_event(now, event);
        self.settle();
    }

    fn command(&mut self, now: Instant, command: CompanionCommand) {
        self.wake(now);
        match command {
            CompanionCommand::Notify { to, octets } => {
                self.guard.notify(now, to.as_deref(), &octets);
            }
            CompanionCommand::Mark(mark) => self.guard.set_mark(mark),
            CompanionCommand::Gone(gone) => self.guard.set_gone(now, gone),
            CompanionCommand::Forget(names) => self.guard.forget(now, &names),
            CompanionCommand::Expected(names) => self.guard.set_expected(now, names),
            CompanionCommand::Keys(keys) => self.options.key = Some(keys),
            CompanionCommand::Alone => self.guard.alone(now),
            CompanionCommand::Resume => self.guard.resume(),
        }
        self.settle();
    }

    fn expire(&mut self, now: Instant) {
        self.wake(now);
        self.guard.set_time_of_day(now, time_of_day());
        self.guard.tick(now);
        self.settle();
    }

    fn poll(&mut self) -> Option<CompanionOutput> {
        loop {
            let told = match self.guard.poll()? {
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
                WatchOutput::Exchange(name) => {
                    return Some(CompanionOutput::Exchange((*name).to_owned()));
                }
                WatchOutput::Unheard(names) => HeartbeatEvent::Unheard(names),
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
        Some(self.guard.deadline())
    }

    fn gathers_until(&self, now: Instant) -> Option<Instant> {
        self.guard.gathers_until(now)
    }
}

/// Since the epoch, as far as this machine knows.
#[allow(clippy::disallowed_methods, reason = "this is the shell: it reads the clocks")]
fn time_of_day() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The clock that goes on while the system is suspended.
fn boottime() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own, which the call fills; this clock exists on every Linux.
    #[allow(unsafe_code, reason = "the standard library has no clock that counts suspension")]
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    if result != 0 {
        return Duration::ZERO;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
