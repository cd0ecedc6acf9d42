// SPDX-License-Identifier: Apache-2.0
//! The link that all nodes share, as their l2 engines have it: announcements are heard by whoever answers for the same address, and a
//! node's carrier may be gone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use l2::{ConflictSource, Event, LinkReport, MacAddress};

use crate::events::Arrival;
use crate::host::{Process, Told};
use crate::world::World;

/// How often the engine tells that the same station claims the same address.
const CONFLICT_INTERVAL: Duration = Duration::from_secs(60);

/// The only link of a node.
pub(crate) fn links(carrier: bool) -> Arc<Vec<LinkReport>> {
    Arc::new(vec![LinkReport {
        name: "eth0".into(),
        index: 2,
        hardware_address: None,
        up: true,
        carrier,
        addresses: Arc::new([]),
        arp: true,
        ndp: true,
        arp_reason: None,
        ndp_reason: None,
    }])
}

impl World {
    /// A node's carrier is gone, or there again. Nodes without one hear and say nothing on the link; the memberlist has a network of its own.
    pub(crate) fn set_carrier(&mut self, index: usize, carrier: bool) {
        self.hosts[index].carrier = carrier;
        if let Some(process) = &mut self.hosts[index].process {
            process.core.handle_links(links(carrier));
            process.inbox.push_back(Told::Engine(Event::LinksChanged));
        }
        self.wake_task(index);
    }

    /// A node announces these.
    pub(crate) fn announce(&mut self, index: usize, addresses: impl Iterator<Item = IpAddr>) {
        for address in addresses {
            for other in (0..self.hosts.len()).filter(|other| *other != index) {
                let carried = self.hosts[index].carrier && self.hosts[other].carrier;
                if carried && !self.cut.contains(&(index, other)) {
                    let delay = self.delay();
                    self.push(delay, other, Arrival::Frame(index, address));
                }
            }
        }
    }
}

impl Process {
    /// A frame says that another node has this address.
    pub(crate) fn frame(&mut self, now: Duration, from: usize, address: IpAddr) {
        if !self.engine.contains(&address) {
            return;
        }
        if self.answer_only.contains(&address) {
            return self.inbox.push_back(Told::Engine(Event::Claimed(address)));
        }
        let last = self.conflicts.get(&(address, from));
        if last.is_none_or(|last| now >= *last + CONFLICT_INTERVAL) {
            self.conflicts.insert((address, from), now);
            let number = u8::try_from(from).unwrap();
            self.inbox.push_back(Told::Engine(Event::Conflict {
                address,
                interface: "eth0".into(),
                hardware_address: MacAddress([2, 0, 0, 0, 0, number]),
                found_by: ConflictSource::Heard,
            }));
        }
    }
}
