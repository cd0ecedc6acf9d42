// SPDX-License-Identifier: Apache-2.0
//! The knowledge of one address: its orders, until when an order stands beside the one before, when predecessors are
//! forgotten, and what an address waits for.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tables::Tables;
use super::{CLAIM_SETTLE_TIME, REST_TIME, SETTLE_TIME, SPREAD_SETTLE_TIME, SWITCH_TIME, Wish};
use crate::address::Address;
use crate::history::History;
use crate::order::{Layer, MOST_LAYERS, Order};
use crate::spread::{HashBy, Spread};

/// The knowledge of one address.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    address: Address,
    /// The layers, where any has several nodes.
    spreading: Option<Spreading>,
    /// The node that announces the address, as far as it is known. None: it is dead.
    pub(super) announcer: Option<Arc<str>>,
    /// The time at which the steps of the generation before go.
    settles: Option<Instant>,
    /// The time from which all nodes should have settled, and the next table of buckets may come.
    rests: Option<Instant>,
    /// The time at which clients' frames go by the newest table of buckets in any case.
    switches: Option<Instant>,
    /// The generations of the linger time, each with the time at which it was told.
    began: VecDeque<(u64, Instant)>,
}

/// The order of an address that several nodes serve, or have served.
#[derive(Clone, Debug)]
struct Spreading {
    generation: u64,
    hash: HashBy,
    /// The newest first, each with the generation that took its place; none took that of the first one.
    layers: Vec<(Layer, u64)>,
}

/// A new order of this node, which waits for tables.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) generation: u64,
    /// The nodes whose answers are missing.
    pub(super) fellows: BTreeSet<Arc<str>>,
    /// The version of this node's own table that the kernel has to follow; none once it does.
    pub(super) version: Option<u64>,
    pub(super) until: Instant,
}

impl Hold {
    pub(super) fn is_over(&self) -> bool {
        self.fellows.is_empty() && self.version.is_none()
    }
}

impl Spreading {
    fn of(generation: u64, order: &Order, known: Option<&Self>) -> Self {
        let until = |layer: &Layer| {
            let known = known.into_iter().flat_map(|known| known.layers.iter().skip(1));
            known.filter(|(other, _)| other == layer).map(|(_, until)| *until).next()
        };
        let former = order.layers.iter().skip(1).take(MOST_LAYERS - 1);
        let former = former.map(|layer| (layer.clone(), until(layer).unwrap_or(generation)));
        let newest = order.layers.first().map(|layer| (layer.clone(), u64::MAX));
        Self { generation, hash: order.hash, layers: newest.into_iter().chain(former).collect() }
    }

    fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().map(|(layer, _)| layer)
    }
}

impl Kept {
    /// An address of which nothing was known, by an order with at least one layer.
    pub(super) fn told_first(
        now: Instant,
        from: &Arc<str>,
        order: &Order,
        tables: &mut Tables,
    ) -> Option<Self> {
        let first = order.layers.first()?;
        let owner = first.nodes().next()?;
        let (address, spreading) = match order.owners() {
            Some(owners) => (Address::owned(History::told_first(order.generation, &owners)?), None),
            None => {
                let mut address = Address::owned(History::new(0, Arc::clone(owner)));
                address.adopt(order.generation, &tables.of(&order.layers));
                address.settle();
                (address, Some(Spreading::of(order.generation, order, None)))
            }
        };
        let began = VecDeque::from([(order.generation, now)]);
        let announcer = Some(Arc::clone(from));
        let (settles, rests, switches) = (None, None, None);
        Some(Self { address, spreading, announcer, settles, rests, switches, began })
    }

    /// The number of the newest order.
    pub(super) fn generation(&self) -> u64 {
        let history = || self.address.history().map_or(0, History::generation);
        self.spreading.as_ref().map_or_else(history, |spreading| spreading.generation)
    }

    /// The nodes that serve the address. None if their owner is dead.
    pub(super) fn newest(&self) -> Option<Layer> {
        match &self.spreading {
            Some(spreading) => spreading.layers().next().cloned(),
            None => self.history()?.owner().cloned().map(Layer::owned),
        }
    }

    /// The history of an address that an owner alone serves, and did before.
    pub(super) fn history(&self) -> Option<&History> {
        self.address.history()
    }

    fn hash(&self) -> HashBy {
        self.spreading.as_ref().map(|spreading| spreading.hash).unwrap_or_default()
    }

    /// The order, as it is told to others.
    pub(super) fn order(&self, address: IpAddr) -> Order {
        let layers = match (&self.spreading, self.history()) {
            (Some(spreading), _) => spreading.layers().cloned().collect(),
            (None, Some(history)) => {
                let nodes = history.owner().into_iter().chain(history.predecessors());
                nodes.cloned().map(Layer::owned).collect()
            }
            (None, None) => Vec::new(),
        };
        Order { address, generation: self.generation(), hash: self.hash(), layers }
    }

    /// The node that announced the address until now, if this one did not. None if that node is dead.
    pub(super) fn former(&self, own: &str) -> Option<Arc<str>> {
        let former = match self.history() {
            Some(history) => history.owner(),
            None => self.announcer.as_ref(),
        };
        former.filter(|former| ***former != *own).cloned()
    }

    /// True if by the newest order this node announces the address.
    pub(super) fn is_of(&self, own: &str) -> bool {
        match self.history() {
            Some(history) => history.owner().is_some_and(|owner| **owner == *own),
            None => self.announcer.as_deref() == Some(own),
        }
    }

    /// True if any layer has several nodes.
    pub(super) fn is_spread(&self) -> bool {
        self.spreading.is_some()
    }

    /// This order takes the place of the one that is known, if it is newer. Of two orders with one generation the one whose
    /// newest layer is greater holds, so that all nodes keep the same one.
    pub(super) fn told(
        &mut self,
        now: Instant,
        from: &Arc<str>,
        order: &Order,
        tables: &mut Tables,
    ) -> bool {
        let Some(newest) = order.layers.first() else { return false };
        let known = self.newest();
        if (order.generation, Some(newest)) <= (self.generation(), known.as_ref()) {
            return false;
        }
        match (&self.spreading, order.owners()) {
            (None, Some(owners)) => {
                self.address.change_history(|history| history.told(order.generation, &owners));
            }
            (known, _) => {
                let spreading = Spreading::of(order.generation, order, known.as_ref());
                self.address.adopt(order.generation, &tables.of(&order.layers));
                self.spreading = Some(spreading);
                self.switches = Some(now + SWITCH_TIME);
            }
        }
        self.announcer = Some(Arc::clone(from));
        self.began.push_back((order.generation, now));
        let time = if self.is_spread() { SPREAD_SETTLE_TIME } else { SETTLE_TIME };
        self.settles = Some(now + time);
        true
    }

    /// True if the steps of two generations are in use, and a third one would have to wait: where the nodes change that serve
    /// buckets, or are about to. A death does not wait.
    pub(super) fn is_busy(&self, own: &str, dead: &BTreeSet<Arc<str>>) -> bool {
        let serves = self.is_spread() || self.is_of(own);
        let is_dead = |newest: Layer| newest.nodes().any(|node| dead.contains(node));
        serves && !self.is_at_rest() && !self.newest().is_none_or(is_dead)
    }

    /// The order that fulfils a wish of this node. None if the newest one does.
    ///
    /// Where a node of the newest layer is dead, `own` serves its buckets until all have the new table, and so is the
    /// predecessor of all.
    pub(super) fn order_of(
        &self,
        wish: &Wish,
        own: &Arc<str>,
        dead: &BTreeSet<Arc<str>>,
    ) -> Option<Order> {
        let known = self.order(wish.address);
        let is_spread = wish.layer.owner().is_none();
        let hash = if is_spread { wish.hash } else { known.hash };
        let comes_up = self.newest().as_ref() == Some(&wish.layer);
        if comes_up && (hash == known.hash || !is_spread) {
            return None;
        }
        let mut layers = vec![wish.layer.clone()];
        let newest = known.layers.first().filter(|_| self.is_spread());
        if newest.is_some_and(|newest| newest.nodes().any(|node| dead.contains(node))) {
            layers.push(Layer::owned(Arc::clone(own)));
        }
        // Buckets by another hash are other connections.
        if hash == known.hash || !self.is_spread() {
            let former = known.layers.iter().filter(|layer| !layers.contains(layer)).cloned();
            layers.extend(former.collect::<Vec<_>>());
        }
        layers.truncate(MOST_LAYERS);
        Some(Order { address: wish.address, generation: self.generation() + 1, hash, layers })
    }

    /// Clients' frames go by the newest table of buckets.
    pub(super) fn switch(&mut self) {
        self.address.switch();
        self.switches = None;
    }

    /// The node is dead.
    pub(super) fn died(&mut self, name: &str) -> bool {
        self.announcer.take_if(|announcer| **announcer == *name);
        let before = self.address.clone();
        self.address.died(name);
        if let Some(spreading) = &mut self.spreading {
            let is_dead = |layer: &Layer| layer.owner().is_some_and(|owner| **owner == *name);
            spreading.layers.retain(|(layer, _)| !is_dead(layer));
        }
        self.stand_in();
        if self.address.is_settled() {
            self.settles = None;
        }
        self.address != before
    }

    /// The node that announces the address serves the buckets of the dead until the next table holds.
    fn stand_in(&mut self) {
        if let Some(node) = self.standing_in().cloned() {
            self.address.stand_in(&node);
        }
    }

    fn standing_in(&self) -> Option<&Arc<str>> {
        self.spreading.as_ref()?.layers().nth(1).and_then(Layer::owner)
    }

    /// These nodes are dead: an order may name them all the same.
    pub(super) fn without(&mut self, dead: &BTreeSet<Arc<str>>) {
        if self.is_spread() {
            self.address.retain(|node| !dead.contains(node));
            self.stand_in();
        }
    }

    /// A node announces the address. The former owner falls silent.
    pub(super) fn claimed(&mut self, now: Instant, from: &str) {
        if self.announcer.as_deref() != Some(from) {
            self.announcer = Some(from.into());
        }
        let owner = self.history().and_then(History::owner);
        if owner.is_some_and(|owner| **owner == *from)
            && let Some(settles) = &mut self.settles
        {
            *settles = (*settles).min(now + CLAIM_SETTLE_TIME);
        }
    }

    /// True if here, and as far as is known everywhere, no steps of a generation before stand beside those of the newest one.
    pub(super) fn is_at_rest(&self) -> bool {
        self.address.is_settled() && self.rests.is_none()
    }

    pub(super) fn has_predecessors(&self) -> bool {
        self.address.has_predecessors()
    }

    /// True if some node serves the address.
    pub(super) fn is_served(&self) -> bool {
        self.newest().is_some()
    }

    /// Does what has become due. Returns true if something changed.
    pub(super) fn expire(&mut self, now: Instant, linger: Duration) -> bool {
        let mut changed = false;
        if self.switches.take_if(|at| *at <= now).is_some() {
            self.address.switch();
            changed = true;
        }
        self.rests.take_if(|at| *at <= now);
        if self.settles.take_if(|at| *at <= now).is_some() {
            self.address.settle();
            self.rests = self.is_spread().then_some(now + REST_TIME);
            changed = true;
        }
        while let Some((generation, at)) = self.began.front().copied()
            && at + linger <= now
        {
            self.began.pop_front();
            let before = self.address.clone();
            self.address.expire(generation);
            if let Some(spreading) = &mut self.spreading {
                spreading.layers.retain(|(_, until)| *until > generation);
            }
            changed |= self.address != before;
        }
        changed | self.gather()
    }

    /// An address that one owner serves, and whose other layers are forgotten, is not spread any more.
    fn gather(&mut self) -> bool {
        if self.settles.is_some() {
            return false;
        }
        let Some(Spreading { generation, layers, .. }) = &self.spreading else { return false };
        let [(layer, _)] = layers.as_slice() else { return false };
        let Some(owner) = layer.owner() else { return false };
        self.address = Address::owned(History::new(*generation, Arc::clone(owner)));
        self.spreading = None;
        true
    }

    pub(super) fn deadline(&self, linger: Duration) -> Option<Instant> {
        let lingers = self.began.front().map(|(_, at)| *at + linger);
        self.settles.into_iter().chain(self.switches).chain(self.rests).chain(lingers).min()
    }

    /// The part of a node in an address that is spread, where fellows that are not reached are left out. Of those that are missing no bucket
    /// is left, and their connections are led to them.
    pub(super) fn spread<'a>(
        &self,
        own: &str,
        reaches: impl Fn(&str) -> bool,
        missing: impl Iterator<Item = &'a Arc<str>>,
    ) -> Option<Spread> {
        let hash = self.spreading.as_ref()?.hash;
        let mut address = self.address.clone();
        address.retain(|node| node == own || reaches(node));
        let missing: Vec<&Arc<str>> = missing.collect();
        if let Some(node) = self.standing_in() {
            address.stand_in(node);
            for name in &missing {
                address.stand_in_for(name, node);
            }
        }
        let mut spread = Spread::of(&address, hash, own, reaches);
        for node in &mut spread.buckets {
            node.take_if(|node| missing.contains(&&*node));
        }
        Some(spread)
    }
}
