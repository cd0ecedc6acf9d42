// SPDX-License-Identifier: Apache-2.0
//! The part of one node in keeping connections through moves (`--keep-connections`): who had which address before, as the
//! nodes tell one another, and when a new owner may announce. A synchronous value without sockets and clock.
//!
//! ```text
//!   new owner                              fellows of the order
//!   gain: the next generation ──── Order ────────> their tables change
//!   its own table changes                  <─────── Ready ────┘
//!   Release: announced now; the former owner lets go
//!   0.3 s after the claim (or 3 s after the order) each node settles: the steps of the generation before go
//! ```
//!
//! A hold ends after [`HOLD_TIME`] in any case, and an address whose former owner is dead is never held: keeping is not
//! worth an address that nobody answers for.

mod kept;
mod queries;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::history::{History, LONGEST_ORDER};
use kept::{Hold, Kept};

/// The longest time that an address waits for the tables of the nodes that had it. Its former owner answers meanwhile,
/// for a second.
pub const HOLD_TIME: Duration = Duration::from_millis(500);
/// The time after a move was told in which its former owner may still answer if nobody hears the new owner's claim: the
/// hold, and the second in which an owner waits for the claim of the next, and as much again.
pub const SETTLE_TIME: Duration = Duration::from_secs(3);
/// The same time after the new owner's claim was heard: the former owner may hear it a little later.
pub const CLAIM_SETTLE_TIME: Duration = Duration::from_millis(300);

/// The order of an address, as one node tells it: the owner first, then the nodes that had the address before it, the
/// last one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The address.
    pub address: IpAddr,
    /// The number of the move that made this order: of two orders the one with the greater number holds.
    pub generation: u64,
    /// One to [`LONGEST_ORDER`] names of nodes.
    pub nodes: Vec<Arc<str>>,
}

/// The answer to an [`Order`]: the sender's table follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ready {
    /// The address.
    pub address: IpAddr,
    /// The generation of the order.
    pub generation: u64,
}

/// Something to be done, in this sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeeperOutput {
    /// Tell these orders to all.
    Tell(Vec<Order>),
    /// Answer a node whose orders this node's table follows now.
    Answer {
        /// The receiver.
        to: Arc<str>,
        /// The answers.
        ready: Vec<Ready>,
    },
    /// The table has changed: the kernel is to follow, and [`Keeper::applied`] to be called with this number.
    Apply(u64),
    /// These addresses may be announced now.
    Release(Vec<IpAddr>),
    /// By the last order another node owns these addresses, and should have them by now. A node that announces one of them all the same
    /// calls [`Keeper::insist`].
    Settled(Vec<IpAddr>),
}

/// See the module's head.
#[derive(Debug)]
pub struct Keeper {
    own: Arc<str>,
    linger: Duration,
    /// The members that take part, this node excluded.
    fellows: BTreeSet<Arc<str>>,
    /// The nodes whose speaker has left in order, with the time: their kernels go on.
    departed: BTreeMap<Arc<str>, Instant>,
    /// The nodes that took part, and are dead.
    dead: BTreeSet<Arc<str>>,
    addresses: BTreeMap<IpAddr, Kept>,
    holds: BTreeMap<IpAddr, Hold>,
    /// The number of the newest table, and of the one that the kernel follows.
    version: u64,
    applied: u64,
    /// The answers that wait for the kernel, each with the version that it needs.
    owed: Vec<(u64, Arc<str>, Ready)>,
    outputs: VecDeque<KeeperOutput>,
}

impl Keeper {
    /// Nothing is known yet. A predecessor is remembered for `linger` after its last move.
    #[must_use]
    pub fn new(own: Arc<str>, linger: Duration) -> Self {
        Self {
            own,
            linger,
            fellows: BTreeSet::new(),
            departed: BTreeMap::new(),
            dead: BTreeSet::new(),
            addresses: BTreeMap::new(),
            holds: BTreeMap::new(),
            version: 0,
            applied: 0,
            owed: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The members that take part are these. One that is missing now is dead, unless its speaker has left in order.
    pub fn set_fellows(&mut self, fellows: BTreeSet<Arc<str>>) {
        let before = std::mem::replace(&mut self.fellows, fellows);
        let fellows = self.fellows.clone();
        self.departed.retain(|name, _| !fellows.contains(name));
        self.dead.retain(|name| !fellows.contains(name));
        for name in before.difference(&fellows) {
            if !self.departed.contains_key(name) {
                self.died(name);
            }
            for hold in self.holds.values_mut() {
                hold.fellows.remove(name);
            }
        }
        self.settle_holds();
    }

    /// The speaker of this node leaves in order: its kernel goes on leading and serving, for the linger time.
    pub fn departs(&mut self, now: Instant, name: &Arc<str>) {
        if self.fellows.contains(name) {
            self.departed.insert(Arc::clone(name), now);
        }
    }

    /// True for a node whose speaker has left in order within the linger time, and is not back.
    #[must_use]
    pub fn has_departed(&self, name: &str) -> bool {
        self.departed.contains_key(name)
    }

    /// Of the nodes whose speaker has left in order only these go on: the API says that the others are not ready, or are
    /// gone.
    pub fn retain_departed(&mut self, lives: impl Fn(&str) -> bool) {
        let dead: Vec<Arc<str>> =
            self.departed.keys().filter(|name| !lives(name)).cloned().collect();
        for name in dead {
            self.departed.remove(&name);
            self.died(&name);
        }
    }

    /// This node owns these addresses from now. Returns the ones that are not to be announced before they are released;
    /// the others may be announced at once.
    pub fn gain(&mut self, now: Instant, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let (mut held, mut orders) = (Vec::new(), Vec::new());
        for address in addresses {
            let known = self.addresses.get_mut(address);
            let generation = known.as_ref().map_or(1, |kept| kept.history.generation() + 1);
            let Some(kept) = known else {
                let history = History::new(generation, Arc::clone(&self.own));
                orders.push(order(*address, &history));
                self.addresses.insert(*address, Kept::new(now, history));
                continue;
            };
            let former = kept.history.owner().cloned();
            if !kept.moved(now, generation, &self.own) {
                continue;
            }
            orders.push(order(*address, &kept.history));
            let waits = kept.history.predecessors().filter(|name| self.fellows.contains(*name));
            let fellows: BTreeSet<Arc<str>> = waits.cloned().collect();
            if former.is_some_and(|former| self.fellows.contains(&former)) {
                let version = Some(self.version + 1);
                let until = now + HOLD_TIME;
                self.holds.insert(*address, Hold { generation, fellows, version, until });
                held.push(*address);
            }
        }
        if !orders.is_empty() {
            self.outputs.push_back(KeeperOutput::Tell(orders));
            self.change();
        }
        held
    }

    /// This node announces these addresses, and goes on, although by the last order others own them: two nodes may have begun with an address
    /// at once, and not heard of one another.
    pub fn insist(&mut self, now: Instant, addresses: &[IpAddr]) {
        for address in self.gain(now, addresses) {
            self.lose(address);
        }
    }

    /// This node is not to announce this address after all.
    pub fn lose(&mut self, address: IpAddr) {
        self.holds.remove(&address);
    }

    /// Another member tells an order.
    pub fn told(&mut self, now: Instant, from: &Arc<str>, orders: Vec<Order>) {
        let mut changed = false;
        for Order { address, generation, nodes } in orders {
            // A member that others have met already may be told before it is met here.
            let lives = |name: &&Arc<str>| !self.dead.contains(*name) || *name == from;
            let nodes: Vec<Arc<str>> =
                nodes.iter().take(LONGEST_ORDER).filter(lives).cloned().collect();
            let adopted = match self.addresses.get_mut(&address) {
                Some(kept) => kept.told(now, generation, &nodes),
                None => History::told_first(generation, &nodes).is_some_and(|history| {
                    self.addresses.insert(address, Kept::new(now, history));
                    true
                }),
            };
            changed |= adopted;
            let version = self.version + u64::from(changed);
            let ready = Ready { address, generation };
            self.owed.push((version, Arc::clone(from), ready));
        }
        if changed {
            self.change();
        }
        self.answer();
    }

    /// A node claims these addresses: it announces them, and the former owner falls silent.
    pub fn claimed(&mut self, now: Instant, from: &str, addresses: &[IpAddr]) {
        for address in addresses {
            if let Some(kept) = self.addresses.get_mut(address) {
                kept.claimed(now, from);
            }
        }
    }

    /// The table of another member follows these orders.
    pub fn ready(&mut self, from: &Arc<str>, ready: &[Ready]) {
        for Ready { address, generation } in ready {
            if let Some(hold) = self.holds.get_mut(address)
                && hold.generation == *generation
            {
                hold.fellows.remove(from);
            }
        }
        self.settle_holds();
    }

    /// The kernel follows this version of the table, or cannot: nothing waits for it any more.
    pub fn applied(&mut self, version: u64) {
        self.applied = self.applied.max(version);
        for hold in self.holds.values_mut() {
            hold.version.take_if(|needs| *needs <= version);
        }
        self.answer();
        self.settle_holds();
    }

    /// Does everything that has become due.
    pub fn expire(&mut self, now: Instant) {
        let due = self.holds.iter().filter(|(_, hold)| hold.until <= now);
        let due: Vec<IpAddr> = due.map(|(address, _)| *address).collect();
        self.release(due);
        let (mut changed, mut settled) = (false, Vec::new());
        for (address, kept) in &mut self.addresses {
            let was_settled = kept.history.is_settled();
            changed |= kept.expire(now, self.linger);
            if kept.history.is_settled() && !was_settled && kept.history.owner() != Some(&self.own)
            {
                settled.push(*address);
            }
        }
        if !settled.is_empty() {
            self.outputs.push_back(KeeperOutput::Settled(settled));
        }
        let linger = self.linger;
        self.departed.retain(|_, since| now < *since + linger);
        self.addresses.retain(|_, kept| kept.history.owner().is_some() || kept.has_predecessors());
        if changed {
            self.change();
        }
    }

    /// The time at which [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let holds = self.holds.values().map(|hold| hold.until);
        let kept = self.addresses.values().filter_map(|kept| kept.deadline(self.linger));
        holds.chain(kept).min()
    }

    /// Forgets the addresses that nobody uses any more.
    pub fn retain_addresses(&mut self, is_used: impl Fn(IpAddr) -> bool) {
        let before = self.addresses.len();
        self.addresses.retain(|address, kept| is_used(*address) || kept.has_predecessors());
        if self.addresses.len() != before {
            self.holds.retain(|address, _| self.addresses.contains_key(address));
        }
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<KeeperOutput> {
        self.outputs.pop_front()
    }

    fn died(&mut self, name: &Arc<str>) {
        self.dead.insert(Arc::clone(name));
        let mut changed = false;
        for kept in self.addresses.values_mut() {
            changed |= kept.died(name);
        }
        if changed {
            self.change();
        }
    }

    /// The orders that a new member is to hear: of the addresses that this node owns, and of those whose owner has left in
    /// order.
    #[must_use]
    pub fn introduction(&self) -> Vec<Order> {
        let told = |name: &Arc<str>| *name == self.own || self.departed.contains_key(name);
        let tells = |kept: &Kept| kept.history.owner().is_some_and(told);
        let orders = self.addresses.iter().filter(|(_, kept)| tells(kept));
        orders.map(|(address, kept)| order(*address, &kept.history)).collect()
    }

    /// The stations of fellows have changed: the kernel is to follow.
    pub fn refresh(&mut self) {
        self.change();
    }

    fn change(&mut self) {
        self.version += 1;
        self.outputs.push_back(KeeperOutput::Apply(self.version));
    }

    /// Sends the answers for which the kernel has come far enough.
    fn answer(&mut self) {
        let applied = self.applied;
        let (due, owed) = std::mem::take(&mut self.owed)
            .into_iter()
            .partition(|(version, ..)| *version <= applied);
        self.owed = owed;
        let mut answers: BTreeMap<Arc<str>, Vec<Ready>> = BTreeMap::new();
        let due: Vec<(u64, Arc<str>, Ready)> = due;
        for (_, to, ready) in due {
            answers.entry(to).or_default().push(ready);
        }
        let answers = answers.into_iter().map(|(to, ready)| KeeperOutput::Answer { to, ready });
        self.outputs.extend(answers);
    }

    fn settle_holds(&mut self) {
        let over = self.holds.iter().filter(|(_, hold)| hold.is_over());
        let over = over.map(|(address, _)| *address).collect();
        self.release(over);
    }

    fn release(&mut self, addresses: Vec<IpAddr>) {
        if addresses.is_empty() {
            return;
        }
        for address in &addresses {
            self.holds.remove(address);
        }
        self.outputs.push_back(KeeperOutput::Release(addresses));
    }
}

fn order(address: IpAddr, history: &History) -> Order {
    let nodes = history.owner().into_iter().chain(history.predecessors());
    Order { address, generation: history.generation(), nodes: nodes.cloned().collect() }
}

#[cfg(test)]
mod tests;
