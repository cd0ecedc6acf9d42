// SPDX-License-Identifier: Apache-2.0
//! The datagrams that go out: their common part, greetings and notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Detector, Output};
use crate::heartbeat::wire::{Body, Mark, Message, NOTICE_LIMIT, Opinion, Stamp};
use crate::quorum::Side;

impl Detector {
    /// Sets the mark that every datagram carries from now.
    pub fn set_mark(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// Sets the side of this member: every datagram tells it from now, and every member gets one.
    pub fn set_side(&mut self, now: Instant, side: Side) {
        if side != self.side {
            self.side = side;
            self.notify(now, None, &[]);
        }
    }

    /// Sends a notice to one member or to all; copies are sent until it is confirmed or 1.2 s have gone. More than [`NOTICE_LIMIT`] bytes are
    /// not sent.
    pub fn notify(&mut self, now: Instant, to: Option<&str>, bytes: &[u8]) {
        debug_assert!(bytes.len() <= NOTICE_LIMIT, "a notice of {} bytes", bytes.len());
        if bytes.len() > NOTICE_LIMIT {
            return;
        }
        let bytes: Arc<[u8]> = bytes.into();
        let names: Vec<Arc<str>> = match to {
            Some(name) => self
                .peers
                .get_key_value(name)
                .map(|(name, _)| Arc::clone(name))
                .into_iter()
                .collect(),
            None => self.peers.keys().cloned().collect(),
        };
        for name in names {
            self.notices.add(now, name, Arc::clone(&bytes));
        }
        self.send_notices(now);
    }

    /// True while notices are on their way.
    #[must_use]
    pub fn is_notifying(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Greets members that were not heard yet, partners or not: only the silence of a member that was heard before means something.
    pub(super) fn greet(&mut self) {
        let strange =
            self.peers.iter_mut().filter(|(_, peer)| peer.heard.is_none() && peer.greetings > 0);
        let mut names = Vec::new();
        for (name, peer) in strange {
            peer.greetings -= 1;
            names.push(Arc::clone(name));
        }
        for name in names {
            self.send(&name, Body::Probe);
        }
    }

    pub(super) fn send(&mut self, name: &Arc<str>, body: Body) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        self.sent += 1;
        let view = if peer.condemned {
            Opinion::Dead
        } else if peer.probing.is_some() || peer.unconfirmed {
            Opinion::Suspect
        } else {
            Opinion::Alive
        };
        let message = Message {
            from: Arc::clone(&self.name),
            stamp: Stamp { session: self.session, counter: self.sent },
            echo: peer.echo(),
            view,
            side: self.side,
            mark: self.mark,
            body,
        };
        self.outputs.push_back(Output::Send { to: peer.address, message });
    }

    pub(super) fn send_notices(&mut self, now: Instant) {
        for (id, to, bytes) in self.notices.due(now) {
            self.send(&to, Body::Notice { id, bytes: bytes.to_vec() });
        }
    }

    /// The number of datagrams that were sent, to all members together.
    #[must_use]
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Asks a member for an answer, whether it is a partner or not.
    pub(crate) fn probe(&mut self, name: &Arc<str>) {
        self.send(name, Body::Probe);
    }

    /// Asks for an answer at an address where a member may be that is none of the ring.
    pub(crate) fn probe_stranger(&mut self, to: SocketAddr) {
        self.send_to_stranger(to, None, Body::Probe);
    }

    pub(super) fn send_to_stranger(&mut self, to: SocketAddr, echo: Option<Stamp>, body: Body) {
        self.sent += 1;
        let message = Message {
            from: Arc::clone(&self.name),
            stamp: Stamp { session: self.session, counter: self.sent },
            echo,
            view: Opinion::Unknown,
            side: self.side,
            mark: self.mark,
            body,
        };
        self.outputs.push_back(Output::Send { to, message });
    }

    /// True if this is the stamp of a datagram of this member that was sent after so many others.
    #[must_use]
    pub(crate) fn echoes(&self, echo: Stamp, after: u64) -> bool {
        echo.session == self.session && echo.counter > after && echo.counter <= self.sent
    }
}
