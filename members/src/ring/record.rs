// SPDX-License-Identifier: Apache-2.0
//! A member in the form in which the ring keeps it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Member;
use super::suspicion::Suspicion;
use crate::wire::message::Alive;
use crate::wire::push_pull::NodeState;
use crate::{State, Versions};

#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: Arc<str>,
    /// The address as it was told: an IPv4 address may be written as an IPv6 address, and the library compares octets.
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) meta: Arc<[u8]>,
    pub(super) versions: Versions,
    pub(super) incarnation: u32,
    pub(super) state: State,
    pub(super) changed: Instant,
    /// The suspicion, while the state is `Suspect`.
    pub(super) suspicion: Option<Suspicion>,
    /// The other address that was last claimed for the member.
    pub(super) conflict: Option<SocketAddr>,
    /// True if the member has answered this one, or the failure detector has heard it.
    pub(super) reached: bool,
    /// The time when the member's host last said that nobody listens at its port.
    pub(super) closed: Option<Instant>,
}

/// The time before a death from which on a closed port belongs to the death.
const SHORTLY: Duration = Duration::from_secs(1);

impl Record {
    pub(super) const fn is_gone(&self) -> bool {
        matches!(self.state, State::Dead | State::Left)
    }

    /// True if a packet could reach a process there: not if the member is dead because its process is gone. Its host reports a closed port
    /// only a few times and then once a second, and the next report is to be heard at once.
    pub(super) fn may_listen(&self) -> bool {
        !self.is_gone() || self.closed.is_none_or(|at| at + SHORTLY < self.changed)
    }

    /// The address to which packets go.
    pub(super) const fn to(&self) -> SocketAddr {
        SocketAddr::new(self.address.to_canonical(), self.port)
    }

    pub(super) fn member(&self) -> Member {
        Member {
            name: Arc::clone(&self.name),
            address: self.to(),
            meta: Arc::clone(&self.meta),
            state: self.state,
            incarnation: self.incarnation,
            versions: self.versions,
        }
    }

    pub(super) fn alive(&self) -> Alive<'_> {
        Alive {
            incarnation: self.incarnation,
            node: &self.name,
            address: self.address,
            port: self.port,
            meta: &self.meta,
            versions: Some(self.versions),
        }
    }

    pub(super) fn node_state(&self) -> NodeState<'_> {
        NodeState {
            name: &self.name,
            address: Some(self.address),
            port: self.port,
            meta: &self.meta,
            incarnation: self.incarnation,
            state: self.state,
            versions: Some(self.versions),
        }
    }
}
