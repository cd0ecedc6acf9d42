// SPDX-License-Identifier: Apache-2.0
//! `--keep-connections`: a connection is the node whose kernel knows it; a packet of it has to reach that node from wherever the clients'
//! frames come in, at every moment of planned moves. A flow of UDP is one as well, and has to be in the table of each node on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use steer::{FIRST_TTL, Flow};

use crate::history::{Fault, History};
use crate::host::LINGER;
use crate::world::{MS, World, name};

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(1);
/// The time after which a move has settled on all nodes.
const SETTLED: Duration = Duration::from_secs(3);

/// A history and its connections.
struct Kept {
    history: History,
    /// The nodes that have had connections of an address since they last lost their kernel.
    opened: BTreeMap<IpAddr, BTreeSet<usize>>,
}

impl Kept {
    fn begin(seed: u64, count: usize, keeps: bool) -> Self {
        let mut world = World::new(seed, count, 4);
        world.keeps = keeps;
        (0..count).for_each(|index| world.boot(index));
        // Nodes that begin at once may each think that they are the first owner of an address; that is settled after 3 s.
        world.run(SETTLED * 2);
        Self { history: History::of(world, count), opened: BTreeMap::new() }
    }

    /// Lets time pass. Returns the first connection that is not reached, in words.
    fn run(&mut self, time: Duration) -> Result<(), String> {
        let end = self.history.world.now + time;
        while self.history.world.now < end {
            self.history.world.run(LOOK);
            let world = &mut self.history.world;
            for address in world.addresses.clone() {
                for owner in world.owners(address) {
                    world.hosts[owner].conntrack.insert(flow(address, owner));
                }
            }
            let world = &self.history.world;
            for address in &world.addresses {
                let owners = world.owners(*address);
                let opened = self.opened.entry(*address).or_default();
                opened.extend(&owners);
                // A client of the new owner does not come to the former one.
                let former = opened.iter().filter(|node| !owners.contains(*node));
                for (from, node) in
                    former.flat_map(|node| owners.iter().map(move |from| (*from, *node)))
                {
                    let walk = walk(world, *address, from, Some(flow(*address, node)));
                    if walk.last() != Some(&node) {
                        let (at, orders) = (world.now, orders(world, *address));
                        return Err(format!(
                            "{at:?} {address}: a flow from {from} to {node} goes {walk:?}; {orders}"
                        ));
                    }
                }
                for from in owners {
                    let walk = walk(world, *address, from, None);
                    if let Some(lost) = opened.iter().find(|node| !walk.contains(node)) {
                        let (at, orders) = (world.now, orders(world, *address));
                        return Err(format!(
                            "{at:?} {address}: from {from} only {walk:?}, not {lost}; {orders}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

fn orders(world: &World, address: IpAddr) -> String {
    let steps = world.hosts.iter().map(|host| {
        let order = host.process.as_ref().and_then(|process| process.core.order(address));
        format!("{order:?} {:?}", host.steps.get(&address))
    });
    steps.collect::<Vec<_>>().join("; ")
}

/// The only flow of UDP that a node has of an address.
fn flow(address: IpAddr, node: usize) -> Flow {
    let client = IpAddr::from([198, 51, 100, 1]);
    Flow { address, client, client_port: u16::try_from(node).unwrap() }
}

/// The nodes that a client's packet visits that no conntrack knows; those that a datagram of this flow visits until one knows the flow.
fn walk(world: &World, address: IpAddr, from: usize, flow: Option<Flow>) -> Vec<usize> {
    let mut visited = vec![from];
    let mut before = None;
    for _ in 0..FIRST_TTL {
        let at = visited[visited.len() - 1];
        let host = &world.hosts[at];
        if flow.is_some_and(|it| host.conntrack.contains(&it) || !host.flows.contains(&it)) {
            break;
        }
        let Some(steps) = host.steps.get(&address) else { break };
        let next = match before {
            None => steps.client.as_ref(),
            Some(before) => steps.fellows.get(&name(before)),
        };
        let Some(next) = next.and_then(|next| (0..world.hosts.len()).find(|it| name(*it) == *next))
        else {
            break;
        };
        before = Some(at);
        visited.push(next);
    }
    visited
}

/// All nodes are restarted in order one after the other, as by a rolling update; each gets back what it had.
fn roll(seed: u64, count: usize, keeps: bool) -> Result<(), String> {
    let mut kept = Kept::begin(seed, count, keeps);
    kept.run(100 * MS)?;
    for round in 0..2 {
        for node in 0..count {
            let stop = kept.history.strike(Fault::Planned, &[node]);
            kept.run(SETTLED).map_err(|error| format!("round {round}, {node} stops: {error}"))?;
            kept.history.end(stop);
            kept.run(SETTLED).map_err(|error| format!("round {round}, {node} is back: {error}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_rolling_update_loses_no_connection() {
    for count in [2, 3, 5] {
        for seed in 0..12 {
            let outcome = roll(seed, count, true);
            assert!(outcome.is_ok(), "{count} nodes, seed {seed}: {outcome:?}");
        }
    }
    assert!(roll(0, 3, false).is_err(), "without the flag connections are lost");
}

#[test]
fn drained_nodes_and_those_that_come_back_lose_no_connection() {
    for count in [2, 3, 4] {
        for seed in 0..12 {
            let mut kept = Kept::begin(seed, count, true);
            for node in (0..count).chain([0]) {
                let drain = kept.history.strike(Fault::Drain, &[node]);
                let row = format!("{count} nodes, seed {seed}, {node}");
                let outcome = kept.run(SETTLED);
                assert!(outcome.is_ok(), "{row} is drained: {outcome:?}");
                kept.history.end(drain);
                let outcome = kept.run(SETTLED);
                assert!(outcome.is_ok(), "{row} is back: {outcome:?}");
            }
        }
    }
}

/// A node without power leaves no step that leads to it, and nobody is silent longer for that.
#[test]
fn no_table_names_a_dead_node() {
    for seed in 0..8 {
        let mut kept = Kept::begin(seed, 3, true);
        let stop = kept.history.strike(Fault::Drain, &[0]);
        let outcome = kept.run(SETTLED);
        assert!(outcome.is_ok(), "seed {seed}: {outcome:?}");
        kept.history.strike(Fault::Power, &[0]);
        kept.history.world.run(1_500 * MS);
        for host in &kept.history.world.hosts[1..] {
            let named =
                host.steps.values().flat_map(|it| it.client.iter().chain(it.fellows.values()));
            assert!(named.into_iter().all(|it| *it != name(0)), "seed {seed}: {:?}", host.steps);
        }
        kept.history.end(stop);
        assert!(kept.history.owners().iter().all(|owners| owners.len() == 1), "seed {seed}");
    }
}

#[test]
fn predecessors_are_forgotten_after_the_linger_time() {
    let mut kept = Kept::begin(3, 3, true);
    kept.history.strike(Fault::Drain, &[0]);
    let outcome = kept.run(SETTLED);
    assert!(outcome.is_ok(), "{outcome:?}");
    let steps =
        |kept: &Kept| kept.history.world.hosts.iter().map(|it| it.steps.len()).sum::<usize>();
    assert!(steps(&kept) > 0);
    kept.history.world.run(LINGER + SETTLED);
    assert_eq!(steps(&kept), 0);
}
