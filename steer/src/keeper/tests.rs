// SPDX-License-Identifier: Apache-2.0
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;
use crate::history::{FIRST_TTL, Origin, Steps};

const MS: Duration = Duration::from_millis(1);
const LINGER: Duration = Duration::from_secs(600);

fn address() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn name(index: usize) -> Arc<str> {
    format!("n{index}").into()
}

fn gain(keeper: &mut Keeper, now: Instant) -> Vec<IpAddr> {
    let own = Arc::clone(&keeper.own);
    keeper.gain(now, &[Wish::alone(address(), own)])
}

/// The time from a move until all have settled: order, answer and both kernels, the claim and its time, and the last kernel.
const PAUSE: Duration = Duration::from_millis(50 + 30 + 50 + 50 + 300 + 30 + 10);

/// Something that reaches a node later.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Arrival {
    Orders(usize, Vec<Order>),
    Ready(usize, Vec<Ready>),
    /// The kernel follows this version of the table.
    Applied(u64, Option<Steps>),
    /// A node's claim: the others fall silent.
    Claim(usize),
    Expire,
}

struct Node {
    keeper: Keeper,
    /// The steps that the kernel follows.
    steps: Option<Steps>,
    announces: bool,
    held_since: Option<Duration>,
}

/// Nodes that keep one address, with messages and kernels that take time.
struct Net {
    start: Instant,
    now: Duration,
    nodes: Vec<Node>,
    waiting: BinaryHeap<Reverse<(Duration, u64)>>,
    arrivals: BTreeMap<u64, (usize, Arrival)>,
    sent: u64,
    chance: u64,
    /// The owners that have connections of their own.
    opened: BTreeSet<usize>,
}

impl Net {
    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn new(count: usize, seed: u64) -> Self {
        let start = Instant::now();
        let nodes = (0..count).map(|index| {
            let mut keeper = Keeper::new(name(index), LINGER);
            keeper
                .set_fellows(start, (0..count).filter(|other| *other != index).map(name).collect());
            Node { keeper, steps: None, announces: false, held_since: None }
        });
        let nodes = nodes.collect();
        let (waiting, arrivals) = (BinaryHeap::new(), BTreeMap::new());
        let now = Duration::ZERO;
        Self {
            start,
            now,
            nodes,
            waiting,
            arrivals,
            sent: 0,
            chance: seed | 1,
            opened: BTreeSet::new(),
        }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % most
    }

    fn send(&mut self, to: usize, most: u64, arrival: Arrival) {
        let at = self.now + MS * u32::try_from(self.below(most)).unwrap();
        self.sent += 1;
        self.waiting.push(Reverse((at, self.sent)));
        self.arrivals.insert(self.sent, (to, arrival));
    }

    fn gain(&mut self, index: usize) {
        let now = self.start + self.now;
        let held = gain(&mut self.nodes[index].keeper, now);
        if held.is_empty() {
            self.announce(index);
        } else {
            self.nodes[index].held_since = Some(self.now);
        }
        self.settle(index);
    }

    fn announce(&mut self, index: usize) {
        self.nodes[index].announces = true;
        self.nodes[index].held_since = None;
        let now = self.start + self.now;
        self.nodes[index].keeper.claimed(now, &name(index), &[address()]);
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            self.send(other, 50, Arrival::Claim(index));
        }
    }

    /// Carries out what a node wants.
    fn settle(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].keeper.poll() {
            let count = self.nodes.len();
            let receivers = |to: Option<Arc<str>>| -> Vec<usize> {
                (0..count)
                    .filter(|it| *it != index && to.as_ref().is_none_or(|to| *to == name(*it)))
                    .collect()
            };
            match output {
                KeeperOutput::Tell(orders) => {
                    for to in receivers(None) {
                        self.send(to, 50, Arrival::Orders(index, orders.clone()));
                    }
                }
                KeeperOutput::Answer { to, ready } => {
                    for to in receivers(Some(to)) {
                        self.send(to, 50, Arrival::Ready(index, ready.clone()));
                    }
                }
                KeeperOutput::Apply(version) => {
                    let steps = self.nodes[index].keeper.steps().remove(&address());
                    self.send(index, 30, Arrival::Applied(version, steps));
                }
                KeeperOutput::Release(_) => self.announce(index),
                KeeperOutput::Settled(addresses) => {
                    if self.nodes[index].announces {
                        let now = self.start + self.now;
                        let wishes: Vec<Wish> =
                            addresses.into_iter().map(|it| Wish::alone(it, name(index))).collect();
                        self.nodes[index].keeper.insist(now, &wishes);
                    }
                }
            }
        }
        let due = self.nodes[index].keeper.deadline();
        if let Some(due) = due {
            let after = due.saturating_duration_since(self.start + self.now);
            self.sent += 1;
            self.waiting.push(Reverse((self.now + after, self.sent)));
            self.arrivals.insert(self.sent, (index, Arrival::Expire));
        }
    }

    /// Lets time pass; each owner that announces gets connections, and `check` looks after each arrival.
    fn run(
        &mut self,
        time: Duration,
        check: &mut impl FnMut(&Self) -> Result<(), TestCaseError>,
    ) -> Result<(), TestCaseError> {
        let end = self.now + time;
        while let Some(Reverse((at, number))) = self.waiting.peek().copied()
            && at <= end
        {
            self.waiting.pop();
            let (index, arrival) = self.arrivals.remove(&number).unwrap();
            self.now = at.max(self.now);
            let now = self.start + self.now;
            let node = &mut self.nodes[index];
            match arrival {
                Arrival::Orders(from, orders) => node.keeper.told(now, &name(from), orders),
                Arrival::Ready(from, ready) => node.keeper.ready(&name(from), &ready),
                Arrival::Applied(version, steps) => {
                    // Kernels follow one version after the other.
                    if version > node.keeper.applied {
                        node.steps = steps;
                    }
                    node.keeper.applied(version);
                }
                Arrival::Claim(from) => {
                    node.announces = false;
                    node.keeper.claimed(now, &name(from), &[address()]);
                }
                Arrival::Expire if node.keeper.deadline().is_none_or(|due| due > now) => continue,
                Arrival::Expire => node.keeper.expire(now),
            }
            self.settle(index);
            for (index, node) in self.nodes.iter().enumerate() {
                if node.announces {
                    self.opened.insert(index);
                }
            }
            check(self)?;
        }
        self.now = end;
        Ok(())
    }

    /// The nodes that a client's packet visits which no conntrack knows, from where it comes in.
    fn walk(&self, from: usize) -> Vec<usize> {
        let mut visited = vec![from];
        let mut origin = None;
        for _ in 0..FIRST_TTL {
            let at = *visited.last().unwrap();
            let Some(steps) = &self.nodes[at].steps else { break };
            let next = match &origin {
                None => steps.client.as_ref(),
                Some(before) => steps.fellows.get(before),
            };
            let Some(next) = next else { break };
            origin = Some(name(at));
            visited.push((0..self.nodes.len()).find(|it| name(*it) == *next).unwrap());
        }
        visited
    }

    /// Wherever clients come in, every node with connections is reached.
    fn check_reached(&self) -> Result<(), TestCaseError> {
        for from in (0..self.nodes.len()).filter(|it| self.nodes[*it].announces) {
            let walk = self.walk(from);
            for node in &self.opened {
                prop_assert!(
                    walk.contains(node),
                    "{:?}: from {from} only {walk:?}, not {node}",
                    self.now
                );
            }
        }
        Ok(())
    }
}

proptest! {
    /// Moves that each settle before the next: no connection is lost at any moment, whatever messages and kernels take.
    #[test]
    fn every_connection_is_reached_through_planned_moves(
        count in 2..6_usize,
        seed: u64,
        moves in prop::collection::vec(0..6_usize, 1..8),
    ) {
        let mut net = Net::new(count, seed);
        for to in moves {
            net.gain(to % count);
            net.run(PAUSE, &mut |net| net.check_reached())?;
            prop_assert!(net.nodes[to % count].announces);
        }
    }

    /// Moves one upon another: every packet's way ends, and no address waits longer than it may.
    #[test]
    fn hurried_moves_end(
        count in 2..6_usize,
        seed: u64,
        moves in prop::collection::vec((0..6_usize, 0..700_u32), 1..12),
    ) {
        let mut net = Net::new(count, seed);
        for (to, pause) in moves {
            net.gain(to % count);
            net.run(MS * pause, &mut |net| {
                for index in 0..count {
                    prop_assert!(net.walk(index).len() <= usize::from(FIRST_TTL) + 1);
                    let waits = net.nodes[index].held_since.map(|since| net.now - since);
                    prop_assert!(waits.is_none_or(|waits| waits <= HOLD_TIME), "{waits:?}");
                }
                Ok(())
            })?;
        }
    }
}

fn one(own: usize, others: &[usize]) -> (Keeper, Instant) {
    let net = Net::new(1, 1);
    let mut keeper = Keeper::new(name(own), LINGER);
    keeper.set_fellows(net.start, others.iter().copied().map(name).collect());
    (keeper, net.start)
}

fn told(generation: u64, nodes: &[usize]) -> Vec<Order> {
    let layers = nodes.iter().copied().map(name).map(Layer::owned).collect();
    vec![Order { address: address(), generation, hash: HashBy::default(), layers }]
}

fn outputs(keeper: &mut Keeper) -> Vec<KeeperOutput> {
    std::iter::from_fn(|| keeper.poll()).collect()
}

#[test]
fn an_owner_waits_for_its_own_kernel_and_for_those_who_had_the_address() {
    let (mut keeper, now) = one(2, &[0, 1]);
    keeper.told(now, &name(1), told(4, &[1, 0]));
    keeper.applied(1);
    outputs(&mut keeper);
    assert_eq!(gain(&mut keeper, now), [address()]);
    let said = outputs(&mut keeper);
    assert_eq!(said, [KeeperOutput::Tell(told(5, &[2, 1, 0])), KeeperOutput::Apply(2),]);
    let ready = [Ready { address: address(), generation: 5 }];
    keeper.ready(&name(0), &ready);
    keeper.ready(&name(1), &[Ready { generation: 4, ..ready[0] }]);
    keeper.applied(2);
    assert!(outputs(&mut keeper).is_empty(), "node 1 has answered for the generation before");
    keeper.ready(&name(1), &ready);
    assert_eq!(outputs(&mut keeper), [KeeperOutput::Release(vec![address()])]);
    assert!(!keeper.is_held(address()));
}

#[test]
fn nobody_waits_for_the_dead_and_nothing_leads_there() {
    let (mut keeper, now) = one(2, &[0, 1]);
    keeper.told(now, &name(1), told(4, &[1, 0]));
    keeper.set_fellows(now, [name(0)].into());
    outputs(&mut keeper);
    assert!(gain(&mut keeper, now).is_empty());
    keeper.expire(now + WORD_TIME);
    assert_eq!(keeper.steps()[&address()].client, Some(name(0)));
    assert!(keeper.history(address()).unwrap().next("n2", Origin::Client).is_some());
    keeper.set_fellows(now, BTreeSet::new());
    keeper.expire(now + WORD_TIME - MS);
    assert!(!keeper.steps().is_empty(), "another member may say that only the process has ended");
    keeper.expire(now + WORD_TIME);
    assert!(keeper.steps().is_empty());
}

#[test]
fn a_speaker_that_was_killed_is_led_to_as_one_that_left() {
    for word_first in [true, false] {
        let (mut keeper, now) = one(2, &[0, 1]);
        keeper.told(now, &name(1), told(4, &[1, 0]));
        if word_first {
            keeper.ended(now, &name(1));
        }
        keeper.set_fellows(now, [name(0)].into());
        assert!(gain(&mut keeper, now).is_empty(), "nobody waits for it");
        if !word_first {
            keeper.ended(now + WORD_TIME / 2, &name(1));
        }
        keeper.expire(now + WORD_TIME * 2);
        assert_eq!(keeper.steps()[&address()].client, Some(name(1)));
        assert!(keeper.has_departed("n1"));
        // Its node is not ready any more.
        keeper.retain_departed(|node| node != "n1");
        assert_eq!(keeper.steps()[&address()].client, Some(name(0)));
        keeper.ended(now, &name(1));
        assert_eq!(keeper.steps()[&address()].client, Some(name(0)));
    }
}

#[test]
fn a_speaker_that_left_in_order_is_led_to_until_the_linger_time_is_over() {
    let (mut keeper, now) = one(2, &[0, 1]);
    keeper.told(now, &name(1), told(4, &[1, 0]));
    assert_eq!(gain(&mut keeper, now).len(), 1);
    keeper.departs(now, &name(1));
    keeper.set_fellows(now, [name(0)].into());
    assert_eq!(keeper.steps()[&address()].client, Some(name(1)));
    keeper.expire(now + SETTLE_TIME);
    assert_eq!(keeper.steps()[&address()].client, Some(name(1)));
    keeper.retain_departed(|_| true);
    assert_eq!(keeper.steps()[&address()].client, Some(name(1)));
    keeper.expire(now + LINGER);
    assert!(keeper.steps().is_empty());
}

#[test]
fn a_node_that_is_not_ready_is_dead_though_its_speaker_left_in_order() {
    let (mut keeper, now) = one(2, &[0, 1]);
    keeper.told(now, &name(1), told(4, &[1]));
    gain(&mut keeper, now);
    keeper.departs(now, &name(1));
    keeper.set_fellows(now, [name(0)].into());
    keeper.retain_departed(|name| name != "n1");
    assert!(keeper.steps().is_empty());
}

#[test]
fn a_new_member_hears_what_this_node_owns_and_what_nobody_else_tells() {
    let (mut keeper, now) = one(2, &[0]);
    keeper.told(now, &name(0), told(4, &[0]));
    gain(&mut keeper, now);
    outputs(&mut keeper);
    assert_eq!(keeper.introduction(), told(5, &[2, 0]));
    keeper.told(now, &name(0), told(6, &[0, 2]));
    assert!(keeper.introduction().is_empty(), "node 0 owns it");
    keeper.departs(now, &name(0));
    assert_eq!(keeper.introduction(), told(6, &[0, 2]), "node 0 is not there to tell");
}

#[test]
fn of_two_orders_with_one_generation_all_keep_the_same() {
    for first in [0, 1] {
        let (mut keeper, now) = one(2, &[0, 1]);
        for owner in [first, 1 - first] {
            keeper.told(now, &name(owner), told(7, &[owner, 1 - owner]));
        }
        assert_eq!(keeper.history(address()).unwrap().owner(), Some(&name(1)));
    }
}

#[test]
fn an_address_that_is_lost_before_its_release_is_not_released() {
    let (mut keeper, now) = one(2, &[0]);
    keeper.told(now, &name(0), told(4, &[0]));
    assert_eq!(gain(&mut keeper, now).len(), 1);
    keeper.lose(address());
    outputs(&mut keeper);
    keeper.applied(9);
    keeper.expire(now + HOLD_TIME);
    assert!(!outputs(&mut keeper).iter().any(|it| matches!(it, KeeperOutput::Release(_))));
}

#[test]
fn an_address_that_nobody_uses_is_forgotten_when_its_predecessors_are() {
    let (mut keeper, now) = one(2, &[0]);
    keeper.told(now, &name(0), told(4, &[0]));
    gain(&mut keeper, now);
    keeper.retain_addresses(|_| false);
    assert!(keeper.history(address()).is_some(), "node 0 may have connections");
    keeper.expire(now + LINGER);
    keeper.retain_addresses(|used| used == address());
    assert!(keeper.history(address()).is_some());
    keeper.retain_addresses(|_| false);
    assert!(keeper.history(address()).is_none());
}
