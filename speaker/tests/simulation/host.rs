// SPDX-License-Identifier: Apache-2.0
//! One node: its clocks, and the speaker on it, composed of the same cores as the program. The thread "members" (an agent),
//! the deciding task (participation, books, passage) and the answering engine run beside one another, as in `net`.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Snapshot;
use l2::LinkReport;
use members::heartbeat::wire::Message;
use members::heartbeat::{self};
use members::quorum::Fencing;
use members::{
    Agent, AgentConfig, Command, Config, Detection, Event, Input, Lease, Member, Moment, Output,
    Settings, Standing,
};
use speaker::{Circumstances, Facts, Modes, Options, Participation, Passage, PoolOrder, Speaker};

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

/// What the members' thread tells the deciding task.
pub(crate) enum Told {
    Members,
    Standing(Standing),
    Notice(Arc<str>, Vec<u8>),
    Mark(Arc<str>, [u8; 16]),
    Done(u64),
}

/// What a node puts on the network.
pub(crate) enum Sent {
    Packet(SocketAddr, Vec<u8>),
    Beat(SocketAddr, Message),
    Open(u64, SocketAddr, Duration),
    Answer(u64, Vec<u8>),
    Refuse(u64),
}

/// How far a planned stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    HandingOver,
    /// The ring hears it; then the process ends.
    Gossiping,
    Done,
}

/// The program `speaker`.
pub(crate) struct Process {
    pub(crate) agent: Agent,
    published: Arc<Vec<Member>>,
    changed: bool,
    /// The ring is to be left in this turn.
    leaves: bool,
    telling: Vec<Told>,
    /// What the members' thread gives the deciding task, and the other way round.
    pub(crate) inbox: VecDeque<Told>,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) sent: VecDeque<Sent>,
    pub(crate) participation: Participation,
    pub(crate) speaker: Speaker,
    passage: Passage,
    pub(crate) snapshot: Snapshot,
    /// Whether the API has been read.
    pub(crate) synced: bool,
    /// What is answered for.
    pub(crate) engine: BTreeSet<IpAddr>,
    pub(crate) engine_tells: VecDeque<u64>,
    pub(crate) leaving: Leaving,
    /// Members that answer over TCP only.
    pub(crate) unheard: BTreeSet<Arc<str>>,
    links: Vec<LinkReport>,
    interfaces: BTreeSet<Box<str>>,
    /// Counts changes of what is answered for.
    pub(crate) version: u64,
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
    pub(crate) links: Vec<LinkReport>,
}

impl Process {
    pub(crate) fn new(start: Start) -> Self {
        let Start { index, seed, now, boot, time, snapshot, options, .. } = start;
        let name: Arc<str> = name(index);
        let moment = Moment { monotonic: now, boottime: boot };
        let Modes { sticky, spread } = start.modes;
        let facts = Facts { generation: time, silent: true, sticky, spread, ..Facts::default() };
        let detection = Detection {
            heartbeat: heartbeat::Options::default(),
            fencing: start.fencing,
            fence_two: start.fence_two,
            session: seed | 1,
            start_wait: Duration::from_secs(2),
            alone: false,
            speaks: |metadata| Facts::decode(metadata).is_some(),
        };
        let ring = Config {
            name: Arc::clone(&name),
            address: address(index),
            settings: Settings { enable_compression: false, ..Settings::lan() },
            meta: facts.encode(),
            overhead: 0,
            seed,
        };
        Self {
            agent: Agent::new(AgentConfig { ring, detection }, moment).unwrap(),
            published: Arc::default(),
            changed: true,
            leaves: false,
            telling: Vec::new(),
            inbox: VecDeque::new(),
            commands: VecDeque::new(),
            sent: VecDeque::new(),
            participation: Participation::new(name, facts, false, false),
            speaker: Speaker::new(options),
            passage: Passage::default(),
            snapshot,
            synced: false,
            engine: BTreeSet::new(),
            engine_tells: VecDeque::new(),
            leaving: Leaving::No,
            unheard: BTreeSet::new(),
            links: start.links,
            interfaces: ["eth0".into()].into(),
            version: 0,
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
        if std::mem::take(&mut self.leaves) {
            self.agent.handle(now, Input::Command(Command::Leave));
        }
        self.thread_carry_out();
        if std::mem::take(&mut self.changed) {
            self.published = Arc::new(self.agent.members().collect());
            self.inbox.push_back(Told::Members);
        }
        self.inbox.extend(self.telling.drain(..));
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
            Event::Standing(standing) => self.telling.push(Told::Standing(standing)),
            Event::Marked { name, mark } => self.telling.push(Told::Mark(name, mark)),
            Event::Notice { from, octets } => self.telling.push(Told::Notice(from, octets)),
            Event::Unheard(names) => self.unheard = names,
            Event::Departed if self.leaving == Leaving::Gossiping => self.leaving = Leaving::Done,
            // The members as they are say the same.
            _ => {}
        }
    }

    // The deciding task, as speaker::net::{shell, membership, ring, layer2}.

    /// One turn of the task: takes everything in that is there, then decides.
    pub(crate) fn task(&mut self, now: Instant, time: u64) {
        while let Some(told) = self.inbox.pop_front() {
            let ring = Arc::clone(&self.published);
            match told {
                Told::Members => self.participation.handle_members(now, ring.iter()),
                Told::Standing(standing) => {
                    self.participation.handle_standing(now, time, standing);
                    self.participation.handle_members(now, ring.iter());
                }
                Told::Notice(from, octets) => {
                    let claims = self.participation.handle_notice(now, from, &octets, ring.iter());
                    let owned = |address| self.speaker.users(address).next().is_some();
                    let released = self.passage.claimed(now, &claims, owned);
                    self.release(&released);
                }
                Told::Mark(name, mark) => self.participation.handle_mark(now, &name, mark),
                Told::Done(number) => {
                    let claims = self.passage.done(number);
                    self.participation.claim(claims);
                }
            }
        }
        if self.task_deadline(now).is_some_and(|at| at <= now) {
            let released = self.passage.expired(now);
            self.release(&released);
            self.participation.unclaimed(now, &released);
            self.participation.expire(now, time, &self.snapshot);
        }
        // Whoever hands over waits only for that.
        if self.leaving == Leaving::No {
            self.decide(now, time);
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        if self.leaving == Leaving::HandingOver && self.passage.is_settled() {
            self.leaving = Leaving::Gossiping;
            self.leaves = true;
        }
        while let Some(command) = self.participation.poll() {
            self.commands.push_back(command);
        }
    }

    pub(crate) fn task_deadline(&self, now: Instant) -> Option<Instant> {
        self.passage.deadline().into_iter().chain(self.participation.deadline(now)).min()
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self, now: Instant, time: u64) {
        if self.leaving == Leaving::No {
            assert!(self.participation.begin_to_leave(time), "there is nobody of MetalLB's");
            self.decide(now, time);
            self.leaving = Leaving::HandingOver;
            self.go_on();
        }
    }

    fn decide(&mut self, now: Instant, time: u64) {
        if !self.synced || self.participation.attendance().is_starting() {
            return;
        }
        let mut dirty = self.snapshot.take_dirty();
        self.participation.consider(now, time, &self.snapshot, &self.links, &mut dirty);
        if !dirty.is_empty() {
            let attendance = self.participation.attendance();
            let (members, passes) = (attendance.members(), attendance.passes());
            let tenure = self.participation.tenure();
            let circumstances = Circumstances {
                members,
                interfaces: &self.interfaces,
                transport: None,
                pools: &PoolOrder::of(self.snapshot.config()),
                time: jiff::Timestamp::UNIX_EPOCH,
                tenure: tenure.as_ref(),
            };
            let outputs = self.speaker.reconcile(&self.snapshot, &dirty, &circumstances);
            let orders = self.passage.carry_out(now, &mut self.speaker, &outputs, members, passes);
            self.participation.carried_out(&orders);
            // What lingers is answered for as before.
            for (address, scope) in orders.change {
                self.version += 1;
                if scope.is_some() {
                    self.engine.insert(address);
                } else {
                    self.engine.remove(&address);
                }
            }
            self.engine_tells.extend(orders.tell);
        }
        if self.participation.decided() {
            let desired = self.speaker.desired().into_keys().collect();
            self.engine_tells.extend(self.passage.claim(desired));
        }
    }

    fn release(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            self.version += 1;
            self.engine.remove(address);
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
    pub(crate) fn describe(&self) -> String {
        let Some(process) = &self.process else { return "no process".to_owned() };
        let attendance = process.participation.attendance();
        let speaker::Members::Alive(members) = attendance.members() else { return String::new() };
        let others = members.iter().map(|(name, member)| match member {
            speaker::Member::Ferrolb(facts) => format!(
                "{name}{}{}{}{}",
                if facts.behind { " behind" } else { "" },
                if facts.silent { " silent" } else { "" },
                if facts.leaving { " leaving" } else { "" },
                if facts.drained { " drained" } else { "" }
            ),
            speaker::Member::MetalLb => "MetalLB".to_owned(),
        });
        let others: Vec<String> = others.collect();
        let leaves = process.snapshot.services().iter().filter_map(|(key, service)| {
            let (reason, announcer) = process.speaker.withheld(key)?;
            let address = service.ingress_addresses().next()?;
            Some(format!("{address} to {announcer:?} ({})", reason.name()))
        });
        let leaves: Vec<String> = leaves.collect();
        format!(
            "{:?}, synced {}, permit {:?}, owns {:?}, leaves {leaves:?}, says {}, knows {others:?}",
            attendance.standing(),
            process.synced,
            process.agent.lease(),
            process.engine,
            if attendance.facts().silent { "silent" } else { "ready" },
        )
    }

    pub(crate) fn owners(&self) -> &BTreeSet<IpAddr> {
        static NOTHING: BTreeSet<IpAddr> = BTreeSet::new();
        self.process.as_ref().map_or(&NOTHING, |process| &process.engine)
    }
}

pub(crate) type Hosts = Vec<Host>;
