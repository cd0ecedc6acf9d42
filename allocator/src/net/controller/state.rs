// SPDX-License-Identifier: Apache-2.0
//! The state of a controller, and the steps of its loop: updates and reports come in, and what the allocator decides
//! goes to the sinks.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};

use cluster::net::fence::Fence;
use cluster::net::rounds;
use cluster::net::sink::kubernetes::{
    ConfigurationStateSink, EventSink, ObjectEvent, PoolCounters, PoolSink, Regarding,
    ServiceReport, ServiceSink, ServiceStatus, list_formerly_allocated,
};
use cluster::net::source::{Journal, Update};
use cluster::{ConfigScope, Dirty, Kind, Object, ObjectKey, Snapshot};
use crds::config::{Config, ConfigKind};
use daemon::endpoints::Readiness;
use daemon::metrics::ClientMetrics;
use kube::Client;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};

use crate::metrics::AllocatorMetrics;
use crate::net::args::Args;
use crate::net::external::ExternalWorld;
use crate::net::log;
use crate::pool_status::PoolStatus;
use crate::{Allocations, Allocator, Output, POOL_ANNOTATION};

/// The kinds that the controller must have listed before it decides anything.
pub(super) const KINDS: [Kind; 6] = [
    Kind::Service,
    Kind::Namespace,
    Kind::Config(ConfigKind::IpAddressPool),
    Kind::Config(ConfigKind::AddressPool),
    Kind::Config(ConfigKind::Community),
    EXTERNAL_POOLS,
];

/// Where they cannot be had, Antrea's world is off.
const EXTERNAL_POOLS: Kind = Kind::Config(ConfigKind::ExternalIpPool);

/// The time between two events about a reason that lasts, in minutes.
pub(super) const MINUTES: u64 = 60;

/// See the module's head.
pub(super) struct Controller {
    pub(super) client: Client,
    /// Open while this process may write.
    pub(super) fence: Fence,
    class: Option<String>,
    snapshot: Snapshot,
    allocator: Allocator,
    journal: Journal,
    services: Option<ServiceSink>,
    pub(super) events: EventSink,
    pools: PoolSink,
    readiness: Readiness,
    /// True once the webhooks can answer.
    pub(super) webhooks: Option<watch::Receiver<bool>>,
    metrics: AllocatorMetrics,
    client_metrics: ClientMetrics,
    configuration: ConfigurationStateSink,
    /// Spreads the reminders over the hour.
    reminders: RandomState,
    synced: bool,
    pub(super) external: ExternalWorld,
}

impl Controller {
    pub(super) fn new(
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

    /// A controller is ready once it has listed everything or stands by, and its webhooks can answer.
    fn tell_readiness(&self) {
        let can_answer = self.webhooks.as_ref().is_none_or(|can| *can.borrow());
        self.readiness.set(self.synced && can_answer);
    }

    /// Another controller decides, and says what there is to say.
    pub(super) fn end_term(&mut self) {
        self.services = None;
        self.pools.pause();
        self.configuration.pause();
        self.metrics.update(&Config::default(), &Allocations::default(), &BTreeMap::new());
    }

    /// A controller that could take over at any time is ready, and nothing is wrong with its configuration.
    pub(super) fn stand_by(&mut self) {
        self.synced = true;
        self.tell_readiness();
        self.client_metrics.set_config(0);
    }

    /// Forgets everything: another controller may have decided meanwhile.
    pub(super) fn begin_term(&mut self) -> mpsc::UnboundedReceiver<ServiceReport> {
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

    pub(super) fn handle_update(&mut self, update: Update) {
        self.journal.note(&update);
        self.external.note(&update);
        self.client_metrics.count_update();
        self.snapshot.handle(update);
    }

    /// Leaves Antrea's world to an Antrea that lives, or serves it where none does.
    pub(super) fn take_antrea(&mut self, lives: bool) {
        self.external.take_antrea(lives);
        self.allocator.set_external(!lives);
        self.snapshot.touch_all();
    }

    pub(super) fn handle_report(&mut self, report: ServiceReport) {
        match report {
            ServiceReport::Written(key, object) => {
                self.snapshot.apply(Object::Service(object));
                self.allocator.observed(&key);
            }
            ServiceReport::Gone(key) => self.allocator.observed(&key),
            ServiceReport::Failed(service, error) => {
                self.client_metrics.count_update_error();
                tracing::error!(event = "updateFailed", %service, %error,
                    "failed to write a Service's status; it is tried again");
            }
        }
    }

    pub(super) fn decide(&mut self) {
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
                    warning: notice.kind.is_warning(),
                    reason: notice.kind.reason(),
                    message: notice.message,
                });
            }
            Output::Cleared { .. } => {}
        }
    }

    /// Tells again why Services have no address, or not all that they ask for, each in a minute of its own of every hour: events
    /// expire.
    pub(super) fn remind(&self, minute: u64) {
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
                warning: notice.kind.is_warning(),
                reason: notice.kind.reason(),
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
