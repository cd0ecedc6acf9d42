// SPDX-License-Identifier: Apache-2.0
//! Starts all parts of the speaker's loop: the core with its drivers, and the receivers of its notices.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use cluster::net::access::may_get;
use cluster::net::fence::Fence;
use cluster::net::pod::{Owner, Search};
use cluster::net::sink::kubernetes::{Component, ConfigurationStateSink, EventSink};
use cluster::net::source::{Journal, Update};
use cluster::{ConfigScope, Snapshot};
use daemon::access::Access;
use daemon::endpoints::Readiness;
use daemon::metrics::ClientMetrics;
use kube::Client;
use members::quorum::Fencing;
use ownership::{Listed, Modes};
use prometheus::Registry;
use tokio::sync::{mpsc, watch};

use super::agent::{AgentDriver, AgentSignals, MembershipOptions};
use super::args::{Args, MembershipFlags};
use super::bgp::{BgpCollector, BgpDriver, BgpOptions, Signals, Style};
use super::clock_reading::clock_reading;
use super::conflict::ConflictReporter;
use super::connections::{self, KeptConnections};
use super::discovery::{Wanted, discover};
use super::driver::Driver;
use super::exclusion::{EXCLUSION_FILE, read_exclusion};
use super::host_routes::{HostRoutes, RouteAction};
use super::kernel_tables::KernelNotice;
use super::keys::{KeyError, Keys, follow};
use super::last_owned::LastOwned;
use super::report::ReportSink;
use super::service_status::{StatusKind, StatusSink};
use super::session_events::SessionEvents;
use super::session_state::SessionStateSink;
use super::shell::{Shell, tell_conflict};
use super::{extras, frr_configuration};
use crate::core::Core;
use crate::metrics::{MembershipMetrics, SpeakerMetrics};
use crate::options::{BgpMode, Options};

/// The time between two looks at an empty key.
const KEY_INTERVAL: Duration = Duration::from_secs(2);

/// The node of this speaker, and its access to the API.
pub(super) struct Identity {
    pub(super) node: String,
    pub(super) namespace: String,
    pub(super) client: Client,
}

/// The sources of the core's inputs.
pub(super) struct Sources {
    collector: BgpCollector,
    pub(super) agent_signals: Option<AgentSignals>,
    pub(super) bgp_signals: Signals,
    /// The events of the l2 engine.
    pub(super) noticed: mpsc::UnboundedReceiver<l2::Event>,
    /// What the kernel says of kept connections.
    pub(super) kept: Option<mpsc::UnboundedReceiver<KernelNotice>>,
    /// What is said of kept connections, with `--keep-connections`.
    connections: Option<watch::Receiver<KeptConnections>>,
    /// The places of other speakers by the API's list.
    pub(super) found: Option<mpsc::Receiver<Listed>>,
    /// The memberlist's keys, whenever they change.
    pub(super) keys: Option<mpsc::Receiver<Keys>>,
    key_problems: Vec<String>,
    /// True if a list of the speakers' pods would decide which nodes count.
    pub(super) hurry: watch::Sender<bool>,
}

/// Starts the memberlist, if there is one, the l2 engine and BGP.
///
/// # Errors
/// A port or a socket cannot be had, or the exclusions cannot be read.
pub(super) fn start_driver(
    args: &Args,
    identity: &Identity,
    membership: Option<MembershipFlags>,
) -> anyhow::Result<(Driver, Sources)> {
    let Identity { node, namespace, client } = identity;
    let options = Options {
        node: node.as_str().into(),
        class: args.common.class().map(Into::into),
        ignore_exclude_label: args.ignore_exclude_lb,
        assume_endpoints: false,
        drain_on_cordon: args.drain_on_cordon,
        bgp_mode: BgpMode::of(args.common.bgp_type.as_deref()),
        fencing: args.fencing,
    };
    let (bgp, bgp_signals) = BgpDriver::start(BgpOptions {
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
        exclude: read_exclusion(std::path::Path::new(EXCLUSION_FILE))?,
        announce_interval: args.announce_interval,
        seed: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), node),
    };
    let (hurry, hurried) = watch::channel(false);
    let (mut keys, mut key_problems) = (None, Vec::new());
    let (agent, agent_signals, core, found) = match membership {
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
    let (mut driver, noticed) = Driver::start(core, agent, bgp, l2_options)?;
    let (kept, connections) = match (args.keep_connections, &agent_signals) {
        (false, _) => (None, None),
        (true, None) => (None, Some(keep_nothing("there is no memberlist".to_owned()))),
        (true, Some(_)) => keep_connections(&mut driver, args.linger),
    };
    let sources = Sources {
        collector,
        agent_signals,
        bgp_signals,
        noticed,
        kept,
        connections,
        found,
        keys,
        key_problems,
        hurry,
    };
    Ok((driver, sources))
}

/// Keeps connections if that is possible here; the addresses are announced in any case.
fn keep_connections(
    driver: &mut Driver,
    linger: Duration,
) -> (Option<mpsc::UnboundedReceiver<KernelNotice>>, Option<watch::Receiver<KeptConnections>>) {
    match driver.keep_connections(linger) {
        Ok(kept) => (Some(kept), driver.connections()),
        Err(error) => (None, Some(keep_nothing(error.to_string()))),
    }
}

/// Says why connections are not kept.
fn keep_nothing(error: String) -> watch::Receiver<KeptConnections> {
    tracing::error!(
        event = "keepConnectionsOff",
        error,
        "--keep-connections has no effect on this node: connections break when an address moves"
    );
    // A receiver outlives its sender.
    watch::channel(KeptConnections::off(error)).1
}

/// The folder of the record of owned addresses. Only a speaker that asks its links may go by a record.
fn state_folder(args: &Args) -> Option<&std::path::Path> {
    let folder = args.state_path.as_deref()?;
    if args.fencing != Fencing::Link {
        tracing::info!(event = "stateUnused", "--state-path has no effect without --fencing=link");
        return None;
    }
    Some(folder)
}

/// Warns of settings that make the node answer for every address.
fn tell_strict_arp() {
    if let Some(problem) = l2::strict_arp_problem() {
        tracing::warn!(
            event = "strictARP",
            arp_ignore = problem.arp_ignore,
            arp_announce = problem.arp_announce,
            "kube-ipvs0 is there and strictARP is off: this node answers ARP for every address of every Service; set ipvs.strictARP in kube-proxy's configuration"
        );
    }
}

/// Starts the metrics and all tasks that write to the API. EndpointSlices that the shell asks the API for come out of the receiver.
///
/// # Errors
/// The metrics' port cannot be had, or the routes that discard.
pub(super) async fn start_shell(
    args: &Args,
    identity: Identity,
    mut driver: Driver,
    sources: &Sources,
    readiness: Readiness,
) -> anyhow::Result<(Shell, mpsc::Receiver<Vec<Update>>)> {
    let Identity { node, namespace, client } = identity;
    tell_strict_arp();
    let discard = if args.discard_aggregates {
        let routes = HostRoutes::start(RouteAction::Discard, &format!("speaker {namespace}")).await;
        Some(routes.context("--discard-aggregates needs the capability NET_ADMIN")?)
    } else {
        None
    };
    let registry = Registry::new();
    let metrics = Arc::new(Mutex::new(SpeakerMetrics::register(&registry, &node)?));
    if sources.agent_signals.is_some() {
        driver.measure_by(MembershipMetrics::register(&registry)?);
    }
    let client_metrics = ClientMetrics::register(&registry)?;
    registry.register(Box::new(sources.collector.clone()))?;
    let series = driver.series(Arc::clone(&metrics));
    let asked = client.clone();
    let access = Access::new(move |token| may_get(asked.clone(), token, "/metrics"));
    daemon::metrics_server::start(&args.common, registry, series, access)?;
    let owner = Owner::find(client.clone(), namespace.clone(), search_for_own_pod(args, &node));
    if let Some(kept) = sources.connections.clone() {
        connections::report(client.clone(), namespace.clone(), node.clone(), owner.clone(), kept);
    }
    let keeps = sources.connections.is_some();
    let statuses = |kind| {
        StatusSink::start(kind, client.clone(), namespace.clone(), node.clone(), owner.clone())
    };
    let session_namespace = args.frrk8s_namespace(&namespace);
    // Each speaker tells what its own node does.
    let host = Some(node.clone());
    let events = EventSink::start(client.clone(), "metallb-speaker", host, Fence::open());
    let told = events.clone();
    let (asked, answers) = mpsc::channel(64);
    let follows_frr = args.common.bgp_type.as_deref() == Some("frr-k8s");
    let component = Component::speaker(&node);
    let shell = Shell {
        session_events: SessionEvents::start(client.clone(), namespace.clone(), events.clone()),
        events,
        conflicts: ConflictReporter::start(move |report| tell_conflict(&told, report)),
        l2_statuses: statuses(StatusKind::Layer2),
        bgp_statuses: statuses(StatusKind::Bgp),
        session_states: SessionStateSink::start(
            client.clone(),
            session_namespace.clone(),
            node.clone(),
            owner.clone(),
        ),
        discard,
        routes_changed: false,
        snapshot: Snapshot::new(ConfigScope::Speaker(node.as_str().into()), false),
        journal: Journal::default(),
        synced: false,
        layer2_synced: false,
        driver,
        metrics,
        client_metrics,
        readiness,
        asked,
        reports: ReportSink::start(
            client.clone(),
            namespace.clone(),
            node.clone(),
            owner.clone(),
            keeps,
        ),
        extras: extras::follow(client.clone(), &namespace),
        key_problems: sources.key_problems.clone(),
        sessions_after: follows_frr
            .then(|| frr_configuration::retire(client.clone(), &session_namespace, &node)),
        configuration: ConfigurationStateSink::start(client.clone(), namespace, component, owner),
        last_owned: state_folder(args).map(LastOwned::start),
        recorded: 0,
        record_due: None,
        client,
        node,
    };
    Ok((shell, answers))
}

/// The ring's options from the flags. An empty key is waited for, as the key's file may be empty while a Secret is being made; the log and
/// ConfigurationState tell of it. None if this program is to end before there is a key.
pub(super) async fn membership(
    args: &Args,
    identity: &Identity,
) -> anyhow::Result<Option<Option<MembershipFlags>>> {
    let Identity { node, namespace, client } = identity;
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
        membership = when_filled(KEY_INTERVAL, || args.membership(), tell) => membership.map(Some),
        result = daemon::signals::terminated() => result.map(|()| None).context("cannot wait for signals"),
    }
}

/// The result of `read`, called again while its error is an empty key, which is told once.
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

/// The search for this speaker's own Pod, for owner references.
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
