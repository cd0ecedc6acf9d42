// SPDX-License-Identifier: Apache-2.0
//! A network of whole speakers with a virtual clock. All follows from the seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{ConfigScope, Kind, Object, Snapshot};
use crds::config::ConfigKind;
use members::quorum::Fencing;
use members::{Input, Moment, State};
use serde_json::{Value, json};
use speaker::{
    BgpMode, ClockReading, FlowRequest, Listed, ListedFlows, Listing, Modes, Options, Pod,
    RECORD_WAIT,
};

use crate::events::{Arrival, Chance, Pending};
use crate::host::{Clock, Host, Hosts, Pause, Process, Start, Told};
use crate::judge::Judge;
use crate::link::Stranger;

pub(crate) const MS: Duration = Duration::from_millis(1);
/// What a socket holds while nobody reads it.
const BUFFER: usize = 400;
/// How far the times of day of nodes that have it in common are apart, in microseconds.
const APART: u64 = 3_000;
/// The round of a list of the pods that is had because it decides something.
const HURRIED: u64 = u64::MAX;
/// What a thread does first and what second when it goes on, at the same time.
const BEFORE: Duration = Duration::from_micros(1);

pub(crate) fn name(index: usize) -> Arc<str> {
    format!("node-{index:02}").into()
}

pub(crate) fn address(index: usize) -> SocketAddr {
    let index = u32::try_from(index).unwrap();
    (Ipv4Addr::from_bits(0x0a00_0001 + index), 7946).into()
}

pub(crate) fn index_of(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { panic!("all have IPv4") };
    usize::try_from(address.ip().to_bits() - 0x0a00_0001).unwrap()
}

pub(crate) struct World {
    pub(crate) hosts: Hosts,
    pub(crate) now: Duration,
    pub(crate) start: Instant,
    pub(crate) chance: Chance,
    queue: BinaryHeap<Reverse<Pending>>,
    departures: u64,
    /// Events at this very moment.
    steps: u32,
    /// Datagrams lost of a thousand.
    pub(crate) loss: u64,
    /// Pairs (from, to) that nothing passes.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Pairs (from, to) that no frame passes; none where these are those of [`Self::cut`].
    pub(crate) link_cut: Option<BTreeSet<(usize, usize)>>,
    /// What a station that is no speaker answers for on the link.
    pub(crate) stranger: Option<Stranger>,
    /// Pairs (from, to) that no datagram passes, though streams do.
    pub(crate) mute: BTreeSet<(usize, usize)>,
    /// Nodes as the API has them.
    nodes: Vec<Value>,
    /// Those on which a speaker's pod is.
    pub(crate) pods: BTreeSet<usize>,
    /// Those of them that do not run, by their status.
    pub(crate) broken: BTreeSet<usize>,
    pub(crate) addresses: Vec<IpAddr>,
    /// How long news of the API take at most.
    pub(crate) lag: Duration,
    pub(crate) asked: BTreeMap<(usize, u64), (usize, u64)>,
    next_request: u64,
    pub(crate) judge: Judge,
    pub(crate) datagrams: u64,
    pub(crate) fence_two: bool,
    pub(crate) fencing: Fencing,
    pub(crate) modes: Modes,
    /// `--keep-connections`.
    pub(crate) keeps: bool,
    pub(crate) log: Vec<(Duration, String)>,
}

impl World {
    pub(crate) fn new(seed: u64, count: usize, addresses: usize) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the beginning of simulated time")]
        let start = Instant::now();
        let mut chance = Chance(seed);
        let node = |index: usize| json!({ "kind": "Node", "metadata": { "name": &*name(index) } });
        let addresses: Vec<IpAddr> = (0..addresses)
            .map(|number| Ipv4Addr::new(192, 0, 2, u8::try_from(number + 1).unwrap()).into())
            .collect();
        // Every other history is of nodes that have the time of day in common, and send their heartbeats together.
        let mut offset = Chance(seed ^ 0x_c10c);
        let mut time_of_day = || {
            let apart = Duration::from_micros(offset.below(APART));
            (seed % 2 == 1).then_some(Duration::from_secs(1_700_000_000) + apart)
        };
        let hosts = (0..count)
            .map(|_| {
                // Up to a thousandth fast or slow; any beginning.
                let rate = 999_000 + chance.below(2_000);
                let shown = Duration::from_secs(10_000 + chance.below(10_000));
                Host {
                    process: None,
                    life: 0,
                    kernel: true,
                    monotonic: Clock::new(shown, rate),
                    boot: Clock::new(shown + Duration::from_secs(5), rate),
                    time_of_day: time_of_day(),
                    paused: None,
                    waiting: Vec::new(),
                    api: true,
                    carrier: true,
                    record: None,
                    steps: BTreeMap::new(),
                    flows: BTreeSet::new(),
                    conntrack: BTreeSet::new(),
                    kept: Duration::ZERO,
                    unheard: Vec::new(),
                    hurried: false,
                    thread_woken: None,
                    task_woken: None,
                    check: None,
                    awake: [false; 3],
                    told: Duration::ZERO,
                    unreachable: (6, Duration::ZERO),
                }
            })
            .collect();
        Self {
            judge: Judge::new(&addresses, count),
            hosts,
            now: Duration::ZERO,
            start,
            chance,
            queue: BinaryHeap::new(),
            departures: 0,
            steps: 0,
            loss: 0,
            cut: BTreeSet::new(),
            link_cut: None,
            stranger: None,
            mute: BTreeSet::new(),
            nodes: (0..count).map(node).collect(),
            pods: (0..count).collect(),
            broken: BTreeSet::new(),
            addresses,
            lag: 200 * MS,
            asked: BTreeMap::new(),
            next_request: 0,
            datagrams: 0,
            fence_two: false,
            fencing: Fencing::Majority,
            modes: Modes::default(),
            keeps: false,
            log: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.log.push((self.now, text.into()));
    }

    fn time(&self) -> u64 {
        1_700_000_000_000_000 + u64::try_from(self.now.as_micros()).unwrap()
    }

    /// The moment as a node's members' thread has it.
    fn moment(&self, index: usize) -> Moment {
        let boottime = self.hosts[index].boot.at(self.now);
        Moment { monotonic: self.clock(index), boottime }
    }

    /// The moment as a node's core has it.
    fn reading(&self, index: usize) -> ClockReading {
        ClockReading { monotonic: self.clock(index), wall: self.time() }
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new(ConfigScope::All, true);
        let pool = json!({ "kind": "IPAddressPool", "metadata": { "name": "p" }, "spec": { "addresses": ["192.0.2.0/24"] } });
        let advertisement =
            json!({ "kind": "L2Advertisement", "metadata": { "name": "a" }, "spec": {} });
        for object in self.nodes.iter().chain([&pool, &advertisement]) {
            apply(&mut snapshot, object);
        }
        for (number, address) in self.addresses.iter().enumerate() {
            apply(&mut snapshot, &service(number, *address));
        }
        snapshot
    }

    // What happens to nodes.

    /// A process begins on a node.
    pub(crate) fn boot(&mut self, index: usize) {
        let seed = self.chance.next();
        let options = Options {
            node: name(index),
            class: None,
            ignore_exclude_label: false,
            assume_endpoints: true,
            drain_on_cordon: false,
            bgp_mode: BgpMode::Native,
            fencing: self.fencing,
        };
        let snapshot = Snapshot::new(ConfigScope::All, true);
        let (now, boot, time) =
            (self.clock(index), self.hosts[index].boot.at(self.now), self.time());
        let (fence_two, fencing) = (self.fence_two, self.fencing);
        let links = crate::link::links(index, self.hosts[index].carrier, self.keeps);
        let process = Process::new(Start {
            index,
            seed,
            now,
            boot,
            time,
            snapshot,
            options,
            fence_two,
            fencing,
            modes: self.modes,
            keeps: self.keeps,
            links,
        });
        let host = &mut self.hosts[index];
        host.life += 1;
        host.process = Some(process);
        host.kernel = true;
        host.unheard.clear();
        host.hurried = false;
        (host.thread_woken, host.task_woken, host.check) = (None, None, None);
        host.awake = [false; 3];
        host.waiting.clear();
        let (sync, found) =
            (self.chance.micros(20_000, 200_000), self.chance.micros(5_000, 60_000));
        if self.fencing == Fencing::Link {
            self.push(RECORD_WAIT, index, Arrival::Remember);
        }
        self.push(sync, index, Arrival::Sync);
        self.push(found, index, Arrival::Discover(0));
        self.settle(index);
    }

    /// The process ends at once. Its kernel says so where that lives on.
    pub(crate) fn kill(&mut self, index: usize, kernel: bool) {
        let host = &mut self.hosts[index];
        if let Some(process) = host.process.take()
            && let Some((_, record)) = process.record
        {
            host.record = Some(record);
        }
        host.life += 1;
        host.kernel = kernel;
        if !kernel {
            host.steps.clear();
            host.flows.clear();
            host.conntrack.clear();
        }
        host.waiting.clear();
        if host.paused.take().is_some() {
            host.monotonic.run(self.now, true);
            host.boot.run(self.now, true);
        }
        self.look(index);
    }

    pub(crate) fn terminate(&mut self, index: usize) {
        let now = self.reading(index);
        if let Some(process) = &mut self.hosts[index].process {
            process.terminate(now);
        }
        // What MetalLB's manifests leave.
        self.push(2_000 * MS, index, Arrival::End);
        self.settle(index);
    }

    pub(crate) fn pause(&mut self, index: usize, pause: Pause) {
        let now = self.now;
        let host = &mut self.hosts[index];
        host.paused = Some(pause);
        host.monotonic.run(now, pause == Pause::Stopped);
        host.boot.run(now, pause != Pause::Machine);
        self.look(index);
    }

    pub(crate) fn resume(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        if host.paused.take().is_none() {
            return;
        }
        host.monotonic.run(now, true);
        host.boot.run(now, true);
        (host.thread_woken, host.task_woken, host.check) = (None, None, None);
        // The engine may be the first to run.
        self.look(index);
        // As the shell does it: what has come first, then the time.
        for arrival in std::mem::take(&mut self.hosts[index].waiting) {
            self.take(index, arrival);
        }
        self.take(index, Arrival::ThreadWake);
        self.take(index, Arrival::TaskWake);
    }

    /// Nothing passes between these and the others.
    pub(crate) fn part(&mut self, some: &[usize]) {
        for one in some {
            for other in (0..self.hosts.len()).filter(|other| !some.contains(other)) {
                self.cut.insert((*one, other));
                self.cut.insert((other, *one));
            }
        }
    }

    /// Port 7946 is open over TCP alone, at these.
    pub(crate) fn block_datagrams(&mut self, some: &[usize]) {
        for one in some {
            for other in (0..self.hosts.len()).filter(|other| other != one) {
                self.mute.insert((*one, other));
                self.mute.insert((other, *one));
            }
        }
    }

    /// An object of the API changes.
    pub(crate) fn drain(&mut self, index: usize, drained: bool) {
        let annotations = if drained { json!({ "ferrolb.io/drain": "true" }) } else { json!({}) };
        self.nodes[index] = json!({ "kind": "Node",
            "metadata": { "name": &*name(index), "annotations": annotations } });
        self.tell_all(&self.nodes[index].clone());
    }

    /// A Node is not ready since then, by what the API says; or it is.
    pub(crate) fn set_ready(&mut self, index: usize, not_since: Option<Duration>) {
        let status = if not_since.is_some() { "Unknown" } else { "True" };
        let since = self.time() / 1_000_000 - not_since.map_or(0, |since| since.as_secs());
        let since = jiff::Timestamp::from_second(i64::try_from(since).unwrap()).unwrap();
        let ready =
            json!({ "type": "Ready", "status": status, "lastTransitionTime": since.to_string() });
        self.nodes[index] = json!({ "kind": "Node", "metadata": { "name": &*name(index) },
            "status": { "conditions": [ready] } });
        self.tell_all(&self.nodes[index].clone());
    }

    /// A Node is deleted, its pods with it.
    pub(crate) fn delete_node(&mut self, index: usize) {
        self.pods.remove(&index);
        self.nodes[index] = json!({ "kind": "Node", "metadata": { "name": &*name(index) },
            "deleted": true });
        self.tell_all(&self.nodes[index].clone());
    }

    /// A Service appears that has this address.
    pub(crate) fn create(&mut self, address: IpAddr) {
        self.judge.watch(address, self.now);
        self.addresses.push(address);
        self.tell_all(&service(self.addresses.len() - 1, address));
    }

    fn tell_all(&mut self, object: &Value) {
        for host in 0..self.hosts.len() {
            let most = u64::try_from(self.lag.as_micros()).unwrap().max(1_001);
            let lag = self.chance.micros(1_000, most);
            // One watch tells everything in order.
            let at = (self.now + lag).max(self.hosts[host].told);
            self.hosts[host].told = at;
            self.push(at - self.now, host, Arrival::Object(object.clone()));
        }
    }

    pub(crate) fn set_api(&mut self, index: usize, there: bool) {
        self.hosts[index].api = there;
        if there {
            let lag = self.chance.micros(1_000, 50_000);
            let at = (self.now + lag).max(self.hosts[index].told);
            self.hosts[index].told = at;
            for object in std::mem::take(&mut self.hosts[index].unheard) {
                self.push(at - self.now, index, Arrival::Object(object));
            }
            if self.hosts[index].process.as_ref().is_some_and(|process| !process.synced) {
                let lag = self.chance.micros(20_000, 200_000);
                self.push(lag, index, Arrival::Sync);
            }
        }
    }

    // How time passes.

    pub(crate) fn clock(&self, index: usize) -> Instant {
        self.hosts[index].now(self.start, self.now)
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse(next)) = self.queue.peek()
            && next.0 <= end
        {
            let Some(Reverse(Pending(at, _, host, life, arrival))) = self.queue.pop() else {
                return;
            };
            self.steps = if self.now == at { self.steps + 1 } else { 0 };
            assert!(
                self.steps < 100_000,
                "time stands still at {at:?} on node {host}: {:?}",
                std::mem::discriminant(&arrival)
            );
            self.now = at;
            self.arrive(host, life, arrival);
        }
        self.now = end;
        self.judge.pass(self.now);
    }

    pub(crate) fn push(&mut self, after: Duration, host: usize, arrival: Arrival) {
        self.departures += 1;
        let life = self.hosts[host].life;
        self.queue.push(Reverse(Pending(self.now + after, self.departures, host, life, arrival)));
    }

    fn arrive(&mut self, index: usize, life: u64, arrival: Arrival) {
        let now = self.now;
        let from_network = matches!(
            arrival,
            Arrival::Packet(..)
                | Arrival::Beat(..)
                | Arrival::Request(..)
                | Arrival::Object(_)
                | Arrival::Frame(..)
                | Arrival::Probe { .. }
                | Arrival::Answer(..)
        );
        if let Arrival::Connect(to, stream, attempt, end) = arrival {
            if self.hosts[index].life == life {
                self.connect(index, to, stream, attempt, end);
            }
            return;
        }
        let host = &mut self.hosts[index];
        if host.process.is_none() {
            if host.kernel {
                self.refuse(index, arrival);
            }
            return;
        }
        if !from_network && host.life != life {
            return;
        }
        if let Some(pause) = host.paused {
            let kept = match pause {
                Pause::Stopped => host.waiting.len() < BUFFER,
                // The watch goes on where it was.
                Pause::Suspended | Pause::Machine => {
                    !from_network || matches!(arrival, Arrival::Object(_))
                }
            };
            // Deadlines are looked up anew.
            let due = matches!(arrival, Arrival::ThreadWake | Arrival::TaskWake | Arrival::Check);
            if kept && !due {
                host.waiting.push(arrival);
            }
            return;
        }
        let for_thread = matches!(
            arrival,
            Arrival::Packet(..)
                | Arrival::Beat(..)
                | Arrival::Request(..)
                | Arrival::Response(..)
                | Arrival::Closed(_)
                | Arrival::Commands
                | Arrival::ThreadWake
        );
        if for_thread && let Some(until) = host.gathers_until(self.start, now) {
            let after = until - now;
            match arrival {
                Arrival::ThreadWake if host.thread_woken == Some(now) => {
                    host.thread_woken = Some(until);
                    self.push(after, index, arrival);
                    return;
                }
                Arrival::ThreadWake => return,
                _ if after > BEFORE => {
                    self.push(after - BEFORE, index, arrival);
                    return;
                }
                _ => {}
            }
        }
        match arrival {
            Arrival::ThreadWake if host.thread_woken == Some(now) => host.thread_woken = None,
            Arrival::TaskWake if host.task_woken == Some(now) => host.task_woken = None,
            Arrival::Check if host.check == Some(now) => host.check = None,
            Arrival::ThreadWake | Arrival::TaskWake | Arrival::Check => return,
            _ => {}
        }
        self.take(index, arrival);
    }

    /// The kernel of a node without the process answers.
    fn refuse(&mut self, index: usize, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Packet(from, _) | Arrival::Beat(from, _) => {
                // A burst of six, then one a second.
                let (left, last) = &mut self.hosts[index].unreachable;
                let more = u32::try_from((now - *last).as_secs()).unwrap();
                if more > 0 {
                    (*left, *last) = ((*left + more).min(6), now);
                }
                if *left > 0 && !self.cut.contains(&(index, from)) {
                    *left -= 1;
                    let delay = self.delay();
                    self.push(delay, from, Arrival::Closed(address(index)));
                }
            }
            Arrival::Request(from, stream, _) => self.fail(index, from, stream),
            _ => {}
        }
    }

    fn take(&mut self, index: usize, arrival: Arrival) {
        let (moment, now) = (self.moment(index), self.reading(index));
        let api = self.hosts[index].api;
        let time_of_day = self.hosts[index].time_of_day.map(|time| time + self.now);
        match arrival {
            Arrival::Task => self.hosts[index].awake[0] = false,
            Arrival::Commands => self.hosts[index].awake[1] = false,
            Arrival::Engine => self.hosts[index].awake[2] = false,
            _ => {}
        }
        let Some(process) = &mut self.hosts[index].process else { return };
        match arrival {
            Arrival::Packet(from, octets) => {
                process.thread(moment, Input::Packet { from: address(from), octets: &octets });
            }
            Arrival::Beat(from, message) => {
                process.thread(moment, Input::Heartbeat { from: address(from), message });
            }
            Arrival::Request(from, stream, octets) => {
                self.next_request += 1;
                let number = self.next_request;
                self.asked.insert((index, number), (from, stream));
                process.thread(moment, Input::Request { stream: number, octets: &octets });
            }
            Arrival::Response(stream, result) => {
                let result = result.as_deref().map_err(String::as_str);
                process.thread(moment, Input::Response { stream, result });
            }
            Arrival::Closed(to) => process.thread(moment, Input::PortClosed(to)),
            Arrival::ThreadWake => process.thread(moment, Input::Deadline { time_of_day }),
            Arrival::Commands => process.thread_commands(moment),
            Arrival::Task | Arrival::TaskWake => process.task(now),
            Arrival::Engine => {
                if self.hosts[index].may_answer(self.now) {
                    let Some(process) = &mut self.hosts[index].process else { return };
                    let told =
                        process.engine_tells.drain(..).map(l2::Event::Done).map(Told::Engine);
                    process.inbox.extend(told);
                    let frames = std::mem::take(&mut process.frames);
                    let probes = std::mem::take(&mut process.probes);
                    process.task(now);
                    self.announce(index, frames.into_iter());
                    self.probe(index, &probes);
                } else {
                    if let Some(process) = &mut self.hosts[index].process {
                        process.probes.clear();
                    }
                    // Nobody wakes the engine when it may speak again; it looks from time to time.
                    self.hosts[index].awake[2] = true;
                    self.push(20 * MS, index, Arrival::Engine);
                }
            }
            Arrival::Frame(from, address) => process.frame(self.now, from, address),
            Arrival::Probe { from, address, precedence, sent } => {
                self.handle_probe(index, from, address, precedence, sent);
            }
            Arrival::Answer(from, address) => process.claim(from, address, false),
            Arrival::Kept(table) => {
                process.core.handle_kept(now.monotonic, table.version);
                process.task(now);
                // As the kernel has them: a step needs the stations of both ends.
                let known = |name: &Arc<str>| table.fellows.contains_key(name);
                let mut steps = table.addresses;
                for steps in steps.values_mut() {
                    steps.client.take_if(|next| !known(next));
                    steps.fellows.retain(|origin, next| known(origin) && known(next));
                }
                self.hosts[index].steps = steps;
                self.hosts[index].flows = table.flows;
            }
            Arrival::Listed(FlowRequest { number, addresses }) => {
                let flows = self.hosts[index].conntrack.iter().copied();
                let flows = flows.filter(|flow| addresses.contains(&flow.address)).collect();
                let Some(process) = &mut self.hosts[index].process else { return };
                let listed = ListedFlows { number, flows, complete: true };
                process.core.handle_flows(now.monotonic, listed);
                process.task(now);
            }
            Arrival::Check => {}
            Arrival::Remember => {
                if let Some(record) = self.hosts[index].record.clone()
                    && let Some(process) = &mut self.hosts[index].process
                {
                    process.remember(now, &record);
                }
            }
            Arrival::Sync => {
                if api && !process.synced {
                    let snapshot = self.snapshot();
                    let Some(process) = &mut self.hosts[index].process else { return };
                    process.snapshot = snapshot;
                    process.synced = true;
                    process.task(now);
                }
            }
            Arrival::Discover(round) => {
                if api {
                    let others = self.pods.iter().copied().filter(|it| *it != index);
                    let runs = |it: usize| {
                        // Only by the link it matters whether a pod has come back. A speaker is not ready before it has met the ring.
                        let process = self.hosts[it].process.as_ref();
                        let ready = |it: &Process| it.synced && !it.core.view().is_starting();
                        self.fencing != Fencing::Link || process.is_some_and(ready)
                    };
                    let pod = |it| Pod {
                        node: Some(name(it)),
                        address: Some(address(it)),
                        ready: !self.broken.contains(&it) && runs(it),
                        young_until: None,
                    };
                    let pods = others.map(pod).collect();
                    let listed = Listed { pods, listing: Listing::Asked(now.monotonic) };
                    let Some(process) = &mut self.hosts[index].process else { return };
                    process.find(now, &listed);
                }
                if round == HURRIED {
                    self.hosts[index].hurried = false;
                    self.settle(index);
                    return;
                }
                // As discovery: after 0.5, 1, 2, 4, 8 seconds, then every five minutes.
                let pause = match (api, round) {
                    (false, _) => 1_000,
                    (true, 0..5) => 500 << round,
                    (true, _) => 300_000,
                };
                self.push(
                    Duration::from_millis(pause),
                    index,
                    Arrival::Discover(round + u64::from(api)),
                );
            }
            Arrival::Object(object) => {
                if api && process.synced {
                    apply(&mut process.snapshot, &object);
                    process.task(now);
                } else if process.synced {
                    self.hosts[index].unheard.push(object);
                }
            }
            Arrival::End => {
                if process.leaves {
                    self.kill(index, true);
                    return;
                }
            }
            Arrival::Connect(..) => unreachable!("handled before"),
        }
        self.settle(index);
    }

    /// Carries out what a node wants, and wakes it when it is due.
    fn settle(&mut self, index: usize) {
        let (moment, now) = (self.moment(index), self.reading(index));
        let Some(process) = &mut self.hosts[index].process else { return };
        let told = process.thread_settle(moment);
        let commanded = !process.commands.is_empty();
        let telling = !process.engine_tells.is_empty()
            || !process.frames.is_empty()
            || !process.probes.is_empty();
        let done = process.leaves && process.departed;
        let hurries = process.core.wants_list(now);
        let sent = std::mem::take(&mut process.sent);
        let tables = std::mem::take(&mut process.tables);
        let requests = std::mem::take(&mut process.flow_requests);
        let awake = self.hosts[index].awake;
        self.hosts[index].awake = [awake[0] | told, awake[1] | commanded, awake[2] | telling];
        for request in requests {
            // The thread answers one after the other.
            self.push(5 * MS, index, Arrival::Listed(request));
        }
        for table in tables {
            // The thread of the tables takes one after the other.
            let after = self.hosts[index].kept.max(self.now) - self.now;
            let after = after + self.chance.micros(200, 8_000);
            self.hosts[index].kept = self.now + after;
            self.push(after, index, Arrival::Kept(table));
        }
        if told && !awake[0] {
            let after = self.chance.micros(30, 800);
            self.push(after, index, Arrival::Task);
        }
        if commanded && !awake[1] {
            let after = self.chance.micros(10, 100);
            self.push(after, index, Arrival::Commands);
        }
        if telling && !awake[2] {
            let after = self.chance.micros(50, 300);
            self.push(after, index, Arrival::Engine);
        }
        if hurries && !std::mem::replace(&mut self.hosts[index].hurried, true) {
            let pause = self.chance.micros(1_000_000, 5_000_000);
            self.push(pause, index, Arrival::Discover(HURRIED));
        }
        for sent in sent {
            self.send(index, sent);
        }
        if done {
            self.kill(index, true);
            return;
        }
        self.wake(index);
        self.look(index);
    }

    /// The task of a node has something to do, if it runs.
    pub(crate) fn wake_task(&mut self, index: usize) {
        let runs = self.hosts[index].process.is_some() && self.hosts[index].paused.is_none();
        if runs {
            self.settle(index);
        }
    }

    fn wake(&mut self, index: usize) {
        let now = self.reading(index);
        let host = &self.hosts[index];
        let Some(process) = &host.process else { return };
        let when = |at: Instant| {
            host.monotonic.when(at.saturating_duration_since(self.start)).max(self.now)
        };
        let thread = when(process.agent.deadline());
        let task = process.core.deadline(now).map(when);
        if self.hosts[index].thread_woken.is_none_or(|woken| woken > thread) {
            self.hosts[index].thread_woken = Some(thread);
            self.push(thread - self.now, index, Arrival::ThreadWake);
        }
        if let Some(task) = task
            && self.hosts[index].task_woken.is_none_or(|woken| woken > task)
        {
            self.hosts[index].task_woken = Some(task);
            self.push(task - self.now, index, Arrival::TaskWake);
        }
    }

    /// Lets the judge see what a node answers for now, and again when its permit runs out.
    fn look(&mut self, index: usize) {
        let until = self.hosts[index].permitted_until();
        if let Some(until) = until.filter(|until| *until != Duration::MAX && *until > self.now)
            && self.hosts[index].check.is_none()
            && self.hosts[index].paused.is_none()
        {
            self.hosts[index].check = Some(until);
            self.push(until - self.now, index, Arrival::Check);
        }
        let host = &self.hosts[index];
        let answers = host.may_answer(self.now);
        let version = host.process.as_ref().map_or(0, |process| process.version);
        let key = (answers, host.life, version);
        if self.judge.is_news(index, key) {
            let owned = if answers { host.owners().clone() } else { BTreeSet::new() };
            let known = host.known(host.now(self.start, self.now));
            if std::env::var_os("FERROLB_TRACE").is_some() {
                let text = format!("node {index} answers for {owned:?}: {}", host.describe());
                self.log.push((self.now, text));
            }
            self.judge.see(self.now, index, owned, known);
        }
    }

    // What is looked at.

    /// How many of those with a process count these members as there.
    pub(crate) fn members_of(&self, index: usize) -> usize {
        let living =
            |member: &members::Member| matches!(member.state, State::Alive | State::Suspect);
        let process = self.hosts[index].process.as_ref();
        process.map_or(0, |process| process.agent.members().filter(living).count())
    }

    /// The nodes that answer for an address at this moment.
    pub(crate) fn owners(&self, address: IpAddr) -> Vec<usize> {
        (0..self.hosts.len())
            .filter(|index| {
                self.hosts[*index].may_answer(self.now)
                    && self.hosts[*index].owners().contains(&address)
            })
            .collect()
    }
}

fn service(number: usize, address: IpAddr) -> Value {
    json!({
        "kind": "Service",
        "metadata": { "name": format!("s{number}"), "namespace": "d", "annotations": {} },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
        "status": { "loadBalancer": { "ingress": [{ "ip": address.to_string() }] } },
    })
}

fn apply(snapshot: &mut Snapshot, value: &Value) {
    let typed = value.clone();
    snapshot.apply(match value["kind"].as_str().unwrap() {
        "Service" => Object::Service(serde_json::from_value(typed).unwrap()),
        "Node" if value["deleted"] == true => {
            snapshot.delete(Kind::Node, value["metadata"]["name"].as_str().unwrap());
            return;
        }
        "Node" => Object::Node(serde_json::from_value(typed).unwrap()),
        other => Object::Config(ConfigKind::from_kind(other).unwrap(), typed),
    });
}
