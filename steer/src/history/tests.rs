// SPDX-License-Identifier: Apache-2.0
//! Packets walk through nodes of which each has its own state of the history.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// The state of each node.
type Nodes = BTreeMap<Arc<str>, History>;

/// The way of a packet.
#[derive(Debug)]
struct Walk {
    visited: Vec<Arc<str>>,
    reached: bool,
}

impl Walk {
    fn visits(&self, node: &str) -> usize {
        self.visited.iter().filter(|visited| ***visited == *node).count()
    }

    fn hops(&self) -> usize {
        self.visited.len() - 1
    }
}

/// A client's frame comes to this node; `knows` is the node whose conntrack has the connection.
fn walk(nodes: &Nodes, entry: &str, knows: Option<&str>) -> Walk {
    let mut walk = Walk { visited: vec![entry.into()], reached: knows == Some(entry) };
    let (mut own, mut from): (Arc<str>, Option<Arc<str>>) = (entry.into(), None);
    let mut ttl = FIRST_TTL;
    while !walk.reached && ttl > 1 {
        let origin = from.as_deref().map_or(Origin::Client, Origin::Fellow);
        let Some(next) = nodes.get(&own).and_then(|history| history.next(&own, origin)) else {
            break;
        };
        assert_ne!(*next, own, "a node sends to itself");
        ttl -= 1;
        from = Some(std::mem::replace(&mut own, Arc::clone(next)));
        walk.visited.push(Arc::clone(&own));
        walk.reached = knows == Some(&own);
    }
    walk
}

fn all(history: &History, names: &[Arc<str>]) -> Nodes {
    names.iter().map(|name| (Arc::clone(name), history.clone())).collect()
}

/// Each node has one of the two, as the bits say.
fn mixed(one: &History, other: &History, names: &[Arc<str>], bits: u32) -> Nodes {
    let pick = |(index, name): (usize, &Arc<str>)| {
        let history = if bits >> index & 1 == 0 { one } else { other };
        (Arc::clone(name), history.clone())
    };
    names.iter().enumerate().map(pick).collect()
}

fn names(count: usize) -> Vec<Arc<str>> {
    (0..count).map(|number| format!("n{number}").into()).collect()
}

/// The history of an address that these nodes have had one after another, settled.
fn history(owners: &str) -> History {
    let mut owners = owners.split(' ');
    let mut history = History::new(1, owners.next().unwrap().into());
    for (owner, generation) in owners.zip(2..) {
        let from = history.owner().cloned();
        assert!(history.moved(generation, from.as_deref(), owner));
        history.settle();
    }
    history
}

fn order(history: &History) -> String {
    let nodes: Vec<&str> = history.order.nodes().map(|node| &**node).collect();
    nodes.join(" ")
}

fn node(next: Option<&Arc<str>>) -> &str {
    next.map_or("-", |node| node)
}

#[test]
fn the_last_owner_comes_first_and_each_once() {
    assert_eq!(order(&history("1 2 3")), "3 2 1");
    assert_eq!(order(&history("1 2 3 1")), "1 3 2");
    assert_eq!(order(&history("1 2 3 2")), "2 3 1");
    assert_eq!(order(&history("1 2 1 3 1 2")), "2 1 3");
    assert_eq!(order(&history("1 2 3 4 5 6 7 8 9")), "9 8 7 6 5 4 3 2");
}

/// The steps that docs/steering.md played by hand: 1 -> 2 -> 3, and 3 -> 2 on top.
#[test]
fn the_steps_are_those_that_were_played() {
    let mut history = history("1 2 3");
    assert_eq!(node(history.next("3", Origin::Client)), "2");
    assert_eq!(node(history.next("2", Origin::Fellow("3"))), "1");
    assert_eq!(node(history.next("2", Origin::Client)), "-");
    assert_eq!(node(history.next("1", Origin::Fellow("2"))), "-");
    assert!(history.moved(4, Some("3"), "2"));
    // From 3 to 1 of the old order beside from a client to 3 of the new one.
    let steps = history.steps("2");
    assert_eq!(steps.client.as_deref(), Some("3"));
    assert_eq!(steps.fellows, BTreeMap::from([("3".into(), "1".into())]));
    assert_eq!(node(history.next("3", Origin::Client)), "2");
    assert_eq!(node(history.next("3", Origin::Fellow("2"))), "1");
    history.settle();
    assert_eq!(node(history.next("3", Origin::Client)), "-");
    assert_eq!(node(history.next("3", Origin::Fellow("2"))), "1");
}

/// Four nodes: the example of the module's head, which has two steps for one origin.
#[test]
fn a_step_that_both_generations_have_stays_until_all_have_settled() {
    let former = history("w n b a");
    let mut both = former.clone();
    assert!(both.moved(5, Some("a"), "n"));
    let mut settled = both.clone();
    settled.settle();
    assert_eq!((order(&former), order(&both)), ("a b n w".into(), "n a b w".into()));
    let names = ["a", "b", "n", "w"].map(Arc::from);
    let way = |nodes: &Nodes, entry| walk(nodes, entry, None).visited.join(" ");
    assert_eq!(way(&all(&both, &names), "a"), "a b n w");
    assert_eq!(way(&all(&both, &names), "n"), "n a b n w");
    assert_eq!(way(&all(&settled, &names), "n"), "n a b w");
    // Node n has settled, node b has not: without n's former place the walk would end there.
    assert_eq!(way(&mixed(&both, &settled, &names, 0b0100), "n"), "n a b n w");
    assert_eq!(node(settled.next("n", Origin::Fellow("b"))), "w");
    assert_eq!(node(settled.order.next("n", Origin::Fellow("b"), None)), "-");
}

/// Only the hops end a ring of tables that lie several generations apart.
#[test]
fn the_hops_end_a_ring_of_distant_generations() {
    let old = history("r q p s e");
    let new = history("r q p s e p s r q e");
    assert_eq!((order(&old), order(&new)), ("e s p q r".into(), "e q r s p".into()));
    let names = ["e", "p", "q", "r", "s"].map(Arc::from);
    // Nodes r and s have the new one.
    let way = walk(&mixed(&old, &new, &names, 0b11000), "e", None);
    assert_eq!(way.visited[..7].join(" "), "e s p q r s p");
    assert_eq!((way.hops(), way.reached), (usize::from(FIRST_TTL) - 1, false));
    for both in [old, new] {
        assert_eq!(walk(&all(&both, &names), "e", None).hops(), 4);
    }
}

#[test]
fn what_is_stale_changes_nothing() {
    let mut history = history("1 2 3");
    let before = history.clone();
    assert!(!history.moved(3, Some("3"), "1"));
    assert!(!history.moved(9, Some("3"), "3"));
    assert_eq!(history, before);
}

#[test]
fn a_missed_generation_and_a_dead_owner() {
    let mut missed = history("1 2");
    assert!(missed.moved(9, Some("3"), "4"));
    assert_eq!(order(&missed), "4 3 2 1");
    let mut dead = history("1 2 3");
    dead.died("3");
    assert!(dead.moved(9, None, "4"));
    assert_eq!((order(&dead), dead.before.nodes().count()), ("4 2 1".into(), 2));
    dead.settle();
    dead.died("4");
    assert_eq!((order(&dead), dead.owner()), ("2 1".into(), None));
    assert_eq!(node(dead.next("2", Origin::Client)), "-");
    dead.expire(2);
    assert_eq!(order(&dead), "2");
}

#[test]
fn the_former_owner_has_the_address_again_if_the_new_one_dies_too_early() {
    let mut both = history("1 2 3");
    assert!(both.moved(9, Some("3"), "4"));
    both.died("4");
    assert_eq!((order(&both), both.served_by(false)), ("3 2 1".into(), Some(&"3".into())));
    assert!(!both.moved(10, None, "3"), "it is there");
    assert!(both.moved(11, None, "1"));
    assert_eq!(order(&both), "1 3 2");
}

/// A move as the tests draw it: the new owner, the nodes that are behind, how many generations a predecessor is kept,
/// a node that dies afterwards.
#[derive(Clone, Debug)]
struct Move {
    to: usize,
    behind: u32,
    kept: u64,
    dies: Option<usize>,
}

fn moves(nodes: usize) -> impl Strategy<Value = Vec<Move>> {
    let dies = prop::option::weighted(0.1, 0..nodes);
    let one = (0..nodes, any::<u32>(), 1_u64..12, dies).prop_map(|(to, behind, kept, dies)| Move {
        to,
        behind,
        kept,
        dies,
    });
    prop::collection::vec(one, 1..40)
}

/// Every connection at a node of this order is reached from the entry, and the bounds hold; so they do for a packet
/// that nobody knows.
fn check(
    nodes: &Nodes,
    entry: &str,
    order: &Order,
    twice: Option<&str>,
) -> Result<(), TestCaseError> {
    let known: BTreeSet<&str> = order.nodes().map(|node| &**node).collect();
    for knows in known.into_iter().map(Some).chain([None]) {
        let walk = walk(nodes, entry, knows);
        prop_assert_eq!(walk.reached, knows.is_some(), "{:?} of {:?}", walk, knows);
        prop_assert!(walk.hops() <= MOST_HOPS, "{:?}", walk);
        for name in nodes.keys() {
            let most = if twice == Some(name) { 2 } else { 1 };
            prop_assert!(walk.visits(name) <= most, "{} twice: {:?}", name, walk);
        }
    }
    Ok(())
}

/// After a death: as long as not all have noticed, a packet may still be sent to the dead node. Nothing else ends it
/// early.
fn check_death(
    mut nodes: Nodes,
    entry: &str,
    order: &Order,
    dead: &str,
) -> Result<(), TestCaseError> {
    nodes.remove(dead);
    for knows in order.nodes().filter(|node| ***node != *dead) {
        let walk = walk(&nodes, entry, Some(knows));
        prop_assert!(
            walk.reached || walk.visited.last().is_some_and(|last| **last == *dead),
            "{:?}",
            walk
        );
        prop_assert!(walk.hops() <= MOST_HOPS);
    }
    Ok(())
}

/// The nodes that must be in the order: the last owners, each once, that live and whose time has not run out.
fn model(owners: &[(Arc<str>, u64)], alive: &BTreeSet<Arc<str>>, expired: u64) -> Vec<Arc<str>> {
    let mut nodes: Vec<Arc<str>> = Vec::new();
    for (index, (node, _)) in owners.iter().enumerate().rev() {
        let until = owners.get(index + 1).map_or(u64::MAX, |(_, next)| *next);
        if until > expired && alive.contains(node) && !nodes.contains(node) {
            nodes.push(Arc::clone(node));
        }
    }
    nodes.truncate(LONGEST_ORDER);
    nodes
}

fn play(count: usize, moves: &[Move]) -> Result<(), TestCaseError> {
    let names = names(count);
    let mut alive: BTreeSet<Arc<str>> = names.iter().cloned().collect();
    let mut owners = vec![(Arc::clone(&names[0]), 1)];
    let mut former = History::new(1, Arc::clone(&names[0]));
    let mut expired = 0;
    for (drawn, generation) in moves.iter().zip(2..) {
        let (from, to) = (former.owner().cloned(), Arc::clone(&names[drawn.to]));
        if from.as_ref() == Some(&to) || !alive.contains(&to) {
            continue;
        }
        let mut both = former.clone();
        prop_assert!(both.moved(generation, from.as_deref(), &to));
        let mut settled = both.clone();
        settled.settle();
        owners.push((Arc::clone(&to), generation));
        // Told to some; told to all; settled at some; settled at all.
        let all_both = all(&both, &names);
        if let Some(from) = &from {
            check(&mixed(&former, &both, &names, drawn.behind), from, &former.order, Some(&to))?;
            let mut with_new = former.order.clone();
            with_new.former.push(Former { node: Arc::clone(&to), until: generation });
            check(&all_both, from, &with_new, Some(&to))?;
        }
        if from.is_none() {
            // Nobody waits after a death: the walk may end early, where the move is not known yet.
            let nodes = mixed(&former, &both, &names, drawn.behind);
            let walk = walk(&nodes, &to, None);
            prop_assert!(walk.hops() <= MOST_HOPS && walk.visits(&to) <= 2, "{:?}", walk);
        }
        check(&all_both, &to, &both.order, Some(&to))?;
        check(&mixed(&both, &settled, &names, drawn.behind), &to, &both.order, Some(&to))?;
        check(&all(&settled, &names), &to, &settled.order, None)?;
        // The end of the order runs out, at some and at all.
        let mut shorter = settled.clone();
        expired = expired.max(generation.saturating_sub(drawn.kept));
        shorter.expire(expired);
        check(&mixed(&settled, &shorter, &names, drawn.behind), &to, &shorter.order, None)?;
        let expected = model(&owners, &alive, expired);
        let kept: Vec<Arc<str>> = shorter.order.nodes().cloned().collect();
        // A death makes a long order shorter; who had been forgotten stays so.
        prop_assert!(expected.starts_with(&kept), "{:?} of {:?}", kept, expected);
        prop_assert!(kept.len() == expected.len() || alive.len() < count);
        former = shorter;
        // A death, in the midst of a move and after it.
        if let Some(dead) = drawn.dies.map(|index| Arc::clone(&names[index])) {
            let aware = |history: &History| {
                let mut aware = history.clone();
                aware.died(&dead);
                aware
            };
            if dead != to {
                let nodes = mixed(&both, &aware(&both), &names, drawn.behind);
                check_death(nodes, &to, &both.order, &dead)?;
                check(&all(&aware(&both), &names), &to, &aware(&both).order, Some(&to))?;
                let nodes = mixed(&former, &aware(&former), &names, drawn.behind);
                check_death(nodes, &to, &former.order, &dead)?;
            }
            former = aware(&former);
            for own in &names {
                let steps = former.steps(own);
                prop_assert!(
                    steps.client.iter().chain(steps.fellows.values()).all(|node| *node != dead)
                );
            }
            alive.remove(&dead);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_connection_is_reached_whatever_moves(moves in moves(5)) {
        play(5, &moves)?;
    }

    /// More nodes than an order has.
    #[test]
    fn long_orders_are_bounded(moves in moves(14)) {
        play(14, &moves)?;
    }
}
