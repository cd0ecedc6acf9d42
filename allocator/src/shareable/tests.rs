// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use crds::config::PoolKind;
use proptest::prelude::*;

use super::*;

fn claim(key: u8, ports: &BTreeSet<u16>) -> Claim {
    let service = serde_json::from_value::<cluster::model::ServiceObject>(serde_json::json!({
        "metadata": { "name": "s", "annotations": { "metallb.io/allow-shared-ip": format!("k{key}") } },
        "spec": {
            "type": "LoadBalancer",
            "ports": ports.iter().map(|port| serde_json::json!({ "port": port })).collect::<Vec<_>>(),
        },
    }))
    .unwrap();
    let claim = Claim::of(&service.reduce());
    assert_eq!(claim.sharing.world(), PoolKind::IpAddressPool);
    claim
}

proptest! {
    /// Against every address looked at one by one: Services come and go in any order, two keys, some ports each.
    #[test]
    fn the_lowest_address_with_all_ports_free_is_found(
        steps in proptest::collection::vec(
            (0_u8..40, any::<bool>(), 0_u8..2, 0_u8..24, proptest::collection::btree_set(1_u16..5, 1..3)),
            1..120,
        ),
        wanted in proptest::collection::btree_set(1_u16..6, 1..3),
        first in 0_u8..20,
        last in 10_u8..24,
    ) {
        let work = Steps::default();
        let at = |number: u8| IpAddr::from([10, 0, 0, number]);
        let mut shareable = Shareable::default();
        // By Service: where it is and with what.
        let mut model: BTreeMap<u8, (IpAddr, u8, BTreeSet<u16>)> = BTreeMap::new();
        for (service, comes, key, number, ports) in steps {
            if let Some((address, key, ports)) = model.remove(&service) {
                let is_last = model.values().all(|(other, ..)| *other != address);
                shareable.leave(address, &claim(key, &ports), is_last);
            }
            let address = at(number);
            let fits = model.values().all(|(other, theirs, taken)| {
                *other != address || (*theirs == key && taken.is_disjoint(&ports))
            });
            if comes && fits {
                shareable.take(address, &claim(key, &ports), &work);
                model.insert(service, (address, key, ports));
            }
        }
        let range = AddressRange::new(at(first.min(last)), at(last)).unwrap();
        for key in 0..2 {
            let free = |address: &IpAddr| {
                let here = || model.values().filter(|(other, ..)| other == address);
                here().any(|(_, theirs, _)| *theirs == key)
                    && here().all(|(_, _, taken)| taken.is_disjoint(&wanted))
            };
            let expected = (first.min(last)..=last).map(at).find(free);
            let found = shareable.first(&claim(key, &wanted), &range, &work, |_| None);
            prop_assert_eq!(found, expected);
        }
        for (address, key, ports) in std::mem::take(&mut model).into_values() {
            shareable.leave(address, &claim(key, &ports), false);
            shareable.leave(address, &claim(key, &ports), true);
        }
        prop_assert!(shareable.0.is_empty());
    }
}

#[test]
fn what_came_and_went_is_forgotten() {
    let work = Steps::default();
    let mut group = Group::default();
    let port = claim(0, &BTreeSet::from([80])).ports;
    group.take(0, &port, &work);
    for number in 1..10_000 {
        group.take(number, &port, &work);
        group.leave(number, &port, true);
    }
    assert!(group.arrivals.lowest.len() < 200, "{}", group.arrivals.lowest.len());
}
