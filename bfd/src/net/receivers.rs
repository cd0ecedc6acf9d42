// SPDX-License-Identifier: Apache-2.0
//! The sockets that packets come in by: one per family, port and interface of the sessions. Where one cannot be opened the
//! sessions that need it are told why, and it is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use socket2::Socket;

use super::Epoll;
use super::datagram;
use super::interface;
use crate::{Hops, SessionKey};

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Port {
    /// Control packets over a single hop (RFC 5881 section 4).
    SingleHop,
    /// Control packets over several (RFC 5883 section 5).
    MultiHop,
    /// Echo packets over IPv6; those over IPv4 come by the packet socket.
    Echo,
}

/// Which socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReceiverId {
    pub(super) ipv6: bool,
    pub(super) port: Port,
    pub(super) interface: Option<Arc<str>>,
}

/// An open one.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) id: ReceiverId,
    pub(super) socket: Socket,
    /// Sends back the peers' Echo packets with a Hop Limit that shows it.
    pub(super) reflector: Option<Socket>,
    /// The index that the interface had.
    index: Option<u32>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Receivers {
    open: BTreeMap<u64, Receiver>,
    failed: BTreeMap<ReceiverId, Arc<str>>,
    next: u64,
}

impl Port {
    /// The number.
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::SingleHop => 3784,
            Self::MultiHop => 4784,
            Self::Echo => 3785,
        }
    }
}

impl From<Hops> for Port {
    fn from(hops: Hops) -> Self {
        match hops {
            Hops::Single => Self::SingleHop,
            Hops::Multi => Self::MultiHop,
        }
    }
}

impl ReceiverId {
    /// The one by which a session's packets for this port come.
    pub(super) fn of(key: &SessionKey, port: Port) -> Self {
        Self { ipv6: key.peer.is_ipv6(), port, interface: key.interface.clone() }
    }

    fn describe(&self, error: &io::Error) -> Arc<str> {
        let family = if self.ipv6 { "IPv6" } else { "IPv4" };
        let number = self.port.number();
        let on = self.interface.as_ref().map(|name| format!(" on {name}")).unwrap_or_default();
        match error.raw_os_error() {
            Some(libc::EADDRINUSE) => {
                format!("UDP port {number} ({family}{on}) is held by another process").into()
            }
            _ => format!("UDP port {number} ({family}{on}): {error}").into(),
        }
    }
}

impl Receivers {
    /// None; tokens are counted from `first`.
    pub(super) const fn new(first: u64) -> Self {
        Self { open: BTreeMap::new(), failed: BTreeMap::new(), next: first }
    }

    /// From now exactly these are wanted. Also opens again what failed or whose interface is another one now.
    pub(super) fn want(&mut self, epoll: &Epoll, wanted: &BTreeSet<ReceiverId>) {
        self.open.retain(|_, receiver| {
            let is_same =
                receiver.id.interface.as_deref().and_then(interface::index) == receiver.index;
            is_same && wanted.contains(&receiver.id)
        });
        self.failed.retain(|id, _| wanted.contains(id));
        for id in wanted {
            if self.open.values().any(|receiver| receiver.id == *id) {
                continue;
            }
            match self.open(epoll, id) {
                Ok(()) => {
                    self.failed.remove(id);
                }
                Err(error) => {
                    self.failed.insert(id.clone(), id.describe(&error));
                }
            }
        }
    }

    /// Why a wanted one is not open.
    pub(super) fn problem(&self, id: &ReceiverId) -> Option<Arc<str>> {
        self.failed.get(id).cloned()
    }

    /// By the token that the wait gave.
    pub(super) fn by_token(&self, token: u64) -> Option<&Receiver> {
        self.open.get(&token)
    }

    /// By what it is for.
    pub(super) fn by_id(&self, id: &ReceiverId) -> Option<&Receiver> {
        self.open.values().find(|receiver| receiver.id == *id)
    }

    fn open(&mut self, epoll: &Epoll, id: &ReceiverId) -> io::Result<()> {
        let socket = datagram::socket(id.ipv6, id.interface.as_deref())?;
        datagram::tell_all(&socket, id.ipv6)?;
        self.bind(&socket, id)?;
        let reflector = match id.port {
            Port::Echo => {
                let reflector = datagram::socket(id.ipv6, id.interface.as_deref())?;
                reflector.set_unicast_hops_v6(254)?;
                Some(reflector)
            }
            Port::SingleHop | Port::MultiHop => None,
        };
        let index = id.interface.as_deref().and_then(interface::index);
        epoll.add(socket.as_fd(), self.next)?;
        self.open.insert(self.next, Receiver { id: id.clone(), socket, reflector, index });
        self.next += 1;
        Ok(())
    }

    /// Our own sockets for the same port on other interfaces may share it, but nobody else: the permission to share is there
    /// only while one of ours joins.
    fn bind(&self, socket: &Socket, id: &ReceiverId) -> io::Result<()> {
        let address = SocketAddr::new(datagram::unspecified(id.ipv6), id.port.number()).into();
        let siblings = || {
            let all = self.open.values();
            all.filter(|other| (other.id.ipv6, other.id.port) == (id.ipv6, id.port))
        };
        if siblings().next().is_none() {
            return socket.bind(&address);
        }
        let share = |share| {
            let mut sockets = siblings().map(|other| &other.socket).chain([socket]);
            sockets.try_for_each(|socket| socket.set_reuse_address(share))
        };
        share(true)?;
        let bound = socket.bind(&address);
        share(false)?;
        bound
    }
}
