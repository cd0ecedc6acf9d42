// SPDX-License-Identifier: Apache-2.0
//! Connections that outlive a move (`--keep-connections`): the members that take part, the orders of addresses that they tell one another, and
//! the addresses that wait for tables before they are announced. Without the flag nothing of this happens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Snapshot;
use l2::{LinkReport, Scope};
use members::{Command, Member, State};
use ownership::{EngineOrders, KeepingMessage, RingSpeaker, RingSpeakers};
use steer::{Attachment, HOLD_TIME, Keeper, KeeperOutput, Station, Steps};

use super::{Core, Effect, Leaving};

/// The table that the kernel of this node is to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepTable {
    /// Grows with each table. [`Core::handle_kept`] takes the number of the table that the kernel follows.
    pub version: u64,
    /// The nodes that take part and are on a link with this one.
    pub fellows: BTreeMap<Arc<str>, Station>,
    /// The steps of this node, for each address that has any.
    pub addresses: BTreeMap<IpAddr, Steps>,
}

/// The progress of an answer: notices may come in any order.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The time until which the member may answer. One that does not take part says nothing.
    until: Instant,
    /// The number of orders that belong to the answer, once its attachments have come.
    expected: Option<usize>,
    /// The number of orders that have come.
    heard: usize,
}

impl Asked {
    fn is_answered(&self) -> bool {
        self.expected.is_some_and(|expected| expected <= self.heard)
    }
}

/// The members that ask before they are known here, at most.
const UNANSWERED_LIMIT: usize = 1_000;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Keeping {
    keeper: Keeper,
    /// The links of this node, by name.
    own: Vec<(Arc<str>, Attachment)>,
    /// The links of the members that take part.
    told: BTreeMap<Arc<str>, Vec<Attachment>>,
    /// The speakers of the memberlist, this one excluded, each with the address at which it is reached.
    members: BTreeMap<Arc<str>, IpAddr>,
    /// The addresses at which the speakers are reached that were members, until they are others.
    places: BTreeMap<Arc<str>, IpAddr>,
    /// The members that were asked for their links and orders, and have not told them yet.
    asked: BTreeMap<Arc<str>, Asked>,
    /// Those that have asked before this node knew them as members.
    unanswered: BTreeSet<Arc<str>>,
    /// The addresses that wait, each with the links on which it is to be announced.
    waiting: BTreeMap<IpAddr, Scope>,
    /// Those of them that were gained before all members had told what they know.
    early: BTreeSet<IpAddr>,
    /// True once the kernel was told a table: before, it has that of the process before this one.
    begun: bool,
    /// The version of the table that the kernel is to be told.
    untold: Option<u64>,
    /// The messages to send, in this order; to all without a name.
    outbox: Vec<(Option<Arc<str>>, KeepingMessage)>,
    /// The addresses that may be announced now.
    released: Vec<IpAddr>,
}

impl Keeping {
    fn new(own: Arc<str>, linger: Duration) -> Self {
        Self {
            keeper: Keeper::new(own, linger),
            own: Vec::new(),
            told: BTreeMap::new(),
            members: BTreeMap::new(),
            places: BTreeMap::new(),
            asked: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            waiting: BTreeMap::new(),
            early: BTreeSet::new(),
            begun: false,
            untold: None,
            outbox: Vec::new(),
            released: Vec::new(),
        }
    }

    fn attachments(&self, asks: bool, orders: usize) -> KeepingMessage {
        let attachments = self.own.iter().map(|(_, attachment)| attachment.clone()).collect();
        let orders = u32::try_from(orders).unwrap_or(u32::MAX);
        KeepingMessage::Attachments { asks, orders, attachments }
    }

    /// Tells a member the links of this node, and the orders that no other member tells.
    fn introduce(&mut self, to: &Arc<str>) {
        let orders = self.keeper.introduction();
        self.outbox.push((Some(Arc::clone(to)), self.attachments(false, orders.len())));
        self.outbox.push((Some(Arc::clone(to)), KeepingMessage::Orders(orders)));
    }

    /// The speakers of the memberlist are these; `left` are those that have left in order.
    fn set_members(
        &mut self,
        now: Instant,
        members: BTreeMap<Arc<str>, IpAddr>,
        left: &BTreeSet<Arc<str>>,
    ) {
        for name in self.members.keys().filter(|name| left.contains(*name)) {
            self.keeper.departs(now, name);
        }
        let new = members.keys().filter(|name| !self.members.contains_key(*name));
        for name in &new.cloned().collect::<Vec<_>>() {
            let asked = Asked { until: now + HOLD_TIME, expected: None, heard: 0 };
            self.asked.insert(Arc::clone(name), asked);
            self.outbox.push((Some(Arc::clone(name)), self.attachments(true, 0)));
            if self.unanswered.remove(name) {
                self.introduce(name);
            }
        }
        self.asked.retain(|name, _| members.contains_key(name));
        self.members = members;
        self.follow();
        self.places.extend(self.members.clone());
        // The kernel of a node whose speaker has left goes on.
        let keeper = &self.keeper;
        let members = &self.members;
        self.told.retain(|name, _| members.contains_key(name) || keeper.has_departed(name));
        let told = &self.told;
        self.places.retain(|name, _| members.contains_key(name) || told.contains_key(name));
    }

    fn set_links(&mut self, links: &[LinkReport]) {
        let own = links.iter().filter(|link| link.arp || link.ndp).filter_map(|link| {
            let hardware_address = link.hardware_address?.0;
            let addresses = link.addresses.to_vec();
            Some((Arc::clone(&link.name), Attachment { hardware_address, addresses }))
        });
        let own: Vec<_> = own.collect();
        if own != self.own {
            self.own = own;
            self.outbox.push((None, self.attachments(false, 0)));
            self.keeper.refresh();
        }
    }

    fn handle(&mut self, now: Instant, from: &Arc<str>, message: KeepingMessage) {
        match message {
            KeepingMessage::Attachments { asks, orders, attachments } => {
                if let Some(asked) = self.asked.get_mut(from)
                    && !asks
                {
                    asked.expected = usize::try_from(orders).ok();
                }
                let known = self.told.insert(Arc::clone(from), attachments.clone());
                if known.is_some_and(|known| known != attachments) {
                    self.keeper.refresh();
                }
                let is_member = self.members.contains_key(from);
                if asks && is_member {
                    self.introduce(from);
                } else if asks && self.unanswered.len() < UNANSWERED_LIMIT {
                    self.unanswered.insert(Arc::clone(from));
                }
                self.follow();
            }
            KeepingMessage::Orders(orders) => {
                if let Some(asked) = self.asked.get_mut(from) {
                    asked.heard += orders.len();
                }
                self.keeper.told(now, from, orders);
            }
            KeepingMessage::Ready(ready) => self.keeper.ready(from, &ready),
        }
        self.asked.retain(|_, asked| !asked.is_answered());
    }

    /// The members that take part may be others now.
    fn follow(&mut self) {
        let fellows = self.told.keys().filter(|name| self.members.contains_key(*name));
        self.keeper.set_fellows(fellows.cloned().collect());
    }

    /// These addresses are to be announced on these links. Returns true for an address that has to wait.
    fn gain(&mut self, now: Instant, gained: Vec<(IpAddr, Scope)>) -> BTreeSet<IpAddr> {
        let mut new = Vec::new();
        let mut held = BTreeSet::new();
        for (address, scope) in gained {
            if let Some(waiting) = self.waiting.get_mut(&address) {
                *waiting = scope;
                held.insert(address);
            } else if !self.asked.is_empty() {
                self.waiting.insert(address, scope);
                self.early.insert(address);
                held.insert(address);
            } else {
                new.push((address, scope));
            }
        }
        let addresses: Vec<IpAddr> = new.iter().map(|(address, _)| *address).collect();
        let waits: BTreeSet<IpAddr> = self.keeper.gain(now, &addresses).into_iter().collect();
        self.waiting.extend(new.into_iter().filter(|(address, _)| waits.contains(address)));
        held.extend(waits);
        held
    }

    /// This address is not to be announced. Returns true if it was waiting.
    fn lose(&mut self, address: IpAddr) -> bool {
        self.keeper.lose(address);
        self.early.remove(&address);
        self.waiting.remove(&address).is_some()
    }

    fn expire(&mut self, now: Instant) {
        self.asked.retain(|_, asked| now < asked.until);
        self.keeper.expire(now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.asked.values().map(|asked| asked.until).chain(self.keeper.deadline()).min()
    }

    /// Takes up what has waited for the members' word, and what the keeper wants.
    fn go_on(&mut self, now: Instant, announced: &BTreeSet<IpAddr>) {
        if self.asked.is_empty() && !self.early.is_empty() {
            let early: Vec<IpAddr> = std::mem::take(&mut self.early).into_iter().collect();
            let waits = self.keeper.gain(now, &early);
            self.released.extend(early.into_iter().filter(|address| !waits.contains(address)));
        }
        while let Some(output) = self.keeper.poll() {
            match output {
                KeeperOutput::Tell(orders) => {
                    self.outbox.push((None, KeepingMessage::Orders(orders)));
                }
                KeeperOutput::Answer { to, ready } => {
                    self.outbox.push((Some(to), KeepingMessage::Ready(ready)));
                }
                KeeperOutput::Apply(version) => self.untold = Some(version),
                KeeperOutput::Release(addresses) => self.released.extend(addresses),
                KeeperOutput::Settled(mut addresses) => {
                    addresses.retain(|address| announced.contains(address));
                    self.keeper.insist(now, &addresses);
                }
            }
        }
    }

    /// The table that the kernel is to be told, if it is to be told one. The first one waits for what the members know: a kernel that
    /// forgot the steps of the process before would break what they keep.
    fn take_table(&mut self) -> Option<KeepTable> {
        if !self.begun && !self.asked.is_empty() {
            return None;
        }
        let version = self.untold.take()?;
        self.begun = true;
        let fellows = self.told.iter().filter_map(|(name, told)| {
            let known = self.places.get(name).copied();
            Some((Arc::clone(name), Station::find(&self.own, told, known)?))
        });
        Some(KeepTable { version, fellows: fellows.collect(), addresses: self.keeper.steps() })
    }
}

impl Core {
    /// Keeps connections through moves from now: a node that had an address is led to for `linger` after its last move. To be called at the
    /// start. Without a memberlist there is nobody to keep anything.
    pub fn keep_connections(&mut self, linger: Duration) {
        if self.membership.takes_part() {
            let own = Arc::clone(&self.speaker.options().node);
            self.keeping = Some(Keeping::new(own, linger));
        }
    }

    /// The kernel follows this version of the table; or it cannot, and the addresses are not to wait for it.
    pub fn handle_kept(&mut self, now: Instant, version: u64) {
        if let Some(keeping) = &mut self.keeping {
            keeping.keeper.applied(version);
            self.settle_keeping(now);
        }
        self.go_on();
    }

    /// The addresses that this node had within the linger time, and leads to from their new owners: open connections may be left here.
    #[must_use]
    pub fn draining(&self) -> Vec<IpAddr> {
        self.keeping.iter().flat_map(|keeping| keeping.keeper.drains()).collect()
    }

    /// The order of an address that this node keeps, for people: the generation, then the nodes, the owner first.
    #[must_use]
    pub fn order(&self, address: IpAddr) -> Option<(u64, Vec<Arc<str>>)> {
        let history = self.keeping.as_ref()?.keeper.history(address)?;
        let nodes = history.owner().into_iter().chain(history.predecessors());
        Some((history.generation(), nodes.cloned().collect()))
    }

    /// The members may have changed.
    pub(super) fn keep_members(&mut self, now: Instant, members: &[Member]) {
        // A speaker that has left hears of nobody, and its kernel goes on with the last table.
        if !matches!(self.leaving, Leaving::No | Leaving::Deciding | Leaving::HandingOver) {
            return;
        }
        let Some(keeping) = &mut self.keeping else { return };
        let RingSpeakers::Alive(alive) = self.membership.view().members() else { return };
        let own = &self.speaker.options().node;
        let ours = |name: &Arc<str>| matches!(alive.get(name), Some(RingSpeaker::Ferrolb(_)));
        let others = members.iter().filter(|member| member.name != *own && ours(&member.name));
        let others: BTreeMap<Arc<str>, IpAddr> =
            others.map(|member| (Arc::clone(&member.name), member.address.ip())).collect();
        if others != keeping.members {
            let left = members.iter().filter(|member| member.state == State::Left);
            let left = left.map(|member| Arc::clone(&member.name)).collect();
            keeping.set_members(now, others, &left);
            self.settle_keeping(now);
        }
    }

    /// Reads a notice. Returns true if it was a message of this part.
    pub(super) fn handle_keeping(&mut self, now: Instant, from: &Arc<str>, octets: &[u8]) -> bool {
        let Some(message) = KeepingMessage::decode(octets) else { return false };
        if let Some(keeping) = &mut self.keeping {
            keeping.handle(now, from, message);
            self.settle_keeping(now);
        }
        true
    }

    /// This node, or another one, claims these addresses.
    pub(super) fn keep_claimed(&mut self, now: Instant, from: &str, addresses: &[IpAddr]) {
        if let Some(keeping) = &mut self.keeping {
            keeping.keeper.claimed(now, from, addresses);
        }
    }

    pub(super) fn keep_links(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            keeping.set_links(&self.layer2.links);
        }
    }

    /// The nodes have been read: of those whose speaker has left only the ready ones serve what they had.
    pub(super) fn keep_nodes(&mut self, now: Instant, snapshot: &Snapshot) {
        if let Some(keeping) = &mut self.keeping
            && !snapshot.nodes().is_empty()
        {
            let lives = |name: &str| snapshot.nodes().get(name).is_some_and(|node| node.ready);
            keeping.keeper.retain_departed(lives);
            self.settle_keeping(now);
        }
    }

    /// Takes out of a decision's orders what has to wait for tables.
    pub(super) fn hold_back(&mut self, now: Instant, mut orders: EngineOrders) -> EngineOrders {
        let Some(keeping) = &mut self.keeping else { return orders };
        let ended = orders.change.iter().filter(|(_, scope)| scope.is_none());
        let ended: Vec<IpAddr> = ended.map(|(address, _)| *address).collect();
        for address in ended {
            keeping.lose(address);
        }
        orders.answer_only.retain(|address| !keeping.lose(*address));
        let announced = &self.announced;
        let gained = orders.change.iter().filter(|(address, _)| !announced.contains(address));
        let gained = gained.filter_map(|(address, scope)| Some((*address, scope.clone()?)));
        let held = keeping.gain(now, gained.collect());
        if !held.is_empty() {
            orders.change.retain(|(address, scope)| scope.is_none() || !held.contains(address));
            orders.tell = orders.tell.filter(|number| self.handovers.unclaim(*number, &held));
        }
        self.settle_keeping(now);
        orders
    }

    /// True if the address waits for tables.
    pub(super) fn is_held(&self, address: IpAddr) -> bool {
        self.keeping.as_ref().is_some_and(|keeping| keeping.waiting.contains_key(&address))
    }

    /// Nothing waits any more: the link has the last word, or this node may not answer.
    pub(super) fn end_holds(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            for address in keeping.waiting.keys().copied().collect::<Vec<_>>() {
                keeping.lose(address);
            }
        }
    }

    pub(super) fn expire_keeping(&mut self, now: Instant) {
        if let Some(keeping) = &mut self.keeping
            && keeping.deadline().is_some_and(|due| due <= now)
        {
            keeping.expire(now);
            self.settle_keeping(now);
        }
    }

    pub(super) fn keeping_deadline(&self) -> Option<Instant> {
        self.keeping.as_ref().and_then(Keeping::deadline)
    }

    /// Carries out what the keeping wants.
    fn settle_keeping(&mut self, now: Instant) {
        let Some(keeping) = &mut self.keeping else { return };
        keeping.go_on(now, &self.announced);
        for (to, message) in std::mem::take(&mut keeping.outbox) {
            for octets in message.encode() {
                self.effects.push_back(Effect::Agent(Command::Notify { to: to.clone(), octets }));
            }
        }
        if let Some(table) = keeping.take_table() {
            self.effects.push_back(Effect::Keep(table));
        }
        let released = std::mem::take(&mut keeping.released);
        let change: Vec<_> = released
            .into_iter()
            .filter_map(|address| Some((address, Some(keeping.waiting.remove(&address)?))))
            .collect();
        if !change.is_empty() {
            let tell = self.handovers.claim(change.iter().map(|(address, _)| *address).collect());
            self.order_engine(EngineOrders { change, tell, ..EngineOrders::default() });
        }
    }
}
