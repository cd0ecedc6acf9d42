// SPDX-License-Identifier: Apache-2.0
//! Multicast memberships held by plain IPv6 sockets, so that the kernel sets the link's receive filter and sends MLD reports
//! (RFC 3810). A socket holds as many as net.core.optmem_max lets it; when it is full another one is opened. Nothing is
//! received on them.

use std::collections::HashMap;
use std::io;
use std::net::Ipv6Addr;

use socket2::{Domain, Protocol, Socket, Type};

/// All memberships and the sockets that hold them.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    sockets: Vec<Socket>,
    held: HashMap<(u32, Ipv6Addr), usize>,
    /// The first socket that may have room.
    room: usize,
}

impl Memberships {
    /// Joins the group on the link, if it is not joined yet.
    pub(super) fn join(&mut self, link: u32, group: Ipv6Addr) -> io::Result<()> {
        if self.held.contains_key(&(link, group)) {
            return Ok(());
        }
        loop {
            let opened = self.room >= self.sockets.len();
            if opened {
                self.sockets.push(Socket::new(
                    Domain::IPV6,
                    Type::DGRAM.cloexec(),
                    Some(Protocol::UDP),
                )?);
            }
            let Some(socket) = self.sockets.get(self.room) else {
                return Err(io::ErrorKind::OutOfMemory.into());
            };
            match socket.join_multicast_v6(&group, link) {
                Ok(()) => {
                    self.held.insert((link, group), self.room);
                    return Ok(());
                }
                Err(error) if is_full(&error) && !opened => self.room += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Leaves the group on the link. That the link is gone is no error: the room is free then, too.
    pub(super) fn leave(&mut self, link: u32, group: Ipv6Addr) {
        let Some(holder) = self.held.remove(&(link, group)) else { return };
        let Some(socket) = self.sockets.get(holder) else { return };
        if let Err(error) = socket.leave_multicast_v6(&group, link) {
            tracing::debug!(link, %group, %error, "could not leave a multicast group");
        }
        self.room = self.room.min(holder);
        if self.held.is_empty() {
            self.sockets.clear();
            self.room = 0;
        }
    }
}

/// The socket's own limit, not the link's.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}
