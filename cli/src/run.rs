// SPDX-License-Identifier: Apache-2.0
//! `ferrolb run`: controller and speaker in one process, on a folder of manifests.
//!
//! ```text
//! inotify ──> read, feed ──> ┌────────────────────────┐ ──> status.json, table
//! l2 events ───────────────> │ settle, announce, show │ ── desired ──> l2 thread ──> frames
//! SIGTERM, Ctrl-C ─────────> └────────────────────────┘ ──> routes (--accept, --discard-aggregates)
//! ```

mod notices;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use allocator::net::log::note;
use anyhow::Context;
use clock::until;
use cluster::net::rounds;
use cluster::net::source::Journal;
use cluster::{Dirty, ObjectKey};
use daemon::log::Format;
use folder::StateFile;
use folder::manifest::{Grade, Manifests, Mistake};
use folder::{FolderState, ServiceState};
use ipnet::IpNet;
use prometheus::Registry;
use speaker::net::{AgentSignals, ConflictReporter, Driver, HostRoutes, KernelNotice, next_kept};
use tokio::sync::mpsc;

use crate::args::RunArgs;
use crate::check;
use crate::plan::{self, by_bgp, planned};
use crate::routes::Books;
use crate::table::render;
use crate::world::World;

/// Runs until a signal ends it.
///
/// # Errors
/// The folder, its state, a socket or a route cannot be had.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    daemon::log::start(args.log_level, Format::Text);
    anyhow::ensure!(args.folder.is_dir(), "{} is not a folder", args.folder.display());
    let (mut runner, mut sources) = start::start(args).await?;
    runner.load(sources.folder.next().await.context("the folder was not read")?).await;
    let terminated = daemon::signals::terminated();
    tokio::pin!(terminated);
    let result = loop {
        tokio::select! {
            biased;
            result = &mut terminated => break result.context("cannot wait for signals"),
            signal = sources.bgp.next(runner.driver.bgp().deadline()) => {
                runner.handle_signal(signal);
                if runner.driver.bgp().wants_reconcile() {
                    runner.carry_out(Dirty::default()).await;
                }
            }
            signal = AgentSignals::next(&mut sources.agent) => {
                runner.driver.handle_agent(signal);
                runner.follow_hosts().await;
            }
            () = until(runner.driver.deadline()) => {
                runner.driver.expire(&runner.world.snapshot);
                runner.carry_out(Dirty::default()).await;
            }
            Some(event) = sources.noticed.recv() => {
                runner.handle_layer2(&event);
                runner.tell();
                if matches!(event, l2::Event::LinksChanged) {
                    runner.carry_out(Dirty::default()).await;
                }
            }
            Some(notice) = next_kept(&mut sources.kept) => {
                runner.driver.handle_kept(notice);
                runner.tell();
            }
            result = sources.folder.next() => match result {
                Ok(manifests) => runner.load(manifests).await,
                Err(error) => break Err(error).context("the folder is no longer read"),
            },
        }
    };
    runner.hand_over(&mut sources.agent, &mut sources.noticed, &mut sources.kept).await;
    runner.driver.stop().await;
    let mut removed = Ok(());
    for routes in runner.routes.iter().chain(&runner.discard) {
        removed = removed.and(routes.sweep().await);
    }
    result.and(removed.map_err(Into::into))
}

struct Metrics {
    allocator: allocator::metrics::AllocatorMetrics,
    speaker: Arc<Mutex<speaker::metrics::SpeakerMetrics>>,
    client: daemon::metrics::ClientMetrics,
}

impl Metrics {
    fn register(registry: &Registry, node: &str) -> anyhow::Result<Self> {
        Ok(Self {
            allocator: allocator::metrics::AllocatorMetrics::register(registry)?,
            speaker: Arc::new(Mutex::new(speaker::metrics::SpeakerMetrics::register(
                registry, node,
            )?)),
            client: daemon::metrics::ClientMetrics::register(registry)?,
        })
    }
}

struct Runner {
    conflicts: ConflictReporter<()>,
    journal: Journal,
    args: RunArgs,
    world: World,
    driver: Driver,
    routes: Option<HostRoutes>,
    discard: Option<HostRoutes>,
    state: StateFile,
    known: FolderState,
    metrics: Metrics,
    mistakes: Vec<Mistake>,
    told_exported: bool,
    shown: BTreeMap<String, ServiceState>,
    /// The hosts of the ring that count as nodes.
    hosts: BTreeSet<Arc<str>>,
    /// The announced addresses without a local route, since the host has them itself, each with the reason as text.
    unaccepted: BTreeMap<IpAddr, String>,
}

impl Runner {
    /// Takes in the objects of the folder and carries out what follows from them.
    async fn load(&mut self, manifests: Manifests) {
        let told = self.world.take_in(manifests, &self.known);
        self.metrics.client.count_update();
        self.metrics.client.set_config(self.world.snapshot.rejections().len());
        self.journal.note_special(self.world.snapshot.config());
        for output in told {
            note(&output, self.world.allocator.allocations());
        }
        self.say_mistakes().await;
        let dirty = Dirty { all: true, ..Dirty::default() };
        self.carry_out(dirty).await;
    }

    /// Prints each new mistake. A mistake stops nothing: the rest is served.
    async fn say_mistakes(&mut self) {
        let folder = self.args.folder.clone();
        let known = self.world.mistakes.clone();
        let rejections = self.world.snapshot.rejections().to_vec();
        let found =
            tokio::task::spawn_blocking(move || check::findings(&folder, &known, &rejections));
        let mistakes = found.await.unwrap_or_default();
        for mistake in mistakes.iter().filter(|mistake| !self.mistakes.contains(mistake)) {
            let what = match mistake.grade {
                Grade::Refused => "left out",
                Grade::LeftOut => "field left out",
                Grade::Hint => "hint",
            };
            println!("{what}: {mistake}");
        }
        self.mistakes = mistakes;
        let exported = self.world.exported();
        if exported > 0 && !std::mem::replace(&mut self.told_exported, true) {
            println!("{}", plan::exported(exported));
        }
    }

    /// Makes every host of the ring a node if the folder has no Nodes. A host that is away counts too: it may come
    /// back.
    async fn follow_hosts(&mut self) {
        let hosts: BTreeSet<Arc<str>> = self.driver.core().view().seen().cloned().collect();
        let all = self.hosts != hosts;
        if all {
            self.hosts.clone_from(&hosts);
            for output in self.world.set_hosts(hosts) {
                note(&output, self.world.allocator.allocations());
            }
        }
        self.carry_out(Dirty { all, ..Dirty::default() }).await;
    }

    /// Passes the announced addresses to other hosts, which confirm each one; then tells the ring that this host
    /// leaves.
    async fn hand_over(
        &mut self,
        signals: &mut Option<AgentSignals>,
        noticed: &mut mpsc::UnboundedReceiver<l2::Event>,
        kept: &mut Option<mpsc::UnboundedReceiver<KernelNotice>>,
    ) {
        self.driver.terminate();
        self.carry_out(Dirty::default()).await;
        while !self.driver.core().has_left() {
            let deadline = self.driver.deadline();
            tokio::select! {
                signal = AgentSignals::next(signals) => self.driver.handle_agent(signal),
                Some(event) = noticed.recv() => self.handle_layer2(&event),
                Some(notice) = next_kept(kept) => self.driver.handle_kept(notice),
                () = until(deadline) => self.driver.expire(&self.world.snapshot),
            }
            self.tell();
        }
    }

    async fn carry_out(&mut self, mut dirty: Dirty) {
        let layer2_decides = self.driver.decide(&self.world.snapshot, &mut dirty);
        self.tell();
        self.driver.decide_routes(&self.world.snapshot, &dirty);
        self.tell();
        rounds::note_end(&dirty);
        let allocations = self.world.allocator.allocations();
        let pending = self.world.allocator.pending();
        self.metrics.allocator.update(self.world.snapshot.config(), allocations, pending);
        self.accept().await;
        self.discard_aggregates().await;
        // The announcers by L2 are unknown until the ring has been met.
        if layer2_decides {
            self.show();
        }
    }

    /// Makes the local routes those of the addresses announced from here, and of those whose connections are kept here.
    async fn accept(&mut self) {
        let Some(routes) = &mut self.routes else { return };
        let owned: BTreeSet<IpNet> = {
            let core = self.driver.core();
            let advertised = core.routes().advertised().keys().flat_map(|key| {
                let service = self.world.snapshot.service(key);
                service.into_iter().flat_map(|service| service.ingress_addresses())
            });
            let kept = core.draining();
            core.answered().chain(advertised).chain(kept).map(IpNet::from).collect()
        };
        if let Err(error) = routes.set(&owned).await {
            println!("a local route could not be changed: {error}");
        }
        let refused = routes.refused().values();
        let refused: BTreeMap<IpAddr, String> =
            refused.map(|refusal| (refusal.prefix.addr(), refusal.to_string())).collect();
        for (address, reason) in &refused {
            if !self.unaccepted.contains_key(address) {
                println!("not accepted here: {reason}");
            }
        }
        self.unaccepted = refused;
    }

    /// Makes the discarding routes those of the aggregates.
    async fn discard_aggregates(&mut self) {
        let Some(routes) = &mut self.discard else { return };
        let aggregates = self.driver.core().routes().aggregates();
        if let Err(error) = routes.set(&aggregates).await {
            println!("a route that discards could not be changed: {error}");
        }
    }

    /// Writes the status and shows it, if it changed.
    fn show(&mut self) {
        let books = Books::of(&self.world);
        let services: BTreeMap<String, ServiceState> = self
            .world
            .snapshot
            .services()
            .keys()
            .map(|key| (key.to_string(), self.status(&books, key)))
            .collect();
        let mut kept = services.clone();
        if self.world.mistakes.iter().any(|mistake| mistake.grade == Grade::Refused) {
            // An unreadable file may hold Services: remember their addresses until the file can be read.
            for (key, known) in &self.known.services {
                kept.entry(key.clone()).or_insert_with(|| known.clone());
            }
        }
        let state = FolderState { node: self.world.options.node.to_string(), services: kept };
        if state != self.known {
            match self.state.write(&state) {
                Ok(()) => self.known = state.clone(),
                Err(error) => println!("the status could not be written: {error}"),
            }
        }
        if services == self.shown {
            return;
        }
        let rows: Vec<Vec<String>> = services
            .iter()
            .map(|(key, service)| {
                let addresses: Vec<String> =
                    service.addresses.iter().map(ToString::to_string).collect();
                vec![
                    key.clone(),
                    if addresses.is_empty() { "-".to_owned() } else { addresses.join(", ") },
                    service.pool.clone().unwrap_or_else(|| "-".to_owned()),
                    service.announced_by.clone().unwrap_or_else(|| "-".to_owned()),
                    service.reason.clone().unwrap_or_default(),
                ]
            })
            .collect();
        if rows.is_empty() {
            println!("no Services of type LoadBalancer");
        } else {
            println!("{}", render(&["SERVICE", "ADDRESS", "POOL", "ANNOUNCED BY", "NOTE"], &rows));
        }
        self.shown = services;
    }

    fn status(&self, books: &Books, key: &ObjectKey) -> ServiceState {
        let planned = planned(&self.world, books, key);
        let by = planned.announced_by.into_iter().chain(by_bgp(&planned.routes));
        let by: Vec<String> = by.collect();
        let mut unaccepted = planned.addresses.iter().filter_map(|ip| self.unaccepted.get(ip));
        let reason = planned
            .reason
            .or_else(|| unaccepted.next().map(|reason| format!("not accepted here: {reason}")));
        ServiceState {
            addresses: planned.addresses,
            pool: planned.pool,
            announced_by: (!by.is_empty()).then(|| by.join("; ")),
            reason,
        }
    }
}
