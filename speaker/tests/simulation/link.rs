// SPDX-License-Identifier: Apache-2.0
//! The link that all nodes share, as their l2 engines have it: announcements are heard by whoever answers for the same address, and a
//! node's carrier may be gone.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use l2::{ConflictSource, Event, LinkReport, MacAddress, Precedence};

use crate::events::Arrival;
use crate::host::{Process, Told};
use crate::world::World;

/// How often the engine tells that the same station claims the same address.
const CONFLICT_INTERVAL: Duration = Duration::from_secs(60);

/// A frame that has waited longer is not answered.
const STALE: Duration = Duration::from_millis(100);
/// The number of the station that is no speaker.
const STRANGER: usize = 200;

/// A station that is no speaker.
#[derive(Clone, Debug)]
pub(crate) enum Stranger {
    /// It has these addresses.
    Has(BTreeSet<IpAddr>),
    /// It answers for whatever is asked: a proxy.
    Everything,
}

/// The hardware address of a node.
pub(crate) fn hardware_address(index: usize) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, u8::try_from(index).unwrap()])
}

/// The links of a node; `keeps` is true where nodes tell one another their stations.
pub(crate) fn links(index: usize, carrier: bool, keeps: bool) -> Arc<Vec<LinkReport>> {
    let address = (crate::world::address(index).ip(), 24);
    Arc::new(vec![LinkReport {
        name: "eth0".into(),
        index: 2,
        hardware_address: keeps.then(|| hardware_address(index)),
        up: true,
        carrier,
        addresses: if keeps { Arc::new([address]) } else { Arc::new([]) },
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
            process.core.handle_links(links(index, carrier, self.keeps));
            process.inbox.push_back(Told::Engine(Event::LinksChanged));
        }
        self.wake_task(index);
    }

    /// A node announces these.
    pub(crate) fn announce(&mut self, index: usize, addresses: impl Iterator<Item = IpAddr>) {
        for address in addresses {
            for other in (0..self.hosts.len()).filter(|other| *other != index) {
                if self.carries(index, other) {
                    let delay = self.delay();
                    self.push(delay, other, Arrival::Frame(index, address));
                }
            }
        }
    }

    /// From now the judge goes by what the link's frames reach.
    pub(crate) fn judge_link(&mut self) {
        let cut = self.link_cut.as_ref().unwrap_or(&self.cut);
        self.judge.cut(self.now, cut);
    }

    /// Whether a frame passes from one node to another.
    fn carries(&self, from: usize, to: usize) -> bool {
        let cut = self.link_cut.as_ref().unwrap_or(&self.cut);
        self.hosts[from].carrier && self.hosts[to].carrier && !cut.contains(&(from, to))
    }

    /// A node asks the link for these.
    pub(crate) fn probe(&mut self, index: usize, addresses: &[IpAddr]) {
        let Some(process) = &mut self.hosts[index].process else { return };
        process.answered.retain(|(address, ..)| !addresses.contains(address));
        let precedence = process.precedence;
        for address in addresses.iter().copied() {
            for other in (0..self.hosts.len()).filter(|other| *other != index) {
                if self.carries(index, other) {
                    let (delay, sent) = (self.delay(), self.now);
                    let probe = Arrival::Probe { from: index, address, precedence, sent };
                    self.push(delay, other, probe);
                }
            }
            let answers = match &self.stranger {
                Some(Stranger::Has(addresses)) => addresses.contains(&address),
                Some(Stranger::Everything) => true,
                None => false,
            };
            if answers && self.hosts[index].carrier {
                let delay = self.delay();
                self.push(delay, index, Arrival::Answer(STRANGER, address));
            }
        }
    }

    /// Another node asks for an address; the engine answers, or reports it.
    pub(crate) fn handle_probe(
        &mut self,
        index: usize,
        from: usize,
        address: IpAddr,
        theirs: Precedence,
        sent: Duration,
    ) {
        let speaks = self.hosts[index].may_answer(self.now) && self.now - sent <= STALE;
        let Some(process) = &mut self.hosts[index].process else { return };
        let ours = process.precedence;
        let rank = |of: Precedence, index: usize| (Reverse(of.members), of.position, index);
        let outranked = rank(theirs, from) < rank(ours, index);
        let watched = process.watched.contains(&address);
        if watched && outranked {
            process.claim(from, address, true);
        } else if process.engine.contains(&address)
            && !process.answer_only.contains(&address)
            && speaks
            && self.carries(index, from)
        {
            let delay = self.delay();
            self.push(delay, from, Arrival::Answer(index, address));
        }
    }
}

impl Process {
    /// A frame says that another node has this address.
    pub(crate) fn frame(&mut self, now: Duration, from: usize, address: IpAddr) {
        self.claim(from, address, false);
        if !self.engine.contains(&address) {
            return;
        }
        if self.answer_only.contains(&address) {
            return self.inbox.push_back(Told::Engine(Event::Claimed(address)));
        }
        let last = self.conflicts.get(&(address, from));
        if last.is_none_or(|last| now >= *last + CONFLICT_INTERVAL) {
            self.conflicts.insert((address, from), now);
            self.inbox.push_back(Told::Engine(Event::Conflict {
                address,
                interface: "eth0".into(),
                hardware_address: hardware_address(from),
                found_by: ConflictSource::Heard,
            }));
        }
    }

    /// Another station claims an address: that is reported once a question, if the address is watched.
    pub(crate) fn claim(&mut self, from: usize, address: IpAddr, by_probe: bool) {
        if self.watched.contains(&address) && self.answered.insert((address, from, by_probe)) {
            self.inbox.push_back(Told::Engine(Event::Answered {
                address,
                interface: "eth0".into(),
                hardware_address: hardware_address(from),
                by_probe,
            }));
        }
    }
}
