// SPDX-License-Identifier: Apache-2.0
//! The speaker's loop. One task decides; the l2 engine answers on a thread of its own, BFD runs on another.
//!
//! ```text
//! watches ── mpsc(512) ──> ┌──────────────────────────────┐ ── desired ──> l2 thread ──> frames
//! l2 events, BGP, BFD ───> │ drain, take_dirty, reconcile │ ──> EventSink, StatusSinks
//!                          │                              │ ── routes, peers ──> BGP sessions
//! slices asked for ──────> └──────────────────────────────┘
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use cluster::net::client::connect;
use cluster::net::sink::kubernetes::{EventSink, ObjectEvent, Regarding};
use cluster::net::source::kubernetes::{Watches, slices_of, watch_all};
use cluster::net::source::{Journal, Update};
use cluster::{ConfigScope, Dirty, Kind, Object, ObjectKey, Snapshot};
use crds::config::ConfigKind;
use daemon::endpoints::{Readiness, serve_health, serve_metrics};
use daemon::metrics::ClientMetrics;
use kube::Client;
use prometheus::Registry;
use tokio::sync::mpsc;

use super::args::Args;
use super::bgp::{BgpDriver, BgpOptions, SessionNotice, Signal, Style};
use super::conflict::{describe, stations};
use super::exclusion::{EXCLUSION_FILE, read_exclusion};
use super::host_routes::{HostRoutes, RouteAction};
use super::layer2::Layer2Driver;
use super::service_status::{StatusKind, StatusSink, Writer, interfaces};
use super::session_events::{SessionEvent, SessionEvents};
use super::session_state::SessionStateSink;
use crate::advertise::BgpMode;
use crate::announce::{Members, Options};
use crate::metrics::SpeakerMetrics;
use crate::routes::RouteOutput;
use crate::speaker::{Output, Speaker};

/// What the speaker must have listed before it announces anything.
const KINDS: [Kind; 10] = [
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Node,
    Kind::Secret,
    Kind::Config(ConfigKind::IpAddressPool),
    Kind::Config(ConfigKind::L2Advertisement),
    Kind::Config(ConfigKind::BgpAdvertisement),
    Kind::Config(ConfigKind::BgpPeer),
    Kind::Config(ConfigKind::BfdProfile),
    Kind::Config(ConfigKind::Community),
];

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
    let client = connect().await?;
    let readiness = Readiness::default();
    serve_health((Ipv4Addr::LOCALHOST, args.common.health_probe_port).into(), readiness.clone())
        .await
        .with_context(|| {
            format!("cannot serve health on port {}", args.common.health_probe_port)
        })?;

    let options = Options {
        node: node.as_str().into(),
        class: args.common.class().map(Into::into),
        ignore_exclude_label: args.ignore_exclude_lb,
        assume_endpoints: false,
        drain_on_cordon: args.drain_on_cordon,
        bgp_mode: BgpMode::of(args.common.bgp_type.as_deref()),
    };
    let speaker = Speaker::new(options.clone());
    let (bgp, mut signals) = BgpDriver::start(BgpOptions {
        speaker: options,
        drain_time: args.drain_time,
        drain_on_cordon: args.drain_on_cordon,
        style: Style::of(args.common.bgp_type.as_deref()),
    });
    let l2_options = l2::Options {
        exclude,
        announce_interval: args.announce_interval,
        seed: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &node),
    };
    let (driver, mut noticed) = Layer2Driver::start(speaker, l2_options)?;
    if let Some(problem) = l2::strict_arp_problem() {
        tracing::warn!(
            event = "strictARP",
            arp_ignore = problem.arp_ignore,
            arp_announce = problem.arp_announce,
            "kube-ipvs0 is there and strictARP is off: this node answers ARP for every address of every Service; set ipvs.strictARP in kube-proxy's configuration"
        );
    }
    let discard = if args.discard_aggregates {
        let routes = HostRoutes::start(RouteAction::Discard).await;
        Some(routes.context("--discard-aggregates needs the capability NET_ADMIN")?)
    } else {
        None
    };
    let registry = Registry::new();
    let driver = Arc::new(Mutex::new(driver));
    let metrics = Arc::new(Mutex::new(SpeakerMetrics::register(&registry, &node)?));
    let client_metrics = ClientMetrics::register(&registry)?;
    registry.register(Box::new(bgp.collector()))?;
    if args.common.port != 0 {
        let (driver, metrics) = (Arc::clone(&driver), Arc::clone(&metrics));
        let refresh = move || {
            if let (Ok(driver), Ok(metrics)) = (driver.lock(), metrics.lock()) {
                metrics.set_counters(&driver.layer2().counters());
            }
        };
        serve_metrics(
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, args.common.port)),
            registry,
            refresh,
        )
        .await
        .with_context(|| format!("cannot serve metrics on port {}", args.common.port))?;
    }
    let pod = own_pod(&client, &namespace, args.common.pod_name.as_deref()).await;
    let writer = |kind| Writer {
        kind,
        client: client.clone(),
        namespace: namespace.clone(),
        node: node.clone(),
        told_off: std::sync::atomic::AtomicBool::new(false),
        pod: pod.clone(),
    };
    let session_states = SessionStateSink::start(
        client.clone(),
        args.frrk8s_namespace(&namespace),
        node.clone(),
        pod.clone(),
    );
    let events = EventSink::start(client.clone(), "metallb-speaker", Some(node.clone()));
    let session_events = SessionEvents::start(client.clone(), namespace.clone(), events.clone());
    let (asked, mut answers) = mpsc::channel(64);
    let mut shell = Shell {
        events,
        l2_statuses: StatusSink::start(writer(StatusKind::Layer2)),
        bgp_statuses: StatusSink::start(writer(StatusKind::Bgp)),
        session_states,
        bgp,
        discard,
        routes_changed: false,
        session_events,
        snapshot: Snapshot::new(ConfigScope::Speaker(node.as_str().into()), false),
        journal: Journal::default(),
        synced: false,
        client: client.clone(),
        node,
        driver,
        metrics,
        client_metrics,
        readiness,
        asked,
    };
    let mut updates = watch_all(&client, Watches { namespace, kinds: KINDS.to_vec() });
    let mut batch = Vec::with_capacity(512);
    let terminated = daemon::signals::terminated();
    tokio::pin!(terminated);
    loop {
        // The engine's events first: a link that is gone matters more than the next Service.
        tokio::select! {
            biased;
            result = &mut terminated => {
                shell.bgp.stop().await;
                if let Some(routes) = &shell.discard
                    && let Err(error) = routes.sweep().await
                {
                    tracing::warn!(%error, "routes that discard are left behind until the next start");
                }
                shell.events.flush().await;
                return result.context("cannot wait for signals");
            }
            signal = signals.next(shell.bgp.deadline()) => shell.handle_signal(signal),
            Some(event) = noticed.recv() => shell.handle_notice(event),
            Some(slices) = answers.recv() => shell.handle_answer(slices),
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
        shell.discard_aggregates().await;
    }
}

/// Name and uid of the own pod, for owner references.
async fn own_pod(client: &Client, namespace: &str, name: Option<&str>) -> Option<(String, String)> {
    let name = name.filter(|name| !name.is_empty())?;
    let request = http::Request::get(format!("/api/v1/namespaces/{namespace}/pods/{name}"));
    let pod: serde_json::Value = match client.request(request.body(Vec::new()).ok()?).await {
        Ok(pod) => pod,
        Err(error) => {
            tracing::warn!(pod = name, %error,
                "the own pod cannot be read: status objects get no owner and stay after this pod");
            return None;
        }
    };
    let uid = pod.pointer("/metadata/uid")?.as_str()?;
    Some((name.to_owned(), uid.to_owned()))
}

struct Shell {
    client: Client,
    node: String,
    snapshot: Snapshot,
    driver: Arc<Mutex<Layer2Driver>>,
    journal: Journal,
    events: EventSink,
    l2_statuses: StatusSink,
    bgp_statuses: StatusSink,
    session_states: SessionStateSink,
    bgp: BgpDriver,
    discard: Option<HostRoutes>,
    routes_changed: bool,
    session_events: SessionEvents,
    metrics: Arc<Mutex<SpeakerMetrics>>,
    client_metrics: ClientMetrics,
    readiness: Readiness,
    synced: bool,
    asked: mpsc::Sender<Vec<Update>>,
}

impl Shell {
    fn handle_update(&mut self, update: Update) {
        self.journal.note(&update);
        self.client_metrics.updates.inc();
        self.snapshot.handle(update);
    }

    fn handle_answer(&mut self, slices: Vec<Update>) {
        for update in slices {
            self.snapshot.handle(update);
        }
    }

    fn handle_notice(&mut self, event: l2::Event) {
        match event {
            l2::Event::Conflict { address, interface, hardware_address, .. } => {
                let users: Vec<(ObjectKey, Box<str>)> = self
                    .driver
                    .lock()
                    .map(|driver| driver.speaker().users(address).cloned().collect::<Vec<_>>())
                    .unwrap_or_default()
                    .into_iter()
                    .map(|key| {
                        let uid = self.snapshot.service(&key).map(|service| service.uid.clone());
                        (key, uid.unwrap_or_default())
                    })
                    .collect();
                let nodes = self.snapshot.nodes().clone();
                let events = self.events.clone();
                tokio::spawn(async move {
                    let node = stations(&nodes, hardware_address).await;
                    let message = describe(address, &interface, hardware_address, node.as_deref());
                    tracing::warn!(event = "addressConflict", ip = %address, %interface,
                        mac = %hardware_address, node = node.as_deref().unwrap_or_default(), "{message}");
                    for (service, uid) in users {
                        events.publish(ObjectEvent {
                            regarding: Regarding::service(service, uid),
                            warning: true,
                            reason: "addressConflict",
                            message: message.clone(),
                        });
                    }
                });
            }
            l2::Event::LinksChanged => {}
            l2::Event::ResponderCreated { interface, protocol } => {
                tracing::info!(event = format!("create{protocol}Responder"), %interface,
                    "created {protocol} responder for interface");
            }
            l2::Event::ResponderClosed { interface, protocol } => {
                tracing::info!(event = format!("delete{protocol}Responder"), %interface,
                    "deleted {protocol} responder for interface");
            }
            l2::Event::SocketFailed { interface, error } => {
                tracing::error!(event = "socketFailed", %interface, %error,
                    "this interface cannot be used; it is tried again, the others go on");
            }
            l2::Event::SocketRecovered { interface } => {
                tracing::info!(event = "socketRecovered", %interface, "this interface works again");
            }
        }
    }

    fn decide(&mut self) {
        if !self.synced && !KINDS.iter().all(|kind| self.snapshot.is_synced(*kind)) {
            return;
        }
        self.ask_for_slices();
        let dirty = self.snapshot.take_dirty();
        self.journal.note_rejections(self.snapshot.rejections());
        self.client_metrics.set_config(self.snapshot.rejections().len());
        let outputs = match self.driver.lock() {
            Ok(mut driver) => {
                let outputs = driver.reconcile(&self.snapshot, dirty.clone(), &Members::Disabled);
                let answers = driver.layer2().links().iter().any(|link| link.arp || link.ndp);
                self.readiness.set(answers);
                outputs
            }
            Err(_) => return,
        };
        for output in outputs {
            self.carry_out(output);
        }
        self.reconcile_routes(&dirty);
        if dirty.all {
            self.session_states.publish(self.bgp.session_states());
        }
        if !std::mem::replace(&mut self.synced, true) {
            self.l2_statuses.settled();
            self.bgp_statuses.settled();
        }
    }

    /// The routes that discard are those of the aggregates; what fails is tried with the next change.
    async fn discard_aggregates(&mut self) {
        let Some(routes) = &mut self.discard else { return };
        if !std::mem::take(&mut self.routes_changed) {
            return;
        }
        if let Err(error) = routes.set(&self.bgp.books().aggregates()).await {
            tracing::error!(event = "discardRoute", %error, "a route that discards could not be changed");
        }
    }

    fn ask_for_slices(&mut self) {
        for service in self.snapshot.take_wanted_slices() {
            let (client, asked) = (self.client.clone(), self.asked.clone());
            let version = self.snapshot.slice_version().clone();
            tokio::spawn(async move {
                let mut pause = std::time::Duration::from_millis(500);
                loop {
                    match slices_of(&client, &service, &version).await {
                        Ok(slices) => {
                            let slices = slices
                                .into_iter()
                                .map(|slice| Update::Apply(Object::EndpointSlice(Box::new(slice))));
                            // Nobody listens any more only when the program ends.
                            let _ = asked.send(slices.collect()).await;
                            return;
                        }
                        Err(error) => {
                            tracing::warn!(%service, %error, "failed to list EndpointSlices; tried again");
                            tokio::time::sleep(pause).await;
                            pause = (pause * 2).min(std::time::Duration::from_secs(30));
                        }
                    }
                }
            });
        }
    }

    fn handle_signal(&mut self, signal: Signal) {
        for notice in self.bgp.handle(signal) {
            self.tell_session(notice);
        }
        self.session_states.publish(self.bgp.session_states());
        if self.bgp.wants_reconcile() && self.synced {
            self.reconcile_routes(&Dirty::default());
        }
    }

    fn reconcile_routes(&mut self, dirty: &Dirty) {
        for output in self.bgp.reconcile(&self.snapshot, dirty) {
            self.routes_changed = true;
            self.carry_out_route(output);
        }
    }

    /// The log, and an event on the BGPPeer.
    fn tell_session(&self, notice: SessionNotice) {
        let (peer, warning, reason, message) = match notice {
            SessionNotice::Up { peer, detail } => {
                tracing::info!(
                    event = "sessionUp",
                    peer = &*peer,
                    detail,
                    "BGP session established"
                );
                let message = format!("session from node {:?} is established: {detail}", self.node);
                (peer, false, "sessionUp", message)
            }
            SessionNotice::Down { peer, reason } => {
                tracing::error!(event = "sessionDown", peer = &*peer, %reason, "BGP session down");
                let message = format!("session from node {:?} is down: {reason}", self.node);
                (peer, true, "sessionDown", message)
            }
            SessionNotice::SharedSeries { peer, older: Some(older) } => {
                let message = format!(
                    "node {:?}: the metrics of this peer have the labels of the older BGPPeer {older:?}, whose are shown",
                    self.node
                );
                tracing::warn!(
                    event = "metricsShared",
                    peer = &*peer,
                    older = &*older,
                    "{message}"
                );
                (peer, true, "metricsShared", message)
            }
            SessionNotice::SharedSeries { peer, older: None } => {
                tracing::info!(
                    event = "metricsSharedOver",
                    peer = &*peer,
                    "the metrics of this peer are its own again"
                );
                return;
            }
            SessionNotice::Problem { peer, problem: Some(problem) } => {
                tracing::error!(
                    event = "sessionProblem",
                    peer = &*peer,
                    problem,
                    "BGP session cannot work"
                );
                let message = format!("node {:?}: {problem}", self.node);
                (peer, true, "sessionProblem", message)
            }
            SessionNotice::Problem { peer, problem: None } => {
                tracing::info!(
                    event = "sessionProblemOver",
                    peer = &*peer,
                    "nothing keeps this BGP session from working any more"
                );
                return;
            }
        };
        self.session_events.publish(SessionEvent { peer, warning, reason, message });
    }

    fn assigned(&self, service: ObjectKey, uid: Box<str>, protocol: &str) -> ObjectEvent {
        ObjectEvent {
            regarding: Regarding::service(service, uid),
            warning: false,
            reason: "nodeAssigned",
            message: format!("announcing from node {:?} with protocol {protocol:?}", self.node),
        }
    }

    fn carry_out_route(&self, output: RouteOutput) {
        let Ok(mut metrics) = self.metrics.lock() else { return };
        match output {
            RouteOutput::Advertised { service, uid, addresses } => {
                tracing::info!(event = "serviceAnnounced", %service, ips = ?addresses, protocol = "bgp",
                    "service has IP, announcing");
                let paths = self.bgp.books().advertised().get(&service);
                let count = paths.map_or(0, |advertised| advertised.paths.len());
                tracing::info!(event = "updatedAdvertisements", %service, numAds = count, protocol = "bgp",
                    "making advertisements using BGP");
                metrics.set_announced(&service, "bgp", &addresses);
                self.events.publish(self.assigned(service, uid, "bgp"));
            }
            RouteOutput::Withdrawn { service, reason } => {
                tracing::info!(event = "serviceWithdrawn", %service, reason = reason.name(), detail = %reason,
                    protocol = "bgp", "withdrawing service announcement");
                metrics.set_withdrawn(&service, "bgp");
            }
            RouteOutput::Peers { service, peers } => {
                let wish = peers.iter().map(|peer| (**peer).into()).collect();
                self.bgp_statuses.publish(service, (!peers.is_empty()).then_some(wish));
            }
            RouteOutput::LocalPrefDiffers { prefix } => {
                tracing::warn!(event = "localPrefDiffers", %prefix,
                    "Services want different localPref for one prefix; the highest is sent");
            }
        }
    }

    fn carry_out(&self, output: Output) {
        let Ok(mut metrics) = self.metrics.lock() else { return };
        match output {
            Output::Announced { service, uid, announcement } => {
                tracing::info!(event = "serviceAnnounced", %service, ips = ?announcement.addresses,
                    protocol = "layer2", "service has IP, announcing");
                metrics.set_announced(&service, "layer2", &announcement.addresses);
                self.l2_statuses.publish(service.clone(), Some(interfaces(&announcement.scope)));
                self.events.publish(self.assigned(service, uid, "layer2"));
            }
            Output::Withdrawn { service, announcement, reason } => {
                tracing::info!(event = "serviceWithdrawn", %service, ips = ?announcement.addresses,
                    reason = reason.name(), detail = %reason, protocol = "layer2",
                    "withdrawing service announcement");
                metrics.set_withdrawn(&service, "layer2");
                self.l2_statuses.publish(service, None);
            }
            Output::NoInterface { service, uid, addresses } => {
                for address in addresses {
                    let message = format!(
                        "the interfaces specified by LB IP \"{address}\" doesn't exist in assigned node {:?} with protocol \"layer2\"",
                        self.node
                    );
                    tracing::warn!(event = "announceFailed", %service, ip = %address, "{message}");
                    self.events.publish(ObjectEvent {
                        regarding: Regarding::service(service.clone(), uid.clone()),
                        warning: true,
                        reason: "announceFailed",
                        message,
                    });
                }
            }
        }
    }
}
