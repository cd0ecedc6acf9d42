// SPDX-License-Identifier: Apache-2.0
//! The questions that are asked of a [`Keeper`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Keeper;
use crate::history::{History, Steps};

impl Keeper {
    /// The steps of this node for each address that any node has had before its owner. Those without a step for this node
    /// are left out.
    #[must_use]
    pub fn steps(&self) -> BTreeMap<IpAddr, Steps> {
        let steps =
            self.addresses.iter().map(|(address, kept)| (*address, kept.history.steps(&self.own)));
        steps.filter(|(_, steps)| *steps != Steps::default()).collect()
    }

    /// The history of an address.
    #[must_use]
    pub fn history(&self, address: IpAddr) -> Option<&History> {
        self.addresses.get(&address).map(|kept| &kept.history)
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
        let had = |history: &History| history.predecessors().any(|name| *name == self.own);
        let draining = self.addresses.iter().filter(|(_, kept)| had(&kept.history));
        draining.map(|(address, _)| *address).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::{KeeperOutput, Order};
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn an_address_drains_from_its_move_until_it_is_back_or_the_linger_time_is_over() {
        let (now, linger) = (Instant::now(), Duration::from_secs(60));
        let name = |index: usize| Arc::<str>::from(format!("n{index}"));
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let mut keeper = Keeper::new(name(0), linger);
        keeper.set_fellows([name(1), name(2)].into());
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
            let nodes: Vec<Arc<str>> = nodes.iter().copied().map(name).collect();
            keeper.told(now, &nodes[0].clone(), vec![Order { address, generation, nodes }]);
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
