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
mod cell;
mod connect;
mod drive;
mod inner;
mod listen;
mod neighbour;
mod next_hops;
mod socket_options;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::{Attributes, Config, Event, Routes, Status, Stop};
use inner::{Inner, Running, follow_addresses};

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
