// SPDX-License-Identifier: Apache-2.0
//! One node: its clocks, and the speaker on it. The thread "members" (an agent), the deciding task (the same [`Core`] that the
//! program drives) and the answering engine run beside one another, as in `net`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Snapshot;
use l2::{LinkReport, Precedence};
use members::heartbeat::wire::Message;
use members::heartbeat::{self};
use members::{
    Agent, AgentConfig, Command, Config, Detection, Event, Input, Lease, Member, Moment, Output,
    Settings,
};
use speaker::{
    ClockReading, Core, Effect, EngineCommand, Fencing, FlowRequest, KeepTable, Listed, Modes,
    NodeMetadata, Options, OwnedRecord,
};
use steer::{Flow, Steps};

use crate::world::{address, name};

/// A clock that runs at its own rate, and not while it is stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What it showed at `since`.
    shown: Duration,
    since: Duration,
    /// Seconds in a million true ones.
    rate: u64,
    runs: bool,
}

impl Clock {
    pub(crate) fn new(shown: Duration, rate: u64) -> Self {
        Self { shown, since: Duration::ZERO, rate, runs: true }
    }

    pub(crate) fn at(&self, now: Duration) -> Duration {
        let passed = if self.runs { now.saturating_sub(self.since) } else { Duration::ZERO };
        let nanoseconds = passed.as_nanos() * u128::from(self.rate) / 1_000_000;
        self.shown + Duration::from_nanos(u64::try_from(nanoseconds).unwrap())
    }

    /// The true time at which it shows this, at the earliest.
    pub(crate) fn when(&self, shown: Duration) -> Duration {
        let left = shown.saturating_sub(self.shown).as_nanos();
        let nanoseconds = left * 1_000_000 / u128::from(self.rate);
        self.since + Duration::from_nanos(u64::try_from(nanoseconds).unwrap() + 2)
    }

    pub(crate) fn run(&mut self, now: Duration, runs: bool) {
        self.shown = self.at(now);
        self.since = now;
        self.runs = runs;
    }
}

/// The time that a predecessor is led to.
pub(crate) const LINGER: Duration = Duration::from_secs(600);

/// What the deciding task is told, by the members' thread and by the engine.
pub(crate) enum Told {
    Agent(Event),
    Engine(l2::Event),
}

/// What a node puts on the network.
pub(crate) enum Sent {
    Packet(SocketAddr, Vec<u8>),
    Beat(SocketAddr, Message),
    Open(u64, SocketAddr, Duration),
    Answer(u64, Vec<u8>),
    Refuse(u64),
}

/// The program `speaker`.
pub(crate) struct Process {
    pub(crate) agent: Agent,
    published: Arc<Vec<Member>>,
    changed: bool,
    /// The ring is to be left in this turn.
    leave_now: bool,
    telling: Vec<Event>,
    /// What the members' thread gives the deciding task, and the other way round.
    pub(crate) inbox: VecDeque<Told>,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) sent: VecDeque<Sent>,
    pub(crate) core: Core,
    pub(crate) snapshot: Snapshot,
    /// Whether the API has been read.
    pub(crate) synced: bool,
    /// What is answered for.
    pub(crate) engine: BTreeSet<IpAddr>,
    pub(crate) engine_tells: VecDeque<u64>,
    /// Of what is answered for, what is announced no more.
    pub(crate) answer_only: BTreeSet<IpAddr>,
    /// What is to be announced.
    pub(crate) frames: BTreeSet<IpAddr>,
    /// Whether the addresses that are owned are kept beyond the process.
    pub(crate) keeps_record: bool,
    /// What is kept of the owned addresses beyond the process, and its version.
    pub(crate) record: Option<(u64, OwnedRecord)>,
    /// What other stations are reported to claim.
    pub(crate) watched: BTreeSet<IpAddr>,
    /// What is to be asked for on the link, and with which precedence.
    pub(crate) probes: Vec<IpAddr>,
    pub(crate) precedence: Precedence,
    /// The stations that have claimed a watched address since it was last asked for.
    pub(crate) answered: BTreeSet<(IpAddr, usize, bool)>,
    /// When it was last told that a node claims an address.
    pub(crate) conflicts: BTreeMap<(IpAddr, usize), Duration>,
    /// Whether it was told to end.
    pub(crate) leaves: bool,
    /// Whether the ring has heard that it leaves.
    pub(crate) departed: bool,
    /// Members that answer over TCP only.
    pub(crate) unheard: BTreeSet<Arc<str>>,
    /// Counts changes of what is answered for.
    pub(crate) version: u64,
    /// Tables for the kernel.
    pub(crate) tables: Vec<KeepTable>,
    /// Questions to conntrack.
    pub(crate) flow_requests: Vec<FlowRequest>,
}

pub(crate) struct Start {
    pub(crate) index: usize,
    pub(crate) seed: u64,
    pub(crate) now: Instant,
    pub(crate) boot: Duration,
    pub(crate) time: u64,
    pub(crate) snapshot: Snapshot,
    pub(crate) options: Options,
    pub(crate) fence_two: bool,
    pub(crate) fencing: Fencing,
    pub(crate) modes: Modes,
    pub(crate) keeps: bool,
    pub(crate) links: Arc<Vec<LinkReport>>,
}

impl Process {
    pub(crate) fn new(start: Start) -> Self {
        let Start { index, seed, now, boot, time, snapshot, options, .. } = start;
        let name: Arc<str> = name(index);
        let moment = Moment { monotonic: now, boottime: boot };
        let Modes { sticky, spread } = start.modes;
        let metadata = NodeMetadata {
            generation: time,
            silent: true,
            sticky,
            spread,
            ..NodeMetadata::default()
        };
        let detection = Detection {
            heartbeat: heartbeat::Options::default(),
            fencing: start.fencing,
            fence_two: start.fence_two,
            session: seed | 1,
            start_wait: Duration::from_secs(2),
            alone: false,
            speaks: |metadata| NodeMetadata::decode(metadata).is_some(),
        };
        let ring = Config {
            name: Arc::clone(&name),
            address: address(index),
            settings: Settings { enable_compression: false, ..Settings::lan() },
            meta: metadata.encode(),
            overhead: 0,
            seed,
        };
        let clock = ClockReading { monotonic: now, wall: time };
        let mut core = Core::new(options, metadata, false, clock);
        if start.keeps {
            core.keep_connections(LINGER, true);
        }
        core.handle_links(start.links);
        Self {
            agent: Agent::new(AgentConfig { ring, detection }, moment).unwrap(),
            published: Arc::default(),
            changed: true,
            leave_now: false,
            telling: Vec::new(),
            inbox: VecDeque::new(),
            commands: VecDeque::new(),
            sent: VecDeque::new(),
            core,
            snapshot,
            synced: false,
            engine: BTreeSet::new(),
            engine_tells: VecDeque::new(),
            answer_only: BTreeSet::new(),
            frames: BTreeSet::new(),
            keeps_record: start.fencing == Fencing::Link,
            record: None,
            watched: BTreeSet::new(),
            probes: Vec::new(),
            precedence: Precedence { members: 0, position: 0 },
            answered: BTreeSet::new(),
            conflicts: BTreeMap::new(),
            leaves: false,
            departed: false,
            unheard: BTreeSet::new(),
            version: 0,
            tables: Vec::new(),
            flow_requests: Vec::new(),
        }
    }

    // The thread "members", as members::net::run.

    pub(crate) fn thread(&mut self, now: Moment, input: Input<'_>) {
        self.agent.handle(now, input);
    }

    pub(crate) fn thread_commands(&mut self, now: Moment) {
        while let Some(command) = self.commands.pop_front() {
            self.changed = true;
            self.agent.handle(now, Input::Command(command));
            self.thread_carry_out();
        }
    }

    /// Carries out what the agent wants; then what is known is published, and after it what was told. Whether the deciding task has
    /// something to do.
    pub(crate) fn thread_settle(&mut self, now: Moment) -> bool {
        if std::mem::take(&mut self.leave_now) {
            self.agent.handle(now, Input::Command(Command::Leave));
        }
        self.thread_carry_out();
        if std::mem::take(&mut self.changed) {
            self.published = Arc::new(self.agent.members().collect());
            self.inbox.push_back(Told::Agent(Event::MembersChanged));
        }
        self.inbox.extend(self.telling.drain(..).map(Told::Agent));
        !self.inbox.is_empty()
    }

    fn thread_carry_out(&mut self) {
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Packet { to, octets } => self.sent.push_back(Sent::Packet(to, octets)),
                Output::Heartbeat { to, message } => self.sent.push_back(Sent::Beat(to, message)),
                Output::Open { stream, to, timeout } => {
                    self.sent.push_back(Sent::Open(stream, to, timeout));
                }
                Output::Answer { stream, octets } => {
                    self.sent.push_back(Sent::Answer(stream, octets));
                }
                Output::Refuse { stream } => self.sent.push_back(Sent::Refuse(stream)),
                Output::Event(event) => self.event(event),
                Output::StoodStill(_) | Output::DeclaredDead { .. } => {}
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::MembersChanged => self.changed = true,
            Event::Standing(_) | Event::Marked { .. } | Event::Notice { .. } | Event::Lost(_) => {
                self.telling.push(event);
            }
            Event::Unheard(names) => self.unheard = names,
            Event::Departed => self.departed = true,
            // The members as they are say the same.
            _ => {}
        }
    }

    // The deciding task: it carries the core's inputs and effects.

    /// One turn of the task: takes everything in that is there, then has the core decide.
    pub(crate) fn task(&mut self, now: ClockReading) {
        while let Some(told) = self.inbox.pop_front() {
            match told {
                Told::Agent(event) => self.core.handle_agent(now, event, &self.published),
                Told::Engine(event) => self.core.handle_layer2(now, &event),
            }
        }
        if self.core.deadline(now).is_some_and(|at| at <= now.monotonic) {
            self.core.expire(now, &self.snapshot);
        }
        self.decide(now);
    }

    /// Where the other speakers are.
    pub(crate) fn find(&mut self, now: ClockReading, listed: &Listed) {
        self.core.handle_listed(now, listed);
        self.task(now);
    }

    /// The API cannot be read: this is what the node owned last.
    pub(crate) fn remember(&mut self, now: ClockReading, record: &OwnedRecord) {
        if !self.synced {
            self.core.remember(now, record);
            self.task(now);
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self, now: ClockReading) {
        if !std::mem::replace(&mut self.leaves, true) {
            self.core.terminate(now);
            self.decide(now);
        }
    }

    fn decide(&mut self, now: ClockReading) {
        if self.synced {
            let mut dirty = self.snapshot.take_dirty();
            self.core.decide(now, &self.snapshot, &mut dirty);
            let version = self.core.announced_version();
            if self.keeps_record && self.record.as_ref().is_none_or(|known| known.0 != version) {
                self.record = Some((version, self.core.record(&self.snapshot, &self.published)));
            }
        }
        while let Some(effect) = self.core.poll() {
            match effect {
                Effect::Agent(Command::Leave) => self.leave_now = true,
                Effect::Agent(command) => self.commands.push_back(command),
                Effect::Engine(EngineCommand::Change(changes)) => {
                    for (address, scope) in changes {
                        self.version += 1;
                        self.answer_only.remove(&address);
                        if scope.is_some() {
                            self.engine.insert(address);
                            self.frames.insert(address);
                        } else {
                            self.engine.remove(&address);
                        }
                    }
                }
                Effect::Engine(EngineCommand::Tell(number)) => self.engine_tells.push_back(number),
                Effect::Engine(EngineCommand::AnswerOnly(them)) => self.answer_only.extend(them),
                Effect::Engine(EngineCommand::AnnounceAll) => {
                    self.frames.extend(self.engine.difference(&self.answer_only));
                }
                Effect::Engine(EngineCommand::Watch(changes)) => {
                    for (address, scope) in changes {
                        if scope.is_some() {
                            self.watched.insert(address);
                        } else {
                            self.watched.remove(&address);
                        }
                    }
                }
                Effect::Engine(EngineCommand::Probe { addresses, precedence }) => {
                    self.precedence = precedence;
                    self.probes.extend(addresses);
                }
                Effect::Keep(table) => self.tables.push(table),
                Effect::ListFlows(request) => self.flow_requests.push(request),
                Effect::Routes { .. } | Effect::Fact(_) => {}
            }
        }
    }
}

/// A node.
pub(crate) struct Host {
    pub(crate) process: Option<Process>,
    /// Grows with every process; what was meant for an earlier one is lost.
    pub(crate) life: u64,
    /// Whether the kernel lives: then it says that a port is closed.
    pub(crate) kernel: bool,
    pub(crate) monotonic: Clock,
    pub(crate) boot: Clock,
    /// What the time of day was here at the beginning, if the nodes have it in common.
    pub(crate) time_of_day: Option<Duration>,
    pub(crate) paused: Option<Pause>,
    /// What came while the process was stopped.
    pub(crate) waiting: Vec<crate::events::Arrival>,
    pub(crate) api: bool,
    pub(crate) carrier: bool,
    /// The steps that the kernel follows.
    pub(crate) steps: BTreeMap<IpAddr, Steps>,
    /// The flows of UDP that the kernel leads on, and those that its conntrack knows.
    pub(crate) flows: BTreeSet<Flow>,
    pub(crate) conntrack: BTreeSet<Flow>,
    /// The time at which the kernel follows all tables that it was told.
    pub(crate) kept: Duration,
    /// The file of the addresses that the node owned last.
    pub(crate) record: Option<OwnedRecord>,
    /// Objects that it has not heard of since the API is away.
    pub(crate) unheard: Vec<serde_json::Value>,
    /// A list of the pods is under way because it decides something.
    pub(crate) hurried: bool,
    pub(crate) thread_woken: Option<Duration>,
    pub(crate) task_woken: Option<Duration>,
    pub(crate) check: Option<Duration>,
    /// Whether the task, the members' thread (for commands) and the engine have been woken.
    pub(crate) awake: [bool; 3],
    /// When the API's last news arrives.
    pub(crate) told: Duration,
    /// Port-unreachable messages that the kernel still sends, and when it last got one more.
    pub(crate) unreachable: (u32, Duration),
}

/// What stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// SIGSTOP: the process; the kernel takes datagrams in.
    Stopped,
    /// The system; `CLOCK_BOOTTIME` goes on.
    Suspended,
    /// The machine, and it doesn't know.
    Machine,
}

impl Host {
    pub(crate) fn now(&self, start: Instant, now: Duration) -> Instant {
        start + self.monotonic.at(now)
    }

    /// Until when it may answer, in true time.
    pub(crate) fn permitted_until(&self) -> Option<Duration> {
        match self.process.as_ref()?.agent.lease() {
            Lease::None => None,
            Lease::Until(boot) => Some(self.boot.when(boot)),
            Lease::Unlimited => Some(Duration::MAX),
        }
    }

    /// Until when the members' thread leaves everything unread.
    pub(crate) fn gathers_until(&self, start: Instant, now: Duration) -> Option<Duration> {
        let until = self.process.as_ref()?.agent.gathers_until(self.now(start, now))?;
        Some(self.monotonic.when(until.saturating_duration_since(start)))
    }

    pub(crate) fn may_answer(&self, now: Duration) -> bool {
        let Some(process) = &self.process else { return false };
        self.paused.is_none()
            && match process.agent.lease() {
                Lease::None => false,
                Lease::Until(boot) => self.boot.at(now) < boot,
                Lease::Unlimited => true,
            }
    }

    /// Of how many members it knows.
    pub(crate) fn known(&self, now: Instant) -> usize {
        self.process.as_ref().map_or(0, |process| process.agent.count(now).known)
    }

    /// What it thinks of itself and the others.
    /// The standing of the process, if one runs.
    pub(crate) fn standing(&self) -> Option<members::Standing> {
        Some(self.process.as_ref()?.core.view().standing())
    }

    pub(crate) fn describe(&self) -> String {
        let Some(process) = &self.process else { return "no process".to_owned() };
        let view = process.core.view();
        let speaker::RingSpeakers::Alive(members) = view.members() else { return String::new() };
        let others = members.iter().map(|(name, member)| match member {
            speaker::RingSpeaker::Ferrolb(metadata) => format!(
                "{name}{}{}{}{}",
                if metadata.unsynchronised { " unsynchronised" } else { "" },
                if metadata.silent { " silent" } else { "" },
                if metadata.leaving { " leaving" } else { "" },
                if metadata.drained { " drained" } else { "" }
            ),
            speaker::RingSpeaker::MetalLb => "MetalLB".to_owned(),
        });
        let others: Vec<String> = others.collect();
        let leaves = process.snapshot.services().iter().filter_map(|(key, service)| {
            let (reason, announcer) = process.core.speaker().withheld(key)?;
            let address = service.ingress_addresses().next()?;
            Some(format!("{address} to {announcer:?} ({})", reason.name()))
        });
        let leaves: Vec<String> = leaves.collect();
        format!(
            "{:?}, synced {}, permit {:?}, owns {:?}, leaves {leaves:?}, says {}, knows {others:?}",
            view.standing(),
            process.synced,
            process.agent.lease(),
            process.engine,
            if view.metadata().silent { "silent" } else { "ready" },
        )
    }

    pub(crate) fn owners(&self) -> &BTreeSet<IpAddr> {
        static NOTHING: BTreeSet<IpAddr> = BTreeSet::new();
        self.process.as_ref().map_or(&NOTHING, |process| &process.engine)
    }
}

pub(crate) type Hosts = Vec<Host>;
