// SPDX-License-Identifier: Apache-2.0
//! The BGP sessions of this node, and BFD beside them. The core decides the routes.
//!
//! ```text
//!   Core ─────────────────── changes ───> bgp::net::Engine ──┐
//!   Snapshot ──> sessions ── peers ─────────────^            ├──> Signals ──> handle ──> SessionNotice
//!                   └─────── sessions ──> bfd::net::Bfd ─────┘
//! ```

mod bfd_sessions;
mod collector;
mod drain;
mod notices;
mod signals;
mod way;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bgp::net::Engine;
use bgp::{State, Status, Stop};
use cluster::{Dirty, Snapshot};
use crds::config::{Config, Peer, PeerAddress};
use crds::labels::Labels;

use bfd_sessions::BfdTold;
pub use collector::{BgpCollector, Style};
use collector::{Labelled, Roster};
use drain::Drain;
pub(super) use notices::InLog;
pub use notices::SessionNotice;
use notices::Told;
pub use signals::{Signal, Signals};
pub use way::bfd_choice;
use way::{as_label, way};

use super::session_state::{SessionState, SessionStates};
use crate::core::Sessions;
use crate::identifier::identifier;
use crate::options::Options;
use crate::reason::Withhold;
use crate::routes::RouteChanges;
use crate::sessions::{NoSession, session};

/// The time that withdrawals get to reach the peers before the sessions close.
const WITHDRAWAL_TIME: Duration = Duration::from_millis(500);

/// A peer that has a session on this node.
#[derive(Clone, Debug)]
struct Session {
    peer: Peer,
    config: Arc<bgp::Config>,
    bfd: Option<bfd::SessionKey>,
}

/// The BFD driver, which starts with the first peer that has a profile.
pub(crate) type SharedBfd = Arc<Mutex<Option<bfd::net::Bfd>>>;

/// The BGP sessions, BFD and the drain of this node.
pub struct BgpDriver {
    options: Options,
    engine: Engine,
    bfd: SharedBfd,
    bfd_events: signals::BfdSender,
    sessions: BTreeMap<Arc<str>, Session>,
    problems: BTreeMap<Arc<str>, NoSession>,
    /// This node's labels, which select its peers.
    labels: Option<Labels>,
    /// The peers that have metrics.
    roster: Roster,
    style: Style,
    told: BTreeMap<Arc<str>, Told>,
    /// The state of each BFD session as it was last told.
    bfd_told: BTreeMap<bfd::SessionKey, BfdTold>,
    drain: Drain,
    drain_on_cordon: bool,
    begun: bool,
    /// True if everything is to be decided again, for a reason that the snapshot does not know.
    redo: bool,
    follow_routes: Arc<AtomicBool>,
}

/// The options of a driver.
#[derive(Clone, Debug)]
pub struct BgpOptions {
    /// The options of the speaker.
    pub speaker: Options,
    /// The time that a node that is being drained still announces its routes, marked with GRACEFUL_SHUTDOWN.
    pub drain_time: Duration,
    /// True if a cordoned node counts as drained.
    pub drain_on_cordon: bool,
    /// The style of the metrics' labels.
    pub style: Style,
}

impl BgpDriver {
    /// Starts without peers; to be called within a runtime.
    #[must_use]
    pub fn start(options: BgpOptions) -> (Self, Signals) {
        let BgpOptions { speaker: options, drain_time, drain_on_cordon, style } = options;
        let seed = std::hash::BuildHasher::hash_one(
            &std::hash::RandomState::new(),
            options.node.as_bytes(),
        );
        let engine = Engine::start(bgp::net::Options { seed, ..bgp::net::Options::default() });
        let (signals, bfd_events, follow_routes) = Signals::new(&engine);
        let driver = Self {
            options,
            engine,
            bfd: SharedBfd::default(),
            bfd_events,
            sessions: BTreeMap::new(),
            problems: BTreeMap::new(),
            labels: None,
            roster: Roster::default(),
            style,
            told: BTreeMap::new(),
            bfd_told: BTreeMap::new(),
            drain: Drain::new(drain_time),
            drain_on_cordon,
            begun: false,
            redo: false,
            follow_routes,
        };
        (driver, signals)
    }

    /// The status of every session.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<Arc<str>, Status> {
        self.engine.statuses()
    }

    /// The collector of the metrics.
    #[must_use]
    pub fn collector(&self) -> BgpCollector {
        let roster = Arc::clone(&self.roster);
        BgpCollector::new(self.engine.clone(), Arc::clone(&self.bfd), roster, self.style)
    }

    /// The state of every session in the form of a BGPSessionState.
    pub(super) fn session_states(&self) -> SessionStates {
        let statuses = self.engine.statuses();
        self.sessions
            .iter()
            .map(|(name, session)| {
                let peer = as_label(&session.peer.address);
                let vrf = session.peer.vrf.as_deref().unwrap_or_default().to_owned();
                let state = statuses.get(name).map(|status| status.state).unwrap_or_default();
                let bfd = session.bfd.as_ref().and_then(|key| self.bfd_told.get(key)?.state);
                let state = SessionState {
                    bgp: state.to_string(),
                    bfd: bfd.map_or_else(|| "N/A".to_owned(), |state| state.to_string()),
                };
                ((peer, vrf), state)
            })
            .collect()
    }

    /// Before routes are decided: adjusts the sessions to the configuration, where that may have changed. Returns what is to be decided
    /// again, and the sessions to decide for.
    pub fn arrange(&mut self, snapshot: &Snapshot, dirty: &Dirty) -> (Dirty, Sessions) {
        let all = dirty.all || !self.begun || std::mem::take(&mut self.redo);
        if all {
            self.arrange_sessions(snapshot);
            self.follow_drain(snapshot);
        }
        let families = self
            .sessions
            .iter()
            .map(|(name, session)| (Arc::clone(name), session.config.families))
            .collect();
        let closed = self.drain.is_over().then_some(Withhold::NodeDrained);
        let dirty = if all { Dirty { all, ..Dirty::default() } } else { dirty.clone() };
        (dirty, Sessions { families, closed })
    }

    /// Passes a change of the routes to a peer.
    pub fn change_routes(&self, peer: &Arc<str>, changes: RouteChanges) {
        self.engine.change_routes(peer, changes.into_iter().collect());
    }

    /// After routes were decided: the tables count as complete from the first time on.
    pub fn decided(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.engine.initial_sync_done();
        }
    }

    /// True if routes are to be decided though nothing in the snapshot changed.
    #[must_use]
    pub fn wants_reconcile(&self) -> bool {
        self.redo
    }

    fn follow_drain(&mut self, snapshot: &Snapshot) {
        let node = snapshot.nodes().get(&self.options.node);
        let on = node.is_some_and(|node| node.draining || (self.drain_on_cordon && node.cordoned));
        // A speaker that starts on a drained node does not announce routes first.
        let changed = if self.begun { self.drain.set(on) } else { self.drain.begin(on) };
        if changed {
            tracing::info!(
                event = if on { "drainBegun" } else { "drainEnded" },
                "the node is to be emptied: its routes are marked, then withdrawn"
            );
            self.engine.drain(self.drain.is_on());
        }
    }

    /// The peer as the log names it.
    pub(super) fn in_log(&self, name: &str) -> InLog {
        match self.sessions.get(name) {
            Some(session) => InLog::of(&session.peer),
            None => InLog { place: name.to_owned(), own_asn: 0, peer_asn: 0 },
        }
    }

    /// Adjusts the sessions to the configuration for this node.
    fn arrange_sessions(&mut self, snapshot: &Snapshot) {
        let config = snapshot.config();
        let labels = snapshot.nodes().get(&self.options.node).map(|node| node.labels.clone());
        let labels = labels.unwrap_or_default();
        if self.labels.as_ref() != Some(&labels) {
            if self.labels.is_some() {
                tracing::info!(
                    event = "nodeLabelsChanged",
                    node = &*self.options.node,
                    "node labels changed, resyncing BGP peers"
                );
            }
            self.labels = Some(labels.clone());
        }
        let mut sessions = BTreeMap::new();
        let before = std::mem::take(&mut self.problems);
        for (name, peer) in config.peers.iter().filter(|(_, peer)| peer.selects_node(&labels)) {
            let known = self.sessions.remove(name);
            if known.is_none() && !before.contains_key(name) {
                let InLog { place, own_asn, peer_asn } = InLog::of(peer);
                tracing::info!(
                    event = "peerAdded",
                    peer = place,
                    name = &**name,
                    localASN = own_asn,
                    peerASN = peer_asn,
                    "peer configured, starting BGP session"
                );
            }
            match self.session(peer, known.as_ref()) {
                Ok(session) => {
                    sessions.insert(Arc::clone(name), session);
                }
                Err(problem) => {
                    // A session that runs goes on with its former configuration.
                    if let Some(known) = known {
                        sessions.insert(Arc::clone(name), known);
                    }
                    self.problems.insert(Arc::clone(name), problem);
                }
            }
        }
        for (name, session) in &self.sessions {
            let kept = config.peers.contains_key(name);
            tracing::info!(
                event = "peerRemoved",
                peer = InLog::of(&session.peer).place,
                name = &**name,
                reason = if kept { "filteredByNodeSelector" } else { "removedFromConfig" },
                "peer deconfigured, closing BGP session"
            );
        }
        self.sessions = sessions;
        self.call_the_roll(config, &labels);
        self.publish();
    }

    /// Lists the peers that have metrics: every peer that should have a session here, the oldest first.
    fn call_the_roll(&mut self, config: &Config, labels: &Labels) {
        let unusable = |name| config.unusable_peers.get(name).map(|unusable| &unusable.peer);
        let roll: Vec<Labelled> = config
            .peers_by_age
            .iter()
            .filter_map(|name| config.peers.get(name).or_else(|| unusable(name)))
            .filter(|peer| peer.selects_node(labels))
            .map(|peer| Labelled::new(peer, self.style))
            .collect();
        self.told.retain(|name, _| roll.iter().any(|labelled| labelled.peer == *name));
        *self.roster.lock().unwrap_or_else(PoisonError::into_inner) = roll;
    }

    fn session(&self, peer: &Peer, known: Option<&Session>) -> Result<Session, NoSession> {
        let way = way(peer);
        // A chosen identifier stays while the session lives: another one would reset the session.
        let chosen = known
            .filter(|known| peer.router_id.is_none() && known.peer.router_id.is_none())
            .filter(|known| known.peer.address == peer.address)
            .filter(|_| way.is_none() || self.is_established(&peer.name))
            .map(|known| known.config.identifier);
        let identifier = chosen
            .unwrap_or_else(|| identifier(peer, &way.unwrap_or_default(), &self.options.node));
        let config = Arc::new(session(peer, identifier, self.options.bgp_mode)?);
        let bfd = self.bfd_key(peer, way, known);
        Ok(Session { bfd, peer: peer.clone(), config })
    }

    fn is_established(&self, peer: &str) -> bool {
        let statuses = self.engine.statuses();
        statuses.get(peer).is_some_and(|status| status.state == State::Established)
    }

    /// Hands peers to the engine and sessions to BFD; unchanged ones are not disturbed.
    fn publish(&mut self) {
        let configs = self
            .sessions
            .iter()
            .map(|(name, session)| (Arc::clone(name), Arc::clone(&session.config)));
        self.engine.set_peers(configs.collect());
        self.publish_bfd();
    }

    /// Handles a signal from the sessions, from BFD, from the host's routes or from the clock.
    pub fn handle(&mut self, signal: Signal) -> Vec<SessionNotice> {
        match signal {
            Signal::Sessions => {
                self.follow_ways(|address| matches!(address, PeerAddress::Interface(_)));
                self.notices()
            }
            Signal::Bfd(key, status) => self.handle_bfd(&key, &status),
            Signal::Routes => {
                self.follow_ways(|address| matches!(address, PeerAddress::Address(_)));
                Vec::new()
            }
            Signal::Tick => {
                self.redo |= self.drain.tick();
                Vec::new()
            }
        }
    }

    /// The time at which [`Signal::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        self.drain.deadline()
    }

    /// Ends all sessions. A drained node leaves for good; otherwise the process is expected back, and peers with graceful restart keep its
    /// routes. BFD signals AdminDown after that: by then a peer that takes AdminDown for Down (BIRD without `bfd graceful`) has begun to keep
    /// the routes.
    ///
    /// A node whose routes are only marked yet keeps them until the drain time is over.
    pub async fn stop(&mut self) {
        if let Some(due) = self.drain.deadline() {
            tokio::time::sleep_until(due).await;
            for peer in self.sessions.keys() {
                self.engine.set_routes(peer, Arc::default());
            }
            tokio::time::sleep(WITHDRAWAL_TIME).await;
        }
        let stop = if self.drain.is_on() {
            Stop::Shutdown(format!("{} is drained", self.options.node))
        } else {
            Stop::Restarting(format!("the speaker on {} stops", self.options.node))
        };
        self.engine.stop(stop).await;
        let bfd = self.bfd.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(bfd) = bfd {
            bfd.stop();
        }
    }
}
