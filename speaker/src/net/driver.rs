// SPDX-License-Identifier: Apache-2.0
//! Carries the inputs and the effects of a [`Core`] between the memberlist's thread, the l2 engine and the BGP sessions on the one side, and
//! the program's loop on the other. The driver decides nothing. The daemon and `ferrolb run` are loops around it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster::net::rounds;
use cluster::{Dirty, Snapshot};
use l2::{Layer2, LinkReport};
use members::net::Cause;
use members::{Event, Keyring};
use tokio::sync::{mpsc, watch};

use super::agent::AgentDriver;
use super::bgp::{BgpDriver, SessionNotice, Signal};
use super::clock_reading::clock_reading;
use super::connections::KeptConnections;
use super::kernel_tables::{KernelNotice, KernelTables};
use super::membership_log;
use crate::core::{Core, Effect, EngineCommand, Fact};
use crate::metrics::{MembershipMetrics, SpeakerMetrics, write_draining};
use crate::owned_record::OwnedRecord;
use ownership::Listed;

/// A [`Core`] with the parts that carry out its effects.
pub struct Driver {
    core: Arc<Mutex<Core>>,
    agent: AgentDriver,
    layer2: Arc<Layer2>,
    bgp: BgpDriver,
    /// The thread of the kernel's tables, with `--keep-connections`.
    tables: Option<KernelTables>,
    /// The connections that are kept, with `--keep-connections`.
    connections: Option<watch::Receiver<KeptConnections>>,
    metrics: Option<MembershipMetrics>,
    notices: VecDeque<Fact>,
}

impl Driver {
    /// Starts the l2 engine, whose events come out of the receiver.
    ///
    /// # Errors
    /// The engine's sockets cannot be had, with what is missing for them.
    pub fn start(
        core: Core,
        agent: AgentDriver,
        bgp: BgpDriver,
        layer2: l2::Options,
    ) -> Result<(Self, mpsc::UnboundedReceiver<l2::Event>), l2::StartError> {
        let (sender, events) = mpsc::unbounded_channel();
        let layer2 = Layer2::start(layer2, move |event| {
            // The receiver lives as long as the program.
            let _ = sender.send(event);
        })?;
        let core = Arc::new(Mutex::new(core));
        let (layer2, metrics, notices) = (Arc::new(layer2), None, VecDeque::new());
        let (tables, connections) = (None, None);
        let mut driver = Self { core, agent, layer2, bgp, tables, connections, metrics, notices };
        driver.carry_out();
        Ok((driver, events))
    }

    /// Keeps connections through moves from now, as [`Core::keep_connections`]. To be called at the start. What the kernel
    /// says comes out of the receiver, for [`Self::handle_kept`].
    ///
    /// # Errors
    /// The kernel or the permissions lack something. Nothing is kept then.
    pub fn keep_connections(
        &mut self,
        linger: Duration,
    ) -> Result<mpsc::UnboundedReceiver<KernelNotice>, steer::net::Error> {
        let (done, kept) = mpsc::unbounded_channel();
        let (told, connections) = watch::channel(KeptConnections::default());
        let (tables, lack) = KernelTables::start(linger, done, told)?;
        if let Some(error) = &lack {
            tracing::error!(event = "spreadOff", %error,
                "spread: nodes has no effect for addresses that this node announces: the node serves them alone");
        }
        self.tables = Some(tables);
        self.connections = Some(connections);
        self.with(|core| core.keep_connections(linger, lack.is_none()));
        Ok(kept)
    }

    /// The connections that are kept, whenever they change. None if [`Self::keep_connections`] was not called, or failed.
    #[must_use]
    pub fn connections(&self) -> Option<watch::Receiver<KeptConnections>> {
        self.connections.clone()
    }

    /// The kernel follows a table, or has listed flows.
    pub fn handle_kept(&mut self, notice: KernelNotice) {
        let now = clock_reading().monotonic;
        self.with(|core| match notice {
            KernelNotice::Follows(version) => core.handle_kept(now, version),
            KernelNotice::Flows(listed) => core.handle_flows(now, listed),
        });
    }

    /// Shows the state of the memberlist in these metrics from now.
    pub fn measure_by(&mut self, metrics: MembershipMetrics) {
        self.metrics = Some(metrics);
        self.measure();
    }

    /// The core, for queries.
    pub fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The BGP sessions, for queries.
    #[must_use]
    pub fn bgp(&self) -> &BgpDriver {
        &self.bgp
    }

    /// The links of this node.
    #[must_use]
    pub fn links(&self) -> Arc<Vec<LinkReport>> {
        self.layer2.links()
    }

    /// A function that appends the series of the announced Services and of their addresses.
    pub fn series(
        &self,
        metrics: Arc<Mutex<SpeakerMetrics>>,
    ) -> impl Fn(&mut String) + Clone + Send + Sync + 'static {
        let (core, layer2) = (Arc::clone(&self.core), Arc::clone(&self.layer2));
        let connections = self.connections.clone();
        move |text| {
            if let (Ok(core), Ok(metrics)) = (core.lock(), metrics.lock()) {
                let announced = core.speaker().announced().iter();
                let announced = announced.map(|(service, it)| (service, &*it.addresses));
                metrics.write(announced, &layer2.counters(), text);
            }
            if let Some(connections) = &connections {
                let left = &connections.borrow().left;
                let left = left.iter().map(|(address, open)| (address, open.tcp, open.udp));
                write_draining(left, text);
            }
        }
    }

    /// The next notice for people or the API.
    pub fn poll(&mut self) -> Option<Fact> {
        self.notices.pop_front()
    }

    /// The memberlist's thread has an event.
    pub fn handle_agent(&mut self, event: Event) {
        let snapshot = self.agent.snapshot();
        self.with(|core| {
            core.handle_refused(clock_reading(), &snapshot.refused.other_key);
            core.handle_agent(clock_reading(), event, &snapshot.members);
        });
        self.measure();
    }

    /// The l2 engine has an event.
    pub fn handle_layer2(&mut self, event: &l2::Event) {
        let links = matches!(event, l2::Event::LinksChanged).then(|| self.layer2.links());
        self.with(|core| {
            if let Some(links) = links {
                core.handle_links(links);
            }
            core.handle_layer2(clock_reading(), event);
        });
    }

    /// The API or the command line tells where speakers are.
    pub fn find(&mut self, listed: &Listed) {
        self.with(|core| core.handle_listed(clock_reading(), listed));
        self.measure();
    }

    /// The cluster's objects cannot be read: this node owned these addresses last.
    pub fn remember(&mut self, record: &OwnedRecord) {
        let links = self.layer2.links();
        self.with(|core| {
            core.handle_links(links);
            core.remember(clock_reading(), record);
        });
        self.measure();
    }

    /// The record of what this node owns now.
    #[must_use]
    pub fn record(&self, snapshot: &Snapshot) -> OwnedRecord {
        self.core().record(snapshot, &self.agent.snapshot().members)
    }

    /// Seals and opens with these keys from now.
    pub fn set_keys(&self, keys: Keyring) {
        self.agent.set_keys(keys);
    }

    /// Handles a signal from the sessions, from BFD, from the host's routes or from the clock.
    pub fn handle_signal(&mut self, signal: Signal) -> Vec<SessionNotice> {
        self.bgp.handle(signal)
    }

    /// Decides again for L2, as [`Core::decide`]. The start of the round is logged here; the caller logs its end by [`rounds::note_end`].
    pub fn decide(&mut self, snapshot: &Snapshot, dirty: &mut Dirty) -> bool {
        let links = self.layer2.links();
        let decides = self.with(|core| {
            core.handle_links(links);
            core.decide(clock_reading(), snapshot, dirty)
        });
        self.measure();
        rounds::note_start(dirty);
        decides
    }

    /// Decides again for BGP, as [`Core::decide_routes`]. After the first call the tables count as complete.
    pub fn decide_routes(&mut self, snapshot: &Snapshot, dirty: &Dirty) {
        let (dirty, sessions) = self.bgp.arrange(snapshot, dirty);
        self.with(|core| core.decide_routes(snapshot, &dirty, sessions));
        self.bgp.decided();
    }

    /// The time at which [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.core().deadline(clock_reading())
    }

    /// Does everything that has become due.
    pub fn expire(&mut self, snapshot: &Snapshot) {
        self.with(|core| core.expire(clock_reading(), snapshot));
        self.measure();
    }

    /// This program is to end: the next decision gives away all that is announced here, and [`Core::has_left`] tells when that is over.
    pub fn terminate(&mut self) {
        self.with(|core| core.terminate(clock_reading()));
    }

    /// Closes all sessions, as [`BgpDriver::stop`].
    pub async fn stop(&mut self) {
        self.bgp.stop().await;
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Core) -> R) -> R {
        let result = act(&mut self.core());
        self.carry_out();
        result
    }

    fn carry_out(&mut self) {
        loop {
            let Some(effect) = self.core().poll() else { return };
            match effect {
                Effect::Agent(command) => self.agent.carry_out(command),
                Effect::Engine(EngineCommand::AnswerOnly(them)) => self.layer2.answer_only(them),
                Effect::Engine(EngineCommand::Change(changes)) => self.layer2.change(changes),
                Effect::Engine(EngineCommand::AnnounceAll) => self.layer2.announce_all(),
                Effect::Engine(EngineCommand::Tell(number)) => self.layer2.tell(number),
                Effect::Engine(EngineCommand::Watch(changes)) => self.layer2.watch(changes),
                Effect::Engine(EngineCommand::Probe { addresses, precedence }) => {
                    self.layer2.set_precedence(Some(precedence));
                    self.layer2.probe(addresses);
                }
                Effect::Keep(table) => {
                    if let Some(tables) = &self.tables {
                        tables.order(table);
                    }
                }
                Effect::ListFlows(request) => {
                    if let Some(tables) = &self.tables {
                        tables.list_flows(request);
                    }
                }
                Effect::Routes { peer, changes } => self.bgp.change_routes(&peer, changes),
                Effect::Fact(Fact::Standing(standing)) => membership_log::standing(standing),
                Effect::Fact(Fact::Trouble(trouble)) => membership_log::trouble(&trouble),
                Effect::Fact(notice) => {
                    if let Fact::Link { address, word, .. } = &notice {
                        membership_log::link(*address, word);
                    }
                    self.notices.push_back(notice);
                }
            }
        }
    }

    fn measure(&self) {
        if let Some(metrics) = &self.metrics {
            let core = self.core();
            let standing = core.view().standing();
            let by_link = core.announced_by_link();
            let speaks = standing.speaks() || by_link.is_some_and(|announced| announced > 0);
            let silent = (!speaks).then(|| standing.name());
            metrics.set_by_link(by_link.unwrap_or(0));
            metrics.set(core.view().others() + 1, silent);
            metrics.set_blocked(core.is_port_blocked());
            let counts = &self.agent.snapshot().refused.counts;
            let count = |cause: Cause| counts.get(&cause).copied().unwrap_or(0);
            metrics.set_refused(Cause::ALL.iter().map(|cause| (cause.name(), count(*cause))));
        }
    }
}
