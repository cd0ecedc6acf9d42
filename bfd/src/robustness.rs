// SPDX-License-Identifier: Apache-2.0
//! The body of the fuzz target `bfd`, also run as a property test: octets as a history of events for a table of sessions. It
//! panics when a rule is broken. Not used by the daemon.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::{
    Arrival, ControlPacket, EchoPacket, Event, Hops, Output, Profile, SessionKey, State, Table,
};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// Octets of a step: what happens, the TTL, the time that passes, and a payload.
const STEP: usize = 32;

/// Sessions of both kinds, and what is known of them from outside.
struct World {
    now: Instant,
    table: Table,
    discriminators: Vec<u32>,
    echo: Option<[u8; EchoPacket::LENGTH]>,
}

/// Runs the history.
pub fn history(data: &[u8]) {
    if let Ok(packet) = ControlPacket::decode(data) {
        assert_eq!(ControlPacket::decode(&packet.encode()), Ok(packet), "written as it was read");
    }
    let mut world = World::new();
    for step in data.chunks(STEP) {
        world.step(step);
        world.carry_out();
    }
    world.table.set_sessions(world.now, &BTreeMap::new());
    world.carry_out();
    assert_eq!(world.table.deadline(), None, "nothing is due when there is no session");
}

impl World {
    fn new() -> Self {
        let mut world =
            Self { now: start(), table: Table::new(1), discriminators: Vec::new(), echo: None };
        world.table.set_sessions(world.now, &sessions(false));
        world.carry_out();
        world
    }

    fn step(&mut self, step: &[u8]) {
        let (head, payload) = step.split_at_checked(4).unwrap_or((step, &[]));
        let &[kind, ttl, high, low] = head else { return };
        self.now += Duration::from_millis(u16::from_be_bytes([high, low]).into());
        match kind % 8 {
            0 => self.table.handle(self.now, Event::Deadline),
            1 => self.table.handle(self.now, Event::Echo(payload)),
            2 => {
                let echo = self.echo.unwrap_or_default();
                self.table.handle(self.now, Event::Echo(&echo));
            }
            3 => self.table.set_sessions(self.now, &sessions(ttl & 1 == 1)),
            4 if ttl > 250 => self.table.handle(self.now, Event::AdminDown),
            _ => self.control(kind, ttl, payload),
        }
    }

    /// As it is, or with the discriminator and the fixed parts put right.
    fn control(&mut self, kind: u8, ttl: u8, payload: &[u8]) {
        let mut octets = payload.to_vec();
        let mut put = |at: usize, value: &[u8]| {
            for (place, octet) in octets.iter_mut().skip(at).zip(value) {
                *place = *octet;
            }
        };
        if kind & 0x40 != 0 {
            put(0, &[1 << 5]);
            put(3, &[24]);
            let count = self.discriminators.len().max(1);
            if let Some(yours) = self.discriminators.get(usize::from(ttl) % count) {
                put(8, &yours.to_be_bytes());
            }
        }
        let hops = if kind & 0x80 != 0 { Hops::Multi } else { Hops::Single };
        let ttl = if kind & 0x40 != 0 { 255 } else { ttl };
        let arrival = Arrival { source: PEER, destination: LOCAL, interface: None, hops, ttl };
        self.table.handle(self.now, Event::Control(&arrival, &octets));
    }

    fn carry_out(&mut self) {
        let mut count = 0;
        while let Some(output) = self.table.poll() {
            count += 1;
            assert!(count < 64, "one event has a bounded effect");
            match output {
                Output::Open { discriminator, .. } => {
                    assert!(!self.discriminators.contains(&discriminator) && discriminator != 0);
                    self.discriminators.push(discriminator);
                }
                Output::Close { discriminator } => {
                    self.discriminators.retain(|known| *known != discriminator);
                }
                Output::Control { discriminator, octets, due } => {
                    let packet = ControlPacket::decode(&octets);
                    assert!(
                        packet.is_ok_and(|packet| packet.my_discriminator == discriminator
                            && !(packet.poll && packet.is_final)
                            && (packet.state == State::Up
                                || packet.desired_min_tx_interval >= 1_000_000)),
                        "what is sent follows the rules"
                    );
                    self.table.handle(self.now, Event::ControlSent { discriminator, due });
                }
                Output::Echo { discriminator, octets, due } => {
                    self.echo = Some(octets);
                    self.table.handle(self.now, Event::EchoSent { discriminator, due });
                }
                Output::Changed { .. } => {}
            }
        }
        self.table.handle(self.now, Event::Deadline);
        let deadline = self.table.deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "what is due is done");
    }
}

fn sessions(fast: bool) -> BTreeMap<SessionKey, Profile> {
    let key = |hops| SessionKey { peer: PEER, local: None, interface: None, hops };
    let interval = Duration::from_millis(if fast { 10 } else { 300 });
    let profile = Profile {
        transmit_interval: interval,
        receive_interval: interval,
        echo_mode: true,
        passive_mode: fast,
        ..Profile::default()
    };
    BTreeMap::from([(key(Hops::Single), profile), (key(Hops::Multi), profile)])
}

#[allow(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; only differences count"
)]
fn start() -> Instant {
    Instant::now()
}
