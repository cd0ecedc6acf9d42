// SPDX-License-Identifier: Apache-2.0
//! The speaker's loop. One task decides; the l2 engine answers on a thread of its own, BFD runs on another.
//!
//! ```text
//! watches ── mpsc(512) ──> ┌──────────────────────────────┐ ── desired ──> l2 thread ──> frames
//! l2 events, BGP, BFD ───> │ drain, take_dirty, reconcile │ ──> EventSink, StatusSinks
//!                          │                              │ ── routes, peers ──> BGP sessions
//! slices asked for ──────> └──────────────────────────────┘
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use cluster::net::client::connect_by;
use cluster::net::source::kubernetes::{Watches, watch_all};
use daemon::endpoints::{Readiness, serve_health};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::agent::AgentSignals;
use super::args::Args;
use super::clock_reading::clock_reading;
use super::kernel_tables::next_kept;
use super::needed::{has_read, kinds};
use super::start::{Identity, Sources, membership, start_driver, start_shell};
use crate::owned_record::RECORD_WAIT;
use clock::until;

/// The time that joining the ring waits for the cluster's objects. From the join on MetalLB's speakers give way to this one, whether it
/// answers or not; a start waits two seconds for the ring.
const READ_WAIT: Duration = Duration::from_secs(1);
/// The number of updates that are taken in before the next decision, at most.
const BATCH_LIMIT: usize = 512;

/// Runs until a signal ends it.
///
/// # Errors
/// The API's address, an endpoint, a socket or a signal handler cannot be had.
pub async fn run(args: Args) -> anyhow::Result<()> {
    tracing::info!(
        event = "startUp",
        version = env!("CARGO_PKG_VERSION"),
        "MetalLB speaker starting"
    );
    args.say_what_is_missing();
    let node = args
        .node_name
        .clone()
        .filter(|node| !node.is_empty())
        .context("the node's name is not known: set --node-name or METALLB_NODE_NAME")?;
    let namespace = daemon::flags::namespace(args.common.namespace.clone())
        .context("the namespace is not known: set --namespace or METALLB_NAMESPACE")?;
    let client = connect_by(args.common.kubeconfig()).await?;
    let readiness = Readiness::default();
    let port = args.common.health_probe_port;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.with_context(|| format!("cannot serve health on port {port}"))?;
    serve_health(listener, readiness.clone());

    let identity = Identity { node, namespace, client };
    let Some(membership) = membership(&args, &identity).await? else { return Ok(()) };
    let (driver, mut sources) = start_driver(&args, &identity, membership)?;
    let (client, namespace) = (identity.client.clone(), identity.namespace.clone());
    let (mut shell, mut answers) =
        start_shell(&args, identity, driver, &sources, readiness).await?;
    let watches = Watches { namespace, kinds: kinds(), with_external_pools: Vec::new() };
    let mut updates = watch_all(&client, watches);
    let mut batch = Vec::with_capacity(BATCH_LIMIT);
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut minute: u64 = 0;
    let terminated = daemon::signals::terminated();
    tokio::pin!(terminated);
    let unread = tokio::time::sleep(READ_WAIT);
    tokio::pin!(unread);
    let unknown = tokio::time::sleep(RECORD_WAIT);
    tokio::pin!(unknown);
    loop {
        // The engine's events come first: a link that is gone matters more than the next Service.
        tokio::select! {
            biased;
            result = &mut terminated => {
                let Sources { agent_signals, noticed, kept, .. } = &mut sources;
                shell.end(agent_signals, noticed, kept).await;
                return result.context("cannot wait for signals");
            }
            event = AgentSignals::next(&mut sources.agent_signals) => shell.driver.handle_agent(event),
            () = &mut unread, if !unread.is_elapsed() => {}
            () = &mut unknown, if !unknown.is_elapsed() => shell.remember(),
            () = until(shell.record_due) => shell.write_owned(),
            Some(found) = next(&mut sources.found), if has_read(&shell.snapshot) || unread.is_elapsed() => {
                shell.driver.find(&found);
            },
            Some(keys) = next(&mut sources.keys) => shell.set_keys(&keys),
            () = until(shell.driver.deadline()) => shell.driver.expire(&shell.snapshot),
            signal = sources.bgp_signals.next(shell.driver.bgp().deadline()) => shell.handle_signal(signal),
            Some(event) = sources.noticed.recv() => shell.handle_layer2(&event),
            Some(notice) = next_kept(&mut sources.kept) => shell.driver.handle_kept(notice),
            Some(slices) = answers.recv() => shell.handle_answer(slices),
            _ = minutes.tick() => {
                shell.remind(minute);
                minute += 1;
            }
            () = answered(&mut shell.sessions_after) => shell.open_sessions(),
            Ok(()) = shell.extras.changed() => {}
            received = updates.recv_many(&mut batch, BATCH_LIMIT) => {
                if received == 0 {
                    anyhow::bail!("all watches ended");
                }
                for update in batch.drain(..) {
                    shell.handle_update(update);
                }
            }
        }
        shell.decide();
        shell.tell();
        shell.note_owned();
        let wanted = shell.driver.core().wants_list(clock_reading());
        sources.hurry.send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
        shell.discard_aggregates().await;
    }
}

/// The next value, or never without a receiver.
async fn next<T>(receiver: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the answer, or for ever if there is no question.
async fn answered(question: &mut Option<oneshot::Receiver<()>>) {
    match question {
        // A question without an answer has lost its task, which is as good.
        Some(question) => drop(question.await),
        None => std::future::pending().await,
    }
}
