// SPDX-License-Identifier: Apache-2.0
//! The loop of the answering thread: carry out what the engine wants, wait, feed it what came. Everything that can be
//! much (announcements, probes, memberships) is done in small portions between two looks at the sockets, so that no
//! answer waits for it. Not the opening of sockets ([`ports`]).

mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use poll::Epoll;

use super::memberships::Memberships;
use super::netlink::{Change, Netlink};
use super::packet_socket::{BATCH, Batch, PacketSocket};
use super::{Shared, StartError, Wish};
use crate::{Engine, Event, Options, Permit, Protocol};

/// A frame that has waited longer is not answered any more: the asker has gone on, and the address may have moved.
const STALE: Duration = Duration::from_millis(100);
/// Frames announced, and probes, in one turn.
const ANNOUNCEMENTS: usize = 64;
/// Groups joined or left in one turn.
const MEMBERSHIPS: usize = 16;
/// Batches taken from one socket in one turn.
const BATCHES: usize = 8;
/// How many descriptors are told at once; the others are told in the next turn.
const READY: usize = 16;
/// A socket that failed is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);
/// How often a node that may not speak looks whether it may again.
const SILENT: Duration = Duration::from_millis(20);
/// How long the start waits for the kernel to name the links.
const FIRST_DUMP: Duration = Duration::from_secs(5);

const WAKE: u64 = u64::MAX;
const NETLINK: u64 = u64::MAX - 1;

type OnEvent = Box<dyn Fn(Event) + Send + Sync>;
type Port = (u32, Protocol);

pub(super) struct Runner {
    engine: Engine,
    shared: Arc<Shared>,
    wishes: Receiver<Wish>,
    on_event: OnEvent,
    seen: u64,
    epoll: Epoll<READY>,
    netlink: Netlink,
    netlink_retry: Option<Instant>,
    sockets: BTreeMap<Port, PacketSocket>,
    failed: BTreeMap<Port, Failed>,
    memberships: Memberships,
    /// Groups that could not be joined, and when to try again.
    unjoined: Option<(Instant, Vec<(u32, Ipv6Addr)>)>,
    /// The links for which that was told.
    told: BTreeSet<u32>,
    batch: Batch,
    permit: Permit,
    silent: bool,
    /// Who wants to know when its wishes are in force.
    telling: Vec<u64>,
}

/// A port whose socket is to be opened again.
struct Failed {
    interface: Arc<str>,
    retry: Instant,
}

impl Runner {
    /// Opens what is common to all links and learns of them.
    pub(super) fn new(
        options: Options,
        shared: Arc<Shared>,
        wishes: Receiver<Wish>,
        on_event: OnEvent,
    ) -> Result<Self, StartError> {
        let system = |call| move |error| StartError::System { call, error };
        let epoll = Epoll::new().map_err(system("epoll_create1"))?;
        epoll.add(shared.wake.descriptor(), WAKE).map_err(system("epoll_ctl"))?;
        let netlink = Netlink::open().map_err(system("opening netlink"))?;
        epoll.add(netlink.descriptor(), NETLINK).map_err(system("epoll_ctl"))?;
        let permit = options.permit.clone();
        let engine = Engine::new(options, Arc::clone(&shared.counters));
        let mut runner = Self {
            engine,
            shared,
            wishes,
            on_event,
            seen: 0,
            epoll,
            netlink,
            netlink_retry: None,
            sockets: BTreeMap::new(),
            failed: BTreeMap::new(),
            memberships: Memberships::default(),
            unjoined: None,
            told: BTreeSet::new(),
            batch: Batch::new(),
            permit,
            silent: false,
            telling: Vec::new(),
        };
        runner.first_dump().map_err(system("asking netlink for the links"))?;
        Ok(runner)
    }

    fn first_dump(&mut self) -> io::Result<()> {
        let end = clock::now() + FIRST_DUMP;
        let mut ready = Vec::new();
        while !self.netlink.is_synchronized() {
            let left = end.checked_duration_since(clock::now()).ok_or(io::ErrorKind::TimedOut)?;
            self.epoll.wait(Some(left), &mut ready)?;
            if ready.contains(&NETLINK) {
                self.receive_links()?;
            }
        }
        self.shared.links.store(self.engine.links());
        Ok(())
    }

    fn reopen_netlink(&mut self) -> io::Result<()> {
        self.netlink.reopen()?;
        self.epoll.add(self.netlink.descriptor(), NETLINK)
    }

    /// The thread.
    pub(super) fn run(mut self) {
        if let Err(error) = super::slice::shorten() {
            tracing::debug!(%error, "the scheduler keeps its usual time slice");
        }
        let mut ready = Vec::new();
        while !self.shared.stop.load(Ordering::Acquire) {
            let now = clock::now();
            self.take_desired(now);
            self.retry(now);
            self.change_ports();
            self.attach_filters(now);
            self.silent = !self.may_speak();
            if self.silent {
                self.engine.drop_probes();
            }
            let more = !self.silent && self.announce(now) | self.change_memberships(now);
            if !more && !self.silent {
                for number in self.telling.drain(..) {
                    (self.on_event)(Event::Done(number));
                }
            }
            self.tell();
            let timeout = match (more, self.silent) {
                (true, _) => Some(Duration::ZERO),
                // Nobody wakes this thread when the permission comes back.
                (false, true) => Some(SILENT),
                (false, false) => self.timeout(),
            };
            if let Err(error) = self.epoll.wait(timeout, &mut ready) {
                // Cannot happen with a valid set; if it does, the loop must not spin.
                tracing::error!(%error, "epoll_wait failed");
                std::thread::sleep(RETRY);
            }
            for token in &ready {
                match *token {
                    WAKE => self.shared.wake.clear(),
                    NETLINK => self.links_changed(),
                    token => self.receive(port_of(token)),
                }
            }
        }
    }

    /// Takes what was wished since. Cheap when there is nothing: it is asked before every batch.
    fn take_desired(&mut self, now: Instant) {
        let published = self.shared.published.load(Ordering::Acquire);
        if published != self.seen {
            self.seen = published;
            while let Ok(wish) = self.wishes.try_recv() {
                match wish {
                    Wish::All(desired) => self.engine.set_desired(now, &desired),
                    Wish::Linger(addresses) => {
                        for address in addresses {
                            self.engine.answer_only(address);
                        }
                    }
                    Wish::Watch(changes) => {
                        for (address, scope) in changes {
                            self.engine.watch(now, address, scope.as_ref());
                        }
                    }
                    Wish::Probe(addresses) => {
                        self.engine.probe(&addresses);
                        if !self.may_speak() {
                            self.engine.drop_probes();
                        }
                    }
                    Wish::Precedence(precedence) => self.engine.set_precedence(precedence),
                    Wish::AnnounceAll => self.engine.announce_all(now),
                    Wish::Tell(number) => self.telling.push(number),
                    Wish::Some(changes) => {
                        for (address, scope) in changes {
                            self.engine.change(now, address, scope.as_ref());
                        }
                    }
                }
            }
        }
    }

    fn receive(&mut self, port: Port) {
        for _ in 0..BATCHES {
            let Some(socket) = self.sockets.get(&port) else { return };
            let count = match socket.receive(&mut self.batch) {
                Ok(count) => count,
                Err(error) => return self.receive_failed(port, error),
            };
            let now = clock::now();
            self.take_desired(now);
            let Some(socket) = self.sockets.get(&port) else { return };
            add(&self.shared.frames_received, count);
            // Asked here, after the frames were taken: a standstill may lie right before this line.
            let silent = !self.may_speak();
            for (frame, age) in self.batch.frames() {
                let stale = age > STALE;
                // What came during a standstill is of a time when others had to take over.
                if stale && silent {
                    add(&self.shared.stale_dropped, 1);
                    continue;
                }
                // Also of a late frame it counts what it claims: the answer to our own question may be among them.
                let Some(reply) = self.engine.handle_frame(now, port.0, port.1, frame) else {
                    continue;
                };
                if stale {
                    add(&self.shared.stale_dropped, 1);
                    continue;
                }
                if silent {
                    add(&self.shared.silenced, 1);
                    continue;
                }
                match socket.send(reply.frame.as_bytes()) {
                    Ok(()) => {
                        self.engine.answered(&reply);
                        if tracing::enabled!(tracing::Level::DEBUG) {
                            tracing::debug!(
                                interface = %self.name_of(port.0),
                                ip = %reply.address,
                                "got {} request for service IP, sending response",
                                port.1
                            );
                        }
                    }
                    Err(error) => {
                        add(&self.shared.send_errors, 1);
                        tracing::debug!(link = port.0, %error, "an answer could not be sent");
                    }
                }
            }
            if count < BATCH {
                return;
            }
        }
    }

    fn name_of(&self, link: u32) -> Arc<str> {
        let links = self.engine.links();
        let report = links.iter().find(|report| report.index == link);
        report.map(|report| Arc::clone(&report.name)).unwrap_or_default()
    }

    /// Whether somebody vouches for this node at this moment.
    fn may_speak(&self) -> bool {
        self.permit.is_unlimited() || self.permit.is_valid(boottime())
    }

    fn receive_failed(&mut self, port: Port, error: io::Error) {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => {}
            // Told once when the link goes down; netlink says the same with more detail.
            Some(libc::ENETDOWN) => {
                tracing::debug!(link = port.0, "the link of a packet socket went down")
            }
            _ => {
                self.sockets.remove(&port);
                if let Some(interface) = self.interface(port.0) {
                    self.fail(port, interface, "receiving", &error);
                }
            }
        }
    }

    /// Sends what is due, up to the portion; returns whether there may be more.
    fn announce(&mut self, now: Instant) -> bool {
        for _ in 0..ANNOUNCEMENTS {
            let Some(transmit) = self.engine.poll_transmit(now) else { return false };
            // Without a socket the port has failed; all is announced again when it works.
            let Some(socket) = self.sockets.get(&(transmit.link, transmit.protocol)) else {
                continue;
            };
            match socket.send(transmit.frame.as_bytes()) {
                Ok(()) => self.engine.transmitted(&transmit),
                Err(error) => {
                    add(&self.shared.send_errors, 1);
                    tracing::debug!(link = transmit.link, %error, "an announcement could not be sent");
                }
            }
        }
        true
    }

    fn links_changed(&mut self) {
        if let Err(error) = self.receive_links() {
            tracing::warn!(%error, "netlink failed; opening it again");
            self.netlink_retry = Some(clock::now() + RETRY);
        }
    }

    fn receive_links(&mut self) -> io::Result<()> {
        for change in self.netlink.receive()? {
            match change {
                Change::Upsert(facts) => self.engine.upsert_link(facts),
                Change::Remove(index) => self.engine.remove_link(index),
            }
        }
        self.engine.settle(clock::now());
        Ok(())
    }

    fn tell(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            if event == Event::LinksChanged {
                self.shared.links.store(self.engine.links());
            }
            (self.on_event)(event);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let retries = self.failed.values().map(|failed| failed.retry);
        let others =
            [self.engine.deadline(), self.netlink_retry, self.unjoined.as_ref().map(|(at, _)| *at)];
        let first = retries.chain(others.into_iter().flatten()).min()?;
        Some(first.saturating_duration_since(clock::now()))
    }

    fn interface(&self, link: u32) -> Option<Arc<str>> {
        self.engine
            .links()
            .iter()
            .find(|report| report.index == link)
            .map(|report| Arc::clone(&report.name))
    }
}

/// The link in the upper half, the protocol in the lower.
fn token_of((link, protocol): Port) -> u64 {
    u64::from(link) << 1 | u64::from(protocol == Protocol::Ndp)
}

fn port_of(token: u64) -> Port {
    let protocol = if token & 1 == 1 { Protocol::Ndp } else { Protocol::Arp };
    (u32::try_from(token >> 1).unwrap_or(0), protocol)
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
}

/// Nanoseconds of the clock that goes on while the system is suspended.
fn boottime() -> u64 {
    // Without it nothing may be said.
    clock::boottime().map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
