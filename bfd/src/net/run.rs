// SPDX-License-Identifier: Apache-2.0
//! The loop of the BFD thread: carry out what the table wants, wait, feed it what came. Packets are always taken before a deadline
//! is looked at, so that a thread that was held up does not take its own delay for the peer's silence.
//!
//! Echo packets over IPv6 go as FRR 8.4 has them: to the peer's address with Hop Limit 255; who receives one with 255 sends it
//! back with 254, who receives one with 254 has his own. Only those of configured peers are sent back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::Receiver as Queue;
use std::time::{Duration, Instant};

use poll::{Timer, Wake};

use super::datagram::{self, Datagram};
use super::echo_socket::{EchoSocket, Station, kernel_forwards};
use super::receivers::{Port, ReceiverId, Receivers};
use super::transmitter::Transmitter;
use super::{Command, Epoll, StartError, interface, ipv4, netlink, path, priority};
use crate::{Arrival, Event, Hops, Output, Profile, SessionKey, Status, Table};

/// What failed is tried again after this time; interfaces and ways of Echo packets are looked at again.
const RETRY: Duration = Duration::from_secs(1);
/// Packets taken from one socket in one turn.
const PORTION: usize = 64;
/// More than any control or Echo packet; what is longer is cut, which the packet's own length then shows.
const BUFFER: usize = 512;
/// How often the peers are told AdminDown at the end, and the time in between.
const FAREWELLS: (u32, Duration) = (3, Duration::from_millis(10));

const WAKE: u64 = 0;
const TIMER: u64 = 1;
const ECHO: u64 = 2;
const FIRST_RECEIVER: u64 = 3;

type OnChange = Box<dyn Fn(&SessionKey, &Status) + Send>;

pub(super) struct Runner {
    table: Table,
    commands: Queue<Command>,
    wake: Arc<Wake>,
    on_change: OnChange,
    epoll: Epoll,
    timer: Timer,
    profiles: BTreeMap<SessionKey, Profile>,
    links: BTreeMap<u32, Link>,
    receivers: Receivers,
    echo: Option<EchoSocket>,
    echo_problem: Option<Arc<str>>,
    retry: Instant,
    buffer: [u8; BUFFER],
}

/// A session as the shell sees it.
struct Link {
    key: SessionKey,
    transmitter: Option<Transmitter>,
    /// Why nothing is sent.
    problem: Option<Arc<str>>,
    echo: Option<EchoWay>,
}

/// How IPv4 Echo packets reach the peer.
struct EchoWay {
    local: std::net::Ipv4Addr,
    station: Station,
}

impl Runner {
    pub(super) fn new(
        commands: Queue<Command>,
        wake: Arc<Wake>,
        on_change: OnChange,
    ) -> Result<Self, StartError> {
        let failed = |call| move |error| StartError { call, error };
        let epoll = Epoll::new().map_err(failed("epoll_create1"))?;
        let timer = Timer::new().map_err(failed("timerfd_create"))?;
        epoll.add(wake.descriptor(), WAKE).map_err(failed("epoll_ctl"))?;
        epoll.add(timer.descriptor(), TIMER).map_err(failed("epoll_ctl"))?;
        Ok(Self {
            table: Table::new(seed().map_err(failed("reading /dev/urandom"))?),
            commands,
            wake,
            on_change,
            epoll,
            timer,
            profiles: BTreeMap::new(),
            links: BTreeMap::new(),
            receivers: Receivers::new(FIRST_RECEIVER),
            echo: None,
            echo_problem: None,
            retry: clock::now() + RETRY,
            buffer: [0; BUFFER],
        })
    }

    /// The thread.
    pub(super) fn run(mut self) {
        priority::raise();
        let mut ready = Vec::new();
        loop {
            if self.take_commands() {
                return self.farewell();
            }
            if self.retry <= clock::now() {
                self.look_again();
            }
            self.carry_out();
            self.wait(&mut ready);
        }
    }

    fn wait(&mut self, ready: &mut Vec<u64>) {
        let current = clock::now();
        let retry = (!self.links.is_empty()).then_some(self.retry);
        let until = self.table.deadline().into_iter().chain(retry).min();
        let waited = self
            .timer
            .set(until.map(|at| at.saturating_duration_since(current)))
            .and_then(|()| self.epoll.wait(None, ready));
        if let Err(error) = waited {
            // Cannot happen with valid descriptors; if it does, the loop must not spin.
            tracing::error!(%error, "waiting failed");
            std::thread::sleep(RETRY);
        }
        self.dispatch(ready);
        let current = clock::now();
        if self.table.deadline().is_some_and(|at| at <= current) {
            // What arrived before this moment counts, also if the thread was held up since the wait ended.
            if self.epoll.wait(Some(Duration::ZERO), ready).is_ok() {
                self.dispatch(ready);
            }
            self.table.handle(current, Event::Deadline);
        }
    }

    fn dispatch(&mut self, ready: &[u64]) {
        for token in ready {
            match *token {
                WAKE => self.wake.clear(),
                TIMER => self.timer.clear(),
                ECHO => self.receive_echo(),
                token => self.receive(token),
            }
        }
    }

    /// Whether it is to stop.
    fn take_commands(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Sessions(sessions) => self.set_sessions(sessions),
                // The asker may have gone.
                Command::Statuses(answer) => drop(answer.try_send(self.table.statuses())),
                Command::Stop => return true,
            }
        }
        false
    }

    fn set_sessions(&mut self, sessions: BTreeMap<SessionKey, Profile>) {
        if self.links.is_empty() {
            self.retry = clock::now() + RETRY;
        }
        self.table.set_sessions(clock::now(), &sessions);
        self.profiles = sessions;
        self.carry_out();
        self.want_receivers();
    }

    fn farewell(&mut self) {
        let (count, pause) = FAREWELLS;
        for round in 0..count {
            self.table.handle(clock::now(), Event::AdminDown);
            self.carry_out();
            if round + 1 < count && !self.links.is_empty() {
                std::thread::sleep(pause);
            }
        }
    }

    /// Does what the table wants, in its order.
    fn carry_out(&mut self) {
        while let Some(output) = self.table.poll() {
            match output {
                Output::Open { discriminator, key } => self.open(discriminator, key),
                Output::Close { discriminator } => drop(self.links.remove(&discriminator)),
                Output::Changed { key, status } => (self.on_change)(&key, &status),
                Output::Control { discriminator, octets, due } => {
                    if self.send_control(discriminator, &octets) {
                        self.table.handle(clock::now(), Event::ControlSent { discriminator, due });
                    }
                }
                Output::Echo { discriminator, octets, due } => {
                    match self.send_echo(discriminator, &octets) {
                        Ok(()) => {
                            self.table.handle(clock::now(), Event::EchoSent { discriminator, due })
                        }
                        Err(error) => tracing::debug!(%error, "an Echo packet was not sent"),
                    }
                }
            }
        }
    }

    fn open(&mut self, discriminator: u32, key: SessionKey) {
        let mut link = Link { key, transmitter: None, problem: None, echo: None };
        link.open(discriminator, &self.used_ports());
        self.links.insert(discriminator, link);
    }

    fn used_ports(&self) -> BTreeSet<u16> {
        let transmitters = self.links.values().filter_map(|link| link.transmitter.as_ref());
        transmitters.map(Transmitter::port).collect()
    }

    fn send_control(&mut self, discriminator: u32, octets: &[u8]) -> bool {
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

    fn send_echo(&mut self, discriminator: u32, octets: &[u8; 24]) -> io::Result<()> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let link = self.links.get_mut(&discriminator).ok_or_else(missing)?;
        if link.key.peer.is_ipv6() {
            let id = ReceiverId::of(&link.key, Port::Echo);
            let receiver = self.receivers.by_id(&id).ok_or_else(missing)?;
            let to = SocketAddr::new(link.key.peer, Port::Echo.number());
            return receiver.socket.send_to(octets, &to.into()).map(drop);
        }
        if link.echo.is_none() {
            link.echo = Some(EchoWay::find(&link.key)?);
        }
        let way = link.echo.as_ref().ok_or_else(missing)?;
        let socket = self.echo.as_ref().ok_or_else(missing)?;
        socket.send(way.station, &ipv4::emit(way.local, octets))
    }

    fn receive(&mut self, token: u64) {
        for _ in 0..PORTION {
            let Some(receiver) = self.receivers.by_token(token) else { return };
            let datagram = match datagram::receive(&receiver.socket, &mut self.buffer) {
                Ok(Some(datagram)) => datagram,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An error that waited on the socket, told once.
                Err(error) => {
                    tracing::debug!(%error, "receiving failed");
                    continue;
                }
            };
            let payload = self.buffer.get(..datagram.length).unwrap_or_default();
            let hops = match receiver.id.port {
                Port::SingleHop => Hops::Single,
                Port::MultiHop => Hops::Multi,
                Port::Echo => {
                    if datagram.ttl != 255 {
                        self.table.handle(clock::now(), Event::Echo(payload));
                    } else if self.wants_echo(datagram.source.ip()) {
                        let reflector = receiver.reflector.as_ref();
                        reflect(reflector, datagram.source, payload);
                    }
                    continue;
                }
            };
            let Datagram { source, destination, ttl, .. } = datagram;
            let interface = receiver.id.interface.clone();
            let arrival = Arrival { source: source.ip(), destination, interface, hops, ttl };
            self.table.handle(clock::now(), Event::Control(&arrival, payload));
        }
    }

    /// IPv4 Echo packets: ours that came back, and the peers'.
    fn receive_echo(&mut self) {
        for _ in 0..PORTION {
            let Some(socket) = &self.echo else { return };
            let (length, station) = match socket.receive(&mut self.buffer) {
                Ok(Some(received)) => received,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "receiving Echo packets failed");
                    continue;
                }
            };
            let Some(octets) = self.buffer.get_mut(..length) else { continue };
            let Some(echo) = ipv4::parse(octets) else { continue };
            if echo.source != echo.destination {
                continue;
            }
            let source = IpAddr::V4(echo.source);
            if echo.ttl == 254 {
                self.table.handle(clock::now(), Event::Echo(echo.payload));
            } else if echo.ttl == 255
                && self.profiles.iter().any(|(key, profile)| has_echo(key, profile, source))
                && interface::name(station.index).is_some_and(|name| !kernel_forwards(&name))
            {
                ipv4::decrement_ttl(octets);
                if let Err(error) = socket.send(station, octets) {
                    tracing::debug!(%error, "a peer's Echo packet was not sent back");
                }
            }
        }
    }

    fn wants_echo(&self, peer: IpAddr) -> bool {
        self.profiles.iter().any(|(key, profile)| has_echo(key, profile, peer))
    }

    /// Opens the sockets that the sessions need, closes the others, and tells the sessions.
    fn want_receivers(&mut self) {
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

    fn want_echo(&mut self, wanted: bool) {
        if !wanted {
            self.echo = None;
            self.echo_problem = None;
        } else if self.echo.is_none() {
            let opened = EchoSocket::open().and_then(|socket| {
                self.epoll.add(socket.descriptor(), ECHO)?;
                Ok(socket)
            });
            self.echo_problem = opened.as_ref().err().map(|error| {
                format!("echo mode needs a packet socket (CAP_NET_RAW): {error}").into()
            });
            self.echo = opened.ok();
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
    fn look_again(&mut self) {
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

impl EchoWay {
    fn find(key: &SessionKey) -> io::Result<Self> {
        let path = path(key.peer, key.local, key.interface.as_deref()).map_err(io::Error::other)?;
        let Some(IpAddr::V4(local)) = path.local else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let address = netlink::neighbour(path.index, key.peer)?;
        Ok(Self { local, station: Station { index: path.index, address } })
    }
}

fn has_echo(key: &SessionKey, profile: &Profile, peer: IpAddr) -> bool {
    profile.echo_mode && key.hops == Hops::Single && key.peer == peer
}

fn reflect(reflector: Option<&socket2::Socket>, to: SocketAddr, payload: &[u8]) {
    let Some(reflector) = reflector else { return };
    if let Err(error) = reflector.send_to(payload, &to.into()) {
        tracing::debug!(%error, "a peer's Echo packet was not sent back");
    }
}

/// Discriminators, ports and jitter are not to be guessed by others.
fn seed() -> io::Result<u64> {
    let mut octets = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(u64::from_ne_bytes(octets))
}
