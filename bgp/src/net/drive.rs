// SPDX-License-Identifier: Apache-2.0
//! The task of one peer: it carries octets, time and orders between the core and TCP. One `select!`, one sleep.
//!
//! The branches are tried in order: orders first, then what TCP has, then time, so that a Hold Time that ran out while this
//! process was not running is judged after what the peer had sent meanwhile.

use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::connect::{ConnectError, connect, target};
use super::{addresses, socket_options};
use crate::advertiser::{Neighbour, News};
use crate::{Admission, Config, Direction, Event, Hindrance, Output, Peer};

/// Octets that are read at once.
const CHUNK: usize = 16 * 1024;
/// The longest OPEN that a connection is held for.
const LONGEST_OPEN: usize = 4096;
/// For so long a connection is held that may be that of a restarted peer.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many chunks in either direction, then the others have their turn.
const TURN: usize = 16;

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

type Connecting = Pin<Box<dyn Future<Output = Result<TcpStream, ConnectError>> + Send>>;

/// One of the two connections.
#[derive(Debug, Default)]
struct Lane {
    stream: Option<TcpStream>,
    /// TCP takes nothing at the moment.
    blocked: bool,
}

/// A connection of the peer that may replace the one of the session.
#[derive(Debug)]
struct Held {
    stream: TcpStream,
    octets: Vec<u8>,
    until: Instant,
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

    fn accept(&mut self, stream: TcpStream) {
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
    fn listen(&mut self) {
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
    fn judge(&mut self) {
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
    fn dismiss(&mut self, stream: TcpStream, octets: Vec<u8>) {
        if octets.is_empty() {
            return;
        }
        let patience = self.stop_time;
        self.closing.spawn(async move {
            // A peer that does not read its last message has no right to it.
            let _ = tokio::time::timeout(patience, farewell(stream, octets)).await;
        });
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

/// Octets on the connection that is held, or its end.
async fn spoke(held: Option<&Held>) {
    match held {
        Some(held) => drop(held.stream.readable().await),
        None => pending().await,
    }
}

async fn writable(lane: &Lane) {
    match &lane.stream {
        Some(stream) if lane.blocked => drop(stream.writable().await),
        Some(_) | None => pending().await,
    }
}
