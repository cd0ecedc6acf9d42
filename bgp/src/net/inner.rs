// SPDX-License-Identifier: Apache-2.0
//! The state that the clones of one engine share: the tasks of the peers, and the listeners and links that the peers need. Connections and
//! router advertisements find their peer here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::cell::{Cell, now};
use super::listen::{Guests, Listener, Place};
use super::neighbour::Link;
use super::{Options, addresses, connect, drive, socket_options};
use crate::advertiser::News;
use crate::{Config, Event, Hindrance, Peer, Remote, Routes};

/// Changes of addresses come in crowds.
const SETTLE: Duration = Duration::from_millis(100);
/// Accepted connections that may wait for a peer's task.
const WAITING: usize = 2;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) runtime: Handle,
    pub(super) changes: watch::Sender<u64>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) peers: BTreeMap<Arc<str>, Running>,
    /// For peers that are not there yet; who is there has its own.
    pub(super) routes: BTreeMap<Arc<str>, Arc<Routes>>,
    pub(super) listeners: BTreeMap<Place, Listener>,
    pub(super) links: BTreeMap<Arc<str>, Link>,
    /// Tasks of peers that were taken away and still say goodbye.
    pub(super) leaving: Vec<JoinHandle<()>>,
    pub(super) addresses: Option<JoinHandle<()>>,
    pub(super) complete: bool,
    pub(super) drain: bool,
    pub(super) stopped: bool,
    pub(super) seeds: u64,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) cell: Arc<Cell>,
    pub(super) config: Arc<Config>,
    pub(super) task: JoinHandle<()>,
}

impl Running {
    /// Whether the peer is the router behind this interface.
    fn is_behind(&self, interface: &str) -> bool {
        matches!(&self.config.remote, Remote::Interface(one) if **one == *interface)
    }
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, state: &mut State, name: Arc<str>, config: Arc<Config>) {
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
    pub(super) fn arrange(self: &Arc<Self>, state: &mut State) {
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
    pub(super) fn deliver(&self, place: &Place, stream: TcpStream, remote: SocketAddr) {
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

    pub(super) fn listener_problem(&self, place: &Place, problem: Option<&str>) {
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
    pub(super) fn heard(
        self: &Arc<Self>,
        interface: &str,
        address: Ipv6Addr,
    ) -> BTreeSet<Ipv6Addr> {
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
    pub(super) fn answered(&self, interface: &str, address: Ipv6Addr) {
        let state = self.state();
        for running in state.peers.values().filter(|running| running.is_behind(interface)) {
            running.cell.answered(address);
        }
    }

    /// Looks anew at the links towards all peers and at the addresses of all connections. A peer that the link leads to again
    /// is tried at once.
    pub(super) fn look_around(&self) {
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
pub(super) async fn follow_addresses(engine: Weak<Inner>) {
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
