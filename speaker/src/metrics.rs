// SPDX-License-Identifier: Apache-2.0
//! The speaker's metrics (contract 7.1), names and labels exact.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;

use cluster::ObjectKey;
use daemon::metric::{Metric, Series};
use prometheus::Registry;

use crate::reason_counts::ReasonCounts;

const WITHHELD: Metric<2> = Metric::gauge(
    "ferrolb_speaker_services_withheld",
    "Number of Services that this node does not announce by a protocol, by the reason.",
    ["protocol", "reason"],
);
const ANNOUNCED: Metric<4> = Metric::gauge(
    "metallb_speaker_announced",
    "Services being announced from this node. This is desired state, it does not guarantee that the routing protocols have converged.",
    ["ip", "node", "protocol", "service"],
);

const DRAINING: Metric<2> = Metric::gauge(
    "ferrolb_speaker_draining_connections",
    "Number of open connections, idle ones included, that go on at this node although another node has the IP now (--keep-connections), by protocol (tcp, udp).",
    ["ip", "protocol"],
);

/// The value of a series for an address, None where there is no series.
type Value = fn(&l2::CounterValues) -> Option<u64>;

/// Counters with a series for each address.
const OF_ADDRESSES: [(Metric<1>, Value); 4] = [
    (
        Metric::counter(
            "ferrolb_layer2_conflicts",
            "Number of frames in which another station answered for or announced an owned IP.",
            ["ip"],
        ),
        |values| (values.conflicts > 0).then_some(values.conflicts),
    ),
    (
        Metric::counter(
            "metallb_layer2_gratuitous_sent",
            "Number of gratuitous layer2 packets sent for owned IPs as a result of failovers.",
            ["ip"],
        ),
        |values| Some(values.gratuitous_sent),
    ),
    (
        Metric::counter(
            "metallb_layer2_requests_received",
            "Number of layer2 requests received for owned IPs.",
            ["ip"],
        ),
        |values| Some(values.requests_received),
    ),
    (
        Metric::counter(
            "metallb_layer2_responses_sent",
            "Number of layer2 responses sent for owned IPs in response to requests.",
            ["ip"],
        ),
        |values| Some(values.responses_sent),
    ),
];

const MEMBERS: Metric<0> = Metric::gauge(
    "ferrolb_members",
    "Number of speakers that take part in the ring, this one included.",
    [],
);
const SILENT: Metric<1> = Metric::gauge(
    "ferrolb_layer2_silent",
    "1 while this node answers and announces nothing by layer2, with the reason.",
    ["reason"],
);
const BY_LINK: Metric<0> = Metric::gauge(
    "ferrolb_layer2_announced_by_link",
    "Number of addresses that this node announces by layer2 although it sees too few speakers, because no other station answers.",
    [],
);
const BLOCKED: Metric<0> = Metric::gauge(
    "ferrolb_memberlist_blocked",
    "1 while the memberlist's port seems to be blocked: no other speaker answers, or some by TCP only.",
    [],
);
const REFUSED: Metric<1> = Metric::counter(
    "ferrolb_ring_refused_total",
    "Number of datagrams, streams and ICMP errors that the memberlist's port refused, by cause.",
    ["cause"],
);

/// Gauges of what is announced, counters of what was answered.
pub struct SpeakerMetrics {
    node: String,
    withheld: Series<2>,
    /// What is advertised by BGP. These series, and those of addresses, are written without a registry: it would hold five of them for
    /// an address, a kilobyte each.
    advertised: BTreeMap<ObjectKey, Box<[IpAddr]>>,
}

/// Gauges of the ring; there only where there is one.
pub struct MembershipMetrics {
    members: Series<0>,
    silent: Series<1>,
    by_link: Series<0>,
    blocked: Series<0>,
    refused: Series<1>,
}

impl MembershipMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            members: MEMBERS.register(registry)?,
            silent: SILENT.register(registry)?,
            by_link: BY_LINK.register(registry)?,
            blocked: BLOCKED.register(registry)?,
            refused: REFUSED.register(registry)?,
        })
    }

    /// The number of addresses that this node announces although the count does not let it.
    pub fn set_by_link(&self, announced: usize) {
        self.by_link.set([], announced as u64);
    }

    /// Whether the memberlist's port seems to be blocked.
    pub fn set_blocked(&self, blocked: bool) {
        self.blocked.set([], u64::from(blocked));
    }

    /// How much the ring's port has refused since the start, by cause.
    pub fn set_refused<'a>(&self, counts: impl Iterator<Item = (&'a str, u64)>) {
        for (cause, count) in counts {
            self.refused.set([cause], count);
        }
    }

    /// How many take part, and why this node is silent, if it is.
    pub fn set(&self, members: usize, silent: Option<&str>) {
        self.members.set([], members as u64);
        self.silent.clear();
        self.silent.set([silent.unwrap_or("none")], u64::from(silent.is_some()));
    }
}

impl SpeakerMetrics {
    /// Registers them for the node of that name.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn register(registry: &Registry, node: &str) -> prometheus::Result<Self> {
        let withheld = WITHHELD.register(registry)?;
        Ok(Self { node: node.to_owned(), withheld, advertised: BTreeMap::new() })
    }

    /// A Service is advertised with these addresses by BGP.
    pub fn set_advertised(&mut self, service: &ObjectKey, addresses: &[IpAddr]) {
        self.advertised.insert(service.clone(), addresses.into());
    }

    /// A Service is no longer advertised by BGP.
    pub fn set_withdrawn(&mut self, service: &ObjectKey) {
        self.advertised.remove(service);
    }

    /// How many Services are not announced from here by a protocol (`layer2` or `bgp`).
    pub fn set_withheld(&self, protocol: &'static str, reason_counts: &ReasonCounts) {
        for (reason, count) in reason_counts.iter() {
            self.withheld.set([protocol, reason], count);
        }
    }

    /// Appends what the registry does not hold: the series of Services, by L2 those that `announced` gives, and, from the l2 engine's
    /// counters, those of addresses.
    pub fn write<'a>(
        &'a self,
        announced: impl Iterator<Item = (&'a ObjectKey, &'a [IpAddr])>,
        counters: &[(IpAddr, l2::CounterValues)],
        text: &mut String,
    ) {
        for (metric, value) in &OF_ADDRESSES {
            let series = counters
                .iter()
                .filter_map(|(address, values)| Some(([address as &dyn Display], value(values)?)));
            metric.write(series, text);
        }
        let by_bgp = self.advertised.iter();
        let by_bgp = by_bgp.map(|(service, addresses)| (&"bgp", service, &**addresses));
        let by_l2 = announced.map(|(service, addresses)| (&"layer2", service, addresses));
        let series = by_bgp.chain(by_l2).flat_map(|(protocol, service, addresses)| {
            addresses.iter().map(move |ip| ([ip as &dyn Display, &self.node, protocol, service], 1))
        });
        ANNOUNCED.write(series, text);
    }
}

/// Appends the series of the addresses that drain here, each given with its open connections of TCP and its flows of UDP.
pub fn write_draining<'a>(left: impl Iterator<Item = (&'a IpAddr, u64, u64)>, text: &mut String) {
    let series = left.flat_map(|(ip, tcp, udp)| {
        [(&"tcp", tcp), (&"udp", udp)]
            .map(|(protocol, open)| ([ip as &dyn Display, protocol], open))
    });
    DRAINING.write(series, text);
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn an_address_has_a_series_for_each_protocol_while_it_drains() {
        let mut text = String::new();
        write_draining(std::iter::empty(), &mut text);
        assert_eq!(text, "");
        let addresses: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        write_draining(
            addresses.iter().zip([(3, 1), (0, 0)]).map(|(ip, (tcp, udp))| (ip, tcp, udp)),
            &mut text,
        );
        let judge = Registry::new();
        let series = DRAINING.register(&judge).unwrap();
        for (ip, protocol, open) in [
            ("192.0.2.1", "tcp", 3),
            ("192.0.2.1", "udp", 1),
            ("2001:db8::1", "tcp", 0),
            ("2001:db8::1", "udp", 0),
        ] {
            series.set([ip, protocol], open);
        }
        assert_eq!(text, TextEncoder::new().encode_to_string(&judge.gather()).unwrap());
    }

    /// The judge is the library's own encoder.
    #[test]
    fn series_of_services_and_addresses_are_written_as_a_registry_would() {
        let mut metrics = SpeakerMetrics::register(&Registry::new(), "a\"b").unwrap();
        let mut text = String::new();
        metrics.write(std::iter::empty(), &[], &mut text);
        assert_eq!(text, "", "a family without series has no head");
        let key = |name| ObjectKey::new("default", name);
        let addresses = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        metrics.set_advertised(&key("web"), &addresses[..1]);
        metrics.set_advertised(&key("gone"), &addresses);
        metrics.set_withdrawn(&key("gone"));
        let values = |conflicts| l2::CounterValues {
            requests_received: 3,
            responses_sent: 2,
            gratuitous_sent: 10,
            conflicts,
        };
        let web = key("web");
        let counters = [(addresses[0], values(0)), (addresses[1], values(1))];
        metrics.write([(&web, &addresses[..])].into_iter(), &counters, &mut text);

        let judge = Registry::new();
        let announced = ANNOUNCED.register(&judge).unwrap();
        for (protocol, ip) in
            [("layer2", "192.0.2.1"), ("layer2", "2001:db8::1"), ("bgp", "192.0.2.1")]
        {
            announced.set([ip, "a\"b", protocol, "default/web"], 1);
        }
        for (metric, value) in &OF_ADDRESSES {
            let series = metric.register(&judge).unwrap();
            for (address, conflicts) in addresses.iter().zip([0, 1]) {
                if let Some(value) = value(&values(conflicts)) {
                    series.set([&address.to_string()], value);
                }
            }
        }
        let expected = TextEncoder::new().encode_to_string(&judge.gather()).unwrap();
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&text), lines(&expected));
    }
}
