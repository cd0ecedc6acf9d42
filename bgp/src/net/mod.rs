// SPDX-License-Identifier: Apache-2.0
//! The shell around the peers: TCP, listeners, router advertisements and the clock. Not a place for decisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::{Config, Routes, Status, Stop};

/// What the engine needs to know once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of the jitter of all timers (RFC 4271 §10).
    pub seed: u64,
    /// How long a stopping session may take to hand its last octets to TCP.
    pub stop_time: Duration,
}

/// All sessions of this process. Clones are the same engine; the last one dropped ends the tasks without a farewell.
#[derive(Clone, Debug)]
pub struct Engine {}

/// What BFD says about the path to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bfd {
    /// It works.
    Up,
    /// It does not: a session that is up is closed at once with CEASE/10 (RFC 9384).
    Down,
}

impl Engine {
    /// Starts without peers. To be called inside a tokio runtime, whose thread then does the work.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let _ = options;
        todo!()
    }

    /// From now exactly these peers exist. A peer that stays is reset only if [`Config::change`] says so; one that goes is sent
    /// CEASE/3.
    pub fn set_peers(&self, peers: BTreeMap<Arc<str>, Arc<Config>>) {
        let _ = peers;
        todo!()
    }

    /// From now the peer shall have exactly these routes. A peer without routes is told none. May be called before
    /// `set_peers` names the peer.
    pub fn set_routes(&self, peer: &str, routes: Arc<Routes>) {
        let _ = (peer, routes);
        todo!()
    }

    /// The routes given so far are complete: End-of-RIB may be sent (RFC 4724 §4.1).
    pub fn initial_sync_done(&self) {
        todo!()
    }

    /// What BFD says about the path to the peer.
    pub fn bfd_state(&self, peer: &str, state: Bfd) {
        let _ = (peer, state);
        todo!()
    }

    /// Announces GRACEFUL_SHUTDOWN (RFC 8326) with every prefix to every peer, or no longer.
    pub fn drain(&self, drain: bool) {
        let _ = drain;
        todo!()
    }

    /// Ends all sessions and waits until that is done, [`Options::stop_time`] at most.
    pub async fn stop(&self, stop: Stop) {
        let _ = stop;
        todo!()
    }

    /// How every peer stands now.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<Arc<str>, Status> {
        todo!()
    }

    /// Changes its value whenever a state, a reason or a number of announced prefixes changed; not for counters.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        todo!()
    }
}
