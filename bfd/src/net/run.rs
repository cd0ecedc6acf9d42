// SPDX-License-Identifier: Apache-2.0
//! The loop of the BFD thread: carry out what the table wants, wait, feed it what came. Packets are always taken before a deadline
//! is looked at, so that a thread that was held up does not take its own delay for the peer's silence.
//!
//! The sockets of the sessions are in [`links`], Echo packets in [`echo`].

mod echo;
mod links;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::Receiver as Queue;
use std::time::{Duration, Instant};

use poll::{Timer, Wake};

use self::links::Link;
use super::datagram::{self, Datagram};
use super::echo_socket::EchoSocket;
use super::receivers::{Port, Receivers};
use super::{Command, Epoll, StartError, priority};
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
                        echo::reflect(reflector, datagram.source, payload);
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
}

/// Discriminators, ports and jitter are not to be guessed by others.
fn seed() -> io::Result<u64> {
    let mut octets = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(u64::from_ne_bytes(octets))
}
