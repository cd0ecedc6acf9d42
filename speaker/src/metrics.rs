// SPDX-License-Identifier: Apache-2.0
//! The speaker's metrics (contract 7.1), names and labels exact.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cluster::ObjectKey;
use prometheus::core::{AtomicU64, GenericCounter};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::tally::Tally;

/// Gauges of what is announced, counters of what was answered.
pub struct SpeakerMetrics {
    node: String,
    announced: IntGaugeVec,
    requests: IntCounterVec,
    responses: IntCounterVec,
    gratuitous: IntCounterVec,
    conflicts: IntCounterVec,
    withheld: IntGaugeVec,
    series: BTreeMap<(&'static str, ObjectKey), Vec<IpAddr>>,
}

/// Gauges of the ring; there only where there is one.
pub struct MembershipMetrics {
    members: IntGauge,
    silent: IntGaugeVec,
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
        Ok(Self { members, silent })
    }

    /// How many take part, and why this node is silent, if it is.
    pub fn set(&self, members: usize, silent: Option<&str>) {
        self.members.set(i64::try_from(members).unwrap_or(i64::MAX));
        self.silent.reset();
        self.silent.with_label_values(&[silent.unwrap_or("none")]).set(i64::from(silent.is_some()));
    }
}

fn counters(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounterVec> {
    let counter = IntCounterVec::new(Opts::new(name, help), &["ip"])?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn raise(counter: &GenericCounter<AtomicU64>, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

impl SpeakerMetrics {
    /// Registers them for the node of that name.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn register(registry: &Registry, node: &str) -> prometheus::Result<Self> {
        let announced = IntGaugeVec::new(
            Opts::new(
                "metallb_speaker_announced",
                "Services being announced from this node. This is desired state, it does not guarantee that the routing protocols have converged.",
            ),
            &["service", "protocol", "node", "ip"],
        )?;
        registry.register(Box::new(announced.clone()))?;
        let withheld = IntGaugeVec::new(
            Opts::new(
                "ferrolb_speaker_services_withheld",
                "Number of Services that this node does not announce by a protocol, by the reason.",
            ),
            &["protocol", "reason"],
        )?;
        registry.register(Box::new(withheld.clone()))?;
        Ok(Self {
            node: node.to_owned(),
            announced,
            requests: counters(
                registry,
                "metallb_layer2_requests_received",
                "Number of layer2 requests received for owned IPs.",
            )?,
            responses: counters(
                registry,
                "metallb_layer2_responses_sent",
                "Number of layer2 responses sent for owned IPs in response to requests.",
            )?,
            gratuitous: counters(
                registry,
                "metallb_layer2_gratuitous_sent",
                "Number of gratuitous layer2 packets sent for owned IPs as a result of failovers.",
            )?,
            conflicts: counters(
                registry,
                "ferrolb_layer2_conflicts",
                "Number of frames in which another station answered for or announced an owned IP.",
            )?,
            withheld,
            series: BTreeMap::new(),
        })
    }

    /// A Service is announced with these addresses by a protocol (`layer2` or `bgp`).
    pub fn set_announced(
        &mut self,
        service: &ObjectKey,
        protocol: &'static str,
        addresses: &[IpAddr],
    ) {
        self.set_withdrawn(service, protocol);
        for address in addresses {
            let ip = address.to_string();
            self.announced.with_label_values(&[service.as_str(), protocol, &self.node, &ip]).set(1);
        }
        self.series.insert((protocol, service.clone()), addresses.to_vec());
    }

    /// A Service is no longer announced by a protocol.
    pub fn set_withdrawn(&mut self, service: &ObjectKey, protocol: &'static str) {
        let series = self.series.remove(&(protocol, service.clone()));
        for address in series.unwrap_or_default() {
            let ip = address.to_string();
            // It was set above, so it is there.
            let _ =
                self.announced.remove_label_values(&[service.as_str(), protocol, &self.node, &ip]);
        }
    }

    /// How many Services are not announced from here by a protocol (`layer2` or `bgp`).
    pub fn set_withheld(&self, protocol: &'static str, tally: &Tally) {
        for (reason, count) in tally.iter() {
            self.withheld.with_label_values(&[protocol, reason]).set(count);
        }
    }

    /// Takes over the l2 engine's counters, which only grow.
    pub fn set_counters(&self, counters: &[(IpAddr, l2::CounterValues)]) {
        for (address, values) in counters {
            let ip = address.to_string();
            raise(&self.requests.with_label_values(&[&ip]), values.requests_received);
            raise(&self.responses.with_label_values(&[&ip]), values.responses_sent);
            raise(&self.gratuitous.with_label_values(&[&ip]), values.gratuitous_sent);
            if values.conflicts > 0 {
                raise(&self.conflicts.with_label_values(&[&ip]), values.conflicts);
            }
        }
    }
}
