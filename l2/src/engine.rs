// SPDX-License-Identifier: Apache-2.0
//! The core: links, owned addresses, schedule and conflicts as one synchronous value. It decides what is answered,
//! announced and listened for; it has no clock, no socket and no thread (`net::run` gives it those). Frames come in by
//! [`Engine::handle_frame`] ([`answer`]), links by [`Engine::upsert_link`] and [`Engine::settle`] ([`topology`]),
//! addresses by [`Engine::set_desired`] and [`Engine::watch`] ([`watch`]); out go [`SocketChange`]s, [`Membership`]s,
//! [`Transmit`]s and [`Event`]s by polling.

mod answer;
mod reach;
mod topology;
mod watch;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use crate::counters::{AddressCounters, Counters, count};
use crate::filter::{FilterPlan, Range};
use crate::frame::Frame;
use crate::frame::arp::{Arp, Operation};
use crate::frame::ndp::Ndp;
use crate::{
    Announcer, Burst, Conflicts, Desired, Event, LinkFacts, LinkReport, LinkSupport, MacAddress,
    Options, Protocol, Scope,
};
use watch::Watch;

/// Where frames come from and go to: a link, for one protocol.
pub(crate) type Port = (u32, Protocol);

/// A socket to open or to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketChange {
    /// From now frames of this protocol are wanted from the link.
    Open {
        /// The link.
        link: u32,
        /// Its name.
        interface: Arc<str>,
        /// The protocol.
        protocol: Protocol,
    },
    /// No more.
    Close {
        /// The link.
        link: u32,
        /// The protocol.
        protocol: Protocol,
    },
}

/// A multicast group to join or to leave on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The link.
    pub link: u32,
    /// The solicited-node group.
    pub group: Ipv6Addr,
    /// Join or leave.
    pub join: bool,
}

/// An answer to send at once on the port on which the question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The address that was asked for.
    pub address: IpAddr,
    /// The frame.
    pub frame: Frame,
}

/// A frame to send that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The link to send on.
    pub link: u32,
    /// The protocol, which names the socket.
    pub protocol: Protocol,
    /// The address that it is about.
    pub address: IpAddr,
    /// Whether it announces (and is counted) or asks.
    pub announces: bool,
    /// The frame.
    pub frame: Frame,
}

/// Everything that one node knows and owns.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    links: BTreeMap<u32, Link>,
    changed_links: Vec<u32>,
    own: HashSet<MacAddress>,
    owned: HashMap<IpAddr, Owned>,
    groups: BTreeMap<Ipv6Addr, usize>,
    targets: HashMap<(Scope, Protocol), Arc<[u32]>>,
    filters: BTreeMap<Port, FilterPlan>,
    announcer: Announcer,
    watch: Watch,
    conflicts: Conflicts,
    counters: Arc<Counters>,
    report: Arc<Vec<LinkReport>>,
    ports: VecDeque<SocketChange>,
    memberships: VecDeque<Membership>,
    outbox: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Link {
    facts: LinkFacts,
    verdict: LinkSupport,
    /// The facts and verdict that were last acted on; `None` for a new link.
    settled: Option<(LinkFacts, LinkSupport)>,
    gone: bool,
}

#[derive(Debug)]
struct Owned {
    scope: Scope,
    links: Arc<[u32]>,
    counters: Option<Arc<AddressCounters>>,
    /// Answered until the next owner is heard of; not announced, and no cause of a conflict.
    answers_only: bool,
    /// While it answers_only: whether it was told that another station claims it. A flood of claims is told once.
    claimed: bool,
}

impl Engine {
    /// An engine without links and addresses.
    #[must_use]
    pub fn new(options: Options, counters: Arc<Counters>) -> Self {
        let announcer = Announcer::new(options.announce_interval, options.seed);
        Self {
            options,
            links: BTreeMap::new(),
            changed_links: Vec::new(),
            own: HashSet::new(),
            owned: HashMap::new(),
            groups: BTreeMap::new(),
            targets: HashMap::new(),
            filters: BTreeMap::new(),
            announcer,
            watch: Watch::default(),
            conflicts: Conflicts::default(),
            counters,
            report: Arc::default(),
            ports: VecDeque::new(),
            memberships: VecDeque::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// From now exactly these addresses are owned. Those that stay as they are notice nothing.
    pub fn set_desired(&mut self, now: Instant, desired: &Desired) {
        let mut kept = 0;
        for (address, scope) in desired {
            kept += usize::from(self.owned.contains_key(address));
            self.change(now, *address, Some(scope));
        }
        let newly = desired.len() - kept;
        if self.owned.len() > kept + newly {
            let lost: Vec<IpAddr> = self
                .owned
                .keys()
                .filter(|address| !desired.contains_key(address))
                .copied()
                .collect();
            for address in lost {
                self.disown(now, address);
            }
        }
    }

    /// From now this address is owned where it says, or not at all; the others stay as they are.
    pub fn change(&mut self, now: Instant, address: IpAddr, scope: Option<&Scope>) {
        match (scope, self.owned.get(&address)) {
            (Some(scope), Some(owned)) if owned.answers_only => self.take_back(now, address, scope),
            (Some(scope), Some(owned)) if owned.scope == *scope => {}
            (Some(scope), Some(_)) => self.rescope(now, address, scope),
            (Some(scope), None) => self.own(now, address, scope),
            (None, Some(_)) => self.disown(now, address),
            (None, None) => {}
        }
    }

    /// From now this address, if it is owned, is only answered: it passes to another node. It stays so until the next
    /// [`Self::change`] of it.
    pub fn answer_only(&mut self, address: IpAddr) {
        if let Some(owned) = self.owned.get_mut(&address) {
            (owned.answers_only, owned.claimed) = (true, false);
            self.announcer.disown(address);
            self.outbox.retain(|transmit| transmit.address != address);
        }
    }

    /// Everything owned is announced again, as if it were new: others may have had it meanwhile.
    pub fn announce_all(&mut self, now: Instant) {
        let links: Vec<u32> = self.links.keys().copied().collect();
        for link in links {
            self.announcer.rearm(now, link, |_| true);
        }
    }

    /// How many addresses are owned.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.owned.len()
    }

    /// The next socket to open or close.
    pub fn poll_port(&mut self) -> Option<SocketChange> {
        self.ports.pop_front()
    }

    /// The next group to join or leave. The shell takes as many in a turn as it can without delaying an answer.
    pub fn poll_membership(&mut self) -> Option<Membership> {
        self.memberships.pop_front()
    }

    /// The next thing to tell the caller.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next frame that is due without having been asked for.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        loop {
            if let Some(transmit) = self.outbox.pop_front() {
                return Some(transmit);
            }
            crate::shrink(&mut self.outbox);
            // A probe waits for what is to be announced, which the whole link waits for.
            let Some(burst) = self.announcer.poll(now) else { return self.next_probe() };
            self.compose(now, burst);
        }
    }

    /// When something is due at the latest: an announcement or a filter.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let filters = self.filters.values().filter_map(FilterPlan::deadline);
        filters.chain(self.announcer.deadline()).min()
    }

    /// The next filter to replace, with its new ranges. To be called until `None`, before anything is announced.
    pub fn poll_filter(&mut self, now: Instant) -> Option<(u32, Protocol, Vec<Range>)> {
        loop {
            let port =
                self.filters.iter().find(|(_, plan)| plan.is_due(now)).map(|(port, _)| *port)?;
            let keys = self.keys(port);
            if let Some(ranges) =
                self.filters.get_mut(&port).and_then(|plan| plan.replace(now, keys))
            {
                return Some((port.0, port.1, ranges));
            }
        }
    }

    /// The kernel had no room for the filter that was given last. `false`: not even for the shortest.
    pub fn filter_too_long(&mut self, link: u32, protocol: Protocol) -> bool {
        self.filters.get_mut(&(link, protocol)).is_some_and(FilterPlan::too_long)
    }

    /// A socket that had failed works now: its filter is to be attached, and what it did not carry is to be announced.
    pub fn reopened(&mut self, now: Instant, link: u32, protocol: Protocol) {
        self.plan_filter(now, (link, protocol));
        self.announcer.rearm(now, link, |address| Protocol::of(address) == protocol);
    }

    /// The frame went out.
    pub fn answered(&mut self, reply: &Reply) {
        if let Some(owned) = self.owned.get_mut(&reply.address) {
            count(&owned.counters(&self.counters, reply.address).responses_sent);
        }
    }

    /// The frame went out.
    pub fn transmitted(&mut self, transmit: &Transmit) {
        if !transmit.announces {
            return;
        }
        if let Some(owned) = self.owned.get_mut(&transmit.address) {
            count(&owned.counters(&self.counters, transmit.address).gratuitous_sent);
        }
    }

    fn own(&mut self, now: Instant, address: IpAddr, scope: &Scope) {
        let links = self.targets_of(scope, Protocol::of(address));
        self.pass(now, address, &[], &links);
        self.announcer.own(now, address, Arc::clone(&links));
        self.owned.insert(
            address,
            Owned {
                scope: scope.clone(),
                links,
                counters: None,
                answers_only: false,
                claimed: false,
            },
        );
        self.enter_group(address);
    }

    fn rescope(&mut self, now: Instant, address: IpAddr, scope: &Scope) {
        let links = self.targets_of(scope, Protocol::of(address));
        let Some(owned) = self.owned.get_mut(&address) else { return };
        owned.scope = scope.clone();
        let before = std::mem::replace(&mut owned.links, Arc::clone(&links));
        self.pass(now, address, &before, &links);
        self.outbox
            .retain(|transmit| transmit.address != address || links.contains(&transmit.link));
        self.announcer.own(now, address, links);
    }

    /// An address that was passing to another node stays after all.
    fn take_back(&mut self, now: Instant, address: IpAddr, scope: &Scope) {
        if let Some(owned) = self.owned.get_mut(&address) {
            owned.answers_only = false;
        }
        self.rescope(now, address, scope);
    }

    fn disown(&mut self, now: Instant, address: IpAddr) {
        let Some(owned) = self.owned.remove(&address) else { return };
        self.announcer.disown(address);
        self.outbox.retain(|transmit| transmit.address != address);
        self.pass(now, address, &owned.links, &[]);
        self.quit_group(address);
    }

    /// The frames of a burst: the announcement first, so that a predecessor that makes way on hearing it is not asked before.
    fn compose(&mut self, now: Instant, burst: Burst) {
        let Burst { address, link, probe } = burst;
        let Some(facts) = self.links.get(&link).map(|link| &link.facts) else { return };
        let Some(mac) = facts.hardware_address else { return };
        let protocol = Protocol::of(address);
        let (announcements, question) = match (address, facts.link_local) {
            (IpAddr::V4(v4), _) => {
                let announce = |operation| Arp::announcement(operation, mac, v4).emit();
                (
                    [Some(announce(Operation::Request)), Some(announce(Operation::Reply))],
                    Arp::probe(mac, v4).emit(),
                )
            }
            (IpAddr::V6(v6), Some(source)) => (
                [Some(Ndp::unsolicited(mac, source, v6).emit()), None],
                Ndp::probe(mac, source, v6).emit(),
            ),
            (IpAddr::V6(_), None) => return,
        };
        let transmit = |announces, frame| Transmit { link, protocol, address, announces, frame };
        self.outbox.extend(announcements.into_iter().flatten().map(|frame| transmit(true, frame)));
        if probe {
            self.outbox.push_back(transmit(false, question));
            self.conflicts.probed(now, address, link);
        }
    }
}

impl Owned {
    fn counters(&mut self, all: &Counters, address: IpAddr) -> &AddressCounters {
        self.counters.get_or_insert_with(|| all.of(address))
    }
}

#[cfg(test)]
mod tests;
