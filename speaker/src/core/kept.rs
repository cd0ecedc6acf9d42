// SPDX-License-Identifier: Apache-2.0
//! The [`Keeping`] of a [`Core`]: inputs go there, and what it wants becomes effects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Snapshot;
use members::{Command, Member, State};
use ownership::{EngineOrders, KeepingMessage, RingSpeaker, RingSpeakers};
use steer::Layer;

use super::keeping::Keeping;
use super::{Core, Effect, Leaving};

impl Core {
    /// Keeps connections through moves from now: a node that had an address is led to for `linger` after its last move. `spreads` is true if
    /// the kernel can lead clients' frames by bucket. To be called at the start. Without a memberlist there is nobody to keep anything.
    pub fn keep_connections(&mut self, linger: Duration, spreads: bool) {
        if self.membership.takes_part() {
            let own = Arc::clone(&self.speaker.options().node);
            self.keeping = Some(Keeping::new(own, linger, spreads));
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

    /// The order of an address that this node keeps, for people: the generation, then the nodes, those that serve it first.
    #[must_use]
    pub fn order(&self, address: IpAddr) -> Option<(u64, Vec<Arc<str>>)> {
        let order = self.keeping.as_ref()?.keeper.order(address)?;
        let nodes = order.layers.iter().flat_map(Layer::nodes);
        Some((order.generation, nodes.cloned().collect()))
    }

    /// The addresses that drain here: this node had them within the linger time, and connections that began here go on here.
    #[must_use]
    pub fn draining(&self) -> BTreeSet<IpAddr> {
        self.keeping.as_ref().map(|keeping| keeping.keeper.draining()).unwrap_or_default()
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

    /// The process of a member has ended, and its node goes on. The others hear so from here, since they only hear of a death.
    pub(super) fn keep_ended(&mut self, now: Instant, name: &Arc<str>) {
        if let Some(keeping) = &mut self.keeping {
            keeping.outbox.push((None, KeepingMessage::Ended(Arc::clone(name))));
            keeping.keeper.ended(now, name);
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
            keeping.flows.claimed(now, from, addresses);
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
            if keeping.is_sweep_due(now) {
                let services = snapshot.services().values();
                let used: BTreeSet<IpAddr> =
                    services.flat_map(|service| service.ingress_addresses()).collect();
                let announced = &self.announced;
                let is_used = |address| used.contains(&address) || announced.contains(&address);
                keeping.keeper.retain_addresses(is_used);
            }
            self.settle_keeping(now);
        }
    }

    /// Takes out of a decision's orders what has to wait for tables.
    pub(super) fn hold_back(&mut self, now: Instant, mut orders: EngineOrders) -> EngineOrders {
        let Some(keeping) = &mut self.keeping else { return orders };
        if keeping.can_spread {
            keeping.set_spreading(self.speaker.spread_addresses());
        }
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
    pub(super) fn settle_keeping(&mut self, now: Instant) {
        let Some(keeping) = &mut self.keeping else { return };
        let (announced, passing) = (&self.announced, &self.passing);
        let owns = |address: &IpAddr| announced.contains(address) && !passing.contains(address);
        keeping.go_on(now, owns);
        for (to, message) in std::mem::take(&mut keeping.outbox) {
            for octets in message.encode() {
                self.effects.push_back(Effect::Agent(Command::Notify { to: to.clone(), octets }));
            }
        }
        if let Some(request) = keeping.flows.take_request() {
            self.effects.push_back(Effect::ListFlows(request));
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
