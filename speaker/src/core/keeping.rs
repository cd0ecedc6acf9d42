// SPDX-License-Identifier: Apache-2.0
//! Connections that outlive a move (`--keep-connections`): the members that take part, the orders of addresses that they tell one another, and
//! the addresses that wait for tables before they are announced. Without the flag nothing of this happens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use l2::{LinkReport, Scope};
use ownership::KeepingMessage;
use steer::{
    Attachment, Flow, HOLD_TIME, Keeper, KeeperOutput, Layer, Spread, Station, Steps, Wish,
};

use super::flows::Flows;
use crate::announce::Spreading;

/// The table that the kernel of this node is to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepTable {
    /// Grows with each table. [`Core::handle_kept`] takes the number of the table that the kernel follows.
    pub version: u64,
    /// The nodes that take part and are on a link with this one.
    pub fellows: BTreeMap<Arc<str>, Station>,
    /// The steps of this node, for each address that has any.
    pub addresses: BTreeMap<IpAddr, Steps>,
    /// The addresses that several nodes serve, or have served.
    pub spread: BTreeMap<IpAddr, Arc<Spread>>,
    /// The addresses that drain here: this node had them within the linger time, and does not own them.
    pub draining: BTreeSet<IpAddr>,
    /// The flows of UDP that other nodes have told.
    pub flows: BTreeSet<Flow>,
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

/// The time between two sweeps of the addresses that no Service has any more.
const SWEEP_INTERVAL: Duration = Duration::from_mins(10);
/// The members that ask before they are known here, at most.
const UNANSWERED_LIMIT: usize = 1_000;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) keeper: Keeper,
    pub(super) flows: Flows,
    /// The links of this node, by name.
    own: Vec<(Arc<str>, Attachment)>,
    /// The links of the members that take part.
    told: BTreeMap<Arc<str>, Vec<Attachment>>,
    /// The speakers of the memberlist, this one excluded, each with the address at which it is reached.
    pub(super) members: BTreeMap<Arc<str>, IpAddr>,
    /// The addresses at which the speakers are reached that were members, until they are others.
    places: BTreeMap<Arc<str>, IpAddr>,
    /// The members that were asked for their links and orders, and have not told them yet.
    asked: BTreeMap<Arc<str>, Asked>,
    /// Those that have asked before this node knew them as members.
    unanswered: BTreeSet<Arc<str>>,
    /// The addresses that wait, each with the links on which it is to be announced.
    pub(super) waiting: BTreeMap<IpAddr, Scope>,
    /// Those of them that were gained before all members had told what they know.
    early: BTreeSet<IpAddr>,
    /// True once the kernel was told a table: before, it has that of the process before this one.
    begun: bool,
    /// The version of the table that the kernel is to be told.
    untold: Option<u64>,
    /// The messages to send, in this order; to all without a name.
    pub(super) outbox: Vec<(Option<Arc<str>>, KeepingMessage)>,
    /// True if the kernel can lead clients' frames by bucket.
    pub(super) can_spread: bool,
    /// The addresses of this node that several nodes are to serve.
    spreading: BTreeMap<IpAddr, Arc<Spreading>>,
    /// Those of them, and of earlier ones, that the keeper was told.
    spread: BTreeSet<IpAddr>,
    /// True if the nodes that serve addresses together may have to change.
    reconsider: bool,
    /// The time of the last sweep.
    swept: Option<Instant>,
    /// The addresses that may be announced now.
    pub(super) released: Vec<IpAddr>,
}

impl Keeping {
    pub(super) fn new(own: Arc<str>, linger: Duration, can_spread: bool) -> Self {
        Self {
            keeper: Keeper::new(own, linger),
            flows: Flows::default(),
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
            can_spread,
            spreading: BTreeMap::new(),
            spread: BTreeSet::new(),
            reconsider: false,
            swept: None,
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
        let attachments = self.attachments(false, orders.len());
        let attachments = self.flows.introduce(&self.keeper, to, attachments);
        self.outbox.extend(attachments.map(|message| (Some(Arc::clone(to)), message)));
        self.outbox.push((Some(Arc::clone(to)), KeepingMessage::Orders(orders)));
    }

    /// The speakers of the memberlist are these; `left` are those that have left in order.
    pub(super) fn set_members(
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
        self.follow(now);
        self.places.extend(self.members.clone());
        // The kernel of a node whose speaker has left goes on, and that of one that is missing may.
        let keeper = &self.keeper;
        let members = &self.members;
        self.told.retain(|name, _| members.contains_key(name) || keeper.may_lead(name));
        let told = &self.told;
        self.places.retain(|name, _| members.contains_key(name) || told.contains_key(name));
    }

    pub(super) fn set_links(&mut self, links: &[LinkReport]) {
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
            self.reconsider = true;
        }
    }

    pub(super) fn handle(&mut self, now: Instant, from: &Arc<str>, message: KeepingMessage) {
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
                    self.reconsider = true;
                }
                let is_member = self.members.contains_key(from);
                if asks && is_member {
                    self.introduce(from);
                } else if asks && self.unanswered.len() < UNANSWERED_LIMIT {
                    self.unanswered.insert(Arc::clone(from));
                }
                self.follow(now);
            }
            KeepingMessage::Orders(orders) => {
                if let Some(asked) = self.asked.get_mut(from) {
                    asked.heard += orders.len();
                }
                let told = orders.iter().map(|order| (order.address, order.generation));
                let told: Vec<_> = told.collect();
                self.keeper.told(now, from, orders);
                for (address, generation) in told {
                    let order = self.keeper.order(address);
                    if let Some(order) = order.filter(|order| order.generation == generation) {
                        self.flows.follow(now, self.keeper.own(), &order);
                    }
                }
            }
            KeepingMessage::Ready(ready) => {
                self.flows.heard_ready(&mut self.keeper, &ready);
                self.keeper.ready(from, &ready);
            }
            KeepingMessage::Flows(told) => self.flows.hear(now, from, told),
            KeepingMessage::Ended(name) => self.keeper.ended(now, &name),
        }
        self.asked.retain(|_, asked| !asked.is_answered());
    }

    /// The members that take part may be others now.
    fn follow(&mut self, now: Instant) {
        let fellows = self.told.keys().filter(|name| self.members.contains_key(*name));
        self.keeper.set_fellows(now, fellows.cloned().collect());
        self.reconsider = true;
    }

    /// These addresses of this node are to be served by several nodes.
    pub(super) fn set_spreading(&mut self, spreading: BTreeMap<IpAddr, Arc<Spreading>>) {
        self.reconsider |= spreading != self.spreading;
        self.spreading = spreading;
    }

    /// The members that take part and are on a link with this node, as they are reached.
    fn stations(&self) -> BTreeMap<Arc<str>, Station> {
        let stations = self.told.iter().filter_map(|(name, told)| {
            let known = self.places.get(name).copied();
            Some((Arc::clone(name), Station::find(&self.own, told, known)?))
        });
        stations.collect()
    }

    /// The wishes for these addresses: the nodes that are to serve them, of those that can be reached.
    fn wishes(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Wish> {
        let own = self.keeper.own();
        let mut stations = None;
        let mut wish = |address: IpAddr| {
            let alone = Wish::alone(address, Arc::clone(own));
            let Some(spreading) = self.spreading.get(&address) else { return alone };
            let stations = stations.get_or_insert_with(|| self.stations());
            let serves = |node: &Arc<str>| {
                node == own
                    || self.members.contains_key(node)
                        && stations.get(node).is_some_and(|it| it.has_address_of(address))
            };
            let weights = spreading.weights.iter().filter(|(node, _)| serves(node));
            let weights = weights.map(|(node, weight)| (Arc::clone(node), *weight)).collect();
            let hash = spreading.hash;
            Layer::spread(weights).map_or(alone, |layer| Wish { address, layer, hash })
        };
        addresses.into_iter().map(&mut wish).collect()
    }

    /// Takes up changes of the nodes that serve addresses of this node together.
    fn spread_anew(&mut self, now: Instant, owns: &impl Fn(&IpAddr) -> bool) {
        if !std::mem::take(&mut self.reconsider) {
            return;
        }
        self.spread.retain(owns);
        let wanted = self.spreading.keys().filter(|address| owns(address));
        self.spread.extend(wanted);
        let wishes = self.wishes(self.spread.iter().copied());
        self.keeper.insist(now, &wishes);
    }

    /// These addresses are to be announced on these links. Returns true for an address that has to wait.
    pub(super) fn gain(&mut self, now: Instant, gained: Vec<(IpAddr, Scope)>) -> BTreeSet<IpAddr> {
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
        let wishes = self.wishes(new.iter().map(|(address, _)| *address));
        let waits: BTreeSet<IpAddr> = self.keeper.gain(now, &wishes).into_iter().collect();
        self.waiting.extend(new.into_iter().filter(|(address, _)| waits.contains(address)));
        held.extend(waits);
        held
    }

    /// This address is not to be announced. Returns true if it was waiting.
    pub(super) fn lose(&mut self, address: IpAddr) -> bool {
        self.keeper.lose(address);
        self.early.remove(&address);
        self.spread.remove(&address);
        self.waiting.remove(&address).is_some()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.asked.retain(|_, asked| now < asked.until);
        self.keeper.expire(now);
        let due = self.flows.expire(now, &mut self.keeper);
        self.outbox.extend(due.map(|(to, message)| (Some(to), message)));
    }

    /// True if it is time to forget addresses; then the time of the next sweep is set.
    pub(super) fn is_sweep_due(&mut self, now: Instant) -> bool {
        let due = self.swept.is_none_or(|swept| now >= swept + SWEEP_INTERVAL);
        if due {
            self.swept = Some(now);
        }
        due
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let asked = self.asked.values().map(|asked| asked.until);
        asked.chain(self.keeper.deadline()).chain(self.flows.deadline()).min()
    }

    /// Takes up what has waited for the members' word, and what the keeper wants. `owns` is true for an address that this node announces
    /// and does not give away.
    pub(super) fn go_on(&mut self, now: Instant, owns: impl Fn(&IpAddr) -> bool) {
        if self.asked.is_empty() && !self.early.is_empty() {
            let early: Vec<IpAddr> = std::mem::take(&mut self.early).into_iter().collect();
            let wishes = self.wishes(early.iter().copied());
            let waits = self.keeper.gain(now, &wishes);
            self.released.extend(early.into_iter().filter(|address| !waits.contains(address)));
        }
        self.spread_anew(now, &owns);
        while let Some(output) = self.keeper.poll() {
            match output {
                KeeperOutput::Tell(orders) => {
                    for order in &orders {
                        self.flows.follow(now, self.keeper.own(), order);
                    }
                    self.outbox.push((None, KeepingMessage::Orders(orders)));
                }
                KeeperOutput::Answer { to, ready } => {
                    let ready = self.flows.hold_back(now, &to, ready);
                    self.outbox.push((Some(to), KeepingMessage::Ready(ready)));
                }
                KeeperOutput::Apply(version) => self.untold = Some(version),
                KeeperOutput::Release(addresses) => {
                    self.reconsider |= !self.spreading.is_empty();
                    self.released.extend(addresses);
                }
                KeeperOutput::Settled(mut addresses) => {
                    addresses.retain(&owns);
                    let wishes = self.wishes(addresses);
                    self.keeper.insist(now, &wishes);
                }
            }
        }
    }

    /// The table that the kernel is to be told, if it is to be told one. The first one waits for what the members know: a kernel that
    /// forgot the steps of the process before would break what they keep.
    pub(super) fn take_table(&mut self) -> Option<KeepTable> {
        if !self.begun && !self.asked.is_empty() {
            return None;
        }
        let version = self.untold.take()?;
        self.begun = true;
        let fellows = self.stations();
        let reached = |node: &str| fellows.contains_key(node) && !self.keeper.is_dead(node);
        let spread = self.keeper.spreads(reached);
        let (addresses, draining) = (self.keeper.steps(), self.keeper.draining());
        let flows = self.flows.table(&self.keeper);
        Some(KeepTable { version, fellows, addresses, spread, draining, flows })
    }
}
