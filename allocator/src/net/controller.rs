// SPDX-License-Identifier: Apache-2.0
//! The controller's loop. One task decides; the sinks write.
//!
//! ```text
//! watches ── mpsc(512) ──> ┌──────────────────────────────┐ ──> ServiceSink (16 writes at once)
//!                          │ drain, take_dirty, reconcile │ ──> EventSink
//! ServiceSink's reports ──>└──────────────────────────────┘ ──> PoolSink
//! ```

mod state;

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use cluster::Kind;
use cluster::net::client::connect_by;
use cluster::net::pod::{Owner, Search};
use cluster::net::sink::kubernetes::{Component, ConfigurationStateSink};
use cluster::net::source::kubernetes::{Watches, watch_all};
use daemon::endpoints::{Readiness, serve_health};
use daemon::listen;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use super::args::Args;
use super::leader::{Leadership, Who};
use super::memberlist_secret::MemberlistSecret;
use super::metrics::serve_metrics;
use super::webhook;
use state::{Controller, KINDS, MINUTES};

/// The time between two moments at which a controller that stands by publishes its readiness.
const STANDING_BY: Duration = Duration::from_secs(1);

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
            // A controller that could take over at any time is ready.
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

/// The name of this controller among those of the cluster: the Pod's name, and a number for a Pod whose name comes again.
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
