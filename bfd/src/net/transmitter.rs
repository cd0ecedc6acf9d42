// SPDX-License-Identifier: Apache-2.0
//! The socket that a session sends by, with a source port that no other session has (RFC 5881 section 4).

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use socket2::{SockAddr, Socket};

use super::receivers::Port;
use super::{datagram, interface};
use crate::SessionKey;

/// The first of the ports that may be used, up to 65535.
const FIRST_PORT: u16 = 49152;
/// Ports that are tried.
const ATTEMPTS: u16 = 256;

/// An open one.
#[derive(Debug)]
pub(super) struct Transmitter {
    socket: Socket,
    peer: SockAddr,
    port: u16,
    index: Option<u32>,
}

impl Transmitter {
    /// Opens one; the search for a port begins at a place that the discriminator gives.
    pub(super) fn open(
        key: &SessionKey,
        discriminator: u32,
        used: &BTreeSet<u16>,
    ) -> io::Result<Self> {
        let ipv6 = key.peer.is_ipv6();
        let local = key.local.unwrap_or(datagram::unspecified(ipv6));
        let index = key.interface.as_deref().and_then(interface::index);
        let socket = datagram::socket(ipv6, key.interface.as_deref())?;
        let range = u16::MAX - FIRST_PORT + 1;
        let start = u16::try_from(discriminator % u32::from(range)).unwrap_or(0);
        for attempt in 0..ATTEMPTS {
            let port = FIRST_PORT + (start + attempt) % range;
            if used.contains(&port) {
                continue;
            }
            match socket.bind(&SocketAddr::new(local, port).into()) {
                Ok(()) => {
                    let peer = SocketAddr::new(key.peer, Port::from(key.hops).number()).into();
                    return Ok(Self { socket, peer, port, index });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Its source port.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Whether its interface is still the one that it was bound to.
    pub(super) fn is_valid(&self, key: &SessionKey) -> bool {
        key.interface.as_deref().and_then(interface::index) == self.index
    }

    /// Sends one control packet; does not wait.
    pub(super) fn send(&self, octets: &[u8]) -> io::Result<()> {
        self.socket.send_to(octets, &self.peer).map(drop)
    }
}
