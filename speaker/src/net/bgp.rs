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
mod signals;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bgp::net::Engine;
use bgp::{DownReason, State, Status, Stop};
use cluster::{Dirty, Snapshot};
use crds::config::{Peer, PeerAddress};

pub use collector::{BgpCollector, Style};
use drain::Drain;
pub use signals::{Signal, Signals};

use super::session_state::{SessionState, SessionStates};
use crate::announce::Options;
use crate::routes::{RouteBooks, RouteOutput};
use crate::sessions::{NoSession, Way, bfd_hops, bfd_profile, identifier, session};

/// Something about a session that people want to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionNotice {
    /// It is Established.
    Up {
        /// The BGPPeer.
        peer: Arc<str>,
        /// What was agreed, in words.
        detail: String,
    },
    /// It is not Established any more.
    Down {
        /// The BGPPeer.
        peer: Arc<str>,
        /// Why.
        reason: DownReason,
    },
    /// There cannot be one, or there can again.
    Problem {
        /// The BGPPeer.
        peer: Arc<str>,
        /// Why; none when that is over.
        problem: Option<String>,
    },
}

/// A peer that has a session on this node.
#[derive(Clone, Debug)]
struct Session {
    peer: Peer,
    config: Arc<bgp::Config>,
    bfd: Option<bfd::SessionKey>,
}

/// What was last told of a peer.
#[derive(Clone, Debug, Default)]
struct Told {
    established: u64,
    dropped: u64,
    reason: Option<DownReason>,
    problem: Option<String>,
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
    told: BTreeMap<Arc<str>, Told>,
    /// The state of each BFD session as it was last told.
    bfd_states: BTreeMap<bfd::SessionKey, bfd::State>,
    drain: Drain,
    begun: bool,
}

impl BgpDriver {
    /// Starts without peers; to be called within a runtime. `drain_time` is how long a node that is to be emptied still
    /// announces its routes, marked with GRACEFUL_SHUTDOWN.
    #[must_use]
    pub fn start(options: Options, drain_time: Duration) -> (Self, Signals) {
        let seed = std::hash::BuildHasher::hash_one(
            &std::hash::RandomState::new(),
            options.node.as_bytes(),
        );
        let engine = Engine::start(bgp::net::Options { seed, ..bgp::net::Options::default() });
        let (signals, bfd_events) = Signals::new(&engine);
        let driver = Self {
            books: RouteBooks::new(options.clone()),
            options,
            engine,
            bfd: SharedBfd::default(),
            bfd_events,
            sessions: BTreeMap::new(),
            problems: BTreeMap::new(),
            told: BTreeMap::new(),
            bfd_states: BTreeMap::new(),
            drain: Drain::new(drain_time),
            begun: false,
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
    pub fn collector(&self, style: Style) -> BgpCollector {
        BgpCollector::new(self.engine.clone(), Arc::clone(&self.bfd), style)
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
        let bfd = self.bfd_states.clone();
        let statuses = self.engine.statuses();
        self.sessions
            .iter()
            .map(|(name, session)| {
                let peer = session.peer.address.to_string();
                let vrf = session.peer.vrf.as_deref().unwrap_or("default").to_owned();
                let state = statuses.get(name).map(|status| status.state).unwrap_or_default();
                let bfd = session.bfd.as_ref().and_then(|key| bfd.get(key));
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
        if dirty.all || !self.begun {
            self.arrange(snapshot);
            let node = snapshot.nodes().get(&self.options.node);
            let was_over = self.drain.is_over();
            if self.drain.set(node.is_some_and(|node| node.draining)) {
                self.engine.drain(self.drain.is_on());
                if was_over {
                    for (peer, table) in self.books.tables() {
                        self.engine.set_routes(peer, Arc::clone(table));
                    }
                }
            }
        }
        let peers: BTreeSet<Arc<str>> = self.sessions.keys().cloned().collect();
        let outputs = self.books.reconcile(snapshot, dirty, &peers);
        for (peer, table) in self.books.take_tables() {
            if !self.drain.is_over() {
                self.engine.set_routes(&peer, table);
            }
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.engine.initial_sync_done();
        }
        outputs
    }

    /// Brings the sessions to what the configuration says for this node.
    fn arrange(&mut self, snapshot: &Snapshot) {
        let config = snapshot.config();
        let labels = snapshot.nodes().get(&self.options.node).map(|node| node.labels.clone());
        let labels = labels.unwrap_or_default();
        let mut sessions = BTreeMap::new();
        self.problems.clear();
        for (name, peer) in config.peers.iter().filter(|(_, peer)| peer.selects_node(&labels)) {
            let known = self.sessions.remove(name);
            match self.session(peer, known.as_ref()) {
                Ok(session) => {
                    sessions.insert(Arc::clone(name), session);
                }
                Err(problem) => {
                    self.problems.insert(Arc::clone(name), problem);
                }
            }
        }
        self.sessions = sessions;
        self.told
            .retain(|name, _| self.sessions.contains_key(name) || self.problems.contains_key(name));
        self.publish();
    }

    fn session(&self, peer: &Peer, known: Option<&Session>) -> Result<Session, NoSession> {
        let way = way(peer);
        // An identifier that was chosen stays: another one would reset the session.
        let chosen = known
            .filter(|known| peer.router_id.is_none() && known.peer.router_id.is_none())
            .filter(|known| known.peer.address == peer.address)
            .map(|known| known.config.identifier);
        let identifier = chosen.unwrap_or_else(|| identifier(peer, &way, &self.options.node));
        let config = Arc::new(session(peer, identifier, self.options.bgp_mode)?);
        Ok(Session { bfd: self.bfd_key(peer, &way), peer: peer.clone(), config })
    }

    fn bfd_key(&self, peer: &Peer, way: &Way) -> Option<bfd::SessionKey> {
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
        self.bfd_states.retain(|key, _| sessions.contains_key(key));
        if let Some(bfd) = bfd.as_ref() {
            bfd.set_sessions(sessions);
        }
    }

    /// Acts on what came from the sessions, from BFD, from the host's routes or from the clock.
    pub fn handle(&mut self, signal: Signal) -> Vec<SessionNotice> {
        match signal {
            Signal::Sessions => {
                self.follow_neighbours();
                self.notices()
            }
            Signal::Bfd(key, status) => {
                self.handle_bfd(&key, &status);
                Vec::new()
            }
            Signal::Routes => {
                self.follow_routes();
                Vec::new()
            }
            Signal::Tick => {
                if self.drain.tick() {
                    for peer in self.sessions.keys() {
                        self.engine.set_routes(peer, Arc::default());
                    }
                }
                Vec::new()
            }
        }
    }

    /// When [`Signal::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        self.drain.deadline()
    }

    fn handle_bfd(&mut self, key: &bfd::SessionKey, status: &bfd::Status) {
        self.bfd_states.insert(key.clone(), status.state);
        let of_key = self.sessions.iter().filter(|(_, session)| session.bfd.as_ref() == Some(key));
        for (name, _) in of_key {
            if let Some(problem) = &status.problem {
                tracing::warn!(event = "bfdProblem", peer = &**name, session = %key, problem = &**problem,
                    "BFD does not work for this peer");
            }
            tracing::info!(event = "bfdState", peer = &**name, session = %key, state = %status.state,
                diagnostic = %status.diagnostic, "BFD session changed");
            match status.state {
                bfd::State::Up => self.engine.bfd_state(name, bgp::net::Bfd::Up),
                // A peer that switches BFD off says nothing about the path (RFC 5882 §4.2).
                bfd::State::Down if status.remote_state == bfd::State::AdminDown => {}
                bfd::State::Down if status.counters.session_up_events > 0 => {
                    self.engine.bfd_state(name, bgp::net::Bfd::Down);
                }
                bfd::State::Down | bfd::State::Init | bfd::State::AdminDown => {}
            }
        }
    }

    /// Unnumbered peers: BFD needs the address that the session found.
    fn follow_neighbours(&mut self) {
        let mut changed = false;
        let keys: Vec<(Arc<str>, Option<bfd::SessionKey>)> = self
            .sessions
            .iter()
            .filter(|(_, session)| matches!(session.peer.address, PeerAddress::Interface(_)))
            .map(|(name, session)| (Arc::clone(name), self.bfd_key(&session.peer, &Way::default())))
            .collect();
        for (name, key) in keys {
            if let (Some(key), Some(session)) = (key, self.sessions.get_mut(&name))
                && session.bfd.as_ref() != Some(&key)
            {
                session.bfd = Some(key);
                changed = true;
            }
        }
        if changed {
            self.publish();
        }
    }

    /// Routes changed: single hop or multihop is decided again.
    fn follow_routes(&mut self) {
        let mut changed = false;
        let keys: Vec<(Arc<str>, Option<bfd::SessionKey>)> = self
            .sessions
            .iter()
            .filter(|(_, session)| matches!(session.peer.address, PeerAddress::Address(_)))
            .map(|(name, session)| {
                (Arc::clone(name), self.bfd_key(&session.peer, &way(&session.peer)))
            })
            .collect();
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

    fn notices(&mut self) -> Vec<SessionNotice> {
        let mut notices = Vec::new();
        let statuses = self.engine.statuses();
        for (name, status) in &statuses {
            let told = self.told.entry(Arc::clone(name)).or_default();
            // An attempt that fails as the one before did is not told again.
            if let Some(down) = &status.last_down
                && (status.dropped > told.dropped || told.reason.as_ref() != Some(&down.reason))
            {
                let reason = down.reason.clone();
                told.reason = Some(reason.clone());
                notices.push(SessionNotice::Down { peer: Arc::clone(name), reason });
            }
            if status.established > told.established && status.state == State::Established {
                let detail = describe(status);
                notices.push(SessionNotice::Up { peer: Arc::clone(name), detail });
            }
            (told.established, told.dropped) = (status.established, status.dropped);
            if told.problem != status.problem {
                told.problem.clone_from(&status.problem);
                let problem = status.problem.clone();
                notices.push(SessionNotice::Problem { peer: Arc::clone(name), problem });
            }
        }
        for (name, problem) in &self.problems {
            let told = self.told.entry(Arc::clone(name)).or_default();
            let problem = Some(problem.to_string());
            if told.problem != problem {
                told.problem.clone_from(&problem);
                notices.push(SessionNotice::Problem { peer: Arc::clone(name), problem });
            }
        }
        notices
    }

    /// Ends all sessions. A node that is being emptied leaves for good; else the process is expected back, and peers with
    /// graceful restart keep its routes. BFD tells AdminDown after that: a peer that takes AdminDown for Down (BIRD without
    /// `bfd graceful`) has begun to keep the routes by then.
    pub async fn stop(&self) {
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

/// Whether the peer's BFD would be single hop or multihop from this host, and why; none without BFD.
#[must_use]
pub fn bfd_choice(peer: &Peer) -> Option<String> {
    let profile = peer.bfd_profile.as_ref()?;
    let way = way(peer);
    let why = if peer.ebgp_multi_hop {
        "ebgpMultiHop is set"
    } else if way.on_link || matches!(peer.address, PeerAddress::Interface(_)) {
        "the peer is on the link"
    } else {
        "the peer is behind a router, or there is no route to it"
    };
    let hops = match bfd_hops(peer, &way) {
        bfd::Hops::Single => "single hop",
        bfd::Hops::Multi => "multihop",
    };
    Some(format!("BFD profile {}, {hops}: {why}", profile.name))
}

/// What was agreed on, for people.
fn describe(status: &Status) -> String {
    let Some(negotiated) = &status.negotiated else { return String::new() };
    let families: Vec<String> =
        negotiated.families.iter().map(|family| family.to_string()).collect();
    format!(
        "AS {}, identifier {}, hold time {} s, {}",
        negotiated.peer_asn,
        negotiated.peer_identifier,
        negotiated.hold_time.seconds(),
        families.join(" and ")
    )
}

/// How this host reaches the peer now.
fn way(peer: &Peer) -> Way {
    match &peer.address {
        PeerAddress::Address(address) => {
            match bfd::net::path(*address, peer.source_address, peer.vrf.as_deref()) {
                Ok(path) => Way {
                    local: peer.source_address.or(path.local),
                    first_ipv4: first_ipv4(&path.interface),
                    on_link: path.on_link,
                },
                Err(_) => Way { local: peer.source_address, ..Way::default() },
            }
        }
        PeerAddress::Interface(name) => {
            Way { local: None, first_ipv4: first_ipv4(name), on_link: true }
        }
    }
}

fn first_ipv4(interface: &str) -> Option<Ipv4Addr> {
    let addresses = nix::ifaddrs::getifaddrs().ok()?;
    let mut own = addresses.filter(|one| one.interface_name == interface);
    own.find_map(|one| Some(one.address?.as_sockaddr_in()?.ip()))
}
