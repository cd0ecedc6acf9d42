// SPDX-License-Identifier: Apache-2.0
//! Datagrams, and the errors that come back for them.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::{Runner, TURN_LIMIT, moment, now};
use crate::net::Seal;
use crate::net::refusals::Cause;
use crate::net::sent::QUOTE;
use crate::net::socket::{self, Batch};
use crate::{DecodeError, Input};

/// The number of batches of datagrams that are taken in one turn, at most.
const PORTION: usize = 16;
/// The number of attempts to send a datagram, at most, while errors of earlier datagrams come in its way.
const SENDS: usize = 16;

impl Runner {
    /// Takes the datagrams that are there, up to a limit.
    pub(super) fn receive(&mut self, batch: &mut Batch) {
        self.more = true;
        for _ in 0..PORTION {
            match batch.receive(self.udp.get_ref()) {
                Ok(more) => {
                    for (from, octets) in batch.datagrams() {
                        self.datagram(from, octets);
                        self.carry_out();
                    }
                    self.more = more;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.more = false,
                // The error of an earlier datagram, which is in the queue as well.
                Err(_) => self.receive_errors(),
            }
            if !self.more {
                break;
            }
        }
    }

    /// Takes the errors of earlier datagrams; an error that quotes none of them was made up.
    pub(super) fn receive_errors(&mut self) {
        let mut quote = [0; QUOTE];
        for _ in 0..TURN_LIMIT {
            let Ok(found) = socket::error(self.udp.get_ref(), &mut quote) else { return };
            let Some(found) = found else { continue };
            let now = now();
            let (to, port_closed) = (found.to, found.port_closed);
            let quoted = quote.get(..found.quoted).unwrap_or_default();
            if !self.sent.includes(now, to, quoted) {
                let by = found.by.unwrap_or(to.ip());
                self.streams.door.refusals().note(now, by, Cause::Icmp);
                continue;
            }
            self.handle(if port_closed { Input::PortClosed(to) } else { Input::Unreachable(to) });
        }
        self.more = true;
    }

    fn datagram(&mut self, from: SocketAddr, octets: &mut [u8]) {
        let now = moment();
        // A datagram that cannot be opened counts for nothing, and costs no more than the attempt.
        let taken = if Seal::is_heartbeat(octets) {
            let opened = self.seal.open(octets);
            opened.map(|message| self.agent.handle(now, Input::Heartbeat { from, message }))
        } else {
            let opened = self.streams.envelope.open_packet(octets);
            opened.map(|octets| self.agent.handle(now, Input::Packet { from, octets }))
        };
        match taken {
            Ok(()) => self.renew(),
            Err(error) => self.refuse(now.monotonic, from, &error),
        }
    }

    /// Counts a datagram that cannot be read. The fault may be here or there: a wrong key looks like this.
    fn refuse(&self, now: Instant, from: SocketAddr, error: &DecodeError) {
        self.streams.door.refusals().note(now, from.ip(), Cause::of(error));
    }

    /// Returns true if the datagram left the host. A datagram for which the kernel has no room at the moment counts as sent: it could get
    /// lost later, too.
    pub(super) fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        self.sent.note(now(), to, datagram);
        let socket = self.udp.get_ref();
        let mut result = socket.send_to(datagram, to);
        // The error may be an earlier datagram's, which the call has removed by telling it; anybody can cause such errors at any rate.
        for _ in 1..SENDS {
            if result.is_ok() {
                break;
            }
            result = socket.send_to(datagram, to);
        }
        match result {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%to, %error, "a datagram was not sent");
                matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
            }
        }
    }
}
