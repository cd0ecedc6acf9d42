// SPDX-License-Identifier: Apache-2.0
//! Two peers joined by a simulated network with a virtual clock: delay, connections that break or fall silent, readers that
//! stall. What each side receives is decoded by itself into the table that a router would have.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ipnet::IpNet;

use crate::wire::{Attribute, Context, Message, Notification, Open, RefreshKind, next_message};
use crate::{
    Config, Direction, Event, Families, Family, NextHops, Output, Peer, PeerAsn, Remote, State,
};

/// Octets that TCP takes before the reader must read.
const WINDOW: usize = 256 * 1024;

/// What a router makes of what it is sent.
#[derive(Debug, Default)]
pub(super) struct Table {
    buffer: BytesMut,
    pub(super) opens: Vec<Open>,
    pub(super) notifications: Vec<Notification>,
    pub(super) paths: BTreeMap<IpNet, Vec<Attribute>>,
    pub(super) ended: Vec<Family>,
    pub(super) marks: Vec<RefreshKind>,
    /// Prefixes of each UPDATE since the last connection: announced, withdrawn.
    pub(super) updates: Vec<(usize, usize)>,
    pub(super) keepalives: usize,
}

impl Table {
    fn connection(&mut self) {
        self.buffer.clear();
        self.paths.clear();
        self.ended.clear();
        self.updates.clear();
    }

    pub(super) fn read(&mut self, octets: &[u8], context: Context) {
        self.buffer.extend_from_slice(octets);
        while let Some((kind, body)) = next_message(&mut self.buffer, true).unwrap() {
            match Message::decode(kind, body, context).unwrap() {
                Message::Open(open) => self.opens.push(open),
                Message::Notification(notification) => self.notifications.push(notification),
                Message::Keepalive => self.keepalives += 1,
                Message::RouteRefresh(refresh) => self.marks.push(refresh.unwrap().kind),
                Message::Update(decoded) => {
                    assert_eq!(decoded.flaws, []);
                    let update = decoded.update;
                    if let Some(family) = update.ends_rib_of() {
                        self.ended.push(family);
                        continue;
                    }
                    let (mut announced, mut withdrawn) = (
                        update.announced.iter().collect::<Vec<_>>(),
                        update.withdrawn.iter().collect::<Vec<_>>(),
                    );
                    for attribute in &update.attributes {
                        match attribute {
                            Attribute::MpReach(reach) => announced.extend(reach.prefixes.iter()),
                            Attribute::MpUnreach(prefixes) => withdrawn.extend(prefixes.iter()),
                            _ => {}
                        }
                    }
                    self.updates.push((announced.len(), withdrawn.len()));
                    for prefix in announced {
                        self.paths.insert(prefix, update.attributes.clone());
                    }
                    for prefix in withdrawn {
                        assert!(self.paths.remove(&prefix).is_some(), "{prefix} was not announced");
                    }
                }
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Side {
    pub(super) peer: Peer,
    pub(super) table: Table,
    pub(super) address: SocketAddr,
    /// Does not take connections.
    pub(super) deaf: bool,
    /// Does not read.
    pub(super) stalled: bool,
}

#[derive(Debug)]
struct Connection {
    opener: usize,
    /// Per side: whether its end is open.
    open: [bool; 2],
    established: bool,
    /// Per side: what waits to be read there.
    unread: [Vec<u8>; 2],
    in_flight: [usize; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrives { connection: usize },
    Opened { connection: usize },
    Refused { connection: usize },
    Data { connection: usize, to: usize, octets: Vec<u8> },
    Closed { connection: usize, to: usize },
}

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) sides: [Side; 2],
    pub(super) delay: Duration,
    /// Nothing arrives, and nobody is told.
    pub(super) silent: bool,
    connections: Vec<Connection>,
    agenda: BinaryHeap<Reverse<(Instant, usize, Happening)>>,
    order: usize,
}

pub(super) fn config(side: usize, change: impl Fn(&mut Config)) -> Arc<Config> {
    let [local, remote] = if side == 0 { [1, 2] } else { [2, 1] };
    let address = |n| Ipv4Addr::new(192, 0, 2, n);
    let mut config = Config::new(
        if side == 0 { "a" } else { "b" },
        64500 + u32::from(local),
        PeerAsn::Number(64500 + u32::from(remote)),
        address(local),
        Remote::address(address(remote)),
    );
    config.families = Families::BOTH;
    change(&mut config);
    Arc::new(config)
}

pub(super) fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a beginning for the virtual clock")]
    Instant::now()
}

impl Pair {
    /// Both sides, not begun.
    pub(super) fn new(seed: u64, change: impl Fn(usize, &mut Config)) -> Self {
        let now = start();
        let side = |n: usize| Side {
            peer: Peer::new(
                now,
                config(n, |config| change(n, config)),
                seed.wrapping_mul(31) + n as u64,
            ),
            table: Table::default(),
            address: format!("192.0.2.{}:179", n + 1).parse().unwrap(),
            deaf: false,
            stalled: false,
        };
        Self {
            now,
            sides: [side(0), side(1)],
            delay: Duration::from_millis(5),
            silent: false,
            connections: Vec::new(),
            agenda: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Both begun.
    pub(super) fn started(seed: u64, change: impl Fn(usize, &mut Config)) -> Self {
        let mut pair = Self::new(seed, change);
        pair.sides[1].peer.handle(pair.now, Event::InitialSyncDone);
        for side in 0..2 {
            pair.handle(side, Event::Start);
        }
        pair
    }

    /// Begun, and up.
    pub(super) fn up(seed: u64, change: impl Fn(usize, &mut Config)) -> Self {
        let mut pair = Self::started(seed, change);
        pair.until("both up", Self::both_up);
        pair
    }

    pub(super) fn both_up(&self) -> bool {
        self.sides.iter().all(|side| side.peer.status().state == State::Established)
    }

    pub(super) fn handle(&mut self, side: usize, event: Event<'_>) {
        self.sides[side].peer.handle(self.now, event);
        self.pump();
    }

    /// The process of a side ends and another begins; its connections are closed by the kernel.
    pub(super) fn replace(&mut self, side: usize, peer: Peer) {
        for connection in 0..self.connections.len() {
            self.close(connection, side, Vec::new());
        }
        self.sides[side].peer = peer;
        self.sides[side].table = Table::default();
    }

    /// Runs until the condition holds; no longer than a day.
    pub(super) fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(86_400);
        self.pump();
        while !condition(self) {
            assert!(
                self.step(end),
                "never: {what}: {:#?}",
                self.sides.each_ref().map(|side| side.peer.status())
            );
        }
    }

    /// Runs for so long.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.pump();
        while self.step(end) {}
        self.now = end;
    }

    /// Every connection breaks, and both sides notice.
    pub(super) fn cut(&mut self) {
        for connection in 0..self.connections.len() {
            for side in 0..2 {
                if std::mem::take(&mut self.connections[connection].open[side]) {
                    let direction = self.direction(connection, side);
                    let error = Some("connection reset".to_owned());
                    self.sides[side]
                        .peer
                        .handle(self.now, Event::Disconnected { direction, error });
                }
            }
        }
        self.pump();
    }

    /// Begins to read again.
    pub(super) fn resume(&mut self, side: usize) {
        self.sides[side].stalled = false;
        for connection in 0..self.connections.len() {
            let octets = std::mem::take(&mut self.connections[connection].unread[side]);
            self.deliver(connection, side, &octets);
        }
        self.pump();
    }

    fn step(&mut self, end: Instant) -> bool {
        let timers = self.sides.iter().filter_map(|side| side.peer.deadline()).min();
        let next = self.agenda.peek().map(|Reverse((at, ..))| *at);
        let Some(at) = timers.into_iter().chain(next).min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(at);
        if next.is_some_and(|next| next <= self.now) {
            if let Some(Reverse((_, _, happening))) = self.agenda.pop() {
                self.happen(happening);
            }
        } else {
            for side in &mut self.sides {
                if side.peer.deadline().is_some_and(|deadline| deadline <= self.now) {
                    side.peer.handle(self.now, Event::Timer);
                    let next = side.peer.deadline();
                    assert!(next.is_none_or(|next| next > self.now), "a timer that does not stop");
                }
            }
        }
        self.pump();
        true
    }

    fn later(&mut self, happening: Happening) {
        self.order += 1;
        self.agenda.push(Reverse((self.now + self.delay, self.order, happening)));
    }

    fn direction(&self, connection: usize, side: usize) -> Direction {
        if self.connections[connection].opener == side {
            Direction::Outgoing
        } else {
            Direction::Incoming
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { connection } => {
                let opener = self.connections[connection].opener;
                let side = &self.sides[1 - opener];
                if self.silent || !self.connections[connection].open[opener] {
                    return;
                }
                if side.deaf || !side.peer.accepts(self.now) {
                    self.later(Happening::Refused { connection });
                    return;
                }
                self.connections[connection].open[1 - opener] = true;
                self.connections[connection].established = true;
                self.later(Happening::Opened { connection });
                self.connect(connection, 1 - opener);
            }
            Happening::Opened { connection } => {
                let opener = self.connections[connection].opener;
                if self.connections[connection].open[opener] {
                    self.connect(connection, opener);
                }
            }
            Happening::Refused { connection } => {
                let opener = self.connections[connection].opener;
                if std::mem::take(&mut self.connections[connection].open[opener]) {
                    let error = Some("refused".to_owned());
                    let direction = Direction::Outgoing;
                    self.sides[opener]
                        .peer
                        .handle(self.now, Event::Disconnected { direction, error });
                }
            }
            Happening::Data { connection, to, octets } => {
                self.connections[connection].in_flight[to] -= octets.len();
                if self.silent || !self.connections[connection].open[to] {
                    return;
                }
                if self.sides[to].stalled {
                    self.connections[connection].unread[to].extend(octets);
                } else {
                    self.deliver(connection, to, &octets);
                }
            }
            Happening::Closed { connection, to } => {
                if self.silent || self.sides[to].stalled {
                    return;
                }
                if std::mem::take(&mut self.connections[connection].open[to]) {
                    let direction = self.direction(connection, to);
                    let event = Event::Disconnected { direction, error: None };
                    self.sides[to].peer.handle(self.now, event);
                }
            }
        }
    }

    fn connect(&mut self, connection: usize, side: usize) {
        let direction = self.direction(connection, side);
        let [local, remote] = [self.sides[side].address, self.sides[1 - side].address];
        let next_hops = NextHops {
            ipv4: None,
            ipv6: Some(format!("2001:db8::{}", side + 1).parse().unwrap()),
            link_local: None,
        };
        self.sides[side].table.connection();
        let event = Event::Connected { direction, local, remote, next_hops };
        self.sides[side].peer.handle(self.now, event);
    }

    fn deliver(&mut self, connection: usize, side: usize, octets: &[u8]) {
        if octets.is_empty() || !self.connections[connection].open[side] {
            return;
        }
        let direction = self.direction(connection, side);
        let before = self.sides[side].peer.status().negotiated;
        self.sides[side].peer.handle(self.now, Event::Received { direction, octets });
        let after = self.sides[side].peer.status().negotiated;
        let context = after.or(before).map_or(
            Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false },
            |agreed| Context {
                four_octet_asn: agreed.four_octet_asn,
                internal: agreed.internal,
                enhanced_route_refresh: agreed.enhanced_route_refresh,
            },
        );
        self.sides[side].table.read(octets, context);
    }

    fn close(&mut self, connection: usize, side: usize, octets: Vec<u8>) {
        if !std::mem::take(&mut self.connections[connection].open[side]) {
            return;
        }
        if self.connections[connection].established {
            if !octets.is_empty() {
                self.connections[connection].in_flight[1 - side] += octets.len();
                self.later(Happening::Data { connection, to: 1 - side, octets });
            }
            self.later(Happening::Closed { connection, to: 1 - side });
        }
    }

    /// Does what both sides want done now.
    fn pump(&mut self) {
        loop {
            let mut idle = true;
            for side in 0..2 {
                while let Some(output) = self.sides[side].peer.poll() {
                    idle = false;
                    self.carry_out(side, output);
                }
                for connection in 0..self.connections.len() {
                    idle &= !self.transmit(connection, side);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn carry_out(&mut self, side: usize, output: Output) {
        match output {
            Output::Connect => {
                let outgoing: BTreeSet<usize> = self.of(side, Direction::Outgoing);
                for connection in outgoing {
                    self.close(connection, side, Vec::new());
                }
                let mut open = [false; 2];
                open[side] = true;
                self.connections.push(Connection {
                    opener: side,
                    open,
                    established: false,
                    unread: Default::default(),
                    in_flight: [0; 2],
                });
                self.later(Happening::Arrives { connection: self.connections.len() - 1 });
            }
            Output::Close { direction, octets } => {
                for connection in self.of(side, direction) {
                    self.close(connection, side, octets.clone());
                }
            }
            Output::Established(_) | Output::Down(_) => {}
        }
    }

    fn of(&self, side: usize, direction: Direction) -> BTreeSet<usize> {
        (0..self.connections.len())
            .filter(|one| {
                self.connections[*one].open[side] && self.direction(*one, side) == direction
            })
            .collect()
    }

    fn transmit(&mut self, connection: usize, side: usize) -> bool {
        let one = &self.connections[connection];
        if !one.open[side] || !one.established {
            return false;
        }
        let room = WINDOW.saturating_sub(one.in_flight[1 - side] + one.unread[1 - side].len());
        let direction = self.direction(connection, side);
        let waiting = self.sides[side].peer.transmit(self.now, direction);
        let octets = waiting[..waiting.len().min(room)].to_vec();
        if octets.is_empty() {
            return false;
        }
        let count = octets.len();
        self.connections[connection].in_flight[1 - side] += count;
        self.later(Happening::Data { connection, to: 1 - side, octets });
        self.sides[side].peer.handle(self.now, Event::Written { direction, count });
        true
    }
}
