// SPDX-License-Identifier: Apache-2.0
//! The nodes that had an address before its owner, and where a packet of a connection that a node does not know goes
//! from there.
//!
//! An *order* is the owner, then the nodes that had the address before it, the last one first, each once. A move
//! makes the next *generation* of the order. A *step* of a node says: a frame from a client, or from this fellow,
//! goes to that node. A client's frame has a step at the owner alone, to the node after it. A frame from any fellow
//! that stands before a node in the order goes to the node after that node. So a packet walks through the order from
//! its head to its end, within one order never back; a fellow that has noticed a death earlier than others leaves the
//! dead node out, and the walk goes on behind it.
//!
//! Nodes do not change at once. Three times of a move, and the steps that a node has in each:
//!
//! | time | nodes | clients' frames come to |
//! |---|---|---|
//! | the move is told | some have the former generation, others both | the former owner |
//! | all nodes have it, and the new owner announces | all have both | both owners |
//! | the former owner is silent: [`History::settle`] | some have both, others the new generation | the new owner |
//!
//! With both generations a node has the steps of both, and where both have one for the same origin, the former one
//! stays. An example with four nodes: `a b n w` becomes `n a b w`. Node b has a step for frames from a in both
//! orders, to n and to w. The one to n stays: else the walk from a, where clients' frames still come in, would leave
//! out n.
//!
//! The walk from n goes `n a b n w` then: n leads on what comes from b to w, by its former place. Nodes settle one by
//! one, so that n may have settled while b has not, and the walk would end at n. So an owner keeps the steps of its
//! former place for its whole generation. No settled node sends anything there.
//!
//! Both owners may have new connections at the second time. Those of the former owner lie behind the new one; and the
//! last node of the former order leads on to the new owner, if that was not in it, so that the new owner's are
//! reached from the former one as well.
//!
//! Bounds, held by the property tests: a packet visits the new owner at most twice, every other node at most once, in
//! any mix of nodes of which some are one generation behind; that is [`MOST_HOPS`] hops. Tables of generations
//! further apart can make a ring. Only the hops end that: the first node sets the packet's TTL to [`FIRST_TTL`], and
//! a node that gets one with TTL 1 leads nothing on (K3 of docs/steering.md).
//!
//! Every function is of values alone: nodes that were told the same have the same history.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The nodes of an order at most, with the owner. Further ones are forgotten, the longest ago first.
pub const LONGEST_ORDER: usize = 8;

/// The hops of a packet at most while nodes are at most one generation apart.
pub const MOST_HOPS: usize = LONGEST_ORDER + 1;

/// The TTL (hop limit) that the first node gives a packet that it leads on. After [`MOST_HOPS`] hops enough is left
/// for the way to a pod on another node.
pub const FIRST_TTL: u8 = 16;

/// The place that a frame came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A client or a router: any station that is no fellow.
    Client,
    /// The fellow of this name.
    Fellow(&'a str),
}

/// The owner of an address and its predecessors, in the newest generation and the one before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct History {
    generation: u64,
    order: Order,
    /// The order of the generation before; kept when settled, for the owner's former place.
    before: Order,
    settled: bool,
}

/// The next hop of a packet of an address that the conntrack of this node does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steps {
    /// The node that clients' frames go to. None: they stay.
    pub client: Option<Arc<str>>,
    /// The node that the frames of each of these fellows go to. Those of other fellows stay.
    pub fellows: BTreeMap<Arc<str>, Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    owner: Option<Arc<str>>,
    former: Vec<Former>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Former {
    node: Arc<str>,
    /// The generation that began when the node had the address no more.
    until: u64,
}

impl Order {
    fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.owner.iter().chain(self.former.iter().map(|former| &former.node))
    }

    /// The node behind `own`; behind the last one that is `end`.
    fn next<'a>(
        &'a self,
        own: &str,
        origin: Origin<'_>,
        end: Option<&'a Arc<str>>,
    ) -> Option<&'a Arc<str>> {
        let place = self.nodes().position(|node| **node == *own)?;
        let comes_here = match origin {
            // A node that follows an owner that is dead is no owner.
            Origin::Client => place == 0 && self.owner.is_some(),
            Origin::Fellow(fellow) => self.nodes().take(place).any(|node| **node == *fellow),
        };
        if comes_here { self.nodes().nth(place + 1).or(end) } else { None }
    }

    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.owner.take_if(|owner| !keep(owner));
        self.former.retain(|former| keep(&former.node));
    }
}

impl History {
    /// The history of an address that nobody had before this owner.
    #[must_use]
    pub fn new(generation: u64, owner: Arc<str>) -> Self {
        let order = Order { owner: Some(owner), former: Vec::new() };
        Self { generation, order, before: Order::default(), settled: true }
    }

    /// The number of moves, as the caller counts them.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The owner of the newest generation. None if it has died and no other was named.
    #[must_use]
    pub fn owner(&self) -> Option<&Arc<str>> {
        self.order.owner.as_ref()
    }

    /// The node that serves clients' frames: the owner, or before `switched` the owner of the generation before. None if
    /// that node has died.
    #[must_use]
    pub fn served_by(&self, switched: bool) -> Option<&Arc<str>> {
        if switched || self.settled { self.owner() } else { self.before.owner.as_ref() }
    }

    /// The nodes that had the address before the owner, the last one first.
    pub fn predecessors(&self) -> impl Iterator<Item = &Arc<str>> {
        self.order.former.iter().map(|former| &former.node)
    }

    /// True if the steps of the generation before are gone.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// The address moves, in this generation. `from` is None where the former owner has died ([`Self::died`]), or is
    /// the one that is known. Returns false, and changes nothing, if the generation is not newer than the known one
    /// or the address is there already.
    ///
    /// A move before the last one has settled takes away the steps of the generation before that one.
    pub fn moved(&mut self, generation: u64, from: Option<&str>, to: &str) -> bool {
        let known = self.order.owner.as_deref();
        let from = from.or(known);
        if generation <= self.generation || from == Some(to) {
            return false;
        }
        // This node has missed a generation if the former owner is another one than it knows.
        let missed = known.filter(|known| from != Some(*known));
        let last = |node: &str| Former { node: node.into(), until: generation };
        let mut former: Vec<Former> = from.into_iter().chain(missed).map(last).collect();
        former.extend(self.order.former.iter().filter(|old| from != Some(&*old.node)).cloned());
        former.retain(|old| *old.node != *to);
        former.truncate(LONGEST_ORDER - 1);
        self.generation = generation;
        let order = Order { owner: Some(to.into()), former };
        self.before = std::mem::replace(&mut self.order, order);
        self.settled = false;
        true
    }

    /// The history of an order that another node tells, of which nothing was known: the owner first, then the nodes
    /// that had the address before, the last one first. None without a node.
    #[must_use]
    pub fn told_first(generation: u64, nodes: &[Arc<str>]) -> Option<Self> {
        let (owner, _) = nodes.split_first()?;
        let mut history = Self::new(0, Arc::clone(owner));
        history.told(generation, nodes);
        history.settle();
        Some(history)
    }

    /// Another node tells the order of a generation, as for [`Self::told_first`]. Of two orders with one generation the
    /// one whose owner has the greater name holds, so that all nodes keep the same one. Returns false, and changes
    /// nothing, for an order that does not hold.
    pub fn told(&mut self, generation: u64, nodes: &[Arc<str>]) -> bool {
        let Some(owner) = nodes.first() else { return false };
        let known = (self.generation, self.owner().map_or("", |owner| owner));
        if (generation, &**owner) <= known {
            return false;
        }
        self.before = self.put(generation, nodes);
        self.settled = false;
        true
    }

    /// The order of a generation that holds in any case: the caller has compared. If the owner stays, nothing has to
    /// settle.
    pub fn adopt(&mut self, generation: u64, nodes: &[Arc<str>]) {
        if nodes.first() == self.owner() {
            self.put(generation, nodes);
            self.settle();
        } else if !nodes.is_empty() {
            self.before = self.put(generation, nodes);
            self.settled = false;
        }
    }

    /// Until this generation has settled the node serves in place of the owner before, if that one has died.
    pub fn stand_in(&mut self, node: &Arc<str>) {
        if !self.settled && self.before.owner.is_none() {
            self.before.former.retain(|former| former.node != *node);
            self.before.owner = Some(Arc::clone(node));
        }
    }

    /// The same for an owner before that is missing, and may go on as a kernel: packets of its connections are led there.
    pub fn stand_in_for(&mut self, missing: &str, node: &Arc<str>) {
        if !self.settled && self.before.owner.as_deref() == Some(missing) {
            let missing = Former { node: missing.into(), until: self.generation };
            self.before.former.retain(|former| former.node != *node);
            self.before.former.insert(0, missing);
            self.before.owner = Some(Arc::clone(node));
        }
    }

    /// Puts an order in place of the newest one, which is returned. A predecessor that was known as one keeps its time.
    fn put(&mut self, generation: u64, nodes: &[Arc<str>]) -> Order {
        let until = |node: &Arc<str>| {
            let known = self.order.former.iter().find(|former| former.node == *node);
            known.map_or(generation, |former| former.until)
        };
        let mut order = Order { owner: nodes.first().cloned(), former: Vec::new() };
        for node in nodes.iter().skip(1) {
            let seen = order.nodes().any(|seen| seen == node);
            if !seen && order.former.len() < LONGEST_ORDER - 1 {
                order.former.push(Former { node: Arc::clone(node), until: until(node) });
            }
        }
        self.generation = generation;
        std::mem::replace(&mut self.order, order)
    }

    /// The former owner has fallen silent: the steps of the generation before go.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// Forgets the nodes that have had the address no more since this generation or an earlier one. The caller knows
    /// when each began, and how long a predecessor is kept. These nodes are the end of the order, so that it matters
    /// to no other step which node forgets them first.
    pub fn expire(&mut self, generation: u64) {
        for order in [&mut self.order, &mut self.before] {
            order.former.retain(|former| former.until > generation);
        }
    }

    /// The node is dead: no step names it any more. If it is the new owner of a move that has not settled, the former
    /// owner is the owner again.
    pub fn died(&mut self, node: &str) {
        self.retain(|other| *other != *node);
    }

    /// Takes the nodes for dead that are not kept.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.retain_bucket(keep);
        if !self.settled && self.order.owner.is_none() && self.before.owner.is_some() {
            self.order = std::mem::take(&mut self.before);
            self.settled = true;
        }
    }

    /// The same for a bucket, whose former owner does not become the owner again: the node that announces the address
    /// stands in.
    pub fn retain_bucket(&mut self, keep: impl Fn(&str) -> bool) {
        self.order.retain(&keep);
        self.before.retain(&keep);
    }

    /// The node that `own` leads a packet on to, if its conntrack does not know the connection. None: the packet
    /// stays, as it does without any rule.
    #[must_use]
    pub fn next(&self, own: &str, origin: Origin<'_>) -> Option<&Arc<str>> {
        let is_owner = self.owner().is_some_and(|owner| **owner == *own);
        let before = if !self.settled {
            // A walk of the former order ends at the new owner.
            let unseen = |owner: &&Arc<str>| self.before.nodes().all(|node| node != *owner);
            self.before.next(own, origin, self.owner().filter(unseen))
        } else if is_owner && matches!(origin, Origin::Fellow(_)) {
            self.before.next(own, origin, None)
        } else {
            None
        };
        before.or_else(|| self.order.next(own, origin, None))
    }

    /// All of [`Self::next`] for this node.
    #[must_use]
    pub fn steps(&self, own: &str) -> Steps {
        let next = |origin| self.next(own, origin).cloned();
        let nodes = self.order.nodes().chain(self.before.nodes());
        let fellows = nodes
            .filter_map(|fellow| Some((Arc::clone(fellow), next(Origin::Fellow(fellow))?)))
            .collect();
        Steps { client: next(Origin::Client), fellows }
    }
}

#[cfg(test)]
mod tests;
