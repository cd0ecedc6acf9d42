// SPDX-License-Identifier: Apache-2.0
//! The metrics of BGP and BFD (contract 7.1), read from the sessions when somebody asks. Names and labels are MetalLB's; under
//! frr-k8s the same are there once more with the prefix `frrk8s_`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::PoisonError;

use bgp::net::Engine;
use bgp::{Remote, State, Status};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use super::SharedBfd;

/// Reads the sessions of an engine and of BFD.
pub struct BgpCollector {
    engine: Engine,
    bfd: SharedBfd,
    style: Style,
}

/// Which of MetalLB's modes is imitated in labels and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `peer` alone.
    Native,
    /// `peer` and `vrf`.
    Frr,
    /// As `Frr`, but the peer's address without its port, and everything once more with a second prefix.
    FrrK8s,
}

impl Style {
    /// That of a value of `METALLB_BGP_TYPE`.
    #[must_use]
    pub fn of(value: Option<&str>) -> Self {
        match value {
            Some("frr") => Self::Frr,
            Some("frr-k8s") => Self::FrrK8s,
            _ => Self::Native,
        }
    }
}

type Value = fn(&Status) -> u64;

/// Name, help, whether it is a counter, where it comes from.
const BGP: [(&str, &str, bool, Value); 13] = [
    ("session_up", "BGP session state (1 is up, 0 is down)", false, |s| {
        u64::from(s.state == State::Established)
    }),
    (
        "announced_prefixes_total",
        "Number of prefixes currently being advertised on the BGP session",
        false,
        |s| s.announced_prefixes as u64,
    ),
    (
        "pending_prefixes_total",
        "Number of prefixes that should be advertised on the BGP session",
        false,
        |s| s.desired_prefixes as u64,
    ),
    (
        "received_prefixes_total",
        "Number of prefixes received on the BGP session, all of which are dropped",
        true,
        |s| s.counters.received_prefixes_dropped,
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
];

/// What MetalLB's native mode calls otherwise or has besides.
const TOTAL_RECEIVED: (&str, &str, bool, Value) =
    ("total_received", "Number of BGP messages received", true, |s| s.counters.received.total());

type BfdValue = fn(&bfd::Status) -> u64;

const BFD: [(&str, &str, bool, BfdValue); 7] = [
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
];

impl BgpCollector {
    pub(super) fn new(engine: Engine, bfd: SharedBfd, style: Style) -> Self {
        Self { engine, bfd, style }
    }

    fn prefixes(&self) -> &'static [&'static str] {
        match self.style {
            Style::Native | Style::Frr => &["metallb"],
            Style::FrrK8s => &["metallb", "frrk8s"],
        }
    }

    fn sessions(&self) -> Vec<(HashMap<&'static str, String>, Status)> {
        let configs = self.engine.configs();
        let statuses = self.engine.statuses();
        statuses
            .into_iter()
            .filter_map(|(name, status)| {
                let config = configs.get(&name)?;
                let peer = match (&config.remote, self.style) {
                    (Remote::Address { address, .. }, Style::FrrK8s) => address.to_string(),
                    (Remote::Interface(interface), Style::FrrK8s) => interface.to_string(),
                    (Remote::Address { address, .. }, _) => {
                        SocketAddr::new(*address, config.port).to_string()
                    }
                    (Remote::Interface(interface), _) => format!("{interface}:{}", config.port),
                };
                let mut labels = HashMap::from([("peer", peer)]);
                if self.style != Style::Native {
                    let vrf = config.bind_interface.as_deref().unwrap_or("default");
                    labels.insert("vrf", vrf.to_owned());
                }
                Some((labels, status))
            })
            .collect()
    }

    fn bfd_sessions(&self) -> Vec<(HashMap<&'static str, String>, bfd::Status)> {
        let guard = self.bfd.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bfd) = guard.as_ref() else { return Vec::new() };
        bfd.statuses()
            .into_iter()
            .map(|(key, status)| {
                // That of an unnumbered peer is its link, and no VRF.
                let vrf = key.interface.as_deref().filter(|_| !super::is_link_local(key.peer));
                let vrf = vrf.unwrap_or("default").to_owned();
                (HashMap::from([("peer", key.peer.to_string()), ("vrf", vrf)]), status)
            })
            .collect()
    }
}

impl Collector for BgpCollector {
    fn desc(&self) -> Vec<&Desc> {
        // Nothing is registered under these names besides; the families are made when they are asked for.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (sessions, bfd) = (self.sessions(), self.bfd_sessions());
        let names: &[&str] = if self.style == Style::Native { &["peer"] } else { &["peer", "vrf"] };
        let mut families = Vec::new();
        for prefix in self.prefixes() {
            for (name, help, counter, value) in BGP.iter().chain([&TOTAL_RECEIVED]) {
                let values = sessions.iter().map(|(labels, status)| (labels, value(status)));
                families.extend(family(
                    &format!("{prefix}_bgp_{name}"),
                    help,
                    *counter,
                    names,
                    values,
                ));
            }
            for (name, help, counter, value) in &BFD {
                let values = bfd.iter().map(|(labels, status)| (labels, value(status)));
                let names = &["peer", "vrf"];
                families.extend(family(
                    &format!("{prefix}_bfd_{name}"),
                    help,
                    *counter,
                    names,
                    values,
                ));
            }
        }
        families
    }
}

fn family<'a>(
    name: &str,
    help: &str,
    counter: bool,
    label_names: &[&str],
    values: impl Iterator<Item = (&'a HashMap<&'static str, String>, u64)>,
) -> Vec<MetricFamily> {
    let options = Opts::new(name, help);
    let series = values.map(|(labels, value)| {
        let labels: HashMap<&str, &str> =
            labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        (labels, value)
    });
    if counter {
        let Ok(vector) = IntCounterVec::new(options, label_names) else { return Vec::new() };
        for (labels, value) in series {
            if let Ok(metric) = vector.get_metric_with(&labels) {
                metric.inc_by(value);
            }
        }
        vector.collect()
    } else {
        let Ok(vector) = IntGaugeVec::new(options, label_names) else { return Vec::new() };
        for (labels, value) in series {
            if let Ok(metric) = vector.get_metric_with(&labels) {
                metric.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
        vector.collect()
    }
}
