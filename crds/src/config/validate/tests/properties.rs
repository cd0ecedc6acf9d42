// SPDX-License-Identifier: Apache-2.0
//! What holds for any objects: order does not count, and what is admitted does not overlap.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Nodes, Scope, apply, nodes, validate};
use crate::config::{Config, Objects};

/// Objects of few names and numbers, so that they often contradict each other.
fn object() -> impl Strategy<Value = Value> {
    let time = proptest::option::of((1..4_u8).prop_map(|day| format!("2026-01-0{day}T00:00:00Z")));
    let name = prop_oneof!["a", "b", "c", "d", "e"];
    let spec = prop_oneof![
        proptest::collection::vec((0..40_u8, 24..33_u8), 0..3).prop_map(|nets| {
            let nets: Vec<String> =
                nets.iter().map(|(n, length)| format!("10.0.0.{}/{length}", n * 6)).collect();
            ("IPAddressPool", json!({ "addresses": nets }))
        }),
        (0..2_u32, 26..34_u8, proptest::option::of(0..3_usize)).prop_map(
            |(pref, length, alias)| {
                let communities: Vec<&str> =
                    alias.map(|alias| ["one", "two", "1:x"][alias]).into_iter().collect();
                let spec = json!({
                    "localPref": pref, "aggregationLength": length, "communities": communities,
                });
                ("BGPAdvertisement", spec)
            }
        ),
        (0..2_u32, any::<bool>()).prop_map(|(asn, bfd)| {
            let profile = if bfd { "a" } else { "" };
            let spec = json!({
                "myASN": asn, "peerASN": 2, "peerAddress": "10.0.0.1", "bfdProfile": profile,
            });
            ("BGPPeer", spec)
        }),
        (1..4_u32).prop_map(|number| ("BFDProfile", json!({ "detectMultiplier": number }))),
        prop_oneof!["one", "two"].prop_map(|alias: String| {
            ("Community", json!({ "communities": [{ "name": alias, "value": "1:1" }] }))
        }),
    ];
    (name, time, spec).prop_map(|(name, time, (kind, spec))| {
        let mut metadata = json!({ "name": name });
        if let Some(time) = time {
            metadata["creationTimestamp"] = time.into();
        }
        json!({ "kind": kind, "metadata": metadata, "spec": spec })
    })
}

/// Distinct objects, in two orders.
fn shuffled() -> impl Strategy<Value = (Vec<Value>, Vec<Value>)> {
    proptest::collection::vec(object(), 0..16).prop_flat_map(|objects| {
        let mut seen = std::collections::BTreeSet::new();
        let distinct: Vec<Value> = objects
            .into_iter()
            .filter(|object| {
                seen.insert((object["kind"].to_string(), object["metadata"]["name"].to_string()))
            })
            .collect();
        (Just(distinct.clone()), Just(distinct).prop_shuffle())
    })
}

fn collect(manifests: Vec<Value>) -> Objects {
    let mut objects = Objects::default();
    manifests.into_iter().for_each(|manifest| apply(&mut objects, manifest));
    objects
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_the_order_of_the_objects(
        (old, _) in shuffled(), (one, other) in shuffled(),
    ) {
        let nodes = nodes(&["n"]);
        let (previous, _) = validate(&collect(old), &nodes, Scope::All, &Config::default());
        let (one, other) = (collect(one), collect(other));
        let first = validate(&one, &nodes, Scope::All, &previous);
        prop_assert_eq!(&first, &validate(&other, &nodes, Scope::All, &previous));
        // And it is stable: the outcome, as the last configuration, gives itself.
        prop_assert_eq!(&first.0, &validate(&one, &nodes, Scope::All, &first.0).0);
    }

    #[test]
    fn pools_never_overlap_and_every_address_leads_to_its_pool((manifests, _) in shuffled()) {
        let (config, _) =
            validate(&collect(manifests), &Nodes::new(), Scope::All, &Config::default());
        for last in 0..=255 {
            let address = Ipv4Addr::new(10, 0, 0, last).into();
            let holding: Vec<_> =
                config.pools.values().filter(|pool| pool.contains(address)).collect();
            prop_assert!(holding.len() < 2);
            prop_assert_eq!(config.pool_of(address), holding.first().copied());
        }
    }

    #[test]
    fn every_object_is_either_used_or_rejected((manifests, _) in shuffled()) {
        let count = manifests.len();
        let (config, rejections) =
            validate(&collect(manifests), &Nodes::new(), Scope::All, &Config::default());
        let used = config.pools.len() + config.bgp_advertisements.len() + config.peers.len()
            + config.bfd_profiles.len() + config.community_objects.len();
        prop_assert_eq!(used + rejections.len(), count);
    }
}

#[test]
fn two_thousand_pools_and_as_many_advertisements_are_validated() {
    let mut objects = Objects::default();
    for number in 0..2_000_u32 {
        let net = Ipv4Addr::from(0x0a00_0000 + number * 16);
        let name = format!("pool-{number}");
        apply(
            &mut objects,
            json!({
                "kind": "IPAddressPool", "metadata": { "name": name },
                "spec": { "addresses": [format!("{net}/28")] },
            }),
        );
        apply(
            &mut objects,
            json!({
                "kind": "BGPAdvertisement", "metadata": { "name": name },
                "spec": { "ipAddressPools": [name], "localPref": number % 3, "aggregationLength": 28 },
            }),
        );
    }
    let (config, rejections) = validate(&objects, &Nodes::new(), Scope::All, &Config::default());
    assert_eq!((config.pools.len(), rejections.len()), (2_000, 0));
    assert_eq!(config.bgp_advertisements.len(), 2_000);
}
