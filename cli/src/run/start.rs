// SPDX-License-Identifier: Apache-2.0
//! Starts all parts of `ferrolb run`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use cluster::net::source::Journal;
use folder::FolderSource;
use prometheus::Registry;
use speaker::metrics::MembershipMetrics;
use speaker::net::{
    AgentSignals, BgpDriver, BgpOptions, ConflictReporter, Driver, HostRoutes, KernelNotice,
    RouteAction, Signals, Style, read_exclusion,
};
use tokio::sync::mpsc;

use super::{Metrics, Runner};
use crate::args::RunArgs;
use crate::ring;
use crate::world::{World, open_state};

/// The sources of the runner's inputs, and the lock of the state folder.
pub(super) struct Sources {
    pub(super) folder: FolderSource,
    pub(super) agent: Option<AgentSignals>,
    pub(super) bgp: Signals,
    /// Events of the l2 engine.
    pub(super) noticed: mpsc::UnboundedReceiver<l2::Event>,
    /// The kernel's word on kept connections.
    pub(super) kept: Option<mpsc::UnboundedReceiver<KernelNotice>>,
    _lock: folder::StateLock,
}

/// Starts the runner.
///
/// # Errors
/// The folder's state, a socket or a route cannot be had.
pub(super) async fn start(args: RunArgs) -> anyhow::Result<(Runner, Sources)> {
    let state = open_state(&args.folder, args.view.folder_state.as_ref())?;
    let lock = state.hold()?;
    let known = state.read()?;
    let source = FolderSource::follow(&args.folder);
    let mut world = World::empty(&args.view);
    world.others = ring::joined(&args.ring);
    let exclude = read_exclusion(&args.exclude_interfaces)?;
    let permit =
        if args.ring.join.is_empty() { l2::Permit::unlimited() } else { l2::Permit::none() };
    let options = l2::Options {
        exclude,
        permit: permit.clone(),
        announce_interval: args.announce_interval,
        seed: std::hash::BuildHasher::hash_one(
            &std::hash::RandomState::new(),
            &*world.options.node,
        ),
    };
    // Start the ring first: the kernel closes the files of a killed program in the order in which they were opened.
    let ring::Started { agent, signals, core, listed } =
        ring::start(&args.ring, &world.options, permit)?;
    // Only one program uses a state folder: the folder's path tells its routes from those of others.
    let owner = state.folder().canonicalize()?.display().to_string();
    let routes = if args.accept {
        Some(
            HostRoutes::start(RouteAction::Accept, &owner)
                .await
                .context("--accept needs the capability NET_ADMIN")?,
        )
    } else {
        None
    };
    let discard = if args.discard_aggregates {
        let routes = HostRoutes::start(RouteAction::Discard, &owner).await;
        Some(routes.context("--discard-aggregates needs the capability NET_ADMIN")?)
    } else {
        None
    };
    let style = Style::of(args.view.bgp_type.as_deref());
    let (bgp, bgp_signals) = BgpDriver::start(BgpOptions {
        speaker: world.options.clone(),
        drain_time: args.drain_time,
        drain_on_cordon: false,
        style,
    });
    let registry = Registry::new();
    registry.register(Box::new(bgp.collector()))?;
    let metrics = Metrics::register(&registry, &world.options.node)?;
    let (mut driver, noticed) = Driver::start(core, agent, bgp, options)?;
    if signals.is_some() {
        driver.measure_by(MembershipMetrics::register(&registry)?);
    }
    let kept = if args.ring.keep_connections { keep_connections(&mut driver, &args) } else { None };
    driver.find(&listed);
    if args.port != 0 {
        let series = driver.series(Arc::clone(&metrics.speaker));
        let listener = daemon::listen::everywhere(args.port)
            .with_context(|| format!("cannot serve metrics on port {}", args.port))?;
        daemon::endpoints::serve_metrics(listener, registry, series);
    }
    println!("ferrolb serves {} as node {}", args.folder.display(), world.options.node);
    println!("status in {}", state.path().display());
    if routes.is_none() {
        println!(
            "traffic is accepted only where kube-proxy or a route does it; --accept adds a route per address"
        );
    }
    let conflicts = ConflictReporter::start(|report| println!("conflict: {}", report.message));
    let runner = Runner {
        conflicts,
        journal: Journal::default(),
        args,
        world,
        driver,
        routes,
        discard,
        state,
        known,
        metrics,
        mistakes: Vec::new(),
        told_exported: false,
        shown: BTreeMap::new(),
        hosts: BTreeSet::new(),
        unaccepted: BTreeMap::new(),
    };
    let sources =
        Sources { folder: source, agent: signals, bgp: bgp_signals, noticed, kept, _lock: lock };
    Ok((runner, sources))
}

/// The file that says whether the kernel answers ARP for each address that it takes packets for.
const ARP_IGNORE: &str = "/proc/sys/net/ipv4/conf/all/arp_ignore";

/// Keeps connections if that is possible here.
fn keep_connections(
    driver: &mut Driver,
    args: &RunArgs,
) -> Option<mpsc::UnboundedReceiver<KernelNotice>> {
    let ignored = std::fs::read_to_string(ARP_IGNORE);
    let answers = ignored.is_ok_and(|text| text.trim() == "0");
    // This host accepts packets of addresses that other hosts have then, and its kernel must not answer for them.
    let kept = if args.accept && answers {
        Err("with --accept it needs net.ipv4.conf.all.arp_ignore=1".to_owned())
    } else {
        driver.keep_connections(args.ring.linger).map_err(|error| error.to_string())
    };
    kept.inspect_err(|error| println!("--keep-connections has no effect: {error}")).ok()
}
