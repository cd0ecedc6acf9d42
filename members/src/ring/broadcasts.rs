// SPDX-License-Identifier: Apache-2.0
//! Messages that are gossiped, each a limited number of times. A message about a member replaces the older one about the same member, so
//! there are never more messages than members. Messages that were sent least go first, the longest among them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The number of times that a message was sent, its length, and the order of its arrival.
type Rank = (u32, Reverse<usize>, Reverse<u64>);

#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    queue: BTreeMap<Rank, (Arc<str>, Vec<u8>)>,
    ranks: BTreeMap<Arc<str>, Rank>,
    arrivals: u64,
}

impl Broadcasts {
    /// Queues a message about a member.
    pub(super) fn push(&mut self, name: &Arc<str>, message: Vec<u8>) {
        self.remove(name);
        self.arrivals += 1;
        let rank = (0, Reverse(message.len()), Reverse(self.arrivals));
        self.ranks.insert(Arc::clone(name), rank);
        self.queue.insert(rank, (Arc::clone(name), message));
    }

    /// Removes the message about this member.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(rank) = self.ranks.remove(name) {
            self.queue.remove(&rank);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.ranks.contains_key(name)
    }

    /// Appends messages to `taken` that fill up to `room` octets, with `each` octets added for each message. No message is sent more than
    /// `limit` times in all.
    pub(super) fn take(
        &mut self,
        mut room: usize,
        each: usize,
        limit: u32,
        taken: &mut Vec<Vec<u8>>,
    ) {
        let mut sent = Vec::new();
        let mut tier = self.queue.first_key_value().map(|((tier, _, _), _)| *tier);
        while let Some(times) = tier {
            let free = room.saturating_sub(each);
            if free == 0 {
                break;
            }
            // The longest message of this tier that has room.
            let from = (times, Reverse(free), Reverse(u64::MAX));
            let Some((&rank, _)) = self.queue.range(from..).next() else { break };
            if rank.0 != times {
                tier = Some(rank.0);
                continue;
            }
            let Some((name, message)) = self.queue.remove(&rank) else { break };
            room = free.saturating_sub(message.len());
            taken.push(message.clone());
            sent.push((rank, name, message));
        }
        for ((times, length, arrival), name, message) in sent {
            if times + 1 >= limit {
                self.ranks.remove(&name);
            } else {
                let rank = (times + 1, length, arrival);
                self.ranks.insert(Arc::clone(&name), rank);
                self.queue.insert(rank, (name, message));
            }
        }
    }
}

/// The number of times that a message is sent in a ring of `count` members.
pub(super) fn limit(mult: u32, count: usize) -> u32 {
    // The ceiling of the decimal logarithm of count + 1: the number of decimal digits of count.
    let digits = count.checked_ilog10().map_or(0, |below| below + 1);
    mult.saturating_mul(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(queue: &mut Broadcasts, room: usize, limit: u32) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        queue.take(room, 2, limit, &mut taken);
        taken
    }

    #[test]
    fn a_message_is_sent_a_limited_number_of_times_and_replaced_by_a_newer_one() {
        let mut queue = Broadcasts::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        queue.push(&a, vec![1]);
        queue.push(&a, vec![2]);
        queue.push(&b, vec![3, 3]);
        assert_eq!(take(&mut queue, 100, 2), [vec![3, 3], vec![2]]);
        queue.push(&b, vec![4]);
        assert_eq!(take(&mut queue, 100, 2), [vec![4], vec![2]], "the fresh one first");
        assert!(!queue.contains("a") && queue.contains("b"));
        assert_eq!(take(&mut queue, 100, 2), [vec![4]]);
        assert!(queue.is_empty() && queue.ranks.is_empty());
        queue.push(&a, vec![5]);
        queue.remove("a");
        assert!(take(&mut queue, 100, 2).is_empty());
    }

    #[test]
    fn what_has_no_room_waits() {
        let mut queue = Broadcasts::default();
        for (name, length) in [("a", 10), ("b", 20), ("c", 30)] {
            queue.push(&name.into(), vec![0; length]);
        }
        let lengths = |taken: Vec<Vec<u8>>| taken.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(take(&mut queue, 36, 2)), [30]);
        assert_eq!(lengths(take(&mut queue, 36, 2)), [20, 10]);
        assert_eq!(lengths(take(&mut queue, 36, 2)), [30]);
        assert_eq!(lengths(take(&mut queue, 11, 2)), [0_usize; 0]);
        assert_eq!(lengths(take(&mut queue, 100, 2)), [20, 10]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_limit_grows_with_the_logarithm() {
        let limits = [0, 1, 9, 10, 99, 100, 999, 1000].map(|count| limit(4, count));
        assert_eq!(limits, [0, 4, 4, 8, 8, 12, 12, 16]);
    }
}
