// SPDX-License-Identifier: Apache-2.0
//! The controller's loop. One task decides; the sinks write.
//!
//! ```text
//! watches ── mpsc(512) ──> ┌──────────────────────────────┐ ──> ServiceSink (16 writes at once)
//!                          │ drain, take_dirty, reconcile │ ──> EventSink
//! ServiceSink's reports ──>└──────────────────────────────┘ ──> PoolSink
//! ```

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use cluster::net::access::may_get;
use cluster::net::client::connect;
use cluster::net::sink::kubernetes::{
    EventSink, ObjectEvent, PoolCounters, PoolSink, Regarding, ServiceReport, ServiceSink,
    ServiceStatus, list_formerly_allocated,
};
use cluster::net::source::kubernetes::{Watches, watch_all};
use cluster::net::source::{Journal, Update};
use cluster::{ConfigScope, Kind, Object, Snapshot};
use crds::config::ConfigKind;
use daemon::access::Access;
use daemon::endpoints::{Readiness, serve_health};
use daemon::metrics::ClientMetrics;
use kube::Client;
use prometheus::Registry;
use tokio::sync::watch;

use super::args::Args;
use super::webhook;
use crate::metrics::AllocatorMetrics;
use crate::pool_status::PoolStatus;
use crate::{Allocator, Output, POOL_ANNOTATION};

/// What the controller must have listed before it decides anything.
const KINDS: [Kind; 4] = [
    Kind::Service,
    Kind::Namespace,
    Kind::Config(ConfigKind::IpAddressPool),
    Kind::Config(ConfigKind::Community),
];

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
    let namespace = daemon::flags::namespace(args.common.namespace.clone())
        .context("the namespace is not known: set --namespace or METALLB_NAMESPACE")?;
    let client = connect().await?;
    let registry = Registry::new();
    let readiness = Readiness::default();
    let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    serve_health(everywhere(args.common.health_probe_port), readiness.clone()).await.with_context(
        || format!("cannot serve health on port {}", args.common.health_probe_port),
    )?;
    let webhooks = webhook::start(&client, &namespace, &args).await?;
    if args.webhook_mode == "onlywebhook" {
        return webhook::alone(&client, &args, registry, webhooks, readiness).await;
    }
    let mut controller = Controller::new(&client, &namespace, &args, &registry, readiness)?;
    controller.webhooks = Some(webhooks.clone());
    serve_metrics(&client, &args, registry).await?;
    let (sink, mut reports) = ServiceSink::start(client.clone());
    controller.services = Some(sink);
    let mut updates =
        watch_all(&client, Watches { namespace: namespace.clone(), kinds: KINDS.to_vec() });
    let mut batch = Vec::with_capacity(512);
    let terminated = daemon::signals::terminated();
    tokio::pin!(terminated);
    let (mut can_answer, mut told) = (webhooks, false);
    loop {
        // Reports first: a write that was seen must count before anything is decided again.
        tokio::select! {
            biased;
            result = &mut terminated => {
                controller.events.flush().await;
                return result.context("cannot wait for signals");
            }
            Some(report) = reports.recv() => {
                controller.handle_report(report);
                while let Ok(report) = reports.try_recv() {
                    controller.handle_report(report);
                }
            }
            _ = can_answer.wait_for(|can| *can), if !told => told = true,
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

/// Serves the metrics to whoever the API says may read them.
pub(super) async fn serve_metrics(
    client: &Client,
    args: &Args,
    registry: Registry,
) -> anyhow::Result<()> {
    let client = client.clone();
    let access = Access::new(move |token| may_get(client.clone(), token, "/metrics"));
    daemon::metrics_server::start(&args.common, registry, || (), access).await
}

struct Controller {
    client: Client,
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
    synced: bool,
}

impl Controller {
    fn new(
        client: &Client,
        namespace: &str,
        args: &Args,
        registry: &Registry,
        readiness: Readiness,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client: client.clone(),
            snapshot: Snapshot::new(ConfigScope::Controller, false),
            allocator: Allocator::new(args.common.class()),
            journal: Journal::default(),
            services: None,
            events: EventSink::start(client.clone(), "metallb-controller", None),
            pools: PoolSink::start(client.clone(), namespace.to_owned()),
            readiness,
            webhooks: None,
            metrics: AllocatorMetrics::register(registry)?,
            client_metrics: ClientMetrics::register(registry)?,
            synced: false,
        })
    }

    fn handle_update(&mut self, update: Update) {
        self.journal.note(&update);
        self.client_metrics.updates.inc();
        self.snapshot.handle(update);
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
            self.synced = true;
            self.sweep();
        }
        self.readiness.set(self.webhooks.as_ref().is_none_or(|can| *can.borrow()));
        let dirty = self.snapshot.take_dirty();
        // Also when nothing else changes: an invalid object that keeps its last valid version makes nothing dirty.
        self.journal.note_rejections(self.snapshot.rejections());
        self.client_metrics.set_config(self.snapshot.rejections().len());
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
        for output in self.allocator.reconcile(&self.snapshot, &dirty) {
            self.carry_out(output);
        }
        let config = self.snapshot.config();
        let allocations = self.allocator.allocations();
        self.metrics.update(config, allocations, self.allocator.pending().len());
        let counters = config.pools.iter().map(|(name, pool)| {
            let status = PoolStatus::new(pool, allocations.usage(name));
            let counters = PoolCounters {
                assigned_v4: status.assigned_v4,
                assigned_v6: status.assigned_v6,
                available_v4: status.available_v4,
                available_v6: status.available_v6,
            };
            (name.clone(), counters)
        });
        self.pools.publish(counters.collect());
    }

    fn carry_out(&self, output: Output) {
        match output {
            Output::Write(write) => {
                tracing::info!(event = "serviceUpdated", service = %write.service,
                    ips = ?write.addresses, pool = write.pool.as_deref().unwrap_or_default(),
                    "updated service object");
                if let Some(sink) = &self.services {
                    let status = ServiceStatus {
                        addresses: write.addresses,
                        annotation: POOL_ANNOTATION,
                        pool: write.pool,
                    };
                    sink.write(write.service, status);
                }
            }
            Output::Tell { service, uid, notice } => {
                let event = notice.event();
                if notice.warning {
                    tracing::error!(event, %service, reason = notice.reason, "{}", notice.message);
                } else {
                    tracing::info!(event, %service, reason = notice.reason, "{}", notice.message);
                }
                self.events.publish(ObjectEvent {
                    regarding: Regarding::service(service, uid),
                    warning: notice.warning,
                    reason: notice.reason,
                    message: notice.message,
                });
            }
        }
    }

    /// After a start: Services that were turned into another type while nobody watched.
    fn sweep(&self) {
        let Some(sink) = self.services.clone() else { return };
        let client = self.client.clone();
        let listed: std::collections::BTreeSet<_> =
            self.snapshot.services().keys().cloned().collect();
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
