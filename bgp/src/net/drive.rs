// SPDX-License-Identifier: Apache-2.0
//! The task of one peer: it carries octets, time and orders between the core and TCP. One `select!`, one sleep.
//!
//! The branches are tried in order: orders first, then what TCP has, then time, so that a Hold Time that ran out while this
//! process was not running is judged after what the peer had sent meanwhile.

mod admission;

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::cell::{Cell, now};
use super::connect::{ConnectError, connect, target};
use super::{addresses, socket_options};
use crate::{Config, Direction, Event, Hindrance, Output};
use admission::{Held, spoke};

/// Octets that are read at once.
const CHUNK: usize = 16 * 1024;
/// So many chunks in either direction, then the others have their turn.
const TURN: usize = 16;

type Connecting = Pin<Box<dyn Future<Output = Result<TcpStream, ConnectError>> + Send>>;

/// One of the two connections.
#[derive(Debug, Default)]
struct Lane {
    stream: Option<TcpStream>,
    /// TCP takes nothing at the moment.
    blocked: bool,
}

struct Driver {
    cell: Arc<Cell>,
    held: Option<Held>,
    outgoing: Lane,
    incoming: Lane,
    connecting: Option<Connecting>,
    /// Since when the neighbour of an unnumbered peer might have been heard.
    listening: Instant,
    /// The configuration that the streams have.
    applied: Arc<Config>,
    /// Connections that are being closed.
    closing: JoinSet<()>,
    stop_time: Duration,
}

/// Runs until the peer is stopped and the last connection is closed.
pub(super) async fn run(
    cell: Arc<Cell>,
    mut accepted: mpsc::Receiver<TcpStream>,
    changes: watch::Sender<u64>,
    stop_time: Duration,
) {
    let applied = Arc::clone(cell.peer().config());
    let mut driver = Driver {
        cell,
        held: None,
        outgoing: Lane::default(),
        incoming: Lane::default(),
        connecting: None,
        listening: now(),
        applied,
        closing: JoinSet::new(),
        stop_time,
    };
    let mut revision = 0;
    loop {
        let more = driver.settle();
        let (deadline, seen, stopped) = {
            let peer = driver.cell.peer();
            let held = driver.held.as_ref().map(|held| held.until);
            let deadline = peer.deadline().into_iter().chain(held).min();
            (deadline, peer.revision(), peer.is_stopped())
        };
        if std::mem::replace(&mut revision, seen) != seen {
            changes.send_modify(|count| *count += 1);
        }
        if stopped && driver.is_idle() {
            break;
        }
        let cell = Arc::clone(&driver.cell);
        tokio::select! {
            biased;
            () = cell.wake.notified() => {}
            Some(stream) = accepted.recv() => driver.accept(stream),
            result = established(&mut driver.connecting) => driver.connected(result),
            () = readable(&driver.outgoing) => driver.read(Direction::Outgoing),
            () = readable(&driver.incoming) => driver.read(Direction::Incoming),
            () = spoke(driver.held.as_ref()) => driver.listen(),
            () = writable(&driver.outgoing) => driver.outgoing.blocked = false,
            () = writable(&driver.incoming) => driver.incoming.blocked = false,
            () = tokio::task::yield_now(), if more => {}
            Some(_) = driver.closing.join_next() => {}
            () = clock::until(deadline) => {}
        }
    }
    while driver.closing.join_next().await.is_some() {}
}

impl Driver {
    fn is_idle(&self) -> bool {
        self.outgoing.stream.is_none()
            && self.incoming.stream.is_none()
            && self.connecting.is_none()
    }

    const fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Outgoing => &mut self.outgoing,
            Direction::Incoming => &mut self.incoming,
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        self.cell.peer().handle(now(), event);
        self.carry_out();
    }

    /// Does everything that is to be done now. Returns whether there is more to write than one turn allows.
    fn settle(&mut self) -> bool {
        self.carry_out();
        self.judge();
        self.apply_configuration();
        let due = self.cell.peer().deadline().is_some_and(|deadline| deadline <= now());
        if due {
            self.read(Direction::Outgoing);
            self.read(Direction::Incoming);
            self.handle(Event::Timer);
        }
        let outgoing = self.write(Direction::Outgoing);
        let incoming = self.write(Direction::Incoming);
        outgoing || incoming
    }

    fn carry_out(&mut self) {
        loop {
            let output = self.cell.peer().poll();
            match output {
                None => return,
                Some(Output::Connect) => self.connect(),
                Some(Output::Close { direction, octets }) => self.close(direction, octets),
                Some(Output::Established(negotiated)) => tracing::debug!(
                    peer = %self.applied.name,
                    asn = negotiated.peer_asn,
                    identifier = %negotiated.peer_identifier,
                    "BGP session established"
                ),
                Some(Output::Down(down)) => tracing::debug!(
                    peer = %self.applied.name,
                    from = %down.from,
                    reason = %down.reason,
                    "BGP session down"
                ),
            }
        }
    }

    fn connect(&mut self) {
        let config = Arc::clone(self.cell.peer().config());
        let neighbour = self.cell.neighbour();
        self.outgoing = Lane::default();
        self.connecting = Some(Box::pin(async move {
            let target = target(&config, neighbour)?;
            connect(config, target).await
        }));
    }

    fn connected(&mut self, result: Result<TcpStream, ConnectError>) {
        self.connecting = None;
        let waited = now().saturating_duration_since(self.listening);
        let problem = result.as_ref().err().and_then(|error| error.problem(waited));
        let text = problem.map(str::to_owned);
        self.handle(Event::Problem { hindrance: Hindrance::Connecting, text });
        match result {
            Ok(stream) => {
                self.begin(stream, Direction::Outgoing);
            }
            Err(ConnectError::Unreachable(error)) => self.handle(Event::Unreachable { error }),
            Err(error) => {
                let (direction, error) = (Direction::Outgoing, Some(error.into_text()));
                self.handle(Event::Disconnected { direction, error });
            }
        }
    }

    /// Returns whether the connection could be begun.
    fn begin(&mut self, stream: TcpStream, direction: Direction) -> bool {
        let (local, remote) = match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(remote)) => (local, remote),
            (Err(error), _) | (_, Err(error)) => {
                let error = Some(error.to_string());
                if direction == Direction::Outgoing {
                    self.handle(Event::Disconnected { direction, error });
                }
                return false;
            }
        };
        let next_hops = addresses::next_hops(local, remote);
        // What the core closes now is what was there before.
        self.handle(Event::Connected { direction, local, remote, next_hops });
        *self.lane(direction) = Lane { stream: Some(stream), blocked: false };
        true
    }

    fn read(&mut self, direction: Direction) {
        let mut buffer = [0; CHUNK];
        for _ in 0..TURN {
            let Some(stream) = &self.lane(direction).stream else { return };
            let error = match stream.try_read(&mut buffer) {
                Ok(0) => None,
                Ok(count) => {
                    let octets = buffer.get(..count).unwrap_or_default();
                    self.handle(Event::Received { direction, octets });
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => Some(error.to_string()),
            };
            return self.lost(direction, error);
        }
    }

    fn lost(&mut self, direction: Direction, error: Option<String>) {
        *self.lane(direction) = Lane::default();
        self.handle(Event::Disconnected { direction, error });
    }

    fn write(&mut self, direction: Direction) -> bool {
        for _ in 0..TURN {
            let cell = Arc::clone(&self.cell);
            let lane = self.lane(direction);
            let (Some(stream), false) = (&lane.stream, lane.blocked) else { return false };
            let mut peer = cell.peer();
            let waiting = peer.transmit(now(), direction);
            if waiting.is_empty() {
                return false;
            }
            match stream.try_write(waiting) {
                Ok(count) => peer.handle(now(), Event::Written { direction, count }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    lane.blocked = true;
                    return false;
                }
                Err(error) => {
                    drop(peer);
                    *self.lane(direction) = Lane::default();
                    self.handle(Event::Unsent { direction, error: error.to_string() });
                    return false;
                }
            }
        }
        true
    }

    fn close(&mut self, direction: Direction, octets: Vec<u8>) {
        if direction == Direction::Outgoing {
            self.connecting = None;
        }
        let lane = std::mem::take(self.lane(direction));
        if let Some(stream) = lane.stream {
            self.dismiss(stream, octets);
        }
    }

    /// A new key or TTL is set on what is connected.
    fn apply_configuration(&mut self) {
        let config = Arc::clone(self.cell.peer().config());
        if Arc::ptr_eq(&config, &self.applied) {
            return;
        }
        for lane in [&self.outgoing, &self.incoming] {
            let Some(stream) = &lane.stream else { continue };
            let Ok(remote) = stream.peer_addr() else { continue };
            let mut result = socket_options::apply_ttl(stream, &config, remote.is_ipv6());
            if config.password != self.applied.password {
                let key = config.password.as_ref();
                result = result.and(socket_options::set_md5(stream, remote.ip(), key));
            }
            if let Err(error) = result {
                tracing::warn!(peer = %config.name, %error, "changing a running connection");
            }
        }
        if config.remote != self.applied.remote {
            self.listening = now();
        }
        self.applied = config;
    }
}

async fn established(connecting: &mut Option<Connecting>) -> Result<TcpStream, ConnectError> {
    match connecting {
        Some(connecting) => connecting.await,
        None => pending().await,
    }
}

/// Also returns for an error, which the next attempt to read tells.
async fn readable(lane: &Lane) {
    match &lane.stream {
        Some(stream) => drop(stream.readable().await),
        None => pending().await,
    }
}

async fn writable(lane: &Lane) {
    match &lane.stream {
        Some(stream) if lane.blocked => drop(stream.writable().await),
        Some(_) | None => pending().await,
    }
}
