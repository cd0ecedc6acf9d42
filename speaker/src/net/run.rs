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
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use cluster::net::access::may_get;
use cluster::net::client::connect_by;
use cluster::net::pod::{Owner, Search};
use cluster::net::sink::kubernetes::{Component, ConfigurationStateSink, EventSink};
use cluster::net::source::Journal;
use cluster::net::source::kubernetes::{Watches, watch_all};
use cluster::{ConfigScope, Snapshot};
use daemon::access::Access;
use daemon::endpoints::{Readiness, serve_health};
use daemon::metrics::ClientMetrics;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::agent::{AgentDriver, AgentSignals, MembershipOptions};
use super::args::{Args, MembershipFlags};
use super::bgp::{BgpDriver, BgpOptions, Style};
use super::clock::{clock_reading, until};
use super::conflict::ConflictReporter;
use super::discovery::{Wanted, discover};
use super::driver::Driver;
use super::exclusion::{EXCLUSION_FILE, read_exclusion};
use super::host_routes::{HostRoutes, RouteAction};
use super::keys::{KeyError, follow};
use super::needed::{has_read, kinds};
use super::report::ReportSink;
use super::service_status::{StatusKind, StatusSink, Writer};
use super::session_events::SessionEvents;
use super::session_state::SessionStateSink;
use super::shell::{Shell, tell_conflict};
use super::{extras, frr_configuration};
use crate::core::Core;
use crate::metrics::{MembershipMetrics, SpeakerMetrics};
use crate::options::{BgpMode, Options};
use ownership::Modes;

/// How long joining the ring waits for the cluster's objects. From then on MetalLB's speakers give way to this one, whether it answers or
/// not; a start waits two seconds for the ring.
const UNREAD: Duration = Duration::from_secs(1);
/// How often an empty key is looked at again.
const KEY: Duration = Duration::from_secs(2);

/// Runs until a signal ends it.
///
/// # Errors
/// When the API's address, an endpoint, a socket or a signal handler cannot be had.
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
    let exclude = read_exclusion(Path::new(EXCLUSION_FILE))?;
    let client = connect_by(args.common.kubeconfig()).await?;
    let readiness = Readiness::default();
    let port = args.common.health_probe_port;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.with_context(|| format!("cannot serve health on port {port}"))?;
    serve_health(listener, readiness.clone());

    let Some(membership) = membership(&args, &client, &namespace, &node).await? else {
        return Ok(());
    };
    let mut keys = None;
    let mut key_problems = Vec::new();
    let options = Options {
        node: node.as_str().into(),
        class: args.common.class().map(Into::into),
        ignore_exclude_label: args.ignore_exclude_lb,
        assume_endpoints: false,
        drain_on_cordon: args.drain_on_cordon,
        bgp_mode: BgpMode::of(args.common.bgp_type.as_deref()),
    };
    let (bgp, mut signals) = BgpDriver::start(BgpOptions {
        speaker: options.clone(),
        drain_time: args.drain_time,
        drain_on_cordon: args.drain_on_cordon,
        style: Style::of(args.common.bgp_type.as_deref()),
    });
    let permit = match membership {
        Some(_) => l2::Permit::none(),
        None => l2::Permit::unlimited(),
    };
    let l2_options = l2::Options {
        permit: permit.clone(),
        exclude,
        announce_interval: args.announce_interval,
        seed: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &node),
    };
    let (hurry, hurried) = tokio::sync::watch::channel(false);
    let (agent, mut agent_signals, core, mut found) = match membership {
        Some(flags) => {
            if let (Some(read), Some(folder)) = (&flags.keys, &args.ml_secret_key_path) {
                keys = Some(follow(folder.clone(), read));
                key_problems.clone_from(&read.problems);
            }
            let wanted = Wanted {
                namespace: namespace.clone(),
                labels: flags.labels,
                own: args.common.pod_name.clone().filter(|name| !name.is_empty()),
                node: node.clone(),
                port: flags.bind.port(),
            };
            let membership = MembershipOptions {
                bind: flags.bind,
                advertise: None,
                key: flags.keys.map(|keys| keys.ring),
                settings: flags.settings,
                fencing: args.fencing,
                fence_two: args.fence_two,
                modes: Modes { sticky: args.sticky, spread: args.spread },
                alone: false,
                permit,
            };
            let (agent, signals, core) = AgentDriver::start(membership, options)?;
            (agent, Some(signals), core, Some(discover(client.clone(), wanted, hurried)))
        }
        None => (AgentDriver::disabled(), None, Core::disabled(options, clock_reading()), None),
    };
    let collector = bgp.collector();
    let (mut driver, mut noticed) = Driver::start(core, agent, bgp, l2_options)?;
    if let Some(problem) = l2::strict_arp_problem() {
        tracing::warn!(
            event = "strictARP",
            arp_ignore = problem.arp_ignore,
            arp_announce = problem.arp_announce,
            "kube-ipvs0 is there and strictARP is off: this node answers ARP for every address of every Service; set ipvs.strictARP in kube-proxy's configuration"
        );
    }
    let discard = if args.discard_aggregates {
        let routes = HostRoutes::start(RouteAction::Discard, &format!("speaker {namespace}")).await;
        Some(routes.context("--discard-aggregates needs the capability NET_ADMIN")?)
    } else {
        None
    };
    let registry = Registry::new();
    let metrics = Arc::new(Mutex::new(SpeakerMetrics::register(&registry, &node)?));
    if agent_signals.is_some() {
        driver.measure_by(MembershipMetrics::register(&registry)?);
    }
    let client_metrics = ClientMetrics::register(&registry)?;
    registry.register(Box::new(collector))?;
    let series = driver.series(Arc::clone(&metrics));
    let asked = client.clone();
    let access = Access::new(move |token| may_get(asked.clone(), token, "/metrics"));
    daemon::metrics_server::start(&args.common, registry, series, access)?;
    let owner = Owner::find(client.clone(), namespace.clone(), search_for_own_pod(&args, &node));
    let writer = |kind| Writer {
        kind,
        client: client.clone(),
        namespace: namespace.clone(),
        node: node.clone(),
        told_off: std::sync::atomic::AtomicBool::new(false),
        owner: owner.clone(),
        pod: None,
    };
    let session_states = SessionStateSink::start(
        client.clone(),
        args.frrk8s_namespace(&namespace),
        node.clone(),
        owner.clone(),
    );
    let events = EventSink::start(client.clone(), "metallb-speaker", Some(node.clone()));
    let session_events = SessionEvents::start(client.clone(), namespace.clone(), events.clone());
    let (asked, mut answers) = mpsc::channel(64);
    let component = Component::speaker(&node);
    let sessions_after = (args.common.bgp_type.as_deref() == Some("frr-k8s")).then(|| {
        frr_configuration::retire(client.clone(), &args.frrk8s_namespace(&namespace), &node)
    });
    let told = events.clone();
    let conflicts = ConflictReporter::start(move |report| tell_conflict(&told, report));
    let reports = ReportSink::start(client.clone(), namespace.clone(), node.clone(), owner.clone());
    let mut shell = Shell {
        events,
        conflicts,
        l2_statuses: StatusSink::start(writer(StatusKind::Layer2)),
        bgp_statuses: StatusSink::start(writer(StatusKind::Bgp)),
        session_states,
        discard,
        routes_changed: false,
        session_events,
        snapshot: Snapshot::new(ConfigScope::Speaker(node.as_str().into()), false),
        journal: Journal::default(),
        synced: false,
        layer2_synced: false,
        client: client.clone(),
        node,
        driver,
        metrics,
        client_metrics,
        readiness,
        asked,
        configuration: ConfigurationStateSink::start(
            client.clone(),
            namespace.clone(),
            component,
            owner,
        ),
        reports,
        extras: extras::follow(client.clone(), &namespace),
        key_problems,
        sessions_after,
    };
    let watches = Watches { namespace, kinds: kinds(), with_external_pools: Vec::new() };
    let mut updates = watch_all(&client, watches);
    let mut batch = Vec::with_capacity(512);
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut minute: u64 = 0;
    let terminated = daemon::signals::terminated();
    tokio::pin!(terminated);
    let unread = tokio::time::sleep(UNREAD);
    tokio::pin!(unread);
    loop {
        // The engine's events first: a link that is gone matters more than the next Service.
        tokio::select! {
            biased;
            result = &mut terminated => {
                shell.hand_over(&mut agent_signals, &mut noticed).await;
                shell.driver.stop().await;
                if let Some(routes) = &shell.discard
                    && let Err(error) = routes.sweep().await
                {
                    tracing::warn!(%error, "routes that discard are left behind until the next start");
                }
                shell.events.flush().await;
                return result.context("cannot wait for signals");
            }
            signal = AgentSignals::next(&mut agent_signals) => shell.driver.handle_agent(signal),
            () = &mut unread, if !unread.is_elapsed() => {}
            Some(found) = next_found(&mut found), if has_read(&shell.snapshot) || unread.is_elapsed() => {
                shell.driver.find(&found);
            },
            Some(keys) = next_found(&mut keys) => shell.set_keys(&keys),
            () = until(shell.driver.deadline()) => shell.driver.expire(&shell.snapshot),
            signal = signals.next(shell.driver.bgp().deadline()) => shell.handle_signal(signal),
            Some(event) = noticed.recv() => shell.handle_layer2(&event),
            Some(slices) = answers.recv() => shell.handle_answer(slices),
            _ = minutes.tick() => {
                shell.remind(minute);
                minute += 1;
            }
            () = answered(&mut shell.sessions_after) => shell.open_sessions(),
            Ok(()) = shell.extras.changed() => {}
            received = updates.recv_many(&mut batch, 512) => {
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
        let wanted = shell.driver.core().wants_list(clock_reading());
        hurry.send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
        shell.discard_aggregates().await;
    }
}

/// What the flags say of the ring. A key that is empty, as its file may be while a Secret is being made, is waited for: the log says so, and
/// ConfigurationState. None if this program is to end before there is one.
async fn membership(
    args: &Args,
    client: &kube::Client,
    namespace: &str,
    node: &str,
) -> anyhow::Result<Option<Option<MembershipFlags>>> {
    let mut told: Option<ConfigurationStateSink> = None;
    let tell = |error: &anyhow::Error| {
        tracing::error!(event = "memberlistKey", %error,
            "this node announces nothing until there is a key");
        let search = search_for_own_pod(args, node);
        let owner = Owner::find(client.clone(), namespace.to_owned(), search);
        let (client, component) = (client.clone(), Component::speaker(node));
        let sink = ConfigurationStateSink::start(client, namespace.to_owned(), component, owner);
        sink.publish(vec![format!("{error}; this node announces nothing until there is one")]);
        told = Some(sink);
    };
    tokio::select! {
        membership = when_filled(KEY, || args.membership(), tell) => membership.map(Some),
        result = daemon::signals::terminated() => result.map(|()| None).context("cannot wait for signals"),
    }
}

/// What `read` gives as soon as its trouble is not that the key is empty; that is told once.
async fn when_filled<T>(
    pause: Duration,
    mut read: impl FnMut() -> anyhow::Result<T>,
    tell: impl FnOnce(&anyhow::Error),
) -> anyhow::Result<T> {
    let mut tell = Some(tell);
    loop {
        match read() {
            Err(error) if matches!(error.downcast_ref(), Some(KeyError::Empty(_))) => {
                if let Some(tell) = tell.take() {
                    tell(&error);
                }
            }
            other => return other,
        }
        tokio::time::sleep(pause).await;
    }
}

async fn next_found<T>(found: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match found {
        Some(found) => found.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits until it is answered, or for ever if there is no question.
async fn answered(question: &mut Option<oneshot::Receiver<()>>) {
    match question {
        // Without an answer its task is gone, which is as good.
        Some(question) => drop(question.await),
        None => std::future::pending().await,
    }
}

/// By what the own Pod is found, for owner references.
fn search_for_own_pod(args: &Args, node: &str) -> Option<Search> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match filled(&args.common.pod_name) {
        Some(name) => Some(Search::Name(name)),
        None => Some(Search::Node { node: node.to_owned(), labels: filled(&args.ml_labels)? }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Keys;
    use super::*;

    #[tokio::test]
    async fn an_empty_key_is_waited_for_and_told_once_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secretkey");
        let pause = Duration::from_millis(1);
        let read = || Ok(Keys::read(folder.path())?);
        let missing = when_filled(pause, read, |error| panic!("waited for: {error}")).await;
        assert!(matches!(missing.unwrap_err().downcast_ref(), Some(KeyError::Unreadable { .. })));
        std::fs::write(&file, b"").unwrap();
        let (mut reads, mut told) = (0, Vec::new());
        let keys = when_filled(
            pause,
            || {
                reads += 1;
                if reads == 4 {
                    std::fs::write(&file, b"0123456789abcdef0123456789abcdef").unwrap();
                }
                read()
            },
            |error| told.push(error.to_string()),
        );
        assert_eq!(keys.await.unwrap().octets, 32);
        assert_eq!(reads, 4);
        assert!(matches!(&told[..], [one] if one.contains("secretkey is empty")), "{told:?}");
    }
}
