// SPDX-License-Identifier: Apache-2.0
//! The metrics of BGP and BFD (contract 7.1), read from the sessions at each scrape. Names and labels are MetalLB's; under frr-k8s the same
//! metrics are there once more with the prefix `frrk8s_`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bgp::net::Engine;
use bgp::{Counters, State, Status};
use crds::config::{Peer, PeerAddress};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

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
    /// The values of `peer` and, except in the native mode, `vrf`.
    pub(super) values: Vec<String>,
}

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
        let mut values = vec![address];
        if style != Style::Native {
            values.push(peer.vrf.as_deref().unwrap_or("default").to_owned());
        }
        Self { peer: Arc::clone(&peer.name), values }
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

type Value = fn(&Figures) -> u64;

/// Name, help, whether the metric is a counter, and its source.
const BGP: [(&str, &str, bool, Value); 13] = [
    ("session_up", "BGP session state (1 is up, 0 is down)", false, |s| u64::from(s.up)),
    (
        "announced_prefixes_total",
        "Number of prefixes currently being advertised on the BGP session",
        false,
        |s| s.announced as u64,
    ),
    (
        "pending_prefixes_total",
        "Number of prefixes that should be advertised on the BGP session",
        false,
        |s| s.desired as u64,
    ),
    ("updates_total", "Number of BGP UPDATE messages sent", true, |s| s.counters.sent.updates),
    ("updates_total_received", "Number of BGP UPDATE messages received", true, |s| {
        s.counters.received.updates
    }),
    ("opens_sent", "Number of BGP OPEN messages sent", true, |s| s.counters.sent.opens),
    ("opens_received", "Number of BGP OPEN messages received", true, |s| s.counters.received.opens),
    ("notifications_sent", "Number of BGP NOTIFICATION messages sent", true, |s| {
        s.counters.sent.notifications
    }),
    ("keepalives_sent", "Number of BGP KEEPALIVE messages sent", true, |s| {
        s.counters.sent.keepalives
    }),
    ("keepalives_received", "Number of BGP KEEPALIVE messages received", true, |s| {
        s.counters.received.keepalives
    }),
    ("route_refresh_sent", "Number of BGP ROUTE-REFRESH messages sent", true, |s| {
        s.counters.sent.route_refreshes
    }),
    ("total_sent", "Number of BGP messages sent", true, |s| s.counters.sent.total()),
    ("total_received", "Number of BGP messages received", true, |s| s.counters.received.total()),
];

/// frr-k8s counts the prefixes that it accepts from a peer. Here, as there without a configuration of its own, none are accepted.
const RECEIVED: (&str, &str, bool, Value) = (
    "received_prefixes_total",
    "Number of prefixes currently being received on the BGP session",
    false,
    |_| 0,
);

/// The prefixes that the peers announced in vain; the name is our own.
const DROPPED: (&str, &str, bool, Value) = (
    "dropped_prefixes_total",
    "Number of prefixes that the BGP peer announced, all of which were dropped",
    true,
    |s| s.counters.received_prefixes_dropped,
);

type BfdValue = fn(&bfd::Status) -> u64;

const BFD: [(&str, &str, bool, BfdValue); 8] = [
    ("session_up", "BFD session state (1 is up, 0 is down)", false, |s| {
        u64::from(s.state == bfd::State::Up)
    }),
    ("control_packet_input", "Number of received BFD control packets", true, |s| {
        s.counters.control_packet_input
    }),
    ("control_packet_output", "Number of sent BFD control packets", true, |s| {
        s.counters.control_packet_output
    }),
    ("echo_packet_input", "Number of received BFD echo packets", true, |s| {
        s.counters.echo_packet_input
    }),
    ("echo_packet_output", "Number of sent BFD echo packets", true, |s| {
        s.counters.echo_packet_output
    }),
    ("session_up_events", "Number of BFD session up events", true, |s| {
        s.counters.session_up_events
    }),
    ("session_down_events", "Number of BFD session down events", true, |s| {
        s.counters.session_down_events
    }),
    // The notifications that FRR's bfdd would send to its zebra: every change of the state.
    ("zebra_notifications", "Number of BFD zebra notifications", true, |s| {
        s.counters.session_up_events + s.counters.session_down_events
    }),
];

impl BgpCollector {
    pub(super) fn new(engine: Engine, bfd: SharedBfd, roster: Roster, style: Style) -> Self {
        Self { engine, bfd, roster, style }
    }

    fn prefixes(&self) -> &'static [&'static str] {
        match self.style {
            Style::Native | Style::Frr => &["metallb"],
            Style::FrrK8s => &["metallb", "frrk8s"],
        }
    }

    fn sessions(&self) -> BTreeMap<Vec<String>, Figures> {
        let statuses = self.engine.statuses();
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sessions = BTreeMap::new();
        for Labelled { peer, values } in roster.iter() {
            let figures = statuses.get(peer).map(Figures::from).unwrap_or_default();
            sessions.entry(values.clone()).or_insert(figures);
        }
        sessions
    }

    fn bfd_sessions(&self) -> BTreeMap<Vec<String>, bfd::Status> {
        let guard = self.bfd.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bfd) = guard.as_ref() else { return BTreeMap::new() };
        let mut sessions = BTreeMap::new();
        for (key, status) in bfd.statuses() {
            // The interface of an unnumbered peer is its link, and no VRF.
            let vrf = key.interface.as_deref().filter(|_| !super::way::is_link_local(key.peer));
            let values = vec![key.peer.to_string(), vrf.unwrap_or("default").to_owned()];
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
        let names: &[&str] = if self.style == Style::Native { &["peer"] } else { &["peer", "vrf"] };
        let mut families = Vec::new();
        let mut bgp = |prefix: &str, (name, help, counter, value): &(&str, &str, bool, Value)| {
            let values = sessions.iter().map(|(labels, figures)| (labels, value(figures)));
            families.extend(family(&format!("{prefix}_bgp_{name}"), help, *counter, names, values));
        };
        for prefix in self.prefixes() {
            for one in &BGP {
                bgp(prefix, one);
            }
            if self.style == Style::FrrK8s {
                bgp(prefix, &RECEIVED);
            }
        }
        bgp("ferrolb", &DROPPED);
        for prefix in self.prefixes() {
            for (name, help, counter, value) in &BFD {
                let values = bfd.iter().map(|(labels, status)| (labels, value(status)));
                let (name, names) = (format!("{prefix}_bfd_{name}"), &["peer", "vrf"]);
                families.extend(family(&name, help, *counter, names, values));
            }
        }
        families
    }
}

/// Makes a metric family. No two series may have equal labels.
fn family<'a>(
    name: &str,
    help: &str,
    counter: bool,
    label_names: &[&str],
    series: impl Iterator<Item = (&'a Vec<String>, u64)>,
) -> Vec<MetricFamily> {
    let options = Opts::new(name, help);
    if counter {
        let Ok(vector) = IntCounterVec::new(options, label_names) else { return Vec::new() };
        for (labels, value) in series {
            if let Ok(metric) = vector.get_metric_with_label_values(labels) {
                metric.inc_by(value);
            }
        }
        vector.collect()
    } else {
        let Ok(vector) = IntGaugeVec::new(options, label_names) else { return Vec::new() };
        for (labels, value) in series {
            if let Ok(metric) = vector.get_metric_with_label_values(labels) {
                metric.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
        vector.collect()
    }
}
