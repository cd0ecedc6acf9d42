// SPDX-License-Identifier: Apache-2.0
//! BFD beside the BGP sessions: the BFD session of each peer, and the effect of its state on the peer. BFD itself is in `bfd`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crds::config::{Peer, PeerAddress};

use super::way::{is_link_local, way};
use super::{BgpDriver, Session, SessionNotice};
use crate::sessions::{Way, bfd_hops, bfd_profile};

/// The last known state of a BFD session.
#[derive(Clone, Debug, Default)]
pub(super) struct BfdTold {
    pub(super) state: Option<bfd::State>,
    downs: u64,
    problem: Option<Arc<str>>,
}

impl BgpDriver {
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

    /// The BFD session that the peer should have. A session that is up is kept as it is: it finds out by itself when the path to the peer is
    /// lost.
    pub(super) fn bfd_key(
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
                // The neighbour is known as soon as its router advertisement has been heard.
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

    /// Hands BFD the sessions that it is to have, and starts it for the first one.
    pub(super) fn publish_bfd(&mut self) {
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

    pub(super) fn handle_bfd(
        &mut self,
        key: &bfd::SessionKey,
        status: &bfd::Status,
    ) -> Vec<SessionNotice> {
        let told = self.bfd_told.entry(key.clone()).or_default();
        let changed = told.state.replace(status.state) != Some(status.state);
        // Only a change from Up to Down means that the path was lost.
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

    /// Decides again about the BFD sessions of peers with such an address: their path changed, or their neighbour was found.
    pub(super) fn follow_ways(&mut self, which: impl Fn(&PeerAddress) -> bool) {
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
}
