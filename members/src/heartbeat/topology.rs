// SPDX-License-Identifier: Apache-2.0
//! The monitoring topology: who watches whom. Members stand in a circular order by a hash of their names; each is
//! watched by the few that follow it, and watches the few before it. So the cost for one member does not grow with
//! their number, and all members that know the same names come to the same result.

use std::collections::BTreeSet;
use std::sync::Arc;

/// FNV-1a with a final mix, so that names that differ in a digit do not stand beside one another.
fn place(name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct MonitoringTopology {
    /// The members in the order in which they stand.
    members: Vec<Arc<str>>,
}

impl MonitoringTopology {
    pub(crate) fn new(members: impl IntoIterator<Item = Arc<str>>) -> Self {
        let mut members: Vec<Arc<str>> = members.into_iter().collect();
        members.sort_by_cached_key(|name| (place(name), Arc::clone(name)));
        members.dedup();
        Self { members }
    }

    /// The watchers of this member: the `count` members that follow it.
    pub(crate) fn watchers(&self, of: &str, count: usize) -> BTreeSet<Arc<str>> {
        self.beside(of, count, |index, step, length| (index + step) % length)
    }

    /// The members that this member watches: the `count` before it.
    pub(crate) fn watched(&self, by: &str, count: usize) -> BTreeSet<Arc<str>> {
        self.beside(by, count, |index, step, length| (index + length - step) % length)
    }

    fn beside(
        &self,
        name: &str,
        count: usize,
        neighbour: impl Fn(usize, usize, usize) -> usize,
    ) -> BTreeSet<Arc<str>> {
        let length = self.members.len();
        let Some(index) = self.members.iter().position(|member| &**member == name) else {
            return BTreeSet::new();
        };
        (1..=count.min(length - 1))
            .filter_map(|step| self.members.get(neighbour(index, step, length)).cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(count: usize) -> MonitoringTopology {
        MonitoringTopology::new((0..count).map(|number| format!("node-{number}").into()))
    }

    #[test]
    fn both_sides_agree_and_the_cost_is_bounded() {
        for count in [1, 2, 3, 4, 7, 10, 500] {
            let topology = topology(count);
            for member in &topology.members {
                let watchers = topology.watchers(member, 3);
                assert_eq!(watchers.len(), 3.min(count - 1));
                assert!(!watchers.contains(member));
                for watcher in &watchers {
                    assert!(topology.watched(watcher, 3).contains(member));
                }
                assert_eq!(topology.watched(member, 3).len(), 3.min(count - 1));
            }
        }
    }

    #[test]
    fn up_to_seven_everybody_is_connected_to_everybody() {
        let topology = topology(7);
        for member in &topology.members {
            let both = &topology.watchers(member, 3) | &topology.watched(member, 3);
            assert_eq!(both.len(), 6);
        }
    }

    #[test]
    fn a_stranger_watches_nobody() {
        assert!(topology(3).watched("stranger", 3).is_empty());
        assert!(topology(0).watchers("node-0", 3).is_empty());
    }

    #[test]
    fn order_and_copies_do_not_matter() {
        let forward = MonitoringTopology::new(["a", "b", "c", "c"].map(Arc::from));
        let backward = MonitoringTopology::new(["c", "b", "a"].map(Arc::from));
        assert_eq!(forward.members, backward.members);
    }
}
