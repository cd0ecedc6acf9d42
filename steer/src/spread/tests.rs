// SPDX-License-Identifier: Apache-2.0
//! Tables of several nodes together: a packet goes by the bucket of the node that it comes to, then by steps.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::buckets::{BUCKETS, Buckets};
use crate::history::{FIRST_TTL, History, MOST_HOPS};

type Tables = BTreeMap<Arc<str>, Spread>;

/// The living nodes; true for one that is drained.
type Link = BTreeMap<Arc<str>, bool>;

fn link(count: u8) -> Link {
    (0..count).map(|last| (format!("n{last}").into(), false)).collect()
}

fn filled(link: &Link) -> Buckets {
    let weights = link.iter().filter(|(_, drained)| !**drained);
    Buckets::fill(&weights.map(|(node, _)| (Arc::clone(node), 1)).collect())
}

fn spread(link: &Link) -> Address {
    Address::spread(1, &filled(link))
}

fn tables(address: &Address, link: &Link) -> Tables {
    let of =
        |own: &str| Spread::of(address, HashBy::Connection, own, |node| link.contains_key(node));
    link.keys().map(|own| (Arc::clone(own), of(own))).collect()
}

/// Each node has its table of one of the two, as the bits say.
fn mixed(one: &Tables, other: &Tables, bits: u32) -> Tables {
    let mut mixed = one.clone();
    for (index, (own, table)) in other.iter().enumerate() {
        if bits >> index & 1 == 1 {
            mixed.insert(Arc::clone(own), table.clone());
        }
    }
    mixed
}

/// The nodes that a client's packet visits which comes to `entry`, up to the one that knows its connection.
fn walk(tables: &Tables, entry: &str, bucket: Option<u16>, knows: Option<&str>) -> Vec<Arc<str>> {
    let mut own: Arc<str> = entry.into();
    let mut visited = vec![Arc::clone(&own)];
    if let Some(node) = bucket.and_then(|bucket| tables[&own].bucket(bucket)) {
        own = Arc::clone(node);
        visited.push(Arc::clone(&own));
    }
    let mut from: Option<Arc<str>> = None;
    let mut ttl = FIRST_TTL;
    while knows != Some(&own) && ttl > 1 {
        let origin = from.as_deref().map_or(Origin::Client, Origin::Fellow);
        // A dead node has no table.
        let Some(next) = tables.get(&own).and_then(|table| table.step(bucket, origin)) else {
            break;
        };
        ttl -= 1;
        from = Some(std::mem::replace(&mut own, Arc::clone(next)));
        visited.push(Arc::clone(&own));
    }
    visited
}

/// The owner of each of some buckets, and its predecessors.
fn knowing(address: &Address) -> Vec<(u16, Vec<Arc<str>>)> {
    let order = |history: &History| {
        history.owner().into_iter().chain(history.predecessors()).cloned().collect()
    };
    let histories = |bucket| address.histories().find(|(_, buckets)| buckets.contains(&bucket));
    (0..BUCKETS)
        .step_by(29)
        .filter_map(|bucket| Some((bucket, order(histories(bucket)?.0))))
        .collect()
}

/// Every connection of these orders is reached from every node, and a packet that nobody knows ends.
fn check(tables: &Tables, orders: &[(u16, Vec<Arc<str>>)]) -> Result<(), TestCaseError> {
    for (bucket, order) in orders {
        for entry in tables.keys() {
            for knows in order.iter().filter(|node| tables.contains_key(*node)) {
                let visited = walk(tables, entry, Some(*bucket), Some(knows));
                prop_assert_eq!(visited.last(), Some(knows), "bucket {}: {:?}", bucket, visited);
            }
        }
    }
    check_bounds(tables, orders)
}

/// A packet that nobody knows ends by itself: no node is visited more than twice, without the one that it comes to.
fn check_bounds(tables: &Tables, orders: &[(u16, Vec<Arc<str>>)]) -> Result<(), TestCaseError> {
    for (bucket, _) in orders {
        for entry in tables.keys() {
            let visited = walk(tables, entry, Some(*bucket), None);
            prop_assert!(visited.len() <= MOST_HOPS + 2, "{:?}", visited);
            for node in tables.keys() {
                let visits = visited.iter().skip(1).filter(|other| *other == node).count();
                prop_assert!(visits <= 2, "{:?}", visited);
            }
        }
    }
    Ok(())
}

/// All nodes have the same buckets, and name living fellows alone.
fn check_names(address: &Address, link: &Link) -> Result<(), TestCaseError> {
    let all = tables(address, link);
    for (own, table) in &all {
        prop_assert!(table.named().all(|node| node != own && link.contains_key(node)));
    }
    for (bucket, node) in (0..BUCKETS).zip(address.buckets()) {
        let named: BTreeSet<&Arc<str>> =
            all.values().filter_map(|table| table.bucket(bucket)).collect();
        prop_assert!(named.len() <= 1, "bucket {bucket}: {named:?}");
        prop_assert!(node.is_none_or(|node| !link.contains_key(&node) || named.contains(&node)));
        for (own, table) in &all {
            let served = table.bucket(bucket).unwrap_or(own);
            prop_assert_eq!(served, named.first().copied().unwrap_or(own));
        }
    }
    Ok(())
}

/// A change of the nodes of the link.
#[derive(Clone, Debug)]
enum Event {
    /// The node is drained, or is not any more.
    Drain(usize),
    Die(usize),
    /// The first is drained; the second dies before clients' frames go by the new table.
    DieMeanwhile(usize, usize),
}

fn event(nodes: usize) -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..nodes).prop_map(Event::Drain),
        1 => (0..nodes).prop_map(Event::Die),
        1 => (0..nodes, 0..nodes).prop_map(|(drained, dead)| Event::DieMeanwhile(drained, dead)),
    ]
}

/// The speakers of a link, all of which have been told everything.
struct Speakers {
    link: Link,
    address: Address,
    generation: u64,
}

impl Speakers {
    fn tables(&self) -> Tables {
        tables(&self.address, &self.link)
    }

    fn toggle(&mut self, node: &str) {
        if let Some(drained) = self.link.get_mut(node) {
            *drained = !*drained;
        }
    }

    /// The new table is told: each node has the steps of both generations.
    fn refill(&mut self) -> bool {
        self.generation += 1;
        self.address.refilled(self.generation, &filled(&self.link))
    }

    fn tell(&mut self, behind: u32) -> Result<bool, TestCaseError> {
        let (former, mut known) = (self.tables(), knowing(&self.address));
        // Where the last node that was not drained has died, nobody serves until the table is told.
        let served = self.address.buckets();
        known.retain(|(bucket, _)| served[usize::from(*bucket)].is_some());
        if !self.refill() {
            return Ok(false);
        }
        check(&mixed(&former, &self.tables(), behind), &known)?;
        check(&self.tables(), &known)?;
        Ok(true)
    }

    fn switch_and_settle(&mut self, behind: u32, kept: u64) -> Result<(), TestCaseError> {
        let (told, mut known) = (self.tables(), knowing(&self.address));
        // Of a bucket that nobody served, the announcing node serves clients until the switch.
        let served = self.address.buckets();
        known.retain(|(bucket, _)| served[usize::from(*bucket)].is_some());
        self.address.switch();
        let switched = self.tables();
        check(&mixed(&told, &switched, behind), &known)?;
        check(&switched, &known)?;
        let drained = |node: &Arc<str>| self.link.get(node).is_none_or(|drained| *drained);
        for node in self.address.buckets() {
            prop_assert!(!node.as_ref().is_some_and(drained), "{:?} is drained", node);
        }
        self.address.settle();
        let settled = self.tables();
        check(&mixed(&switched, &settled, behind), &known)?;
        check(&settled, &known)?;
        self.address.expire(self.generation.saturating_sub(kept));
        check(&mixed(&settled, &self.tables(), behind), &knowing(&self.address))?;
        check_names(&self.address, &self.link)
    }

    fn die(&mut self, node: &str, behind: u32) -> Result<(), TestCaseError> {
        self.link.remove(node);
        // The link alone takes the node out of every table, before the address is told.
        check_names(&self.address, &self.link)?;
        let unaware = self.tables();
        self.address.died(node);
        let known = knowing(&self.address);
        check_bounds(&mixed(&unaware, &self.tables(), behind), &known)?;
        let aware = self.tables();
        if self.refill() {
            check_bounds(&mixed(&aware, &self.tables(), behind), &known)?;
            let served = self.address.buckets();
            prop_assert!(served.iter().flatten().all(|other| **other != *node));
            self.address.switch();
            check(&self.tables(), &knowing(&self.address))?;
        }
        check_names(&self.address, &self.link)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_connection_is_reached_and_no_dead_node_named(
        events in prop::collection::vec((event(5), any::<u32>(), 1_u64..8), 1..12)
    ) {
        let link = link(5);
        let mut speakers = Speakers { address: spread(&link), link, generation: 1 };
        let name = |node: usize| format!("n{node}");
        for (event, behind, kept) in events {
            match event {
                Event::Drain(node) => {
                    speakers.toggle(&name(node));
                    if speakers.tell(behind)? {
                        speakers.switch_and_settle(behind, kept)?;
                    }
                }
                Event::Die(node) | Event::DieMeanwhile(_, node) => {
                    if let Event::DieMeanwhile(drained, _) = event {
                        speakers.toggle(&name(drained));
                        speakers.tell(behind)?;
                    }
                    let mut others = speakers.link.iter().filter(|(it, _)| ***it != *name(node));
                    if speakers.link.len() > 2 && others.any(|(_, drained)| !*drained) {
                        speakers.die(&name(node), behind)?;
                    }
                    if speakers.link.values().any(|drained| !*drained) {
                        speakers.refill();
                        speakers.switch_and_settle(behind, kept)?;
                    }
                }
            }
        }
    }
}

#[test]
fn a_drained_node_stays_the_predecessor_of_its_buckets() {
    let mut link = link(3);
    let mut address = spread(&link);
    let before = address.buckets();
    *link.get_mut("n2").unwrap() = true;
    assert!(address.refilled(2, &filled(&link)));
    // Until the switch each bucket is served where it was.
    assert_eq!(address.buckets(), before);
    for settle in [Address::switch, Address::settle] {
        settle(&mut address);
        let (all, after) = (tables(&address, &link), address.buckets());
        for (bucket, (former, now)) in (0..BUCKETS).zip(before.iter().zip(&after)) {
            let (former, now) = (former.as_ref().unwrap(), now.as_ref().unwrap());
            assert_ne!(&**now, "n2");
            let step = all[now].step(Some(bucket), Origin::Client);
            assert_eq!(step, Some(former).filter(|former| *former != now), "{bucket}");
        }
    }
    address.expire(2);
    assert!(tables(&address, &link).values().all(|table| table.steps.is_empty()));
}

#[test]
fn an_address_of_one_owner_has_the_steps_of_its_history() {
    let link = link(3);
    let mut address = Address::owned(History::new(1, "n0".into()));
    assert!(tables(&address, &link).values().all(Spread::is_empty));
    assert!(!address.refilled(2, &filled(&link)), "it is not spread");
    assert!(address.moved(2, Some("n0"), "n1"));
    address.settle();
    // A predecessor on another link cannot be reached; the walk goes on behind it.
    assert!(address.moved(3, Some("n1"), "elsewhere") && address.moved(4, Some("elsewhere"), "n2"));
    address.settle();
    let all = tables(&address, &link);
    assert_eq!(walk(&all, "n2", None, Some("n0")).join(" "), "n2 n1 n0");
    assert_eq!(walk(&all, "n2", None, Some("elsewhere")).join(" "), "n2 n1 n0");
    assert!(
        all["n0"].is_empty()
            && all.values().flat_map(Spread::named).all(|node| link.contains_key(node))
    );
}
