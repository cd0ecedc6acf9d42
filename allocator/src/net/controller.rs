// SPDX-License-Identifier: Apache-2.0
//! The controller's loop. One task decides; the sinks write.
//!
//! ```text
//! watches ── mpsc(512) ──> ┌──────────────────────────────┐ ──> ServiceSink (16 writes at once)
//!                          │ drain, take_dirty, reconcile │ ──> EventSink
//! ServiceSink's reports ──>└──────────────────────────────┘ ──> PoolSink
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use cluster::net::client::connect_by;
use cluster::net::fence::Fence;
use cluster::net::pod::{Owner, Search};
use cluster::net::rounds;
use cluster::net::sink::kubernetes::{
    Component, ConfigurationStateSink, EventSink, ObjectEvent, PoolCounters, PoolSink, Regarding,
    ServiceReport, ServiceSink, ServiceStatus, list_formerly_allocated,
};
use cluster::net::source::kubernetes::{Watches, watch_all};
use cluster::net::source::{Journal, Update};
use cluster::{ConfigScope, Dirty, Kind, Object, ObjectKey, Snapshot};
use crds::config::{Config, ConfigKind};
use daemon::endpoints::{Readiness, serve_health};
use daemon::listen;
use daemon::metrics::ClientMetrics;
use kube::Client;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::args::Args;
use super::external::ExternalWorld;
use super::leader::{Leadership, Who};
use super::log;
use super::memberlist_secret::MemberlistSecret;
use super::metrics::serve_metrics;
use super::webhook;
use crate::metrics::AllocatorMetrics;
use crate::pool_status::PoolStatus;
use crate::{Allocations, Allocator, Output, POOL_ANNOTATION};

/// What the controller must have listed before it decides anything.
const KINDS: [Kind; 6] = [
    Kind::Service,
    Kind::Namespace,
    Kind::Config(ConfigKind::IpAddressPool),
    Kind::Config(ConfigKind::AddressPool),
    Kind::Config(ConfigKind::Community),
    EXTERNAL_POOLS,
];

/// Where they cannot be had, Antrea's world is off.
const EXTERNAL_POOLS: Kind = Kind::Config(ConfigKind::ExternalIpPool);

/// How often a controller that stands by says whether it is ready.
const STANDING_BY: Duration = Duration::from_secs(1);

/// How often a reason that lasts is told, in minutes.
const MINUTES: u64 = 60;

/// Runs until a signal ends it.
///
/// # Errors
/// When the API's address, an endpoint or a signal handler cannot be had.
pub async fn run(args: Args) -> anyhow::Result<()> {
    tracing::info!(
        event = "startUp",
        version = env!("CARGO_PKG_VERSION"),
        "MetalLB controller starting"
    );
    args.say_what_is_missing();
    args.elect.check()?;
    let namespace = daemon::flags::namespace(args.common.namespace.clone())
        .context("the namespace is not known: set --namespace or METALLB_NAMESPACE")?;
    let client = connect_by(args.common.kubeconfig()).await?;
    let registry = Registry::new();
    let readiness = Readiness::default();
    let port = args.common.health_probe_port;
    let listener = listen::everywhere(port);
    let listener = listener.with_context(|| format!("cannot serve health on port {port}"))?;
    serve_health(listener, readiness.clone());
    let webhooks = webhook::start(&client, &namespace, &args).await?;
    if args.webhook_mode == "onlywebhook" {
        return webhook::alone(&client, &args, registry, webhooks, readiness).await;
    }
    // Manifests before MetalLB 0.16 do not say the Pod's name; the host's name is that of the Pod.
    let pod_name = args.common.pod_name.clone().or_else(|| std::env::var("HOSTNAME").ok());
    let pod_name = pod_name.filter(|name| !name.is_empty());
    let search = pod_name.clone().map(Search::Name);
    let owner = Owner::find(client.clone(), namespace.clone(), search);
    let configuration = ConfigurationStateSink::start(
        client.clone(),
        namespace.clone(),
        Component::controller(),
        owner.clone(),
    );
    let mut controller =
        Controller::new(&client, &namespace, &args, &registry, readiness, configuration)?;
    controller.webhooks = Some(webhooks.clone());
    serve_metrics(&client, &args, registry)?;
    let deployment = args.deployment.clone().filter(|name| !name.is_empty());
    if let Some(name) = args.ml_secret_name.clone().filter(|name| !name.is_empty()) {
        let deployment = deployment.clone();
        MemberlistSecret { namespace: namespace.clone(), name, deployment }.ensure(client.clone());
    }
    let identity = identity(pod_name.as_deref());
    let who = Who { namespace: namespace.clone(), identity, owner, deployment };
    let mut leadership =
        Leadership::start(client.clone(), who, args.elect.times(), controller.fence.clone());
    let terminated = daemon::signals::terminated();
    tokio::pin!(terminated);
    let mut standing_by = tokio::time::interval_at(Instant::now() + STANDING_BY, STANDING_BY);
    loop {
        let elected = tokio::select! {
            biased;
            result = &mut terminated => Err(result),
            term = leadership.elected() => Ok(term),
            // Whoever could take over at any time is ready.
            _ = standing_by.tick() => {
                controller.stand_by();
                continue;
            }
        };
        let ended = match elected {
            Ok(term) => {
                let mut lost = leadership.term.clone();
                let lost = Leadership::lost(&mut lost, term);
                let watches = Watches {
                    namespace: namespace.clone(),
                    // A node's own address is given to nobody who does not ask for it.
                    kinds: [&KINDS[..], &[Kind::Node, Kind::SpeakerReport]].concat(),
                    with_external_pools: vec![Kind::ServiceL2Status],
                };
                lead(&mut controller, watches, webhooks.clone(), terminated.as_mut(), lost).await?
            }
            Err(result) => Some(result),
        };
        if let Some(result) = ended {
            // Events first: without the Lease none may be written.
            controller.events.flush().await;
            leadership.resign().await;
            return result.context("cannot wait for signals");
        }
    }
}

/// Who this is among the controllers of the cluster: the Pod's name, and a number for a Pod whose name comes again.
fn identity(pod_name: Option<&str>) -> String {
    let number = RandomState::new().hash_one(std::process::id());
    format!("{}_{number:016x}", pod_name.unwrap_or("controller"))
}

/// One term as the leader, from a fresh list to its end; what ended it if that was a signal.
async fn lead(
    controller: &mut Controller,
    watches: Watches,
    mut can_answer: watch::Receiver<bool>,
    mut terminated: Pin<&mut impl Future<Output = std::io::Result<()>>>,
    lost: impl Future<Output = ()>,
) -> anyhow::Result<Option<std::io::Result<()>>> {
    tokio::pin!(lost);
    let mut reports = controller.begin_term();
    let mut updates = watch_all(&controller.client, watches);
    let mut batch = Vec::with_capacity(512);
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut minute, mut told) = (0, false);
    loop {
        // Reports first: a write that was seen must count before anything is decided again.
        tokio::select! {
            biased;
            result = &mut terminated => return Ok(Some(result)),
            () = &mut lost => {
                controller.end_term();
                return Ok(None);
            }
            Some(report) = reports.recv() => {
                controller.handle_report(report);
                while let Ok(report) = reports.try_recv() {
                    controller.handle_report(report);
                }
            }
            _ = minutes.tick() => {
                controller.remind(minute);
                minute = (minute + 1) % MINUTES;
            }
            _ = can_answer.wait_for(|can| *can), if !told => told = true,
            lives = controller.external.changed() => controller.take_antrea(lives),
            received = updates.recv_many(&mut batch, 512) => {
                if received == 0 {
                    anyhow::bail!("all watches ended");
                }
                for update in batch.drain(..) {
                    controller.handle_update(update);
                }
            }
        }
        controller.decide();
    }
}

struct Controller {
    client: Client,
    /// Open while this process may write.
    fence: Fence,
    class: Option<String>,
    snapshot: Snapshot,
    allocator: Allocator,
    journal: Journal,
    services: Option<ServiceSink>,
    events: EventSink,
    pools: PoolSink,
    readiness: Readiness,
    /// Whether the webhooks can answer.
    webhooks: Option<watch::Receiver<bool>>,
    metrics: AllocatorMetrics,
    client_metrics: ClientMetrics,
    configuration: ConfigurationStateSink,
    /// Spreads the reminders over the hour.
    reminders: RandomState,
    synced: bool,
    external: ExternalWorld,
}

impl Controller {
    fn new(
        client: &Client,
        namespace: &str,
        args: &Args,
        registry: &Registry,
        readiness: Readiness,
        configuration: ConfigurationStateSink,
    ) -> anyhow::Result<Self> {
        let fence = Fence::closed();
        Ok(Self {
            client: client.clone(),
            class: args.common.class().map(str::to_owned),
            snapshot: Snapshot::new(ConfigScope::Controller, false),
            allocator: Allocator::with_conditions(args.common.class()),
            journal: Journal::default(),
            services: None,
            events: EventSink::start(client.clone(), "metallb-controller", None, fence.clone()),
            pools: PoolSink::start(client, namespace, &fence),
            fence,
            readiness,
            webhooks: None,
            metrics: AllocatorMetrics::register(registry)?,
            client_metrics: ClientMetrics::register(registry)?,
            configuration,
            reminders: RandomState::new(),
            synced: false,
            external: ExternalWorld::start(client.clone(), namespace.to_owned()),
        })
    }

    /// Ready is who has listed everything, or stands by, and whose webhooks can answer.
    fn tell_readiness(&self) {
        let can_answer = self.webhooks.as_ref().is_none_or(|can| *can.borrow());
        self.readiness.set(self.synced && can_answer);
    }

    /// Another controller decides, and says what there is to say.
    fn end_term(&mut self) {
        self.services = None;
        self.pools.pause();
        self.configuration.pause();
        self.metrics.update(&Config::default(), &Allocations::default(), &BTreeMap::new());
    }

    /// Whoever could take over at any time is ready, and nothing is wrong with its configuration.
    fn stand_by(&mut self) {
        self.synced = true;
        self.tell_readiness();
        self.client_metrics.set_config(0);
    }

    /// Forgets everything: another controller may have decided meanwhile.
    fn begin_term(&mut self) -> mpsc::UnboundedReceiver<ServiceReport> {
        let (sink, reports) = ServiceSink::start(self.client.clone(), self.fence.clone());
        self.services = Some(sink);
        self.snapshot = Snapshot::new(ConfigScope::Controller, false);
        self.allocator = Allocator::with_conditions(self.class.as_deref());
        self.journal = Journal::default();
        self.synced = false;
        self.external.begin_term();
        self.allocator.set_external(self.external.is_served());
        reports
    }

    fn handle_update(&mut self, update: Update) {
        self.journal.note(&update);
        self.external.note(&update);
        self.client_metrics.updates.inc();
        self.snapshot.handle(update);
    }

    /// Whether an Antrea lives that has the word in its world.
    fn take_antrea(&mut self, lives: bool) {
        self.external.take_antrea(lives);
        self.allocator.set_external(!lives);
        self.snapshot.touch_all();
    }

    fn handle_report(&mut self, report: ServiceReport) {
        match report {
            ServiceReport::Written(key, object) => {
                self.snapshot.apply(Object::Service(object));
                self.allocator.observed(&key);
            }
            ServiceReport::Gone(key) => self.allocator.observed(&key),
            ServiceReport::Failed(service, error) => {
                self.client_metrics.update_errors.inc();
                tracing::error!(event = "updateFailed", %service, %error,
                    "failed to write a Service's status; it is tried again");
            }
        }
    }

    fn decide(&mut self) {
        if !self.synced {
            if !KINDS.iter().all(|kind| self.snapshot.is_synced(*kind)) {
                return;
            }
            if !self.external.is_settled(&self.snapshot) {
                return;
            }
            self.synced = true;
            self.sweep();
        }
        self.tell_readiness();
        let dirty = self.snapshot.take_dirty();
        // Also when nothing else changes: an invalid object that keeps its last valid version makes nothing dirty.
        self.journal.note_rejections(self.snapshot.rejections());
        self.journal.note_special(self.snapshot.config());
        let rejections = self.snapshot.rejections().iter();
        let errors: Vec<String> = rejections.map(|rejection| rejection.message.clone()).collect();
        self.client_metrics.set_config(errors.len());
        self.configuration.publish(errors);
        self.external.tell_overlaps(&self.snapshot, &self.events);
        if dirty.is_empty() {
            return;
        }
        if let Some(sink) = &self.services {
            // Gone from the list of LoadBalancers: deleted, or another type now and to be cleared.
            for key in &dirty.services {
                if self.snapshot.service(key).is_none()
                    && self.allocator.allocations().of(key).is_some()
                {
                    sink.verify(key.clone(), POOL_ANNOTATION);
                }
            }
        }
        rounds::note_start(&dirty);
        let outputs = self.allocator.reconcile(&self.snapshot, &dirty);
        if tracing::enabled!(tracing::Level::DEBUG) {
            log::note_unchanged(&dirty, &outputs);
        }
        for output in outputs {
            self.carry_out(output);
        }
        self.copy_words(&dirty);
        rounds::note_end(&dirty);
        let config = self.snapshot.config();
        let allocations = self.allocator.allocations();
        self.metrics.update(config, allocations, self.allocator.pending());
        let with_status = config.pools.values().filter(|pool| !pool.is_address_pool());
        let counters = with_status.map(|pool| {
            let status = PoolStatus::new(pool, allocations.usage(&pool.id()));
            let counters = PoolCounters::Metallb {
                assigned_v4: status.assigned_v4,
                assigned_v6: status.assigned_v6,
                available_v4: status.available_v4,
                available_v6: status.available_v6,
            };
            (pool.id(), counters)
        });
        let external = config.external_pools.values().filter(|_| self.external.is_served());
        let usages = external.map(|pool| {
            let status = PoolStatus::new(pool, allocations.usage(&pool.id()));
            let used = status.assigned_v4.saturating_add(status.assigned_v6);
            (pool.id(), PoolCounters::Antrea { total: status.capacity(), used })
        });
        self.pools.publish(&counters.chain(usages).collect());
    }

    /// Copies the speakers' words on Services into their condition.
    fn copy_words(&self, dirty: &Dirty) {
        let Some(sink) = &self.services else { return };
        let copy = |service: &ObjectKey| {
            let served = self.snapshot.service(service);
            if served.is_some_and(|served| served.is_served(self.class.as_deref()))
                && let Some(word) = self.snapshot.unwritten_word(service)
            {
                sink.announce(service.clone(), word.clone());
            }
        };
        if dirty.all {
            self.snapshot.services().keys().for_each(copy);
        } else {
            dirty.services.iter().for_each(copy);
        }
    }

    fn carry_out(&self, output: Output) {
        log::note(&output, self.allocator.allocations());
        match output {
            Output::Write(write) => {
                if let Some(sink) = &self.services {
                    let status = ServiceStatus {
                        addresses: write.addresses,
                        hostname: write.hostname,
                        annotation: POOL_ANNOTATION,
                        pool: write.pool,
                        condition: write.condition,
                    };
                    sink.write(write.service, status);
                }
            }
            Output::Tell { service, uid, notice } => {
                self.events.publish(ObjectEvent {
                    regarding: Regarding::service(service, uid),
                    warning: notice.warning,
                    reason: notice.reason,
                    message: notice.message,
                });
            }
            Output::Cleared { .. } => {}
        }
    }

    /// Tells again why Services have no address, or not all that they ask for, each in a minute of its own of every hour: events
    /// expire.
    fn remind(&self, minute: u64) {
        let due = |service: &ObjectKey| self.reminders.hash_one(service) % MINUTES == minute;
        let pending = self.allocator.pending().iter();
        let pending = pending.filter(|(service, _)| due(service));
        let pending =
            pending.filter_map(|(service, reason)| Some((service, reason.notice(service)?)));
        let refused = self.allocator.refused().iter().filter(|(service, _)| due(service));
        let refused = refused.map(|(service, notice)| (service, notice.clone()));
        for (service, notice) in pending.chain(refused) {
            let Some(known) = self.snapshot.service(service) else { continue };
            self.events.publish(ObjectEvent {
                regarding: Regarding::service(service.clone(), known.uid.clone()),
                warning: notice.warning,
                reason: notice.reason,
                message: notice.message,
            });
        }
    }

    /// After a start: Services that were turned into another type while nobody watched.
    fn sweep(&self) {
        let Some(sink) = self.services.clone() else { return };
        let client = self.client.clone();
        let listed: BTreeSet<_> = self.snapshot.services().keys().cloned().collect();
        tokio::spawn(async move {
            match list_formerly_allocated(&client, POOL_ANNOTATION).await {
                Ok(found) => {
                    for key in found.into_iter().filter(|key| !listed.contains(key)) {
                        sink.verify(key, POOL_ANNOTATION);
                    }
                }
                Err(error) => tracing::warn!(%error,
                    "could not look for Services that are no longer of type LoadBalancer"),
            }
        });
    }
}
