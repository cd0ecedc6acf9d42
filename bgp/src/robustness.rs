// SPDX-License-Identifier: Apache-2.0
//! The bodies of the fuzz targets, also run as property tests: arbitrary octets as each kind of message, and as what a peer
//! sends in any state. They panic when a rule is broken. Not used by the daemon.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::wire::{
    Context, LONGEST_EXTENDED, Notification, Open, RouteRefresh, Update, write_keepalive,
    write_message,
};
use crate::{
    Attributes, Config, Direction, Event, Families, GracefulRestart, NextHops, Output, Peer,
    PeerAsn, Remote, State,
};

/// The session's core may hold so many octets for a peer that does not read.
const OUTBOX: usize = 16 * 1024 + LONGEST_EXTENDED;

/// Octets as the body of an OPEN: what is taken is the same after it was written.
pub fn open(data: &[u8]) {
    if let Ok(message) = Open::decode(Bytes::copy_from_slice(data)) {
        let mut out = Vec::new();
        message.encode(&mut out);
        let again = Open::decode(body(&out));
        assert!(out.len() <= 4096 && again.is_ok(), "what was read cannot be written");
        if data.len() < 3000 {
            assert_eq!(again, Ok(message));
        }
    }
}

/// Octets as the body of an UPDATE, on every kind of session.
pub fn update(data: &[u8]) {
    for four_octet_asn in [false, true] {
        for internal in [false, true] {
            let context = Context { four_octet_asn, internal, enhanced_route_refresh: false };
            let Ok(decoded) = Update::decode(Bytes::copy_from_slice(data), context) else {
                continue;
            };
            let prefixes = decoded.update.announced.len() + decoded.update.withdrawn.len();
            assert!(prefixes <= data.len(), "more prefixes than octets");
            let mut out = Vec::new();
            if decoded.update.encode(context, LONGEST_EXTENDED, &mut out).is_ok() {
                let again = Update::decode(body(&out), context).map(|again| again.update);
                assert_eq!(again, Ok(decoded.update));
            }
        }
    }
}

/// Octets as the body of a NOTIFICATION, and all that is read out of it.
pub fn notification(data: &[u8]) {
    if let Ok(message) = Notification::decode(Bytes::copy_from_slice(data)) {
        let communication = message.communication();
        assert!(communication.is_none_or(|text| !text.chars().any(char::is_control)));
        let hard = message.hard_reset();
        assert_eq!(hard.inside_hard_reset().map(|inside| inside.code), Some(message.code));
        let mut out = Vec::new();
        hard.encode(&mut out);
        assert!(out.len() <= 4096);
    }
}

/// Octets as the body of a ROUTE-REFRESH, from a peer with and without enhanced refresh.
pub fn route_refresh(data: &[u8]) {
    for enhanced_route_refresh in [false, true] {
        let context = Context { four_octet_asn: true, internal: false, enhanced_route_refresh };
        let decoded = RouteRefresh::decode(Bytes::copy_from_slice(data), context);
        assert!(
            enhanced_route_refresh || data.len() < 4 || decoded.is_ok(),
            "no request is refused"
        );
        if let Ok(Some(message)) = decoded {
            let mut out = Vec::new();
            message.encode(&mut out);
            assert_eq!(RouteRefresh::decode(body(&out), context), Ok(Some(message)));
        }
    }
}

fn body(message: &[u8]) -> Bytes {
    Bytes::copy_from_slice(message.get(19..).unwrap_or_default())
}

/// Octets as a history of a session: the first one chooses how far a good peer goes, the others what comes then, in portions,
/// framed or not, among timers and changes.
pub fn session(start: Instant, data: &[u8]) {
    let Some((choice, mut rest)) = data.split_first() else { return };
    let mut run = Run::new(start, choice & 0x20 != 0);
    run.good_peer(choice & 3);
    let framed = choice & 4 != 0;
    while let [length, kind, after @ ..] = rest {
        let (octets, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        match kind >> 4 {
            0..=9 if framed => run.message(kind % 6, octets),
            0..=9 => run.octets(octets),
            10 => run.timer(),
            11 if kind & 1 == 0 => run.event(Event::BfdDown),
            11 => run.event(Event::Reachable),
            12 => run.event(Event::Routes(routes(kind & 15))),
            13 => run.event(Event::Drain(kind & 1 == 0)),
            14 => run.connect(Direction::Incoming),
            _ => run.event(Event::Disconnected { direction: Direction::Outgoing, error: None }),
        }
    }
}

struct Run {
    now: Instant,
    peer: Peer,
    /// Whether TCP is there: outgoing, incoming.
    open: [bool; 2],
}

impl Run {
    fn new(start: Instant, restart: bool) -> Self {
        let remote = Remote::address(Ipv4Addr::new(192, 0, 2, 2));
        let identifier = Ipv4Addr::new(192, 0, 2, 1);
        let mut config = Config::new("fuzz", 64501, PeerAsn::Number(64502), identifier, remote);
        config.families = Families::BOTH;
        config.extended_message = true;
        config.enhanced_route_refresh = true;
        config.max_prefixes = Some(10);
        config.graceful_restart = restart.then_some(GracefulRestart {
            restart_time: Duration::from_secs(120),
            notification: true,
        });
        let mut run =
            Self { now: start, peer: Peer::new(start, Arc::new(config), 1), open: [false; 2] };
        run.event(Event::Routes(routes(3)));
        run.event(Event::InitialSyncDone);
        run.event(Event::Start);
        run
    }

    /// Goes so many steps as a peer should.
    fn good_peer(&mut self, steps: u8) {
        if steps > 0 {
            self.connect(Direction::Outgoing);
        }
        if steps > 1 {
            let offer = self.peer.config().families.iter();
            let mut capabilities: Vec<_> =
                offer.map(|family| crate::wire::Capability::Multiprotocol(family.into())).collect();
            capabilities.push(crate::wire::Capability::ExtendedMessage);
            capabilities.push(crate::wire::Capability::EnhancedRouteRefresh);
            if self.peer.config().graceful_restart.is_some() {
                let family = |family: crate::Family| crate::wire::RestartFamily {
                    family: family.into(),
                    forwarding: false,
                };
                capabilities.push(crate::wire::Capability::GracefulRestart {
                    restarted: false,
                    notification: true,
                    restart_time: 120,
                    families: crate::Family::ALL.map(family).to_vec(),
                });
            }
            let identifier = Ipv4Addr::new(192, 0, 2, 2);
            let open = Open::new(64502, crate::HoldTime::DEFAULT, identifier, capabilities);
            let mut octets = Vec::new();
            open.encode(&mut octets);
            self.octets(&octets);
        }
        if steps > 2 {
            let mut octets = Vec::new();
            write_keepalive(&mut octets);
            self.octets(&octets);
            assert_eq!(self.peer.status().state, State::Established);
        }
    }

    fn connect(&mut self, direction: Direction) {
        if direction == Direction::Incoming && !self.peer.accepts(self.now) {
            return;
        }
        if direction == Direction::Outgoing && self.peer.status().state != State::Connect {
            return;
        }
        let (local, remote) = (([192, 0, 2, 1], 179).into(), ([192, 0, 2, 2], 179).into());
        let next_hops = NextHops::default();
        self.event(Event::Connected { direction, local, remote, next_hops });
        self.set_open(direction, true);
        self.transmit();
    }

    const fn set_open(&mut self, direction: Direction, is: bool) {
        let [outgoing, incoming] = &mut self.open;
        match direction {
            Direction::Outgoing => *outgoing = is,
            Direction::Incoming => *incoming = is,
        }
    }

    const fn is_open(&self, direction: Direction) -> bool {
        let [outgoing, incoming] = self.open;
        match direction {
            Direction::Outgoing => outgoing,
            Direction::Incoming => incoming,
        }
    }

    fn message(&mut self, kind: u8, body: &[u8]) {
        let mut octets = Vec::new();
        write_message(&mut octets, crate::wire::MessageType::Keepalive, body);
        if let Some(octet) = octets.get_mut(18) {
            *octet = kind;
        }
        self.octets(&octets);
    }

    fn octets(&mut self, octets: &[u8]) {
        for direction in [Direction::Outgoing, Direction::Incoming] {
            if self.is_open(direction) {
                self.event(Event::Received { direction, octets });
            }
        }
        self.transmit();
    }

    fn timer(&mut self) {
        if let Some(deadline) = self.peer.deadline() {
            self.now = self.now.max(deadline);
            self.event(Event::Timer);
            let next = self.peer.deadline();
            assert!(next.is_none_or(|next| next > self.now), "a timer that does not stop");
        }
    }

    /// Half of what waits is read, so that the other half has to be kept.
    fn transmit(&mut self) {
        for direction in [Direction::Outgoing, Direction::Incoming] {
            let waiting = self.peer.transmit(self.now, direction).len();
            assert!(waiting <= OUTBOX, "{waiting} octets wait");
            if self.is_open(direction) {
                let count = waiting.div_ceil(2);
                self.event(Event::Written { direction, count });
            }
        }
    }

    fn event(&mut self, event: Event<'_>) {
        if let Event::Disconnected { direction, .. } = event {
            if !self.is_open(direction) {
                return;
            }
            self.set_open(direction, false);
        }
        self.peer.handle(self.now, event);
        while let Some(output) = self.peer.poll() {
            if let Output::Close { direction, .. } = output {
                self.set_open(direction, false);
            }
        }
        let status = self.peer.status();
        assert_eq!(status.state == State::Established, status.negotiated.is_some());
        assert!(status.announced_prefixes <= 64);
    }
}

/// A small table that depends on the number.
fn routes(number: u8) -> Arc<crate::Routes> {
    let entry = |n: u8| {
        let attributes = Attributes::default().with_med(u32::from(n % 3));
        let prefix = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 0, n, 0), 24).into();
        (prefix, Arc::new(attributes))
    };
    Arc::new((0..number).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begin() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a beginning for the virtual clock")]
        Instant::now()
    }

    /// Octets that often look like something.
    fn octets() -> impl Strategy<Value = Vec<u8>> {
        let small = prop_oneof![4 => 0u8..6, 2 => any::<u8>(), 1 => Just(0xff), 1 => Just(0x40)];
        prop::collection::vec(small, 0..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_octets_break_a_message(data in octets()) {
            open(&data);
            update(&data);
            notification(&data);
            route_refresh(&data);
        }

        #[test]
        fn no_history_breaks_a_session(data in octets()) {
            session(begin(), &data);
        }
    }
}
