// SPDX-License-Identifier: Apache-2.0
//! The loop of the thread: carry out what the ring and its companion want, wait, feed them what came. Datagrams are always taken
//! before a deadline is looked at, so that a thread that was held up does not take its own delay for the others' silence.

mod traffic;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::clock::{now, random, until};
use super::sent::Sent;
use super::socket::Batch;
use super::streams::{Door, StreamEvent, Streams};
use super::{Command, Companion, CompanionCommand, CompanionOutput, Snapshot, StartError, socket};
use crate::{Config, Envelope, Event, Input, Keyring, Output, Ring};

/// What streams may have to tell before they wait.
const TOLD: usize = 32;
/// Streams that are accepted, and errors that are taken, in one turn.
const BURST: usize = 64;
/// So many datagrams that were refused since the last heartbeat are a flood: none of it is left unread while more is waited for.
const FLOOD: u64 = 64;
/// Numbers are published this often at most without a change of members.
const PAUSE: Duration = Duration::from_secs(1);
/// How long accepting pauses when the system has no descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(100);

pub(super) struct Runner {
    ring: Ring,
    companion: Option<Box<dyn Companion>>,
    udp: AsyncFd<UdpSocket>,
    tcp: tokio::net::TcpListener,
    streams: Streams,
    stream_events: mpsc::Receiver<StreamEvent>,
    tasks: JoinSet<()>,
    /// What was sent a moment ago.
    sent: Sent,
    answers: BTreeMap<u64, oneshot::Sender<Option<Vec<u8>>>>,
    next_request: u64,
    next_accepted: u64,
    tcp_timeout: Duration,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<Event>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    departing: Vec<SyncSender<()>>,
    changed: bool,
    published: Instant,
    /// There may be more datagrams.
    more: bool,
    /// How much had been refused when datagrams were last waited for.
    refused: u64,
}

impl Runner {
    pub(super) fn new(
        config: Config,
        envelope: Envelope,
        (udp, tcp): (UdpSocket, TcpListener),
        commands: mpsc::UnboundedReceiver<Command>,
        events: mpsc::Sender<Event>,
        snapshots: watch::Sender<Arc<Snapshot>>,
        companion: Option<Box<dyn Companion>>,
    ) -> Result<Self, StartError> {
        let failed = |error| StartError::System { call: "registering the sockets", error };
        let current = now();
        let tcp_timeout = config.settings.tcp_timeout;
        let (stream_sender, stream_events) = mpsc::channel(TOLD);
        let mut runner = Self {
            ring: Ring::new(config, current)?,
            companion,
            udp: socket::register(udp).map_err(failed)?,
            tcp: tokio::net::TcpListener::from_std(tcp).map_err(failed)?,
            streams: Streams {
                envelope: Arc::new(envelope),
                events: stream_sender,
                door: Arc::new(Door::default()),
            },
            stream_events,
            tasks: JoinSet::new(),
            sent: Sent::default(),
            answers: BTreeMap::new(),
            next_request: 0,
            next_accepted: 0,
            tcp_timeout,
            commands,
            events,
            snapshots,
            departing: Vec::new(),
            changed: true,
            published: current,
            more: false,
            refused: 0,
        };
        runner.publish();
        Ok(runner)
    }

    /// The thread.
    pub(super) async fn run(mut self) {
        let mut batch = Batch::new();
        loop {
            self.carry_out();
            self.publish();
            if let Some(companion) = &mut self.companion {
                companion.published();
            }
            self.gather();
            if !self.turn(&mut batch).await {
                return;
            }
            let current = now();
            if self.deadline().is_some_and(|at| at <= current) {
                // What arrived before this moment counts, also if the thread was held up since the wait ended.
                self.receive(&mut batch);
                self.expire(current);
            }
        }
    }

    /// Waits for one thing and handles it; whether to go on.
    async fn turn(&mut self, batch: &mut Batch) -> bool {
        let deadline = self.deadline().map(tokio::time::Instant::from_std);
        tokio::select! {
            command = self.commands.recv() => return self.command(command),
            // Readiness is told once.
            () = std::future::ready(()), if self.more => self.receive(batch),
            ready = self.udp.ready(Interest::READABLE | Interest::ERROR) => {
                let mut failed = false;
                if let Ok(mut ready) = ready {
                    failed = ready.ready().is_error();
                    ready.clear_ready();
                }
                if failed {
                    self.receive_errors();
                }
                self.receive(batch);
            }
            Some(event) = self.stream_events.recv() => self.stream_event(event),
            accepted = self.tcp.accept() => match accepted {
                Ok((stream, from)) => self.accept_all(stream, from),
                Err(error) => {
                    tracing::warn!(%error, "accepting a stream failed");
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                        // Or the loop would spin; answers to pings wait that long at most.
                        tokio::time::sleep(EXHAUSTED).await;
                    }
                }
            },
            Some(ended) = self.tasks.join_next() => {
                if let Err(error) = ended && !error.is_cancelled() {
                    tracing::error!(%error, "a task of a stream failed");
                }
            }
            () = until(deadline) => {}
        }
        true
    }

    /// Lets come what is expected at about this time. The thread sleeps: the runtime would be woken by each datagram.
    fn gather(&mut self) {
        let current = now();
        let Some(companion) = &self.companion else { return };
        let refused = self.streams.door.refusals().total();
        let flood = refused.saturating_sub(std::mem::replace(&mut self.refused, refused)) > FLOOD;
        if flood {
            return;
        }
        if let Some(until) = companion.gathers_until(current) {
            std::thread::sleep(until.saturating_duration_since(current));
            self.more = true;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let companion = self.companion.as_ref().and_then(|companion| companion.deadline());
        self.ring.deadline().into_iter().chain(companion).min()
    }

    fn expire(&mut self, now: Instant) {
        if self.ring.deadline().is_some_and(|at| at <= now) {
            self.ring.handle(now, Input::Deadline);
        }
        if let Some(companion) = &mut self.companion
            && companion.deadline().is_some_and(|at| at <= now)
        {
            companion.expire(now);
        }
    }

    fn command(&mut self, command: Option<Command>) -> bool {
        let now = now();
        // What we are ourselves is told without an event.
        self.changed = true;
        match command {
            Some(Command::Join(addresses)) => self.ring.join(now, addresses),
            // Its length was looked at by the caller.
            Some(Command::SetMeta(meta)) => drop(self.ring.set_meta(now, &meta)),
            Some(Command::Keys(keys)) => self.set_keys(now, keys),
            Some(Command::Companion(command)) => {
                if let Some(companion) = &mut self.companion {
                    companion.command(now, command);
                }
            }
            Some(Command::Leave(done)) => {
                self.departing.push(done);
                self.ring.leave(now);
            }
            Some(Command::Stop) | None => return false,
        }
        true
    }

    fn set_keys(&mut self, now: Instant, keys: Keyring) {
        self.streams.envelope = Arc::new(self.streams.envelope.with_keys(keys.clone()));
        if let Some(companion) = &mut self.companion {
            companion.command(now, CompanionCommand::Keys(keys));
        }
    }

    /// Accepts a stream and those that wait behind it, though not for ever.
    fn accept_all(&mut self, stream: tokio::net::TcpStream, from: SocketAddr) {
        self.accept(stream, from);
        // Readiness is asked for anew by whoever waits next.
        let mut context = Context::from_waker(Waker::noop());
        for _ in 1..BURST {
            let Poll::Ready(Ok((stream, from))) = self.tcp.poll_accept(&mut context) else {
                return;
            };
            self.accept(stream, from);
        }
    }

    fn accept(&mut self, stream: tokio::net::TcpStream, from: SocketAddr) {
        let number = self.next_accepted;
        self.next_accepted += 1;
        let seat = self.streams.door.seat(number, from);
        let serve = self.streams.clone().serve(stream, seat, self.tcp_timeout);
        let task = self.tasks.spawn(serve);
        self.streams.door.enter(number, from, task);
    }

    fn stream_event(&mut self, event: StreamEvent) {
        let now = now();
        match event {
            StreamEvent::Request { octets, answer } => {
                let stream = self.next_request;
                self.next_request += 1;
                self.answers.insert(stream, answer);
                self.ring.handle(now, Input::Request { stream, octets: &octets });
            }
            // The task may have run out of time.
            StreamEvent::Opened { stream, message } => {
                drop(message.send(self.ring.stream_message(stream)));
            }
            StreamEvent::Response { stream, result } => {
                let result = result.as_deref().map_err(String::as_str);
                self.ring.handle(now, Input::Response { stream, result });
            }
        }
    }

    /// Does what the ring and its companion want, until neither wants anything.
    fn carry_out(&mut self) {
        loop {
            if let Some(output) = self.ring.poll() {
                self.carry_out_for_ring(output);
            } else if let Some(output) = self.companion.as_mut().and_then(|it| it.poll()) {
                self.carry_out_for_companion(output);
            } else {
                return;
            }
        }
    }

    fn carry_out_for_ring(&mut self, output: Output) {
        match output {
            Output::Packet { to, octets } => match random() {
                Some(nonce) => {
                    let datagram = self.streams.envelope.seal_packet(nonce, &octets);
                    if !self.send(to, &datagram) {
                        self.ring.handle(now(), Input::Unreachable { to, port_closed: false });
                    }
                }
                None => tracing::error!("no random octets: a packet was not sent"),
            },
            Output::Open { stream, to, timeout } => {
                self.tasks.spawn(self.streams.clone().ask(stream, to, timeout));
            }
            Output::Answer { stream, octets } => self.answer(stream, Some(octets)),
            Output::Refuse { stream } => self.answer(stream, None),
            Output::Event(event) => self.event(event),
        }
    }

    fn carry_out_for_companion(&mut self, output: CompanionOutput) {
        let now = now();
        match output {
            // It notices itself when nothing comes back.
            CompanionOutput::Send { to, octets } => drop(self.send(to, &octets)),
            CompanionOutput::DeclareDead(name) => self.ring.declare_dead(now, &name),
            CompanionOutput::Vouch(name) => self.ring.vouch(now, &name),
            CompanionOutput::Reappear => self.ring.reappear(now),
            CompanionOutput::Exchange(name) => self.ring.exchange(now, &name),
            CompanionOutput::SetMeta(meta) => {
                if let Err(error) = self.ring.set_meta(now, &meta) {
                    tracing::error!(%error, "meta data was not told");
                }
            }
        }
    }

    fn answer(&mut self, stream: u64, octets: Option<Vec<u8>>) {
        if let Some(answer) = self.answers.remove(&stream) {
            // The task may have run out of time.
            drop(answer.send(octets));
        }
    }

    fn event(&mut self, event: Event) {
        if let Some(companion) = &mut self.companion {
            companion.member_event(now(), &event);
        }
        match event {
            Event::Departed => {
                for done in self.departing.drain(..) {
                    // He may have stopped waiting.
                    let _ = done.try_send(());
                }
            }
            Event::Contacted { to, error: Some(ref error) } => {
                tracing::debug!(%to, %error, "joining was in vain");
            }
            Event::Contacted { error: None, .. }
            | Event::Conflict { .. }
            | Event::Accused
            | Event::Joining(_)
            | Event::Exchanged { .. } => {}
            Event::Joined(_)
            | Event::Left(_)
            | Event::Updated(_)
            | Event::Suspected { .. }
            | Event::Refuted(_)
            | Event::Dead { .. } => self.changed = true,
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            tracing::debug!(?event, "nobody takes the events of the ring");
        }
    }

    /// The log names those from whom most was refused.
    fn tell_refusals(&self, now: Instant) {
        if let Some((count, sources)) = self.streams.door.refusals().report(now) {
            tracing::warn!(
                event = "ringRefused",
                count,
                %sources,
                "what was sent to the memberlist's port was not taken; named are those with the most of it"
            );
        }
    }

    /// Tells what is known, if it is not what was told.
    fn publish(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        let current = now();
        if !changed && current.saturating_duration_since(self.published) < PAUSE {
            return;
        }
        self.published = current;
        self.tell_refusals(current);
        let health_score = self.ring.health_score();
        let refused = self.streams.door.refusals().refused(current);
        let discarded = self.ring.discarded() + self.streams.door.refusals().total();
        self.snapshots.send_if_modified(|snapshot| {
            let same = snapshot.health_score == health_score
                && snapshot.discarded == discarded
                && snapshot.refused == refused;
            let news = changed || snapshot.refused != refused;
            if changed || !same {
                let members = self.ring.members().collect();
                *snapshot = Arc::new(Snapshot { members, health_score, discarded, refused });
            }
            news
        });
    }
}
