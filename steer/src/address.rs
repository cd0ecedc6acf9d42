// SPDX-License-Identifier: Apache-2.0
//! All that nodes know of one address together: who serves it, by bucket or as a whole, and who did before.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::buckets::{BUCKETS, Buckets};
use crate::history::{History, Steps};

/// The owner of an address and its predecessors, or those of each of its buckets. Nodes that were told the same have
/// the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The histories that differ, and the buckets of each in ascending order. An address that is not spread has one
    /// history without buckets.
    histories: BTreeMap<History, Vec<u16>>,
    spread: bool,
    /// False while clients' frames still go by the table of the generation before.
    switched: bool,
}

impl Address {
    /// An address that its owner alone serves.
    #[must_use]
    pub fn owned(history: History) -> Self {
        let histories = BTreeMap::from([(history, Vec::new())]);
        Self { histories, spread: false, switched: true }
    }

    /// An address that several nodes serve, by bucket, and that nobody has served before.
    #[must_use]
    pub fn spread(generation: u64, buckets: &Buckets) -> Self {
        let mut histories: BTreeMap<History, Vec<u16>> = BTreeMap::new();
        for (bucket, node) in (0..BUCKETS).zip(buckets.iter()) {
            let history = History::new(generation, Arc::clone(node));
            histories.entry(history).or_default().push(bucket);
        }
        Self { histories, spread: true, switched: true }
    }

    /// True if several nodes serve the address, by bucket.
    #[must_use]
    pub fn is_spread(&self) -> bool {
        self.spread
    }

    /// The owner of an address that is not spread moves: [`History::moved`]. Returns false, and changes nothing,
    /// where that does, and for an address that is spread.
    pub fn moved(&mut self, generation: u64, from: Option<&str>, to: &str) -> bool {
        let mut moved = false;
        if !self.spread {
            self.change(|history| moved = history.moved(generation, from, to));
        }
        moved
    }

    /// The address gets another table of buckets, in this generation. From now on each node has the steps of both
    /// tables; clients' frames go by the table before until [`Self::switch`]. Returns false, and changes nothing, if the generation is not
    /// newer than that of each bucket, if the table is empty, or for an address that is not spread.
    ///
    /// A change before the last one has settled settles the buckets that do not move again.
    pub fn refilled(&mut self, generation: u64, buckets: &Buckets) -> bool {
        let newest = self.histories.keys().map(History::generation).max();
        if !self.spread || newest >= Some(generation) || buckets.node(0).is_none() {
            return false;
        }
        let mut histories: BTreeMap<History, Vec<u16>> = BTreeMap::new();
        for (history, own) in &self.histories {
            // The buckets of one history that go to one node stay together.
            let mut targets: BTreeMap<&Arc<str>, Vec<u16>> = BTreeMap::new();
            for bucket in own {
                if let Some(node) = buckets.node(*bucket) {
                    targets.entry(node).or_default().push(*bucket);
                }
            }
            for (node, moving) in targets {
                let mut history = history.clone();
                let from = history.owner().cloned();
                if !history.moved(generation, from.as_deref(), node) {
                    history.settle();
                }
                histories.entry(history).or_default().extend(moving);
            }
        }
        self.put(histories);
        self.switched = false;
        true
    }

    /// The tables of buckets are these, the newest first, in this generation: as [`Self::refilled`], with the tables before
    /// as another node tells them. The caller has compared, so the newest one holds in any case. An address that was not
    /// spread is from now on; [`Self::gather`] ends that.
    pub fn adopt(&mut self, generation: u64, tables: &[Arc<Buckets>]) {
        if !self.spread {
            let all = || (0..BUCKETS).collect();
            self.histories.values_mut().for_each(|buckets| *buckets = all());
            self.spread = true;
        }
        let mut histories: BTreeMap<History, Vec<u16>> = BTreeMap::new();
        for (history, own) in &self.histories {
            // The buckets of one history that get one order stay together.
            let mut orders: BTreeMap<Vec<Arc<str>>, Vec<u16>> = BTreeMap::new();
            for bucket in own {
                let nodes = tables.iter().filter_map(|table| table.node(*bucket)).cloned();
                orders.entry(nodes.collect()).or_default().push(*bucket);
            }
            for (nodes, buckets) in orders {
                let mut history = history.clone();
                history.adopt(generation, &nodes);
                histories.entry(history).or_default().extend(buckets);
            }
        }
        self.put(histories);
        self.switched = false;
    }

    /// Until the next table holds, the node serves the buckets whose node has died: [`History::stand_in`].
    pub fn stand_in(&mut self, node: &Arc<str>) {
        self.change(|history| history.stand_in(node));
    }

    /// Until the next table holds, the node serves the buckets whose node is missing: [`History::stand_in_for`].
    pub fn stand_in_for(&mut self, missing: &str, node: &Arc<str>) {
        self.change(|history| history.stand_in_for(missing, node));
    }

    /// An address whose buckets all have the same history is not spread any more.
    pub fn gather(&mut self) {
        if self.histories.len() == 1 {
            self.histories.values_mut().for_each(Vec::clear);
            self.spread = false;
        }
    }

    /// The history of an address that is not spread.
    #[must_use]
    pub fn history(&self) -> Option<&History> {
        self.histories.keys().next().filter(|_| !self.spread)
    }

    /// Changes the history of an address that is not spread. Returns false where the change does, and for an address that
    /// is spread.
    pub fn change_history(&mut self, change: impl FnOnce(&mut History) -> bool) -> bool {
        let mut change = Some(change);
        let mut changed = false;
        if !self.spread {
            self.change(|history| {
                changed = change.take().is_some_and(|change| change(history));
            });
        }
        changed
    }

    /// True if any node has served the address, or a bucket, before the one that does.
    #[must_use]
    pub fn has_predecessors(&self) -> bool {
        self.histories.keys().any(|history| history.predecessors().next().is_some())
    }

    /// True if no steps of a generation before stand beside those of the newest one.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.switched && self.histories.keys().all(History::is_settled)
    }

    /// Clients' frames go by the newest table of buckets. The caller waits until all nodes have the steps of it.
    pub fn switch(&mut self) {
        self.switched = true;
    }

    /// The former owner has fallen silent, or all nodes have switched: the steps of the generation before go.
    pub fn settle(&mut self) {
        self.switched = true;
        self.change(History::settle);
    }

    /// Forgets predecessors: [`History::expire`].
    pub fn expire(&mut self, generation: u64) {
        self.change(|history| history.expire(generation));
    }

    /// The node is dead: no step and no bucket names it any more.
    pub fn died(&mut self, node: &str) {
        self.retain(|other| *other != *node);
    }

    /// Takes the nodes for dead that are not kept.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        if self.spread {
            self.change(|history| history.retain_bucket(&keep));
        } else {
            self.change(|history| history.retain(&keep));
        }
    }

    /// The node that clients' frames of each bucket go to. Empty for an address that is not spread. A bucket without
    /// a node is one whose node died: until the next table holds, the node that announces the address serves it.
    #[must_use]
    pub fn buckets(&self) -> Vec<Option<Arc<str>>> {
        if !self.spread {
            return Vec::new();
        }
        let mut nodes = vec![None; usize::from(BUCKETS)];
        for (history, buckets) in &self.histories {
            let node = history.served_by(self.switched);
            for bucket in buckets {
                if let Some(place) = nodes.get_mut(usize::from(*bucket)) {
                    *place = node.cloned();
                }
            }
        }
        nodes
    }

    /// The steps of this node, each with its buckets in ascending order; without buckets for an address that is not
    /// spread.
    #[must_use]
    pub fn steps(&self, own: &str) -> BTreeMap<Steps, Vec<u16>> {
        let mut steps: BTreeMap<Steps, Vec<u16>> = BTreeMap::new();
        for (history, buckets) in &self.histories {
            steps.entry(history.steps(own)).or_default().extend(buckets);
        }
        steps.values_mut().for_each(|buckets| buckets.sort_unstable());
        steps
    }

    /// The histories that differ, with the buckets of each.
    #[cfg(test)]
    pub(crate) fn histories(&self) -> impl Iterator<Item = (&History, &Vec<u16>)> {
        self.histories.iter()
    }

    fn change(&mut self, mut change: impl FnMut(&mut History)) {
        let mut histories: BTreeMap<History, Vec<u16>> = BTreeMap::new();
        for (mut history, buckets) in std::mem::take(&mut self.histories) {
            change(&mut history);
            histories.entry(history).or_default().extend(buckets);
        }
        self.put(histories);
    }

    fn put(&mut self, mut histories: BTreeMap<History, Vec<u16>>) {
        histories.values_mut().for_each(|buckets| buckets.sort_unstable());
        self.histories = histories;
    }
}
