// SPDX-License-Identifier: Apache-2.0
//! The metrics of BGP and BFD (contract 7.1), read from the sessions at each scrape. Names and labels are MetalLB's; under frr-k8s the same
//! metrics are there once more with the prefix `frrk8s_`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bgp::net::Engine;
use bgp::{Counters, State, Status};
use crds::config::{Peer, PeerAddress};
use daemon::metric::Metric;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::SharedBfd;

/// Reads the sessions of an engine and of BFD.
#[derive(Clone)]
pub struct BgpCollector {
    engine: Engine,
    bfd: SharedBfd,
    roster: Roster,
    style: Style,
}

/// A peer that should have a session, and the values of its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Labelled {
    pub(super) peer: Arc<str>,
    pub(super) values: LabelValues,
}

/// The values of `peer` and, except in the native mode, `vrf`.
pub(super) type LabelValues = (String, Option<String>);

/// The peers that have series, the oldest first: of several with equal labels the oldest has the series.
pub(super) type Roster = Arc<Mutex<Vec<Labelled>>>;

impl Labelled {
    pub(super) fn new(peer: &Peer, style: Style) -> Self {
        let address = match (&peer.address, style) {
            (address, Style::FrrK8s) => address.to_string(),
            (PeerAddress::Address(address), Style::Native | Style::Frr) => {
                SocketAddr::new(*address, peer.port).to_string()
            }
            (PeerAddress::Interface(interface), Style::Native | Style::Frr) => {
                format!("{interface}:{}", peer.port)
            }
        };
        let vrf =
            (style != Style::Native).then(|| peer.vrf.as_deref().unwrap_or("default").to_owned());
        Self { peer: Arc::clone(&peer.name), values: (address, vrf) }
    }
}

/// The figures of a session; zero for a peer without one.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    up: bool,
    announced: usize,
    desired: usize,
    counters: Counters,
}

impl From<&Status> for Figures {
    fn from(status: &Status) -> Self {
        Self {
            up: status.state == State::Established,
            announced: status.announced_prefixes,
            desired: status.desired_prefixes,
            counters: status.counters,
        }
    }
}

/// The mode of MetalLB that labels and names follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `peer` alone.
    Native,
    /// `peer` and `vrf`.
    Frr,
    /// As `Frr`, but with the peer's address without its port, and with everything once more under a second prefix.
    FrrK8s,
}

impl Style {
    /// The style for a value of `METALLB_BGP_TYPE`.
    #[must_use]
    pub fn of(value: Option<&str>) -> Self {
        match value {
            Some("frr") => Self::Frr,
            Some("frr-k8s") => Self::FrrK8s,
            _ => Self::Native,
        }
    }
}

const LABELS: [&str; 2] = ["peer", "vrf"];

type Value = fn(&Figures) -> u64;

/// Each metric of BGP behind the prefix of the mode, and its source.
const BGP: [(Metric<2>, Value); 13] = [
    (Metric::gauge("bgp_session_up", "BGP session state (1 is up, 0 is down)", LABELS), |s| {
        u64::from(s.up)
    }),
    (
        Metric::gauge(
            "bgp_announced_prefixes_total",
            "Number of prefixes currently being advertised on the BGP session",
            LABELS,
        ),
        |s| s.announced as u64,
    ),
    (
        Metric::gauge(
            "bgp_pending_prefixes_total",
            "Number of prefixes that should be advertised on the BGP session",
            LABELS,
        ),
        |s| s.desired as u64,
    ),
    (Metric::counter("bgp_updates_total", "Number of BGP UPDATE messages sent", LABELS), |s| {
        s.counters.sent.updates
    }),
    (
        Metric::counter(
            "bgp_updates_total_received",
            "Number of BGP UPDATE messages received",
            LABELS,
        ),
        |s| s.counters.received.updates,
    ),
    (Metric::counter("bgp_opens_sent", "Number of BGP OPEN messages sent", LABELS), |s| {
        s.counters.sent.opens
    }),
    (Metric::counter("bgp_opens_received", "Number of BGP OPEN messages received", LABELS), |s| {
        s.counters.received.opens
    }),
    (
        Metric::counter(
            "bgp_notifications_sent",
            "Number of BGP NOTIFICATION messages sent",
            LABELS,
        ),
        |s| s.counters.sent.notifications,
    ),
    (
        Metric::counter("bgp_keepalives_sent", "Number of BGP KEEPALIVE messages sent", LABELS),
        |s| s.counters.sent.keepalives,
    ),
    (
        Metric::counter(
            "bgp_keepalives_received",
            "Number of BGP KEEPALIVE messages received",
            LABELS,
        ),
        |s| s.counters.received.keepalives,
    ),
    (
        Metric::counter(
            "bgp_route_refresh_sent",
            "Number of BGP ROUTE-REFRESH messages sent",
            LABELS,
        ),
        |s| s.counters.sent.route_refreshes,
    ),
    (Metric::counter("bgp_total_sent", "Number of BGP messages sent", LABELS), |s| {
        s.counters.sent.total()
    }),
    (Metric::counter("bgp_total_received", "Number of BGP messages received", LABELS), |s| {
        s.counters.received.total()
    }),
];

/// frr-k8s counts the prefixes that it accepts from a peer. Here, as there without a configuration of its own, none are accepted.
const RECEIVED: (Metric<2>, Value) = (
    Metric::gauge(
        "bgp_received_prefixes_total",
        "Number of prefixes currently being received on the BGP session",
        LABELS,
    ),
    |_| 0,
);

/// The prefixes that the peers announced in vain; the name is our own.
const DROPPED: (Metric<2>, Value) = (
    Metric::counter(
        "ferrolb_bgp_dropped_prefixes_total",
        "Number of prefixes that the BGP peer announced, all of which were dropped",
        LABELS,
    ),
    |s| s.counters.received_prefixes_dropped,
);

type BfdValue = fn(&bfd::Status) -> u64;

/// Each metric of BFD behind the prefix of the mode, and its source.
const BFD: [(Metric<2>, BfdValue); 8] = [
    (Metric::gauge("bfd_session_up", "BFD session state (1 is up, 0 is down)", LABELS), |s| {
        u64::from(s.state == bfd::State::Up)
    }),
    (
        Metric::counter(
            "bfd_control_packet_input",
            "Number of received BFD control packets",
            LABELS,
        ),
        |s| s.counters.control_packet_input,
    ),
    (
        Metric::counter("bfd_control_packet_output", "Number of sent BFD control packets", LABELS),
        |s| s.counters.control_packet_output,
    ),
    (
        Metric::counter("bfd_echo_packet_input", "Number of received BFD echo packets", LABELS),
        |s| s.counters.echo_packet_input,
    ),
    (Metric::counter("bfd_echo_packet_output", "Number of sent BFD echo packets", LABELS), |s| {
        s.counters.echo_packet_output
    }),
    (Metric::counter("bfd_session_up_events", "Number of BFD session up events", LABELS), |s| {
        s.counters.session_up_events
    }),
    (
        Metric::counter("bfd_session_down_events", "Number of BFD session down events", LABELS),
        |s| s.counters.session_down_events,
    ),
    // The notifications that FRR's bfdd would send to its zebra: every change of the state.
    (
        Metric::counter("bfd_zebra_notifications", "Number of BFD zebra notifications", LABELS),
        |s| s.counters.session_up_events + s.counters.session_down_events,
    ),
];

impl BgpCollector {
    pub(super) fn new(engine: Engine, bfd: SharedBfd, roster: Roster, style: Style) -> Self {
        Self { engine, bfd, roster, style }
    }

    fn prefixes(&self) -> &'static [&'static str] {
        match self.style {
            Style::Native | Style::Frr => &["metallb_"],
            Style::FrrK8s => &["metallb_", "frrk8s_"],
        }
    }

    fn sessions(&self) -> BTreeMap<LabelValues, Figures> {
        let statuses = self.engine.statuses();
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sessions = BTreeMap::new();
        for Labelled { peer, values } in roster.iter() {
            let figures = statuses.get(peer).map(Figures::from).unwrap_or_default();
            sessions.entry(values.clone()).or_insert(figures);
        }
        sessions
    }

    fn bfd_sessions(&self) -> BTreeMap<[String; 2], bfd::Status> {
        let guard = self.bfd.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bfd) = guard.as_ref() else { return BTreeMap::new() };
        let mut sessions = BTreeMap::new();
        for (key, status) in bfd.statuses() {
            // The interface of an unnumbered peer is its link, and no VRF.
            let vrf = key.interface.as_deref().filter(|_| !super::way::is_link_local(key.peer));
            let values = [key.peer.to_string(), vrf.unwrap_or("default").to_owned()];
            sessions.entry(values).or_insert(status);
        }
        sessions
    }
}

impl Collector for BgpCollector {
    fn desc(&self) -> Vec<&Desc> {
        // No other collector has these names; the families are made at each scrape.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (sessions, bfd) = (self.sessions(), self.bfd_sessions());
        let of_sessions = |(metric, value): &(Metric<2>, Value), prefix| {
            let metric = metric.under(prefix);
            let series = sessions.iter().map(|(values, figures)| (values, value(figures)));
            if self.style == Style::Native {
                metric
                    .labelled(["peer"])
                    .family(series.map(|((peer, _), value)| ([&**peer], value)))
            } else {
                metric.family(series.map(|((peer, vrf), value)| {
                    ([&**peer, vrf.as_deref().unwrap_or_default()], value)
                }))
            }
        };
        let mut families = of_sessions(&DROPPED, "");
        for prefix in self.prefixes() {
            families.extend(BGP.iter().flat_map(|one| of_sessions(one, prefix)));
            if self.style == Style::FrrK8s {
                families.extend(of_sessions(&RECEIVED, prefix));
            }
            for (metric, value) in &BFD {
                let series =
                    bfd.iter().map(|([peer, vrf], status)| ([&**peer, &**vrf], value(status)));
                families.extend(metric.under(prefix).family(series));
            }
        }
        families
    }
}
