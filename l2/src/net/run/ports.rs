// SPDX-License-Identifier: Apache-2.0
//! The sockets of the answering thread, as the engine wants them: opened, with their filters and groups, and tried
//! again after a failure.

use std::io;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Instant;

use super::super::packet_socket::PacketSocket;
use super::{Failed, MEMBERSHIPS, Port, RETRY, Runner, token_of};
use crate::filter::Range;
use crate::{Event, Protocol, SocketChange};

impl Runner {
    pub(super) fn change_ports(&mut self) {
        while let Some(change) = self.engine.poll_port() {
            match change {
                SocketChange::Open { link, interface, protocol } => {
                    if let Err(error) = self.open((link, protocol)) {
                        self.fail((link, protocol), interface, "opening the packet socket", &error);
                    }
                }
                SocketChange::Close { link, protocol } => {
                    self.sockets.remove(&(link, protocol));
                    self.failed.remove(&(link, protocol));
                }
            }
        }
    }

    fn open(&mut self, port: Port) -> io::Result<()> {
        let socket = PacketSocket::open(port.0, port.1)?;
        {
            use std::os::fd::AsFd;
            self.epoll.add(socket.as_fd(), token_of(port))?;
        }
        self.sockets.insert(port, socket);
        Ok(())
    }

    pub(super) fn attach_filters(&mut self, now: Instant) {
        while let Some((link, protocol, ranges)) = self.engine.poll_filter(now) {
            self.attach((link, protocol), &ranges);
        }
    }

    fn attach(&mut self, port: Port, ranges: &[Range]) {
        let Some(socket) = self.sockets.get(&port) else { return };
        let Err(error) = socket.attach(port.1, ranges) else { return };
        let shorter = error.raw_os_error() == Some(libc::ENOMEM)
            && self.engine.filter_too_long(port.0, port.1);
        if !shorter {
            self.sockets.remove(&port);
            if let Some(interface) = self.interface(port.0) {
                self.fail(port, interface, "attaching the filter", &error);
            }
        }
    }

    /// Joins and leaves, up to the portion; returns whether there may be more.
    pub(super) fn change_memberships(&mut self, now: Instant) -> bool {
        for _ in 0..MEMBERSHIPS {
            let Some(change) = self.engine.poll_membership() else { return false };
            if !change.join {
                self.memberships.leave(change.link, change.group);
                if let Some((_, unjoined)) = &mut self.unjoined {
                    unjoined.retain(|key| *key != (change.link, change.group));
                }
                continue;
            }
            self.join(now, change.link, change.group);
        }
        true
    }

    fn join(&mut self, now: Instant, link: u32, group: Ipv6Addr) {
        if !self.sockets.contains_key(&(link, Protocol::Ndp))
            && !self.failed.contains_key(&(link, Protocol::Ndp))
        {
            return;
        }
        if let Err(error) = self.memberships.join(link, group) {
            if self.told.insert(link)
                && let Some(interface) = self.interface(link)
            {
                let error = format!("{}: joining {group} failed: {error}", Protocol::Ndp);
                (self.on_event)(Event::SocketFailed { interface, error });
            }
            let (_, unjoined) = self.unjoined.get_or_insert_with(|| (now + RETRY, Vec::new()));
            unjoined.push((link, group));
        }
    }

    /// Tries again what failed.
    pub(super) fn retry(&mut self, now: Instant) {
        if self.netlink_retry.is_some_and(|at| at <= now) {
            self.netlink_retry = match self.reopen_netlink() {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(%error, "netlink cannot be opened");
                    Some(now + RETRY)
                }
            };
        }
        self.retry_joins(now);
        let due: Vec<Port> = self
            .failed
            .iter()
            .filter(|(_, failed)| failed.retry <= now)
            .map(|(port, _)| *port)
            .collect();
        for port in due {
            match self.open(port) {
                Ok(()) => {
                    let Some(failed) = self.failed.remove(&port) else { continue };
                    self.engine.reopened(now, port.0, port.1);
                    (self.on_event)(Event::SocketRecovered { interface: failed.interface });
                }
                Err(error) => {
                    tracing::debug!(link = port.0, %error, "a packet socket cannot be opened");
                    if let Some(failed) = self.failed.get_mut(&port) {
                        failed.retry = now + RETRY;
                    }
                }
            }
        }
    }

    fn retry_joins(&mut self, now: Instant) {
        let Some((_, unjoined)) = self.unjoined.take_if(|(at, _)| *at <= now) else { return };
        for (link, group) in unjoined {
            self.join(now, link, group);
        }
        let missing = |link: &u32| {
            self.unjoined.iter().flat_map(|(_, left)| left).any(|(other, _)| other == link)
        };
        let whole: Vec<u32> = self.told.iter().filter(|link| !missing(link)).copied().collect();
        for link in whole {
            self.told.remove(&link);
            if let Some(interface) = self.interface(link) {
                (self.on_event)(Event::SocketRecovered { interface });
            }
        }
    }

    pub(super) fn fail(&mut self, port: Port, interface: Arc<str>, call: &str, error: &io::Error) {
        let failed = Failed { interface: Arc::clone(&interface), retry: clock::now() + RETRY };
        self.failed.insert(port, failed);
        (self.on_event)(Event::SocketFailed {
            interface,
            error: format!("{}: {call} failed: {error}", port.1),
        });
    }
}
