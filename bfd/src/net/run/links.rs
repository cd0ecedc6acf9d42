// SPDX-License-Identifier: Apache-2.0
//! The sockets of the sessions: opened, tried again and closed as the sessions need them, and what keeps a session
//! from sending.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::echo::{EchoWay, has_echo};
use super::{RETRY, Runner};
use crate::net::receivers::{Port, ReceiverId};
use crate::net::transmitter::Transmitter;
use crate::{Event, SessionKey};

/// A session as the shell sees it.
pub(super) struct Link {
    pub(super) key: SessionKey,
    pub(super) transmitter: Option<Transmitter>,
    /// Why nothing is sent.
    pub(super) problem: Option<Arc<str>>,
    pub(super) echo: Option<EchoWay>,
}

impl Link {
    fn open(&mut self, discriminator: u32, used: &BTreeSet<u16>) {
        self.transmitter = None;
        match Transmitter::open(&self.key, discriminator, used) {
            Ok(transmitter) => {
                self.transmitter = Some(transmitter);
                self.problem = None;
            }
            Err(error) => {
                self.problem = Some(format!("the socket of session {}: {error}", self.key).into());
            }
        }
    }
}

impl Runner {
    pub(super) fn open(&mut self, discriminator: u32, key: SessionKey) {
        let mut link = Link { key, transmitter: None, problem: None, echo: None };
        link.open(discriminator, &self.used_ports());
        self.links.insert(discriminator, link);
    }

    fn used_ports(&self) -> BTreeSet<u16> {
        let transmitters = self.links.values().filter_map(|link| link.transmitter.as_ref());
        transmitters.map(Transmitter::port).collect()
    }

    pub(super) fn send_control(&mut self, discriminator: u32, octets: &[u8]) -> bool {
        let Some(link) = self.links.get_mut(&discriminator) else { return false };
        let Some(transmitter) = &link.transmitter else { return false };
        let problem: Option<Arc<str>> = match transmitter.send(octets) {
            Ok(()) => None,
            // The host is congested: the next packet will tell.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS)) => {
                return false;
            }
            Err(error) => {
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENXIO)
                ) {
                    link.transmitter = None;
                }
                Some(format!("sending to {}: {error}", link.key.peer).into())
            }
        };
        let sent = problem.is_none();
        if link.problem != problem {
            link.problem = problem;
            self.tell_problem(discriminator);
        }
        sent
    }

    /// Opens the sockets that the sessions need, closes the others, and tells the sessions.
    pub(super) fn want_receivers(&mut self) {
        let mut wanted = BTreeSet::new();
        let mut echo = false;
        for (key, profile) in &self.profiles {
            wanted.insert(ReceiverId::of(key, key.hops.into()));
            if has_echo(key, profile, key.peer) {
                match key.peer {
                    IpAddr::V4(_) => echo = true,
                    IpAddr::V6(_) => drop(wanted.insert(ReceiverId::of(key, Port::Echo))),
                }
            }
        }
        self.receivers.want(&self.epoll, &wanted);
        self.want_echo(echo);
        let all: Vec<u32> = self.links.keys().copied().collect();
        for discriminator in all {
            self.tell_problem(discriminator);
        }
    }

    fn tell_problem(&mut self, discriminator: u32) {
        let Some(link) = self.links.get(&discriminator) else { return };
        let key = &link.key;
        let has_echo =
            self.profiles.get(key).is_some_and(|profile| has_echo(key, profile, key.peer));
        let of_echo = match (has_echo, key.peer) {
            (false, _) => None,
            (true, IpAddr::V4(_)) => self.echo_problem.clone(),
            (true, IpAddr::V6(_)) => self.receivers.problem(&ReceiverId::of(key, Port::Echo)),
        };
        let problem = self
            .receivers
            .problem(&ReceiverId::of(key, key.hops.into()))
            .or_else(|| link.problem.clone())
            .or(of_echo);
        self.table.handle(clock::now(), Event::Problem { discriminator, problem });
    }

    /// Tries again what failed, and looks whether the interfaces are still those.
    pub(super) fn look_again(&mut self) {
        self.retry = clock::now() + RETRY;
        let mut used = self.used_ports();
        for (discriminator, link) in &mut self.links {
            // The neighbour may have another link-layer address now; the way is found anew when it is needed.
            link.echo = None;
            if link.transmitter.as_ref().is_none_or(|open| !open.is_valid(&link.key)) {
                link.open(*discriminator, &used);
                used.extend(link.transmitter.as_ref().map(Transmitter::port));
            }
        }
        self.want_receivers();
    }
}
