// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;

fn pool(entries: &[&str], avoid_buggy_ips: bool) -> Pool {
    Pool {
        name: "p".into(),
        labels: Labels::default(),
        ranges: entries.iter().map(|entry| AddressRange::parse(entry).unwrap()).collect(),
        special: Vec::new(),
        contested: Vec::new(),
        policy: Policy::Metallb(MetallbPolicy {
            written: Vec::new(),
            address_pool: false,
            auto_assign: true,
            avoid_buggy_ips,
            service_allocation: None,
        }),
    }
}

#[test]
fn capacity_is_counted_per_family() {
    for (entries, avoid, v4, v6) in [
        (vec!["10.0.0.0/24"], false, 256, 0),
        (vec!["10.0.0.0/24"], true, 254, 0),
        (vec!["10.0.0.0/23", "10.0.4.255-10.0.5.0"], true, 508, 0),
        (vec!["10.0.0.0/28", "10.0.0.240/28"], true, 30, 0),
        (vec!["10.0.0.1-10.0.0.254"], true, 254, 0),
        (vec!["10.0.0.0/32"], true, 0, 0),
        (vec!["0.0.0.0/0"], false, 1 << 32, 0),
        (vec!["10.0.0.0/24", "2001:db8::/120"], true, 254, 256),
        (vec!["2001:db8::/67"], false, 0, 1 << 61),
        // From 62 host bits on, a CIDR counts as the largest number there is.
        (vec!["2001:db8::/66"], false, 0, MAX_CAPACITY),
        (vec!["2001:db8::/64", "2001:db9::/64"], false, 0, MAX_CAPACITY),
        (vec!["::/0"], false, 0, MAX_CAPACITY),
    ] {
        let pool = pool(&entries, avoid);
        assert_eq!((pool.capacity(Family::V4), pool.capacity(Family::V6)), (v4, v6), "{entries:?}");
    }
}

#[test]
fn addresses_that_end_in_0_or_255_are_not_usable_where_they_are_avoided() {
    let pool = pool(&["10.0.0.0/24", "2001:db8::/120"], true);
    for (address, contained, usable) in [
        ("10.0.0.0", true, false),
        ("10.0.0.1", true, true),
        ("10.0.0.255", true, false),
        ("10.0.1.1", false, false),
        ("2001:db8::", true, true),
        ("2001:db8::ff", true, true),
    ] {
        let address = address.parse().unwrap();
        assert_eq!((pool.contains(address), pool.is_usable(address)), (contained, usable));
    }
}

#[test]
fn an_allocation_is_for_namespaces_and_services_together() {
    let selector = |key: &str, value: &str| {
        Selector::parse(
            &serde_json::from_value(serde_json::json!({ "matchLabels": { key: value } })).unwrap(),
        )
        .unwrap()
    };
    let labels = |key: &str, value: &str| -> Labels { [(key, value)].into_iter().collect() };
    let none = Labels::default();
    let by_namespace = ServiceAllocation {
        namespaces: vec!["a".into()],
        namespace_selectors: vec![selector("team", "x")],
        ..Default::default()
    };
    assert!(by_namespace.allows("a", &none, &none));
    assert!(by_namespace.allows("b", &labels("team", "x"), &none));
    assert!(!by_namespace.allows("b", &labels("team", "y"), &none));

    let both =
        ServiceAllocation { service_selectors: vec![selector("app", "web")], ..by_namespace };
    assert!(both.allows("a", &none, &labels("app", "web")));
    assert!(!both.allows("a", &none, &none));
    assert!(!both.allows("b", &none, &labels("app", "web")));

    // Selectors that no namespace matches allow nobody, rather than everybody.
    let nobody = ServiceAllocation {
        namespace_selectors: vec![selector("team", "nobody")],
        ..Default::default()
    };
    assert!(!nobody.allows("a", &none, &none));
    assert!(ServiceAllocation::default().allows("a", &none, &none));
}

#[test]
fn positive_priorities_come_first_and_in_order() {
    let rank = |priority| ServiceAllocation { priority, ..Default::default() }.rank();
    assert!(rank(1) < rank(2) && rank(2) < rank(0));
    assert_eq!(rank(0), rank(-1));
}

proptest! {
    #[test]
    fn capacity_is_the_number_of_usable_addresses(first in 0..2_000_u32, more in 0..2_000_u32, avoid in any::<bool>()) {
        let base = 0x0a00_0000;
        let (first, last) = (base + first, base + first + more);
        let range = AddressRange::new(IpAddr::V4(first.into()), IpAddr::V4(last.into())).unwrap();
        let pool = Pool { ranges: vec![range], ..pool(&[], avoid) };
        let usable = (first..=last).filter(|n| pool.is_usable(IpAddr::V4((*n).into()))).count();
        prop_assert_eq!(pool.capacity(Family::V4), usable as u64);
    }
}
