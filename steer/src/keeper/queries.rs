// SPDX-License-Identifier: Apache-2.0
//! The questions that are asked of a [`Keeper`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Keeper;
use super::kept::Kept;
use crate::history::{History, Steps};
use crate::order::{Layer, Order};
use crate::spread::Spread;

impl Keeper {
    /// The steps of this node for each address that any node has had before its owner. Those without a step for this node
    /// are left out, and those that several nodes serve: see [`Self::spreads`].
    #[must_use]
    pub fn steps(&self) -> BTreeMap<IpAddr, Steps> {
        let histories =
            self.addresses.iter().filter_map(|(address, kept)| Some((*address, kept.history()?)));
        let steps = histories.map(|(address, history)| (address, history.steps(&self.own)));
        steps.filter(|(_, steps)| *steps != Steps::default()).collect()
    }

    /// The part of this node in each address that several nodes serve, or have served. Fellows that are not reached are left
    /// out.
    #[must_use]
    pub fn spreads(&self, reaches: impl Fn(&str) -> bool) -> BTreeMap<IpAddr, Arc<Spread>> {
        let all = self.addresses.iter();
        let spread = |kept: &Kept| {
            kept.spread(&self.own, &reaches, self.missing.keys()).filter(|it| !it.is_empty())
        };
        all.filter_map(|(address, kept)| Some((*address, Arc::new(spread(kept)?)))).collect()
    }

    /// The order of an address: the nodes that serve it, then those that did before.
    #[must_use]
    pub fn order(&self, address: IpAddr) -> Option<Order> {
        self.addresses.get(&address).map(|kept| kept.order(address))
    }

    /// The addresses whose order has both this node and that one, each with its generation.
    pub fn shared_with(&self, node: &str) -> impl Iterator<Item = (IpAddr, u64)> {
        let has = |order: &Order, name: &str| order.layers.iter().any(|layer| layer.has(name));
        let orders = self.addresses.iter().map(|(address, kept)| kept.order(*address));
        let shared = orders.filter(move |order| has(order, node) && has(order, &self.own));
        shared.map(|order| (order.address, order.generation))
    }

    /// True unless the steps of two generations of the address are in use.
    #[must_use]
    pub fn is_settled(&self, address: IpAddr) -> bool {
        self.addresses.get(&address).is_none_or(Kept::is_at_rest)
    }

    /// The history of an address that one node serves, and did before.
    #[must_use]
    pub fn history(&self, address: IpAddr) -> Option<&History> {
        self.addresses.get(&address)?.history()
    }

    /// True if the address waits for tables.
    #[must_use]
    pub fn is_held(&self, address: IpAddr) -> bool {
        self.holds.contains_key(&address)
    }

    /// The addresses that drain here: this node had each of them within the linger time, and does not own it. Connections that began
    /// here go on here. A change of these addresses is a change of the table: an [`Apply`](super::KeeperOutput::Apply) comes with it.
    #[must_use]
    pub fn draining(&self) -> BTreeSet<IpAddr> {
        let has = |layer: &Layer| layer.nodes().any(|name| *name == self.own);
        let drains = |address: &IpAddr, kept: &Kept| match kept.history() {
            Some(history) => history.predecessors().any(|name| *name == self.own),
            None => {
                let served = kept.newest().is_some_and(|newest| has(&newest));
                !served && kept.order(*address).layers.iter().any(has)
            }
        };
        let draining = self.addresses.iter().filter(|(address, kept)| drains(address, kept));
        draining.map(|(address, _)| *address).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::KeeperOutput;
    use super::*;
    use crate::spread::HashBy;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn an_address_drains_from_its_move_until_it_is_back_or_the_linger_time_is_over() {
        let (now, linger) = (Instant::now(), Duration::from_secs(60));
        let name = |index: usize| Arc::<str>::from(format!("n{index}"));
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let mut keeper = Keeper::new(name(0), linger);
        keeper.set_fellows(now, [name(1), name(2)].into());
        let rows: [(&[usize], bool); 6] = [
            (&[0], false),
            (&[1, 0], true),
            (&[2, 1, 0], true),
            (&[0, 2, 1], false),
            (&[1, 2], false),
            (&[2, 1, 0], true),
        ];
        let mut before = BTreeSet::new();
        for (generation, (nodes, drains)) in (4..).zip(rows) {
            let from = name(nodes[0]);
            let layers = nodes.iter().copied().map(name).map(Layer::owned).collect();
            let order = Order { address, generation, hash: HashBy::default(), layers };
            keeper.told(now, &from, vec![order]);
            let draining = keeper.draining();
            assert_eq!(draining.contains(&address), drains, "generation {generation}");
            let outputs: Vec<_> = std::iter::from_fn(|| keeper.poll()).collect();
            let applies = outputs.iter().any(|it| matches!(it, KeeperOutput::Apply(_)));
            assert!(applies || draining == before, "generation {generation}");
            before = draining;
        }
        keeper.expire(now + linger);
        assert!(keeper.draining().is_empty());
        let outputs: Vec<_> = std::iter::from_fn(|| keeper.poll()).collect();
        assert!(outputs.iter().any(|it| matches!(it, KeeperOutput::Apply(_))), "{outputs:?}");
    }
}
