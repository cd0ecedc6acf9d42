// SPDX-License-Identifier: Apache-2.0
//! Connections that the peer opens: each is held until [`Peer::judge`] says whether it is taken. And how a connection is closed after its
//! last octets.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Driver;
use crate::net::cell::now;
use crate::net::socket_options;
use crate::{Admission, Config, Direction, Event, Peer};

/// The longest OPEN that a connection is held for.
const LONGEST_OPEN: usize = 4096;
/// For so long a connection is held that may be that of a restarted peer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection of the peer that may replace the one of the session.
#[derive(Debug)]
pub(super) struct Held {
    stream: TcpStream,
    octets: Vec<u8>,
    pub(super) until: Instant,
}

impl Driver {
    /// Holds a connection that the peer opened, if it may be one for this peer.
    pub(super) fn accept(&mut self, stream: TcpStream) {
        if !self.cell.peer().accepts(now()) {
            return;
        }
        let config = Arc::clone(self.cell.peer().config());
        if let Err(error) = prepare_accepted(&stream, &config) {
            tracing::warn!(peer = %config.name, %error, "socket options of an accepted connection");
            return;
        }
        self.held = Some(Held { stream, octets: Vec::new(), until: now() + PATIENCE });
        self.judge();
    }

    /// Reads what came on the connection that is held.
    pub(super) fn listen(&mut self) {
        let mut buffer = [0; LONGEST_OPEN];
        let Some(held) = &mut self.held else { return };
        match held.stream.try_read(&mut buffer) {
            Ok(0) => self.held = None,
            Ok(count) => {
                held.octets.extend_from_slice(buffer.get(..count).unwrap_or_default());
                self.judge();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.held = None,
        }
    }

    /// Takes or refuses the connection that is held, if that can be said by now.
    pub(super) fn judge(&mut self) {
        let Some(held) = self.held.take() else { return };
        let verdict = self.cell.peer().judge(&held.octets);
        match verdict {
            Admission::Wait if now() < held.until => self.held = Some(held),
            Admission::Wait => self.dismiss(held.stream, Peer::refusal()),
            Admission::Refuse(octets) => self.dismiss(held.stream, octets),
            Admission::Take => {
                let direction = Direction::Incoming;
                if self.begin(held.stream, direction) && !held.octets.is_empty() {
                    self.handle(Event::Received { direction, octets: &held.octets });
                }
            }
        }
    }

    /// Closes a connection after its last octets.
    pub(super) fn dismiss(&mut self, stream: TcpStream, octets: Vec<u8>) {
        if octets.is_empty() {
            return;
        }
        let patience = self.stop_time;
        self.closing.spawn(async move {
            // A peer that does not read its last message has no right to it.
            let _ = tokio::time::timeout(patience, farewell(stream, octets)).await;
        });
    }
}

/// The key once more: it may have come after the connection did.
fn prepare_accepted(stream: &TcpStream, config: &Config) -> io::Result<()> {
    let remote = stream.peer_addr()?;
    socket_options::prepare(stream, config, remote.is_ipv6())?;
    match &config.password {
        Some(password) => socket_options::set_md5(stream, remote.ip(), Some(password)),
        None => Ok(()),
    }
}

/// Writes the last octets and waits for the peer to close: were the socket closed with something unread, the kernel would
/// reset the connection and the peer might never see them.
async fn farewell(mut stream: TcpStream, octets: Vec<u8>) -> io::Result<()> {
    stream.write_all(&octets).await?;
    stream.shutdown().await?;
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

/// Octets on the connection that is held, or its end.
pub(super) async fn spoke(held: Option<&Held>) {
    match held {
        Some(held) => drop(held.stream.readable().await),
        None => pending().await,
    }
}
