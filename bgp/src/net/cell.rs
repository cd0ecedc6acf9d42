// SPDX-License-Identifier: Apache-2.0
//! A peer as its task and the callers of the engine share it, and the clock that all of them go by.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::advertiser::{Neighbour, News};
use crate::{Event, Peer};

/// A peer as its task and the callers share it. The lock is never held while waiting.
#[derive(Debug)]
pub(super) struct Cell {
    peer: Mutex<Peer>,
    pub(super) wake: Notify,
    /// Connections that the listener took for it.
    pub(super) accepted: mpsc::Sender<TcpStream>,
    /// The router behind the interface of an unnumbered peer.
    neighbour: Mutex<Neighbour>,
    /// The interface towards the peer when the host was last looked at; 0: none.
    way: AtomicU32,
}

impl Cell {
    pub(super) fn new(peer: Peer, accepted: mpsc::Sender<TcpStream>) -> Self {
        Self {
            peer: Mutex::new(peer),
            wake: Notify::new(),
            accepted,
            neighbour: Mutex::default(),
            way: AtomicU32::new(0),
        }
    }

    pub(super) fn peer(&self) -> MutexGuard<'_, Peer> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an event over and has the task look at what follows.
    pub(super) fn tell(&self, event: Event<'_>) {
        self.peer().handle(now(), event);
        self.wake.notify_one();
    }

    /// Over which interface the peer is to be reached now. Returns whether that is another one than before.
    pub(super) fn has_way(&self, way: Option<u32>) -> bool {
        let way = way.unwrap_or(0);
        self.way.swap(way, Ordering::Relaxed) != way && way != 0
    }

    pub(super) fn neighbour(&self) -> Option<Ipv6Addr> {
        self.neighbour.lock().unwrap_or_else(PoisonError::into_inner).address()
    }

    /// The neighbour advertised itself.
    pub(super) fn heard(&self, address: Ipv6Addr) -> News {
        let remote = {
            let peer = self.peer();
            let up = peer.is_established();
            peer.addresses().filter(|_| up).map(|(_, remote)| remote.ip())
        };
        let mut neighbour = self.neighbour.lock().unwrap_or_else(PoisonError::into_inner);
        let before = neighbour.address().map(IpAddr::V6);
        let settled = before.is_some() && before == remote;
        let news = neighbour.heard(now(), address, settled);
        drop(neighbour);
        if news == News::Moved {
            self.tell(if settled { Event::Moved(address) } else { Event::Reachable });
        }
        news
    }

    /// A station answered from this address.
    pub(super) fn answered(&self, address: Ipv6Addr) {
        self.neighbour.lock().unwrap_or_else(PoisonError::into_inner).answered(address);
    }

    /// The peer is to be found behind another interface.
    pub(super) fn forget_neighbour(&self) {
        *self.neighbour.lock().unwrap_or_else(PoisonError::into_inner) = Neighbour::default();
    }
}

/// The clock of the runtime, which tests can hold.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
