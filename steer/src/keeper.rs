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
//!
//! Several nodes may serve an address, by bucket ([`Layer`]). Then an order holds the tables of buckets; after its release
//! clients' frames go by the newest one. A change of the owner alone needs no order.

mod gain;
mod kept;
mod queries;
mod tables;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::order::{Layer, Order, Ready};
use crate::spread::HashBy;
use kept::{Hold, Kept};
use tables::Tables;

/// The longest time that an address waits for the tables of the nodes that had it. Its former owner answers meanwhile,
/// for a second.
pub const HOLD_TIME: Duration = Duration::from_millis(500);
/// The time after a move was told in which its former owner may still answer if nobody hears the new owner's claim: the
/// hold, and the second in which an owner waits for the claim of the next, and as much again.
pub const SETTLE_TIME: Duration = Duration::from_secs(3);
/// The time after a new table of buckets was told in which each node leads clients' frames by it: longer than a hold, so that
/// every node has the steps, and shorter than the time for which it has those of the table before.
pub const SWITCH_TIME: Duration = Duration::from_secs(1);
/// The time for which a member that is missing may have ended as a process only. Members that did not find that themselves hear it
/// from the one that did, about as soon as they hear of the death.
pub const WORD_TIME: Duration = Duration::from_secs(1);
/// The same for addresses that several nodes serve, whose buckets go to others meanwhile.
pub const SPREAD_WORD_TIME: Duration = Duration::from_millis(150);
/// The same as [`SETTLE_TIME`] for buckets: longer than [`SWITCH_TIME`], by what messages and kernels take.
pub const SPREAD_SETTLE_TIME: Duration = Duration::from_millis(1_600);
/// The time for which a node that has settled waits before it changes the buckets again: the others heard of the order a little later.
pub const REST_TIME: Duration = Duration::from_millis(200);
/// The same as [`SETTLE_TIME`] after the new owner's claim was heard: the former owner may hear it a little later.
pub const CLAIM_SETTLE_TIME: Duration = Duration::from_millis(300);

/// The nodes that are to serve an address from now, by the word of the node that announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The address.
    pub address: IpAddr,
    /// The nodes: the announcing one alone, or several.
    pub layer: Layer,
    /// The field that buckets are taken from.
    pub hash: HashBy,
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
    /// The nodes of these addresses may change again, or by the last order another node owns them, and should have them by now. A node
    /// that announces one of them all the same calls [`Keeper::insist`].
    Settled(Vec<IpAddr>),
}

/// The times until which the word about a missing member may come.
#[derive(Clone, Copy, Debug)]
struct Missing {
    until: Instant,
    /// The same for addresses that several nodes serve; none once that is over.
    spread_until: Option<Instant>,
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
    /// The members that are missing, each with the time until which another member may say that only its process has ended. The
    /// steps to them stay until then.
    missing: BTreeMap<Arc<str>, Missing>,
    addresses: BTreeMap<IpAddr, Kept>,
    holds: BTreeMap<IpAddr, Hold>,
    tables: Tables,
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
            missing: BTreeMap::new(),
            addresses: BTreeMap::new(),
            holds: BTreeMap::new(),
            tables: Tables::default(),
            version: 0,
            applied: 0,
            owed: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The name of this node.
    #[must_use]
    pub fn own(&self) -> &Arc<str> {
        &self.own
    }

    /// The members that take part are these. One that is missing now is dead, unless its speaker has left in order, or another member says
    /// within [`WORD_TIME`] that only its process has ended.
    pub fn set_fellows(&mut self, now: Instant, fellows: BTreeSet<Arc<str>>) {
        let before = std::mem::replace(&mut self.fellows, fellows);
        let fellows = self.fellows.clone();
        self.departed.retain(|name, _| !fellows.contains(name));
        self.dead.retain(|name| !fellows.contains(name));
        self.missing.retain(|name, _| !fellows.contains(name));
        let mut lost = false;
        for name in before.difference(&fellows) {
            if !self.departed.contains_key(name) {
                let spread_until = Some(now + SPREAD_WORD_TIME);
                let missing = Missing { until: now + WORD_TIME, spread_until };
                self.missing.insert(Arc::clone(name), missing);
                lost = true;
            }
            for hold in self.holds.values_mut() {
                hold.fellows.remove(name);
            }
        }
        if lost {
            self.change();
        }
        self.settle_holds();
    }

    /// True for a node that does not lead or serve any more.
    #[must_use]
    pub fn is_dead(&self, name: &str) -> bool {
        self.dead.contains(name)
    }

    /// True for a node whose speaker has left, or is missing: its kernel goes on, or may.
    #[must_use]
    pub fn may_lead(&self, name: &str) -> bool {
        self.departed.contains_key(name) || self.missing.contains_key(name)
    }

    /// The process of this node's speaker has ended without leaving, and its kernel goes on, as for [`Self::departs`].
    pub fn ended(&mut self, now: Instant, name: &Arc<str>) {
        let was_missing = self.missing.remove(name).is_some();
        if was_missing || self.fellows.contains(name) {
            self.departed.insert(Arc::clone(name), now);
        }
        if was_missing {
            self.change();
        }
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

    /// Another member tells orders.
    pub fn told(&mut self, now: Instant, from: &Arc<str>, orders: Vec<Order>) {
        let mut changed = false;
        for mut order in orders {
            let (address, generation) = (order.address, order.generation);
            // A member that others have met already may be told before it is met here.
            let is_dead = |name: &Arc<str>| self.dead.contains(name) && name != from;
            order.layers.retain(|layer| !layer.owner().is_some_and(is_dead));
            let adopted = match self.addresses.get_mut(&address) {
                Some(kept) => kept.told(now, from, &order, &mut self.tables),
                None => Kept::told_first(now, from, &order, &mut self.tables).is_some_and(|kept| {
                    self.addresses.insert(address, kept);
                    true
                }),
            };
            if adopted && let Some(kept) = self.addresses.get_mut(&address) {
                kept.without(&self.dead);
            }
            changed |= adopted;
            let version = self.version + u64::from(changed);
            self.owed.push((version, Arc::clone(from), Ready { address, generation }));
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
        let lost = self.missing.extract_if(.., |_, missing| missing.until <= now);
        for (name, _) in lost.collect::<Vec<_>>() {
            self.died(&name);
        }
        let (mut changed, mut settled) = (false, Vec::new());
        for (name, missing) in &mut self.missing {
            if missing.spread_until.take_if(|until| *until <= now).is_some() {
                let spread = self.addresses.values_mut().filter(|kept| kept.is_spread());
                changed |= spread.fold(false, |changed, kept| kept.died(name) | changed);
            }
        }
        for (address, kept) in &mut self.addresses {
            let was_at_rest = kept.is_at_rest();
            changed |= kept.expire(now, self.linger);
            if kept.is_at_rest() && !was_at_rest && (kept.is_spread() || !kept.is_of(&self.own)) {
                settled.push(*address);
            }
        }
        if !settled.is_empty() {
            self.outputs.push_back(KeeperOutput::Settled(settled));
        }
        let linger = self.linger;
        self.departed.retain(|_, since| now < *since + linger);
        self.addresses.retain(|_, kept| kept.is_served() || kept.has_predecessors());
        if changed {
            self.change();
        }
    }

    /// The time at which [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let holds = self.holds.values().map(|hold| hold.until);
        let kept = self.addresses.values().filter_map(|kept| kept.deadline(self.linger));
        let words = self.missing.values();
        let words = words.map(|missing| missing.spread_until.unwrap_or(missing.until));
        holds.chain(kept).chain(words).min()
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
        let tells = |kept: &Kept| kept.newest().is_some_and(|newest| newest.nodes().any(told));
        let orders = self.addresses.iter().filter(|(_, kept)| tells(kept));
        orders.map(|(address, kept)| kept.order(*address)).collect()
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
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod spread_tests;
