// SPDX-License-Identifier: Apache-2.0
//! The speaker's metrics (contract 7.1), names and labels exact.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use cluster::ObjectKey;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::reason_counts::ReasonCounts;

/// Gauges of what is announced, counters of what was answered.
pub struct SpeakerMetrics {
    node: String,
    withheld: IntGaugeVec,
    /// What is advertised by BGP. These series, and those of addresses, are written without a registry: it would hold five of them for
    /// an address, a kilobyte each.
    advertised: BTreeMap<ObjectKey, Box<[IpAddr]>>,
}

/// A family of counters with the label `ip`.
struct OfAddresses {
    name: &'static str,
    help: &'static str,
    /// None where there is no series.
    value: fn(&l2::CounterValues) -> Option<u64>,
}

const OF_ADDRESSES: [OfAddresses; 4] = [
    OfAddresses {
        name: "ferrolb_layer2_conflicts",
        help: "Number of frames in which another station answered for or announced an owned IP.",
        value: |values| (values.conflicts > 0).then_some(values.conflicts),
    },
    OfAddresses {
        name: "metallb_layer2_gratuitous_sent",
        help: "Number of gratuitous layer2 packets sent for owned IPs as a result of failovers.",
        value: |values| Some(values.gratuitous_sent),
    },
    OfAddresses {
        name: "metallb_layer2_requests_received",
        help: "Number of layer2 requests received for owned IPs.",
        value: |values| Some(values.requests_received),
    },
    OfAddresses {
        name: "metallb_layer2_responses_sent",
        help: "Number of layer2 responses sent for owned IPs in response to requests.",
        value: |values| Some(values.responses_sent),
    },
];

/// Gauges of the ring; there only where there is one.
pub struct MembershipMetrics {
    members: IntGauge,
    silent: IntGaugeVec,
    by_link: IntGauge,
    blocked: IntGauge,
    refused: IntCounterVec,
}

impl MembershipMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let members = IntGauge::new(
            "ferrolb_members",
            "Number of speakers that take part in the ring, this one included.",
        )?;
        registry.register(Box::new(members.clone()))?;
        let silent = IntGaugeVec::new(
            Opts::new(
                "ferrolb_layer2_silent",
                "1 while this node answers and announces nothing by layer2, with the reason.",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(silent.clone()))?;
        let by_link = IntGauge::new(
            "ferrolb_layer2_announced_by_link",
            "Number of addresses that this node announces by layer2 although it sees too few speakers, because no other station answers.",
        )?;
        registry.register(Box::new(by_link.clone()))?;
        let blocked = IntGauge::new(
            "ferrolb_memberlist_blocked",
            "1 while the memberlist's port seems to be blocked: no other speaker answers, or some by TCP only.",
        )?;
        registry.register(Box::new(blocked.clone()))?;
        let refused = IntCounterVec::new(
            Opts::new(
                "ferrolb_ring_refused_total",
                "Number of datagrams, streams and ICMP errors that the memberlist's port refused, by cause.",
            ),
            &["cause"],
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { members, silent, by_link, blocked, refused })
    }

    /// The number of addresses that this node announces although the count does not let it.
    pub fn set_by_link(&self, announced: usize) {
        self.by_link.set(i64::try_from(announced).unwrap_or(i64::MAX));
    }

    /// Whether the memberlist's port seems to be blocked.
    pub fn set_blocked(&self, blocked: bool) {
        self.blocked.set(i64::from(blocked));
    }

    /// How much the ring's port has refused since the start, by cause.
    pub fn set_refused<'a>(&self, counts: impl Iterator<Item = (&'a str, u64)>) {
        for (cause, count) in counts {
            let counter = self.refused.with_label_values(&[cause]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    /// How many take part, and why this node is silent, if it is.
    pub fn set(&self, members: usize, silent: Option<&str>) {
        self.members.set(i64::try_from(members).unwrap_or(i64::MAX));
        self.silent.reset();
        self.silent.with_label_values(&[silent.unwrap_or("none")]).set(i64::from(silent.is_some()));
    }
}

/// A label's value as the text format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

impl SpeakerMetrics {
    /// Registers them for the node of that name.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn register(registry: &Registry, node: &str) -> prometheus::Result<Self> {
        let withheld = IntGaugeVec::new(
            Opts::new(
                "ferrolb_speaker_services_withheld",
                "Number of Services that this node does not announce by a protocol, by the reason.",
            ),
            &["protocol", "reason"],
        )?;
        registry.register(Box::new(withheld.clone()))?;
        Ok(Self { node: escaped(node), withheld, advertised: BTreeMap::new() })
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
            self.withheld.with_label_values(&[protocol, reason]).set(count);
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
        for OfAddresses { name, help, value } in &OF_ADDRESSES {
            let mut head = Some(format!("# HELP {name} {help}\n# TYPE {name} counter\n"));
            for (address, values) in counters {
                if let Some(value) = value(values) {
                    text.extend(head.take());
                    let _ = writeln!(text, "{name}{{ip=\"{address}\"}} {value}");
                }
            }
        }
        let (name, node) = ("metallb_speaker_announced", &self.node);
        let help = "Services being announced from this node. This is desired state, it does not guarantee that the routing protocols have \
            converged.";
        let mut head = Some(format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        let by_bgp =
            self.advertised.iter().map(|(service, addresses)| ("bgp", service, &**addresses));
        let by_l2 = announced.map(|(service, addresses)| ("layer2", service, addresses));
        for (protocol, service, addresses) in by_bgp.chain(by_l2) {
            text.extend(head.take());
            let service = escaped(service.as_str());
            for ip in addresses {
                let _ = writeln!(
                    text,
                    "{name}{{ip=\"{ip}\",node=\"{node}\",protocol=\"{protocol}\",service=\"{service}\"}} 1"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_services_and_addresses_are_written_as_a_registry_would() {
        let registry = Registry::new();
        let mut metrics = SpeakerMetrics::register(&registry, "a\"b").unwrap();
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

        // The judge: the library's own encoder.
        let judge = Registry::new();
        let announced = IntGaugeVec::new(
            Opts::new("metallb_speaker_announced", "Services being announced from this node. This is desired state, it does not guarantee that the routing protocols have converged."),
            &["service", "protocol", "node", "ip"],
        ).unwrap();
        judge.register(Box::new(announced.clone())).unwrap();
        for (protocol, ip) in
            [("layer2", "192.0.2.1"), ("layer2", "2001:db8::1"), ("bgp", "192.0.2.1")]
        {
            announced.with_label_values(&["default/web", protocol, "a\"b", ip]).set(1);
        }
        for OfAddresses { name, help, value } in &OF_ADDRESSES {
            let counter = IntCounterVec::new(Opts::new(*name, *help), &["ip"]).unwrap();
            judge.register(Box::new(counter.clone())).unwrap();
            for (address, conflicts) in addresses.iter().zip([0, 1]) {
                if let Some(value) = value(&values(conflicts)) {
                    counter.with_label_values(&[&address.to_string()]).inc_by(value);
                }
            }
        }
        let expected = prometheus::TextEncoder::new().encode_to_string(&judge.gather()).unwrap();
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&text), lines(&expected));
    }
}
