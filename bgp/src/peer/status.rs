// SPDX-License-Identifier: Apache-2.0
//! How the peer stands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Direction, Peer};
use crate::session::Session;
use crate::session::negotiate::codes_left_out;
use crate::status::{State, Status};

impl Peer {
    /// Everything about it.
    #[must_use]
    pub fn status(&self) -> Status {
        let addresses = self.addresses();
        let up = self.up.and_then(|direction| self.session(direction));
        Status {
            name: Arc::clone(&self.config.name),
            state: self.state,
            since: self.since,
            last_down: self.last_down.clone(),
            last_drop: self.last_drop.clone(),
            established: self.established,
            dropped: self.dropped,
            negotiated: up.and_then(Session::negotiated).cloned(),
            local: addresses.map(|(local, _)| local),
            remote: addresses.map(|(_, remote)| remote),
            counters: self.counters,
            desired_prefixes: self.rib.desired(self.config.families),
            announced_prefixes: self.rib.announced(),
            queued_prefixes: self.rib.queued(),
            withheld: self.rib.withheld(),
            omitted_capabilities: codes_left_out(&self.config, self.omitted.parts())
                .into_iter()
                .collect(),
            problem: self.problems(),
            draining: self.drain,
        }
    }

    /// What hinders, all of it in one text.
    fn problems(&self) -> Option<String> {
        let refused = if self.up.is_none() {
            self.omitted.text(&self.config)
        } else {
            self.omitted.not_carried(&self.config)
        };
        let own = [&self.connect_problem, &self.listen_problem];
        let texts: Vec<String> = own.into_iter().flatten().cloned().chain(refused).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Our end and the peer's of the connection that is further.
    #[must_use]
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.further().and_then(Session::addresses)
    }

    /// Changes when something in the status changed that is not a counter.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Notices a change of state.
    pub(super) fn observe(&mut self, now: Instant) {
        let state = self.further().map_or(State::Idle, Session::state);
        if state != self.state {
            self.state = state;
            self.since = now;
            self.revision += 1;
        }
    }

    /// The connection that is further.
    fn further(&self) -> Option<&Session> {
        let both = [Direction::Outgoing, Direction::Incoming];
        both.into_iter().filter_map(|one| self.session(one)).max_by_key(|session| session.state())
    }
}
