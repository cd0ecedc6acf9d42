// SPDX-License-Identifier: Apache-2.0
//! What the peer's table holds, over random histories and slow links.

use std::collections::BTreeMap;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::wire::Attribute;

/// One of a few prefixes of both families.
fn prefix(n: u8) -> IpNet {
    let text = match n % 3 {
        0 => format!("10.0.{n}.0/24"),
        1 => format!("192.0.2.{n}/32"),
        _ => format!("2001:db8:{n}::/48"),
    };
    text.parse().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u32),
    Remove(u8),
    Publish,
    Drain(bool),
    Run(u64),
    Cut,
    Stall(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..30, 0u32..4).prop_map(|(prefix, med)| Step::Set(prefix, med)),
        4 => (0u8..30).prop_map(Step::Remove),
        6 => Just(Step::Publish),
        1 => any::<bool>().prop_map(Step::Drain),
        4 => (0u64..20).prop_map(Step::Run),
        1 => Just(Step::Cut),
        1 => any::<bool>().prop_map(Step::Stall),
    ]
}

fn meds(table: &BTreeMap<IpNet, Vec<Attribute>>) -> BTreeMap<IpNet, Option<u32>> {
    let med = |attributes: &Vec<Attribute>| {
        attributes.iter().find_map(|attribute| {
            if let Attribute::MultiExitDisc(med) = attribute { Some(*med) } else { None }
        })
    };
    table.iter().map(|(prefix, attributes)| (*prefix, med(attributes))).collect()
}

fn draining(attributes: &[Attribute]) -> bool {
    attributes.iter().any(
        |attribute| matches!(attribute, Attribute::Communities(all) if all.contains(&0xffff_0000)),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_table_of_the_peer_becomes_the_desired_one(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut pair = Pair::started(seed % 1000, |_, _| {});
        let mut wanted = Routes::new();
        let mut drain = false;
        for step in steps {
            match step {
                Step::Set(n, med) => {
                    let attributes = Attributes::default().with_med(med);
                    wanted.insert(prefix(n), Arc::new(attributes));
                }
                Step::Remove(n) => {
                    wanted.remove(&prefix(n));
                }
                Step::Publish => pair.handle(0, Event::Routes(Arc::new(wanted.clone()))),
                Step::Drain(on) => {
                    drain = on;
                    pair.handle(0, Event::Drain(on));
                }
                Step::Run(milliseconds) => pair.run(Duration::from_millis(milliseconds)),
                Step::Cut => pair.cut(),
                Step::Stall(on) => {
                    if on { pair.sides[1].stalled = true } else { pair.resume(1) }
                }
            }
        }
        pair.handle(0, Event::InitialSyncDone);
        pair.handle(0, Event::Routes(Arc::new(wanted.clone())));
        pair.resume(1);
        pair.until("up and told", |pair| {
            pair.both_up() && pair.sides[1].table.ended.len() >= 2
                && pair.sides[0].peer.status().queued_prefixes == 0
        });
        pair.run(SECOND);
        let expected: BTreeMap<IpNet, Option<u32>> =
            wanted.iter().map(|(prefix, attributes)| (*prefix, attributes.med())).collect();
        prop_assert_eq!(meds(&pair.sides[1].table.paths), expected);
        prop_assert!(pair.sides[1].table.paths.values().all(|path| draining(path) == drain));
        let status = pair.sides[0].peer.status();
        prop_assert_eq!(status.announced_prefixes, wanted.len());
        prop_assert_eq!(status.withheld, vec![]);
    }
}

#[test]
fn ten_thousand_prefixes_take_few_messages() {
    for (make, most) in [
        (
            Box::new(|n: u32| format!("10.{}.{}.{}/32", n >> 16, n >> 8 & 255, n & 255))
                as Box<dyn Fn(u32) -> String>,
            20,
        ),
        (Box::new(|n: u32| format!("2001:db8::{n:x}/128")), 50),
    ] {
        let attributes = Arc::new(Attributes::default().with_communities([1, 2]));
        let table: Routes =
            (0..10_000).map(|n| (make(n).parse().unwrap(), Arc::clone(&attributes))).collect();
        let mut pair = Pair::up(1, |_, _| {});
        pair.handle(0, Event::Routes(Arc::new(table)));
        pair.until("told", |pair| pair.sides[1].table.paths.len() == 10_000);
        let updates = pair.sides[1].table.updates.len();
        assert!(updates < most, "{updates}");
        pair.handle(0, Event::Routes(Arc::default()));
        pair.until("withdrawn", |pair| pair.sides[1].table.paths.is_empty());
        assert!(pair.sides[1].table.updates.len() < updates + most);
    }
}
