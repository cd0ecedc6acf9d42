// SPDX-License-Identifier: Apache-2.0
//! The loop of the thread: carry out the agent's outputs, wait, give the agent its inputs. Datagrams are always read before a deadline is
//! handled, so that a thread that was held up does not take its own delay for the others' silence.

mod traffic;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use clock::{now, time_of_day};

use super::events::EventSender;
use super::moment::{moment, random};
use super::sent::Sent;
use super::socket::Batch;
use super::streams::{Door, StreamEvent, Streams};
use super::{Order, RingState, Seal, StartError, socket};
use crate::{Agent, AgentConfig, Command, Envelope, Event, Input, Keyring, Lease, Moment, Output};

/// The number of events of streams that may wait, at most.
const STREAM_EVENT_LIMIT: usize = 32;
/// The number of streams that are accepted, and of errors that are taken, in one turn, at most.
const TURN_LIMIT: usize = 64;
/// The number of refused messages since the last wait beyond which they are a flood. None of a flood is left unread while more is
/// waited for.
const FLOOD_LIMIT: u64 = 64;
/// The least time between two snapshots without a change of members.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// The pause in accepting streams when the system has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// The thread's ends of the values that it shares with the callers.
pub(super) struct Ends {
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) events: EventSender,
    pub(super) snapshots: watch::Sender<Arc<RingState>>,
    /// The time until which this member may answer.
    pub(super) permit: Arc<AtomicU64>,
}

pub(super) struct Runner {
    agent: Agent,
    seal: Seal,
    ends: Ends,
    udp: AsyncFd<UdpSocket>,
    tcp: tokio::net::TcpListener,
    streams: Streams,
    stream_events: mpsc::Receiver<StreamEvent>,
    tasks: JoinSet<()>,
    /// The datagrams that were sent a moment ago.
    sent: Sent,
    answers: BTreeMap<u64, oneshot::Sender<Option<Vec<u8>>>>,
    next_request: u64,
    next_accepted: u64,
    tcp_timeout: Duration,
    departing: Vec<SyncSender<()>>,
    changed: bool,
    /// The events that are told once the members are published.
    telling: Vec<Event>,
    published: Instant,
    /// True if there may be more datagrams.
    more: bool,
    /// The number of refusals when datagrams were last waited for.
    refused: u64,
}

impl Runner {
    pub(super) fn new(
        config: AgentConfig,
        (envelope, seal): (Envelope, Seal),
        (udp, tcp): (UdpSocket, TcpListener),
        ends: Ends,
    ) -> Result<Self, StartError> {
        let failed = |error| StartError::System { call: "registering the sockets", error };
        let current = moment();
        let tcp_timeout = config.ring.settings.tcp_timeout;
        let (stream_sender, stream_events) = mpsc::channel(STREAM_EVENT_LIMIT);
        let mut runner = Self {
            agent: Agent::new(config, current)?,
            seal,
            ends,
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
            departing: Vec::new(),
            changed: true,
            telling: Vec::new(),
            published: current.monotonic,
            more: false,
            refused: 0,
        };
        runner.publish();
        Ok(runner)
    }

    /// Runs the thread's loop.
    pub(super) async fn run(mut self) {
        let mut batch = Batch::new();
        loop {
            self.carry_out();
            self.publish();
            for event in self.telling.drain(..) {
                self.ends.events.send(event);
            }
            self.gather();
            if !self.turn(&mut batch).await {
                return;
            }
            // Datagrams that arrived before this moment count, even if the thread was held up since the wait ended.
            let current = now();
            if self.agent.deadline() <= current {
                self.receive(&mut batch);
                let time_of_day = Some(time_of_day());
                let current = Moment { monotonic: current, ..moment() };
                self.agent.handle(current, Input::Deadline { time_of_day });
                self.renew();
            }
        }
    }

    /// Waits for one input and handles it. Returns false if the loop is to end.
    async fn turn(&mut self, batch: &mut Batch) -> bool {
        let deadline = tokio::time::Instant::from_std(self.agent.deadline());
        tokio::select! {
            order = self.ends.orders.recv() => return self.order(order),
            // The socket tells its readiness once.
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
                        // Without a pause the loop would spin; answers to pings wait that long at most.
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                }
            },
            Some(ended) = self.tasks.join_next() => {
                if let Err(error) = ended && !error.is_cancelled() {
                    tracing::error!(%error, "a task of a stream failed");
                }
            }
            () = tokio::time::sleep_until(deadline) => {}
        }
        true
    }

    /// Waits for the datagrams that are expected at about this time. The thread sleeps, as the runtime would be woken by each datagram.
    fn gather(&mut self) {
        let current = now();
        let refused = self.streams.door.refusals().total();
        let flood =
            refused.saturating_sub(std::mem::replace(&mut self.refused, refused)) > FLOOD_LIMIT;
        if flood {
            return;
        }
        if let Some(until) = self.agent.gathers_until(current) {
            std::thread::sleep(until.saturating_duration_since(current));
            self.more = true;
        }
    }

    /// Gives the agent an input of this moment.
    fn handle(&mut self, input: Input<'_>) {
        self.agent.handle(moment(), input);
        self.renew();
    }

    /// Writes the lease into the permit.
    fn renew(&self) {
        let until = match self.agent.lease() {
            Lease::None => 0,
            Lease::Until(time) => u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            Lease::Unlimited => u64::MAX,
        };
        self.ends.permit.store(until, Ordering::Release);
    }

    fn order(&mut self, order: Option<Order>) -> bool {
        // Changes of this member itself have no event.
        self.changed = true;
        match order {
            Some(Order::Command(command)) => self.handle(Input::Command(command)),
            Some(Order::Keys(keys)) => self.set_keys(keys),
            Some(Order::Leave(done)) => {
                self.departing.push(done);
                self.handle(Input::Command(Command::Leave));
            }
            Some(Order::Stop) | None => return false,
        }
        true
    }

    fn set_keys(&mut self, keys: Keyring) {
        self.streams.envelope = Arc::new(self.streams.envelope.with_keys(keys.clone()));
        self.seal.key = self.seal.key.take().map(|_| keys);
    }

    /// Accepts a stream and the ones that wait behind it, up to a limit.
    fn accept_all(&mut self, stream: tokio::net::TcpStream, from: SocketAddr) {
        self.accept(stream, from);
        // The next wait asks for readiness anew.
        let mut context = Context::from_waker(Waker::noop());
        for _ in 1..TURN_LIMIT {
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
        match event {
            StreamEvent::Request { octets, answer } => {
                let stream = self.next_request;
                self.next_request += 1;
                self.answers.insert(stream, answer);
                self.handle(Input::Request { stream, octets: &octets });
            }
            // The task may have run out of time.
            StreamEvent::Opened { stream, message } => {
                drop(message.send(self.agent.stream_message(stream)));
            }
            StreamEvent::Response { stream, result } => {
                let result = result.as_deref().map_err(String::as_str);
                self.handle(Input::Response { stream, result });
            }
        }
    }

    /// Carries out the agent's outputs until there are none.
    fn carry_out(&mut self) {
        while let Some(output) = self.agent.poll() {
            self.renew();
            match output {
                Output::Packet { to, octets } => self.send_packet(to, &octets),
                Output::Heartbeat { to, message } => {
                    if let Some(datagram) = self.seal.seal(&message) {
                        // The failure detector notices by itself when nothing comes back.
                        self.send(to, &datagram);
                    }
                }
                Output::Open { stream, to, timeout } => {
                    self.tasks.spawn(self.streams.clone().ask(stream, to, timeout));
                }
                Output::Answer { stream, octets } => self.answer(stream, Some(octets)),
                Output::Refuse { stream } => self.answer(stream, None),
                Output::Event(event) => self.event(event),
                Output::StoodStill(time) => tracing::warn!(
                    event = "standstill",
                    ?time,
                    "this process stood still; it is silent until the others confirm it"
                ),
                Output::DeclaredDead { name, cause } => tracing::warn!(
                    event = "memberDead",
                    member = &*name,
                    ?cause,
                    "a speaker is dead: nobody hears it"
                ),
            }
        }
    }

    fn send_packet(&mut self, to: SocketAddr, octets: &[u8]) {
        let Some(nonce) = random() else {
            tracing::error!("no random octets: a packet was not sent");
            return;
        };
        let datagram = self.streams.envelope.seal_packet(nonce, octets);
        if !self.send(to, &datagram) {
            self.handle(Input::Unreachable(to));
        }
    }

    fn answer(&mut self, stream: u64, octets: Option<Vec<u8>>) {
        if let Some(answer) = self.answers.remove(&stream) {
            // The task may have run out of time.
            drop(answer.send(octets));
        }
    }

    fn event(&mut self, event: Event) {
        match &event {
            Event::MembersChanged => {
                self.changed = true;
                return;
            }
            Event::Departed => {
                for done in self.departing.drain(..) {
                    // The caller may have stopped waiting.
                    let _ = done.try_send(());
                }
            }
            Event::Contacted { to, error: Some(error) } => {
                tracing::debug!(%to, %error, "joining was in vain");
            }
            _ => {}
        }
        if event.is_of_memberlist() {
            self.ends.events.send(event);
        } else {
            self.telling.push(event);
        }
    }

    /// Logs the refusals with their worst sources.
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

    /// Publishes the state, if it has changed.
    fn publish(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        let current = now();
        if !changed && current.saturating_duration_since(self.published) < PUBLISH_INTERVAL {
            return;
        }
        self.published = current;
        self.tell_refusals(current);
        let health_score = self.agent.health_score();
        let refused = self.streams.door.refusals().refused(current);
        let discarded = self.agent.discarded() + self.streams.door.refusals().total();
        let news = self.ends.snapshots.send_if_modified(|snapshot| {
            let same = snapshot.health_score == health_score
                && snapshot.discarded == discarded
                && snapshot.refused == refused;
            let news = changed || snapshot.refused != refused;
            if changed || !same {
                let members = self.agent.members().collect();
                *snapshot = Arc::new(RingState { members, health_score, discarded, refused });
            }
            news
        });
        if news {
            self.ends.events.send(Event::MembersChanged);
        }
    }
}
