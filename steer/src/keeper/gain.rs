// SPDX-License-Identifier: Apache-2.0
//! The orders of this node: the next generation, and the wait for the tables that it needs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::kept::{Hold, Kept};
use super::{HOLD_TIME, Keeper, KeeperOutput, Wish};
use crate::order::{Layer, Order};
use crate::spread::HashBy;

impl Wish {
    /// The node serves the address alone.
    #[must_use]
    pub fn alone(address: IpAddr, node: Arc<str>) -> Self {
        Self { address, layer: Layer::owned(node), hash: HashBy::default() }
    }
}

impl Keeper {
    /// This node announces these addresses from now. Returns the ones that are not to be announced before they are
    /// released; the others may be announced at once.
    ///
    /// A change of buckets waits until the last one has settled, unless a node has died: [`KeeperOutput::Settled`] tells when.
    pub fn gain(&mut self, now: Instant, wishes: &[Wish]) -> Vec<IpAddr> {
        let (mut held, mut orders) = (Vec::new(), Vec::new());
        for wish in wishes {
            let address = wish.address;
            let own = Arc::clone(&self.own);
            if !self.addresses.contains_key(&address) {
                // Until the kernels follow, the node serves an address alone that several are to serve.
                let layers = vec![Layer::owned(Arc::clone(&own))];
                let order = Order { address, generation: 1, hash: wish.hash, layers };
                let kept = Kept::told_first(now, &own, &order, &mut self.tables);
                self.addresses.extend(kept.map(|kept| (address, kept)));
                if wish.layer.owner() == Some(&own) {
                    orders.push(order);
                    continue;
                }
            }
            let Some(kept) = self.addresses.get_mut(&address) else { continue };
            let lost = self.dead.iter().chain(self.missing.keys()).cloned().collect();
            if kept.is_busy(&own, &lost) {
                continue;
            }
            let Some(order) = kept.order_of(wish, &own, &lost) else { continue };
            let former = kept.former(&own);
            let waits = order.layers.iter().flat_map(Layer::nodes);
            let fellows: BTreeSet<Arc<str>> =
                waits.filter(|name| self.fellows.contains(*name)).cloned().collect();
            let has_buckets = kept.is_spread() || order.owners().is_none();
            kept.told(now, &own, &order, &mut self.tables);
            kept.without(&self.dead);
            let generation = order.generation;
            orders.push(order);
            let answers = former.is_some_and(|former| self.fellows.contains(&former));
            // The frames of clients wait for tables, also where the address does not.
            if answers || has_buckets {
                let version = Some(self.version + 1);
                let until = now + HOLD_TIME;
                self.holds.insert(address, Hold { generation, fellows, version, until });
            }
            if answers {
                held.push(address);
            }
        }
        if !orders.is_empty() {
            self.outputs.push_back(KeeperOutput::Tell(orders));
            self.change();
        }
        held
    }

    /// This node announces these addresses, and goes on, although by the last order others do: two nodes may have begun with
    /// an address at once, and not heard of one another. Or the nodes that are to serve an address are others now.
    pub fn insist(&mut self, now: Instant, wishes: &[Wish]) {
        for address in self.gain(now, wishes) {
            let is_spread = self.addresses.get(&address).is_some_and(Kept::is_spread);
            if !is_spread {
                self.lose(address);
            }
        }
    }

    /// The table has changed otherwise than by orders. If one of these addresses waits for tables, it waits for this one as well.
    pub fn refresh_for(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.change();
        for (_, hold) in self.holds.iter_mut().filter(|(address, _)| addresses.contains(address)) {
            hold.version = Some(self.version);
        }
    }

    /// This node is not to announce this address after all.
    pub fn lose(&mut self, address: IpAddr) {
        self.holds.remove(&address);
    }

    pub(super) fn settle_holds(&mut self) {
        let over = self.holds.iter().filter(|(_, hold)| hold.is_over());
        let over = over.map(|(address, _)| *address).collect();
        self.release(over);
    }

    pub(super) fn release(&mut self, addresses: Vec<IpAddr>) {
        if addresses.is_empty() {
            return;
        }
        let mut switched = false;
        for address in &addresses {
            self.holds.remove(address);
            if let Some(kept) = self.addresses.get_mut(address).filter(|kept| kept.is_spread()) {
                kept.switch();
                switched = true;
            }
        }
        self.outputs.push_back(KeeperOutput::Release(addresses));
        if switched {
            self.change();
        }
    }
}
