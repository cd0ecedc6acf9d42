// SPDX-License-Identifier: Apache-2.0
//! Joins the speaker's books to the BGP sessions, and BFD to both.
//!
//! ```text
//!   Snapshot ──> RouteBooks ── tables ──> bgp::net::Engine ──┐
//!        └─────> sessions ── peers ─────────────^            ├──> Signals ──> handle ──> SessionNotice
//!                   └─────── sessions ──> bfd::net::Bfd ─────┘
//! ```

mod collector;
mod drain;
mod notices;
mod signals;
mod way;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bgp::net::Engine;
use bgp::{State, Status, Stop};
use cluster::{Dirty, Snapshot};
use crds::config::{Config, Peer, PeerAddress};
use crds::labels::Labels;

pub use collector::{BgpCollector, Style};
use collector::{Labelled, Roster};
use drain::Drain;
pub(super) use notices::InLog;
pub use notices::SessionNotice;
use notices::Told;
pub use signals::{Signal, Signals};
pub use way::bfd_choice;
use way::{as_label, is_link_local, way};

use super::session_state::{SessionState, SessionStates};
use crate::announce::Options;
use crate::reason::Withhold;
use crate::routes::{RouteBooks, RouteOutput};
use crate::sessions::{NoSession, Way, bfd_hops, bfd_profile, identifier, session};

/// What withdrawals get to reach the peers before the sessions close.
const WITHDRAWAL: Duration = Duration::from_millis(500);

/// A peer that has a session on this node.
#[derive(Clone, Debug)]
struct Session {
    peer: Peer,
    config: Arc<bgp::Config>,
    bfd: Option<bfd::SessionKey>,
}

/// BFD, from the first peer that has a profile.
pub(crate) type SharedBfd = Arc<Mutex<Option<bfd::net::Bfd>>>;

/// The books, the sessions and BFD.
pub struct BgpDriver {
    options: Options,
    books: RouteBooks,
    engine: Engine,
    bfd: SharedBfd,
    bfd_events: signals::BfdSender,
    sessions: BTreeMap<Arc<str>, Session>,
    problems: BTreeMap<Arc<str>, NoSession>,
    /// The own node's labels, by which peers are chosen.
    labels: Option<Labels>,
    /// Whose metrics there are.
    roster: Roster,
    style: Style,
    told: BTreeMap<Arc<str>, Told>,
    /// The state of each BFD session as it was last told.
    bfd_told: BTreeMap<bfd::SessionKey, BfdTold>,
    drain: Drain,
    drain_on_cordon: bool,
    begun: bool,
    /// Everything is to be decided again, for a reason that the snapshot does not know.
    redo: bool,
    follow_routes: Arc<AtomicBool>,
}

/// What a driver is told at its start.
#[derive(Clone, Debug)]
pub struct BgpOptions {
    /// What the speaker is told.
    pub speaker: Options,
    /// How long a node that is to be emptied still announces its routes, marked with GRACEFUL_SHUTDOWN.
    pub drain_time: Duration,
    /// Whether a cordoned node is to be emptied.
    pub drain_on_cordon: bool,
    /// How metrics are labelled.
    pub style: Style,
}

/// What a BFD session last said.
#[derive(Clone, Debug, Default)]
struct BfdTold {
    state: Option<bfd::State>,
    downs: u64,
    problem: Option<Arc<str>>,
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
            books: RouteBooks::new(options.clone()),
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

    /// The books.
    #[must_use]
    pub fn books(&self) -> &RouteBooks {
        &self.books
    }

    /// How every session stands.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<Arc<str>, Status> {
        self.engine.statuses()
    }

    /// What the metrics are made from.
    #[must_use]
    pub fn collector(&self) -> BgpCollector {
        let roster = Arc::clone(&self.roster);
        BgpCollector::new(self.engine.clone(), Arc::clone(&self.bfd), roster, self.style)
    }

    /// The BFD session of each peer that has one.
    #[must_use]
    pub fn bfd_statuses(&self) -> BTreeMap<Arc<str>, (bfd::SessionKey, bfd::Status)> {
        let guard = self.bfd.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bfd) = guard.as_ref() else { return BTreeMap::new() };
        let statuses = bfd.statuses();
        self.sessions
            .iter()
            .filter_map(|(name, session)| {
                let key = session.bfd.clone()?;
                let status = statuses.get(&key)?.clone();
                Some((Arc::clone(name), (key, status)))
            })
            .collect()
    }

    /// Every session as a BGPSessionState says it.
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

    /// Decides again what is dirty and hands it to the sessions. After the first call the tables count as complete.
    pub fn reconcile(&mut self, snapshot: &Snapshot, dirty: &Dirty) -> Vec<RouteOutput> {
        let all = dirty.all || !self.begun || std::mem::take(&mut self.redo);
        if all {
            self.arrange(snapshot);
            self.follow_drain(snapshot);
        }
        let peers = self
            .sessions
            .iter()
            .map(|(name, session)| (Arc::clone(name), session.config.families))
            .collect();
        let dirty = if all { &Dirty { all, ..Dirty::default() } } else { dirty };
        let outputs = self.books.reconcile(snapshot, dirty, &peers);
        for (peer, changes) in self.books.take_changes() {
            self.engine.change_routes(&peer, changes.into_iter().collect());
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.engine.initial_sync_done();
        }
        outputs
    }

    /// Whether [`Self::reconcile`] is to be called though nothing in the snapshot changed.
    #[must_use]
    pub fn wants_reconcile(&self) -> bool {
        self.redo
    }

    fn follow_drain(&mut self, snapshot: &Snapshot) {
        let node = snapshot.nodes().get(&self.options.node);
        let on = node.is_some_and(|node| node.draining || (self.drain_on_cordon && node.cordoned));
        // A speaker that starts on a node that is to be emptied does not begin by filling it.
        let changed = if self.begun { self.drain.set(on) } else { self.drain.begin(on) };
        if changed {
            tracing::info!(
                event = if on { "drainBegun" } else { "drainEnded" },
                "the node is to be emptied: its routes are marked, then withdrawn"
            );
            self.engine.drain(self.drain.is_on());
        }
        self.books.set_closed(self.drain.is_over().then_some(Withhold::NodeDrained));
    }

    /// How the log names a peer.
    pub(super) fn in_log(&self, name: &str) -> InLog {
        match self.sessions.get(name) {
            Some(session) => InLog::of(&session.peer),
            None => InLog { place: name.to_owned(), own_asn: 0, peer_asn: 0 },
        }
    }

    /// Brings the sessions to what the configuration says for this node.
    fn arrange(&mut self, snapshot: &Snapshot) {
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
                    // What runs goes on with what it had.
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

    /// Whose metrics there are: every peer that should have a session here, the oldest first.
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
        // An identifier that was chosen stays while the session lives: another one would reset it.
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

    /// The BFD session that the peer should have. One that is up is kept as it is: whether the way to the peer is still
    /// there is for it to find out.
    fn bfd_key(
        &self,
        peer: &Peer,
        way: Option<Way>,
        known: Option<&Session>,
    ) -> Option<bfd::SessionKey> {
        peer.bfd_profile.as_ref()?;
        let same = known.filter(|known| {
            known.peer.address == peer.address
                && known.peer.vrf == peer.vrf
                && known.peer.source_address == peer.source_address
                && known.peer.ebgp_multi_hop == peer.ebgp_multi_hop
        });
        let kept = same.and_then(|known| known.bfd.clone());
        let is_up = kept.as_ref().is_some_and(|key| {
            self.bfd_told.get(key).and_then(|told| told.state) == Some(bfd::State::Up)
        });
        if is_up {
            return kept;
        }
        match way {
            Some(way) => self.fresh_bfd_key(peer, &way).or(kept),
            None => kept.or_else(|| self.fresh_bfd_key(peer, &Way::default())),
        }
    }

    fn fresh_bfd_key(&self, peer: &Peer, way: &Way) -> Option<bfd::SessionKey> {
        peer.bfd_profile.as_ref()?;
        let (address, interface) = match &peer.address {
            PeerAddress::Address(address) => (*address, peer.vrf.as_deref().map(Into::into)),
            PeerAddress::Interface(name) => {
                // Known as soon as the neighbour's router advertisement has been heard.
                let remote = self.engine.statuses().get(&peer.name)?.remote?;
                (remote.ip(), Some((**name).into()))
            }
        };
        Some(bfd::SessionKey {
            peer: address,
            local: peer.source_address,
            interface,
            hops: bfd_hops(peer, way),
        })
    }

    /// Hands peers to the engine and sessions to BFD; what did not change notices nothing.
    fn publish(&mut self) {
        let configs = self
            .sessions
            .iter()
            .map(|(name, session)| (Arc::clone(name), Arc::clone(&session.config)));
        self.engine.set_peers(configs.collect());
        let sessions: BTreeMap<bfd::SessionKey, bfd::Profile> = self
            .sessions
            .values()
            .filter_map(|session| {
                let profile = session.peer.bfd_profile.as_ref()?;
                Some((session.bfd.clone()?, bfd_profile(profile)))
            })
            .collect();
        let mut bfd = self.bfd.lock().unwrap_or_else(PoisonError::into_inner);
        if bfd.is_none() && !sessions.is_empty() {
            let events = self.bfd_events.clone();
            let started = bfd::net::Bfd::spawn(move |key, status| {
                // The receiver lives as long as the program.
                let _ = events.send((key.clone(), status.clone()));
            });
            match started {
                Ok(started) => *bfd = Some(started),
                Err(error) => tracing::error!(event = "bfdOff", %error, "BFD cannot run"),
            }
        }
        self.bfd_told.retain(|key, _| sessions.contains_key(key));
        let by_route = sessions.keys().any(|key| !is_link_local(key.peer));
        self.follow_routes.store(by_route, Ordering::Relaxed);
        if let Some(bfd) = bfd.as_ref() {
            bfd.set_sessions(sessions);
        }
    }

    /// Acts on what came from the sessions, from BFD, from the host's routes or from the clock.
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

    /// When [`Signal::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        self.drain.deadline()
    }

    fn handle_bfd(&mut self, key: &bfd::SessionKey, status: &bfd::Status) -> Vec<SessionNotice> {
        let told = self.bfd_told.entry(key.clone()).or_default();
        let changed = told.state.replace(status.state) != Some(status.state);
        // Only the way from Up to Down says that the path was lost.
        let lost = status.counters.session_down_events > told.downs;
        told.downs = status.counters.session_down_events;
        let problem_changed = told.problem != status.problem;
        told.problem.clone_from(&status.problem);
        let mut notices = Vec::new();
        let of_key = self.sessions.iter().filter(|(_, session)| session.bfd.as_ref() == Some(key));
        for (name, _) in of_key {
            if problem_changed {
                let problem = status.problem.as_ref().map(|problem| format!("BFD: {problem}"));
                notices.push(SessionNotice::Problem { peer: Arc::clone(name), problem });
            }
            if changed {
                tracing::info!(event = "bfdState", peer = &**name, session = %key, state = %status.state,
                    diagnostic = %status.diagnostic, "BFD session changed");
            }
            // A peer that switches BFD off says nothing about the path (RFC 5882 section 4.2).
            if lost && status.remote_state != bfd::State::AdminDown {
                self.engine.bfd_state(name, bgp::net::Bfd::Down);
            } else if changed && status.state == bfd::State::Up {
                self.engine.bfd_state(name, bgp::net::Bfd::Up);
            }
        }
        if changed && status.state == bfd::State::Down {
            self.follow_ways(|_| true);
        }
        notices
    }

    /// Decides again which BFD session peers with such an address have: their way changed, or their neighbour was found.
    fn follow_ways(&mut self, which: impl Fn(&PeerAddress) -> bool) {
        let keys: Vec<(Arc<str>, Option<bfd::SessionKey>)> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.peer.bfd_profile.is_some())
            .filter(|(_, session)| which(&session.peer.address))
            .map(|(name, session)| {
                let key = self.bfd_key(&session.peer, way(&session.peer), Some(session));
                (Arc::clone(name), key)
            })
            .collect();
        let mut changed = false;
        for (name, key) in keys {
            if let Some(session) = self.sessions.get_mut(&name)
                && session.bfd != key
            {
                session.bfd = key;
                changed = true;
            }
        }
        if changed {
            self.publish();
        }
    }

    /// Ends all sessions. A node that is being emptied leaves for good; else the process is expected back, and peers with
    /// graceful restart keep its routes. BFD tells AdminDown after that: a peer that takes AdminDown for Down (BIRD without
    /// `bfd graceful`) has begun to keep the routes by then.
    ///
    /// A node whose routes are only marked yet keeps them until the drain time is over.
    pub async fn stop(&mut self) {
        if let Some(due) = self.drain.deadline() {
            tokio::time::sleep_until(due).await;
            for peer in self.sessions.keys() {
                self.engine.set_routes(peer, Arc::default());
            }
            tokio::time::sleep(WITHDRAWAL).await;
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
