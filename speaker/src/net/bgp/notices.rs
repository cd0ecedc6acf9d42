// SPDX-License-Identifier: Apache-2.0
//! The news about the sessions for people, each told once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use bgp::{DownReason, State, Status};
use crds::config::{Peer, PeerAddress, PeerAsn};

use super::BgpDriver;
use super::collector::{LabelValues, Labelled};

/// A piece of news about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionNotice {
    /// The session is Established.
    Up {
        /// The BGPPeer.
        peer: Arc<str>,
        /// The agreed parameters, in words.
        detail: String,
    },
    /// The session is not Established any more.
    Down {
        /// The BGPPeer.
        peer: Arc<str>,
        /// The reason.
        reason: DownReason,
        /// True if there was a session; false if an attempt failed.
        was_up: bool,
    },
    /// The metrics of the peer have the same labels as those of an older peer, whose series are shown; or that is over.
    SharedSeries {
        /// The BGPPeer.
        peer: Arc<str>,
        /// The older BGPPeer; none when that is over.
        older: Option<Arc<str>>,
    },
    /// The session cannot work, or can again.
    Problem {
        /// The BGPPeer.
        peer: Arc<str>,
        /// The reason; none when that is over.
        problem: Option<String>,
    },
}

impl SessionNotice {
    /// The peer of the session.
    pub(in crate::net) fn peer(&self) -> &Arc<str> {
        match self {
            Self::Up { peer, .. }
            | Self::Down { peer, .. }
            | Self::SharedSeries { peer, .. }
            | Self::Problem { peer, .. } => peer,
        }
    }
}

/// A peer in the log (contract 7.2).
#[derive(Clone, Debug)]
pub(in crate::net) struct InLog {
    /// The peer's address or interface, and the port.
    pub(in crate::net) place: String,
    /// Our AS number in the session.
    pub(in crate::net) own_asn: u32,
    /// The peer's AS number; 0 for any.
    pub(in crate::net) peer_asn: u32,
}

impl InLog {
    pub(super) fn of(peer: &Peer) -> Self {
        let place = match &peer.address {
            PeerAddress::Address(address) => SocketAddr::new(*address, peer.port).to_string(),
            PeerAddress::Interface(interface) => format!("{interface}:{}", peer.port),
        };
        let peer_asn = match peer.peer_asn {
            PeerAsn::Number(asn) => asn,
            PeerAsn::Internal | PeerAsn::External => 0,
        };
        Self { place, own_asn: peer.my_asn, peer_asn }
    }
}

/// The news that was last told of a peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    established: u64,
    dropped: u64,
    reason: Option<DownReason>,
    problem: Option<String>,
    /// The older peer that has the same series.
    older: Option<Arc<str>>,
}

impl BgpDriver {
    pub(super) fn notices(&mut self) -> Vec<SessionNotice> {
        let mut notices = Vec::new();
        let statuses = self.engine.statuses();
        for (name, status) in &statuses {
            let told = self.told.entry(Arc::clone(name)).or_default();
            let dropped = status.last_drop.as_ref().filter(|_| status.dropped > told.dropped);
            // An attempt that fails for the same reason as the one before is not told again.
            let failed = status
                .last_down
                .as_ref()
                .filter(|down| dropped.is_none() && told.reason.as_ref() != Some(&down.reason));
            if let Some(down) = dropped.or(failed) {
                let reason = down.reason.clone();
                told.reason = Some(reason.clone());
                let was_up = dropped.is_some();
                notices.push(SessionNotice::Down { peer: Arc::clone(name), reason, was_up });
            }
            if status.established > told.established && status.state == State::Established {
                let detail = describe(status);
                notices.push(SessionNotice::Up { peer: Arc::clone(name), detail });
            }
            (told.established, told.dropped) = (status.established, status.dropped);
            let problem = status.problem.clone().or_else(|| withheld(status));
            if told.problem != problem && !self.problems.contains_key(name) {
                told.problem.clone_from(&problem);
                notices.push(SessionNotice::Problem { peer: Arc::clone(name), problem });
            }
        }
        notices.extend(self.shared_series());
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

    /// Tells the peers whose series are an older peer's.
    fn shared_series(&mut self) -> Vec<SessionNotice> {
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notices = Vec::new();
        let mut first: BTreeMap<&LabelValues, &Arc<str>> = BTreeMap::new();
        for Labelled { peer, values } in roster.iter() {
            let older = first.get(values).map(|older| Arc::clone(older));
            if older.is_none() {
                first.insert(values, peer);
            }
            let told = self.told.entry(Arc::clone(peer)).or_default();
            if told.older != older {
                told.older.clone_from(&older);
                notices.push(SessionNotice::SharedSeries { peer: Arc::clone(peer), older });
            }
        }
        notices
    }
}

/// The agreed parameters, for people.
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

/// The routes that an Established session cannot send, with the reasons.
fn withheld(status: &Status) -> Option<String> {
    let reasons: BTreeSet<String> = status
        .withheld
        .iter()
        .filter(|withheld| withheld.reason != bgp::WithheldReason::NotOffered)
        .map(|withheld| format!("{} prefixes are not sent: {}", withheld.family, withheld.reason))
        .collect();
    (status.state == State::Established && !reasons.is_empty())
        .then(|| reasons.into_iter().collect::<Vec<_>>().join("; "))
}
