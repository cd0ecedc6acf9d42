// SPDX-License-Identifier: Apache-2.0
//! All sessions of a host: which packet belongs to which (RFC 5880 sections 6.3 and 6.8.6, RFC 5881 section 3, RFC 5883 section 4),
//! and what is due next among them. A packet never makes a session, so memory depends on the configuration alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::random::Random;
use crate::session::{self, Session};
use crate::{ControlPacket, EchoPacket, Hops, Profile, SessionKey, Status};

/// Where a packet came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The source address.
    pub source: IpAddr,
    /// The destination address, which is one of ours.
    pub destination: IpAddr,
    /// The device that the receiving socket is bound to.
    pub interface: Option<Arc<str>>,
    /// By the port: 3784 or 4784.
    pub hops: Hops,
    /// TTL or Hop Limit on arrival.
    pub ttl: u8,
}

/// What happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// A payload came on a port for control packets.
    Control(&'a Arrival, &'a [u8]),
    /// A payload came back on the port for Echo packets.
    Echo(&'a [u8]),
    /// The deadline has passed.
    Deadline,
    /// The control packet of an [`Output::Control`] left the host.
    ControlSent {
        /// The session.
        discriminator: u32,
        /// As it was in the output.
        due: Option<Instant>,
    },
    /// The Echo packet of an [`Output::Echo`] left the host.
    EchoSent {
        /// The session.
        discriminator: u32,
        /// As it was in the output.
        due: Option<Instant>,
    },
    /// Something keeps a session from working, or nothing does any more.
    Problem {
        /// The session.
        discriminator: u32,
        /// What it is.
        problem: Option<Arc<str>>,
    },
    /// All sessions are told to be AdminDown, and tell their peers; each time anew.
    AdminDown,
}

/// What is to be carried out, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A session was made; it needs a socket.
    Open {
        /// Its discriminator, which names it from now on.
        discriminator: u32,
        /// What it is.
        key: SessionKey,
    },
    /// Send a control packet, then give [`Event::ControlSent`].
    Control {
        /// The session.
        discriminator: u32,
        /// The payload.
        octets: [u8; 24],
        /// When it should have left, if that is to be measured.
        due: Option<Instant>,
    },
    /// Send an Echo packet, then give [`Event::EchoSent`].
    Echo {
        /// The session.
        discriminator: u32,
        /// The payload.
        octets: [u8; EchoPacket::LENGTH],
        /// When it should have left, if that is to be measured.
        due: Option<Instant>,
    },
    /// The state or the problem of a session changed.
    Changed {
        /// The session.
        key: SessionKey,
        /// What it is now.
        status: Box<Status>,
    },
    /// A session is gone; its socket is to be closed.
    Close {
        /// Its former name.
        discriminator: u32,
    },
}

/// How often the peer of a session that is taken away is told so; one packet may be lost.
const FAREWELLS: usize = 3;

/// The sessions.
#[derive(Debug)]
pub struct Table {
    random: Random,
    sessions: BTreeMap<u32, Entry>,
    discriminators: BTreeMap<SessionKey, u32>,
    schedule: BTreeSet<(Instant, u32)>,
    outputs: VecDeque<Output>,
    discarded: u64,
}

#[derive(Debug)]
struct Entry {
    session: Session,
    profile: Profile,
    scheduled: Option<Instant>,
}

impl Table {
    /// Without sessions. The seed decides discriminators and jitter, and should not be guessable.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            sessions: BTreeMap::new(),
            discriminators: BTreeMap::new(),
            schedule: BTreeSet::new(),
            outputs: VecDeque::new(),
            discarded: 0,
        }
    }

    /// From now exactly these sessions exist. Those that stay keep their state; a changed profile is negotiated with the peer.
    /// The peers of those that go are told AdminDown.
    pub fn set_sessions(&mut self, now: Instant, wanted: &BTreeMap<SessionKey, Profile>) {
        let gone: Vec<SessionKey> =
            self.discriminators.keys().filter(|key| !wanted.contains_key(key)).cloned().collect();
        for key in gone {
            self.remove(now, &key);
        }
        for (key, profile) in wanted {
            match self.discriminators.get(key).copied() {
                Some(discriminator) => self.change_profile(now, discriminator, *profile),
                None => self.add(now, key, *profile),
            }
        }
    }

    /// Takes one event in.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Control(arrival, payload) => match self.find(arrival, payload) {
                Some((discriminator, packet)) => {
                    self.give(now, discriminator, session::Event::Control(packet));
                }
                None => self.discarded += 1,
            },
            Event::Echo(payload) => match EchoPacket::decode(payload) {
                Some(packet) => self.give(now, packet.discriminator, session::Event::Echo(packet)),
                None => self.discarded += 1,
            },
            Event::Deadline => {
                while let Some((_, discriminator)) =
                    self.schedule.first().copied().filter(|(at, _)| *at <= now)
                {
                    self.give(now, discriminator, session::Event::Deadline);
                }
            }
            Event::ControlSent { discriminator, due } => {
                self.give(now, discriminator, session::Event::ControlSent(due));
            }
            Event::EchoSent { discriminator, due } => {
                self.give(now, discriminator, session::Event::EchoSent(due));
            }
            Event::Problem { discriminator, problem } => {
                self.give(now, discriminator, session::Event::Problem(problem));
            }
            Event::AdminDown => {
                let all: Vec<u32> = self.sessions.keys().copied().collect();
                for discriminator in all {
                    self.give(now, discriminator, session::Event::AdminDown);
                }
            }
        }
    }

    /// The next thing to carry out.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Event::Deadline`] is to be given.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.schedule.first().map(|(at, _)| *at)
    }

    /// How each session is.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<SessionKey, Status> {
        let statuses = self.sessions.values();
        statuses.map(|entry| (entry.session.key().clone(), entry.session.status())).collect()
    }

    /// Packets that were malformed, of no session, or from too far away.
    #[must_use]
    pub const fn discarded(&self) -> u64 {
        self.discarded
    }

    /// The session of a packet, if the packet may be taken (6.8.6 up to the Your Discriminator rules, and the TTL).
    fn find(&self, arrival: &Arrival, payload: &[u8]) -> Option<(u32, ControlPacket)> {
        let packet = ControlPacket::decode(payload).ok()?;
        let discriminator = match packet.your_discriminator {
            0 => self.find_by_address(arrival)?,
            yours => yours,
        };
        let session = &self.sessions.get(&discriminator)?.session;
        let near_enough = arrival.ttl >= session.minimum_ttl();
        (session.key().hops == arrival.hops && near_enough).then_some((discriminator, packet))
    }

    /// The most specific session whose key fits: by interface, then by our address.
    fn find_by_address(&self, arrival: &Arrival) -> Option<u32> {
        let from =
            SessionKey { peer: arrival.source, local: None, interface: None, hops: Hops::Single };
        self.discriminators
            .range(from..)
            .take_while(|(key, _)| key.peer == arrival.source)
            .filter(|(key, _)| {
                key.hops == arrival.hops
                    && key.local.is_none_or(|local| local == arrival.destination)
                    && (key.interface.is_none() || key.interface == arrival.interface)
            })
            .max_by_key(|(key, _)| (key.interface.is_some(), key.local.is_some()))
            .map(|(_, discriminator)| *discriminator)
    }

    fn add(&mut self, now: Instant, key: &SessionKey, profile: Profile) {
        let discriminator = self.unused_discriminator();
        let session = Session::new(now, key.clone(), profile, discriminator, self.random.next());
        self.sessions.insert(discriminator, Entry { session, profile, scheduled: None });
        self.discriminators.insert(key.clone(), discriminator);
        self.outputs.push_back(Output::Open { discriminator, key: key.clone() });
        self.after(discriminator);
    }

    fn unused_discriminator(&mut self) -> u32 {
        loop {
            let candidate = self.random.up_to(u32::MAX);
            if candidate != 0 && !self.sessions.contains_key(&candidate) {
                return candidate;
            }
        }
    }

    fn change_profile(&mut self, now: Instant, discriminator: u32, profile: Profile) {
        let Some(entry) = self.sessions.get_mut(&discriminator) else { return };
        if entry.profile != profile {
            entry.profile = profile;
            self.give(now, discriminator, session::Event::Profile(profile));
        }
    }

    fn remove(&mut self, now: Instant, key: &SessionKey) {
        let Some(discriminator) = self.discriminators.remove(key) else { return };
        for _ in 0..FAREWELLS {
            self.give(now, discriminator, session::Event::AdminDown);
        }
        if let Some(Entry { scheduled: Some(at), .. }) = self.sessions.remove(&discriminator) {
            self.schedule.remove(&(at, discriminator));
        }
        self.outputs.push_back(Output::Close { discriminator });
    }

    fn give(&mut self, now: Instant, discriminator: u32, event: session::Event) {
        let Some(entry) = self.sessions.get_mut(&discriminator) else { return };
        entry.session.handle(now, event);
        self.after(discriminator);
    }

    /// Takes over what a session wants, and when it is to be asked again.
    fn after(&mut self, discriminator: u32) {
        let Some(entry) = self.sessions.get_mut(&discriminator) else { return };
        while let Some(output) = entry.session.poll() {
            self.outputs.push_back(match output {
                session::Output::Control { packet, due } => {
                    Output::Control { discriminator, octets: packet.encode(), due }
                }
                session::Output::Echo { packet, due } => {
                    Output::Echo { discriminator, octets: packet.encode(), due }
                }
                session::Output::Changed => Output::Changed {
                    key: entry.session.key().clone(),
                    status: Box::new(entry.session.status()),
                },
            });
        }
        let deadline = entry.session.deadline();
        if deadline != entry.scheduled {
            if let Some(at) = entry.scheduled {
                self.schedule.remove(&(at, discriminator));
            }
            if let Some(at) = deadline {
                self.schedule.insert((at, discriminator));
            }
            entry.scheduled = deadline;
        }
    }
}

#[cfg(test)]
mod pair;
#[cfg(test)]
mod tests;
