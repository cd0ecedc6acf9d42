// SPDX-License-Identifier: Apache-2.0
//! The shell around the peers: TCP, listeners, router advertisements and the clock. Not a place for decisions.
//!
//! ```text
//!   Engine (any thread)        tasks of one tokio runtime
//!     set_peers ─┐              drive      one per peer: TcpStreams (two at most), one sleep
//!     *_routes   ├─> Cell <───> listen     one per port and interface: a socket per family
//!     statuses  <┘ (Peer)       neighbour  one per interface with an unnumbered peer: a raw ICMPv6 socket
//!     changes <──────────────── addresses  one: hears of changed addresses
//! ```

mod addresses;
mod connect;
mod drive;
mod listen;
mod neighbour;
mod next_hops;
mod socket_options;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::advertiser::News;
use crate::{Attributes, Config, Event, Hindrance, Peer, Remote, Routes, Status, Stop};
use drive::{Cell, now};
use listen::{Guests, Listener, Place};
use neighbour::Link;

/// Changes of addresses come in crowds.
const SETTLE: Duration = Duration::from_millis(100);
/// Accepted connections that may wait for a peer's task.
const WAITING: usize = 2;

/// What the engine needs to know once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of the jitter of all timers (RFC 4271 §10).
    pub seed: u64,
    /// How long a closing connection may take to carry its last message.
    pub stop_time: Duration,
}

impl Default for Options {
    /// One second to close.
    fn default() -> Self {
        Self { seed: 0, stop_time: Duration::from_secs(1) }
    }
}

/// All sessions of this process. Clones are the same engine; the last one dropped ends the tasks without a farewell.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What BFD says about the path to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bfd {
    /// It works: a peer that waits to try again tries at once.
    Up,
    /// It does not: a session that is up is closed at once with CEASE/10 (RFC 9384).
    Down,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    runtime: Handle,
    changes: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    peers: BTreeMap<Arc<str>, Running>,
    /// For peers that are not there yet; who is there has its own.
    routes: BTreeMap<Arc<str>, Arc<Routes>>,
    listeners: BTreeMap<Place, Listener>,
    links: BTreeMap<Arc<str>, Link>,
    /// Tasks of peers that were taken away and still say goodbye.
    leaving: Vec<JoinHandle<()>>,
    addresses: Option<JoinHandle<()>>,
    complete: bool,
    drain: bool,
    stopped: bool,
    seeds: u64,
}

#[derive(Debug)]
struct Running {
    cell: Arc<Cell>,
    config: Arc<Config>,
    task: JoinHandle<()>,
}

impl Running {
    /// Whether the peer is the router behind this interface.
    fn is_behind(&self, interface: &str) -> bool {
        matches!(&self.config.remote, Remote::Interface(one) if **one == *interface)
    }
}

impl Engine {
    /// Starts without peers. To be called inside a tokio runtime, whose threads then do the work, in their network namespace.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let inner = Arc::new(Inner {
            options,
            runtime: Handle::current(),
            changes: watch::Sender::new(0),
            state: Mutex::default(),
        });
        let task = tokio::spawn(follow_addresses(Arc::downgrade(&inner)));
        inner.state().addresses = Some(task);
        Self { inner }
    }

    /// From now exactly these peers exist, each under its key, which should be [`Config::name`]. A peer that stays is reset only
    /// if [`Config::change`] says so; one that goes is sent CEASE/3, and its routes are forgotten.
    pub fn set_peers(&self, peers: BTreeMap<Arc<str>, Arc<Config>>) {
        let _runtime = self.inner.runtime.enter();
        let mut state = self.inner.state();
        if state.stopped {
            return;
        }
        state.leaving.retain(|task| !task.is_finished());
        let gone: Vec<Arc<str>> =
            state.peers.keys().filter(|name| !peers.contains_key(*name)).cloned().collect();
        for name in gone {
            state.routes.remove(&name);
            if let Some(running) = state.peers.remove(&name) {
                running.cell.tell(Event::Stop(Stop::PeerDeconfigured));
                state.leaving.push(running.task);
            }
        }
        for (name, config) in peers {
            match state.peers.get_mut(&name) {
                Some(running) => {
                    if *running.config != *config {
                        if running.config.remote != config.remote {
                            running.cell.forget_neighbour();
                        }
                        running.config = Arc::clone(&config);
                        running.cell.tell(Event::Configure(config));
                    }
                }
                None => self.inner.begin(&mut state, name, config),
            }
        }
        self.inner.arrange(&mut state);
        drop(state);
        self.inner.changes.send_modify(|count| *count += 1);
    }

    /// From now the peer shall have exactly these routes. A peer without routes is told none. May be called before
    /// `set_peers` names the peer.
    pub fn set_routes(&self, peer: &str, routes: Arc<Routes>) {
        let mut state = self.inner.state();
        match state.peers.get(peer) {
            Some(running) => running.cell.tell(Event::Routes(routes)),
            None => drop(state.routes.insert(peer.into(), routes)),
        }
    }

    /// From now the peer shall have these routes, and none for a prefix with `None`; the others stay. It costs as much as the
    /// changes are many, not the table; only the first one after [`Engine::set_routes`] copies a table that the caller kept.
    pub fn change_routes(&self, peer: &str, changes: Vec<(IpNet, Option<Arc<Attributes>>)>) {
        let mut state = self.inner.state();
        if let Some(running) = state.peers.get(peer) {
            running.cell.tell(Event::Changes(changes));
            return;
        }
        let table = Arc::make_mut(state.routes.entry(peer.into()).or_default());
        for (prefix, attributes) in changes {
            match attributes {
                Some(attributes) => table.insert(prefix, attributes),
                None => table.remove(&prefix),
            };
        }
    }

    /// The routes given so far are complete: End-of-RIB may be sent (RFC 4724 §4.1). Until then a peer with graceful restart is
    /// told that this process has restarted.
    pub fn initial_sync_done(&self) {
        let mut state = self.inner.state();
        state.complete = true;
        for running in state.peers.values() {
            running.cell.tell(Event::InitialSyncDone);
        }
    }

    /// What BFD says about the path to the peer, at each change.
    pub fn bfd_state(&self, peer: &str, bfd: Bfd) {
        if let Some(running) = self.inner.state().peers.get(peer) {
            running.cell.tell(match bfd {
                Bfd::Up => Event::Reachable,
                Bfd::Down => Event::BfdDown,
            });
        }
    }

    /// Announces GRACEFUL_SHUTDOWN (RFC 8326) with every prefix to every peer, or no longer.
    pub fn drain(&self, drain: bool) {
        let mut state = self.inner.state();
        state.drain = drain;
        for running in state.peers.values() {
            running.cell.tell(Event::Drain(drain));
        }
    }

    /// Ends all sessions and waits until that is done, a little more than [`Options::stop_time`] at most. After that the
    /// engine does nothing more.
    pub async fn stop(&self, stop: Stop) {
        let tasks = {
            let mut state = self.inner.state();
            state.stopped = true;
            state.listeners.clear();
            state.links.clear();
            let mut tasks = std::mem::take(&mut state.leaving);
            for running in std::mem::take(&mut state.peers).into_values() {
                running.cell.tell(Event::Stop(stop.clone()));
                tasks.push(running.task);
            }
            tasks
        };
        let all = async {
            for task in tasks {
                // A task that panicked has said so.
                let _ = task.await;
            }
        };
        let patience = self.inner.options.stop_time + Duration::from_millis(500);
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("some BGP sessions did not close in time");
        }
    }

    /// How every peer stands now, by its key.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<Arc<str>, Status> {
        let state = self.inner.state();
        let status = |running: &Running| running.cell.peer().status();
        state.peers.iter().map(|(name, running)| (Arc::clone(name), status(running))).collect()
    }

    /// What every peer runs with now.
    #[must_use]
    pub fn configs(&self) -> BTreeMap<Arc<str>, Arc<Config>> {
        let state = self.inner.state();
        let config = |running: &Running| Arc::clone(&running.config);
        state.peers.iter().map(|(name, running)| (Arc::clone(name), config(running))).collect()
    }

    /// Changes its value whenever a state, a reason or a number of announced prefixes changed; not for counters.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, state: &mut State, name: Arc<str>, config: Arc<Config>) {
        state.seeds += 1;
        let seed = self.options.seed.wrapping_add(state.seeds);
        let mut peer = Peer::new(now(), Arc::clone(&config), seed);
        if let Some(routes) = state.routes.remove(&name) {
            peer.handle(now(), Event::Routes(routes));
        }
        if state.complete {
            peer.handle(now(), Event::InitialSyncDone);
        }
        peer.handle(now(), Event::Drain(state.drain));
        peer.handle(now(), Event::Start);
        let (sender, accepted) = mpsc::channel(WAITING);
        let cell = Arc::new(Cell::new(peer, sender));
        let changes = self.changes.clone();
        let task = drive::run(Arc::clone(&cell), accepted, changes, self.options.stop_time);
        let task = tokio::spawn(task);
        state.peers.insert(name, Running { cell, config, task });
    }

    /// Has the listeners and links that the peers need, and no others.
    fn arrange(self: &Arc<Self>, state: &mut State) {
        let mut places: BTreeMap<Place, Guests> = BTreeMap::new();
        let mut interfaces: BTreeSet<Arc<str>> = BTreeSet::new();
        for running in state.peers.values() {
            let config = &running.config;
            if let Remote::Interface(interface) = &config.remote {
                interfaces.insert(Arc::clone(interface));
            }
            let Some(port) = config.listens_on() else { continue };
            let place = Place { port, interface: config.bind_interface.clone() };
            let guests = places.entry(place).or_default();
            guests.ttl_security |= config.ttl_security.is_some();
            let least = socket_options::least_ttl(config);
            guests.least_ttl = Some(guests.least_ttl.map_or(least, |other| other.min(least)));
            if let (Some(address), Some(password)) = (address_of(running), &config.password) {
                guests.keys.insert(address, password.clone());
            }
        }
        state.listeners.retain(|place, _| places.contains_key(place));
        for (place, guests) in places {
            match state.listeners.get(&place) {
                Some(listener) => listener.set_guests(guests),
                None => {
                    let listener = Listener::start(Arc::downgrade(self), place.clone(), guests);
                    state.listeners.insert(place, listener);
                }
            }
        }
        state.links.retain(|interface, _| interfaces.contains(interface));
        for interface in interfaces {
            if !state.links.contains_key(&interface) {
                state.seeds += 1;
                let seed = self.options.seed.wrapping_add(state.seeds);
                let link = Link::start(Arc::downgrade(self), Arc::clone(&interface), seed);
                state.links.insert(interface, link);
            }
        }
    }

    /// A connection that a listener took.
    fn deliver(&self, place: &Place, stream: TcpStream, remote: SocketAddr) {
        let local = stream.local_addr().map(|local| local.ip()).ok();
        let state = self.state();
        // Peers may share an address and differ in the one that they connect to.
        let mut guests = state.peers.values().filter(|running| {
            let config = &running.config;
            config.listens_on() == Some(place.port)
                && config.bind_interface == place.interface
                && config.source_address.is_none_or(|source| Some(source) == local)
                && is_from(running, remote)
                && running.cell.peer().accepts(now())
        });
        match guests.next() {
            Some(running) => {
                // A task that is behind loses it, as if nobody had listened.
                if running.cell.accepted.try_send(stream).is_err() {
                    tracing::debug!(%remote, "connection dropped: others of the peer wait");
                }
            }
            None => tracing::debug!(%remote, port = place.port, "connection of a stranger closed"),
        }
    }

    fn listener_problem(&self, place: &Place, problem: Option<&str>) {
        for running in self.state().peers.values() {
            let config = &running.config;
            let listens =
                config.listens_on() == Some(place.port) && config.bind_interface == place.interface;
            if listens {
                let text = problem.map(str::to_owned);
                running.cell.tell(Event::Problem { hindrance: Hindrance::Listening, text });
            }
        }
    }

    /// The neighbour behind an interface advertised itself. Returns the addresses at which the neighbours of running sessions
    /// are to be asked whether they are there.
    fn heard(self: &Arc<Self>, interface: &str, address: Ipv6Addr) -> BTreeSet<Ipv6Addr> {
        let mut state = self.state();
        let (mut moved, mut ask) = (false, BTreeSet::new());
        for running in state.peers.values().filter(|running| running.is_behind(interface)) {
            match running.cell.heard(address) {
                News::Known => {}
                News::Moved => moved = true,
                News::Ask(known) => drop(ask.insert(known)),
            }
        }
        if moved && !state.stopped {
            self.arrange(&mut state);
        }
        ask
    }

    /// A station behind an interface answered from this address.
    fn answered(&self, interface: &str, address: Ipv6Addr) {
        let state = self.state();
        for running in state.peers.values().filter(|running| running.is_behind(interface)) {
            running.cell.answered(address);
        }
    }

    /// Looks anew at the links towards all peers and at the addresses of all connections. A peer that the link leads to again
    /// is tried at once.
    fn look_around(&self) {
        let links = addresses::running_links();
        for running in self.state().peers.values() {
            if running.cell.has_way(addresses::way(&running.config.remote, &links)) {
                running.cell.tell(Event::Reachable);
            }
            let addresses = running.cell.peer().addresses();
            if let Some((local, remote)) = addresses {
                let next_hops = addresses::next_hops(local, remote);
                running.cell.tell(Event::NextHops(next_hops));
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let peers = state.peers.values().map(|running| &running.task);
        for task in peers.chain(&state.leaving).chain(&state.addresses) {
            task.abort();
        }
    }
}

/// The address that the peer connects from.
fn address_of(running: &Running) -> Option<IpAddr> {
    match &running.config.remote {
        Remote::Address { address, .. } => Some(*address),
        Remote::Interface(_) => running.cell.neighbour().map(IpAddr::V6),
    }
}

/// Whether a connection from there is the peer's. An unnumbered peer is whoever is behind its interface.
fn is_from(running: &Running, remote: SocketAddr) -> bool {
    let scope = match remote {
        SocketAddr::V6(remote) => remote.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let on = |interface: &str| connect::index(interface).is_ok_and(|index| index == scope);
    match &running.config.remote {
        Remote::Address { address, interface: None } => *address == remote.ip(),
        Remote::Address { address, interface: Some(interface) } => {
            *address == remote.ip() && (scope == 0 || on(interface))
        }
        Remote::Interface(interface) => scope != 0 && on(interface),
    }
}

/// Has next hops and attempts follow the addresses and links of this host.
async fn follow_addresses(engine: Weak<Inner>) {
    let mut said = false;
    loop {
        let result = match addresses::Changes::open() {
            Ok(changes) => loop {
                if let Err(error) = changes.wait().await {
                    break error;
                }
                tokio::time::sleep(SETTLE).await;
                match engine.upgrade() {
                    Some(engine) => engine.look_around(),
                    None => return,
                }
            },
            Err(error) => error,
        };
        if !std::mem::replace(&mut said, true) {
            tracing::warn!(error = %result, "changes of links and addresses are not heard: next hops do not follow them");
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
