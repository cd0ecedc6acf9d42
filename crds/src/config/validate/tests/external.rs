// SPDX-License-Identifier: Apache-2.0
//! `ExternalIPPool`: contract C.3 in its order and words, the arithmetic of C.4, and what pools of both kinds hold.

use super::{all, names, then, world};
use crate::config::{ConfigKind, Family, Policy, Pool, removed_ranges};

/// The field for which the only pool is turned away, and the message.
fn refusal(spec: &str) -> (String, String) {
    let (config, rejections) = all(&format!("ExternalIPPool p: {spec}"));
    assert!(config.external_pools.is_empty(), "{spec}");
    assert!(config.invalid_external_pools.contains_key("p"), "{spec}");
    let [rejection] = rejections.as_slice() else { panic!("{rejections:?}") };
    assert_eq!(rejection.kind, ConfigKind::ExternalIpPool);
    (rejection.field.to_string(), rejection.message.clone())
}

fn pool(ranges: &str) -> Pool {
    let (config, rejections) =
        all(&format!("ExternalIPPool p: {{ipRanges: [{ranges}], nodeSelector: {{}}}}"));
    assert_eq!(rejections, [], "{ranges}");
    config.external_pools["p"].clone()
}

#[test]
fn the_first_rule_that_is_broken_is_told_in_the_contracts_words() {
    let subnet = |gateway: &str, length: i32, ranges: &str| {
        format!(
            "{{subnetInfo: {{gateway: '{gateway}', prefixLength: {length}}}, ipRanges: [{ranges}], nodeSelector: {{}}}}"
        )
    };
    let ranges = |ranges: &str| format!("{{ipRanges: [{ranges}], nodeSelector: {{}}}}");
    for (spec, field, message) in [
        (
            subnet("10.0.0.300", 24, "cidr: x"),
            "subnetInfo.gateway",
            "invalid gateway address 10.0.0.300",
        ),
        (subnet("10.0.0.1", 32, "cidr: x"), "subnetInfo.prefixLength", "invalid prefixLength 32"),
        (subnet("10.0.0.1", 0, ""), "subnetInfo.prefixLength", "invalid prefixLength 0"),
        (subnet("fd00::1", 128, ""), "subnetInfo.prefixLength", "invalid prefixLength 128"),
        (
            ranges("{cidr: 10.0.0.0/33}, {start: x, end: y}"),
            "ipRanges[0]",
            "invalid cidr 10.0.0.0/33",
        ),
        (ranges("{start: x, end: y}"), "ipRanges[0]", "invalid start ip address x"),
        (ranges("{start: 10.0.0.1, end: y}"), "ipRanges[0]", "invalid end ip address y"),
        (
            ranges("{start: 10.0.0.1, end: 'fd00::1'}"),
            "ipRanges[0]",
            "range start 10.0.0.1 and range end fd00::1 should belong to same family",
        ),
        (
            ranges("{start: 10.0.0.2, end: 10.0.0.1}"),
            "ipRanges[0]",
            "range start 10.0.0.2 should not be greater than range end 10.0.0.1",
        ),
        (
            subnet("10.0.0.1", 24, "{cidr: 10.0.0.0/24}, {start: 10.0.1.1, end: 10.0.1.2}"),
            "ipRanges[1]",
            "range [10.0.1.1-10.0.1.2] must be a strict subset of the subnet 10.0.0.1/24",
        ),
        (
            subnet("10.0.0.1", 24, "{cidr: 10.0.0.0/23}"),
            "ipRanges[0]",
            "range [10.0.0.0/23] must be a strict subset of the subnet 10.0.0.1/24",
        ),
        (
            ranges("{cidr: 10.0.0.5/24}, {start: 10.0.0.255, end: 10.0.1.1}"),
            "ipRanges[1]",
            "range [10.0.0.255-10.0.1.1] overlaps with range [10.0.0.5/24]",
        ),
    ] {
        let (told, said) = refusal(&spec);
        assert_eq!((told, &*said), (format!("spec.{field}"), message));
    }
}

#[test]
fn of_two_pools_that_overlap_the_older_stays_and_unusable_addresses_count() {
    let (config, rejections) =
        all("ExternalIPPool old: {ipRanges: [{cidr: 10.0.0.5/24}], nodeSelector: {}, \
        creationTimestamp: '2026-01-01T00:00:00Z'}\n---\n\
        ExternalIPPool new: {ipRanges: [{start: 10.0.0.255, end: 10.0.1.9}], nodeSelector: {}, \
        creationTimestamp: '2026-01-02T00:00:00Z'}");
    assert_eq!(names(&config.external_pools), ["old"]);
    assert_eq!(
        rejections[0].message,
        "range [10.0.0.255-10.0.1.9] overlaps with range [10.0.0.5/24] of ExternalIPPool old"
    );
    assert_eq!(rejections[0].field.to_string(), "spec.ipRanges[0]");
    let other = rejections[0].other.as_ref().unwrap();
    assert_eq!(
        (other.kind, &*other.name, other.field.to_string()),
        (ConfigKind::ExternalIpPool, "old", "spec.ipRanges[0]".to_owned())
    );
}

#[test]
fn a_pool_that_becomes_invalid_keeps_what_it_was() {
    let (config, rejections) = then(
        "ExternalIPPool p: {ipRanges: [{cidr: 10.0.0.0/28}], nodeSelector: {}}",
        "ExternalIPPool p: {ipRanges: [{cidr: nonsense}], nodeSelector: {}}",
    );
    assert!(rejections[0].kept_last_valid);
    assert_eq!(config.external_pools["p"].capacity(Family::V4), 14);
    assert!(config.invalid_external_pools.is_empty());
}

#[test]
fn capacity_is_antreas_and_the_smallest_pools_are_usable() {
    for (ranges, v4, v6) in [
        ("{cidr: 10.0.0.0/28}", 14, 0),
        ("{cidr: 10.0.0.0/30}", 2, 0),
        ("{cidr: 10.0.0.0/31}", 2, 0),
        ("{cidr: 10.0.0.7/32}", 1, 0),
        ("{cidr: 10.0.0.0/16}", 65_534, 0),
        ("{cidr: 10.0.0.0/15}", 65_535, 0),
        ("{cidr: 10.0.0.0/8}", 65_535, 0),
        ("{cidr: 'fd00::/124'}", 0, 15),
        ("{cidr: 'fd00::/127'}", 0, 1),
        ("{cidr: 'fd00::/128'}", 0, 1),
        ("{cidr: 'fd00::/64'}", 0, 65_536),
        ("{start: 10.10.0.2, end: 10.10.0.10}", 9, 0),
        ("{start: 10.0.0.0, end: 10.255.255.255}", 65_536, 0),
        ("{start: 10.0.0.0, end: 10.0.0.0}, {cidr: 'fd00::/124'}", 1, 15),
        ("", 0, 0),
    ] {
        let pool = pool(ranges);
        assert_eq!((pool.capacity(Family::V4), pool.capacity(Family::V6)), (v4, v6), "{ranges}");
    }
}

#[test]
fn of_a_cidr_neither_the_first_address_nor_the_broadcast_is_given() {
    let pool = pool("{cidr: 10.0.0.5/29}, {start: 10.0.1.0, end: 10.0.1.255}");
    for (address, given) in [
        ("10.0.0.0", false),
        ("10.0.0.1", true),
        ("10.0.0.6", true),
        ("10.0.0.7", false),
        ("10.0.1.0", true),
        ("10.0.1.255", true),
    ] {
        assert_eq!(pool.is_usable(address.parse().unwrap()), given, "{address}");
    }
}

#[test]
fn the_selector_of_nodes_and_the_gateway_are_kept() {
    let (config, _) = all(
        "ExternalIPPool p: {ipRanges: [{cidr: 10.0.0.0/24}], subnetInfo: {gateway: 10.0.0.1, \
        prefixLength: 24, vlan: 2}, nodeSelector: {matchLabels: {role: edge}}}\n---\n\
        ExternalIPPool q: {ipRanges: [], nodeSelector: {matchExpressions: [{key: a, operator: In}]}}",
    );
    let pool = &config.external_pools["p"];
    assert!(pool.selects_node(&[("role", "edge")].into_iter().collect()));
    assert!(!pool.selects_node(&[("role", "core")].into_iter().collect()));
    let Policy::Antrea(policy) = &pool.policy else { panic!("{pool:?}") };
    assert_eq!(policy.gateway, Some("10.0.0.1".parse().unwrap()));
    let unreadable = &config.external_pools["q"];
    assert!(!unreadable.selects_node(&[("a", "b")].into_iter().collect()));
}

#[test]
fn what_pools_of_both_kinds_hold_is_contested_and_both_say_so() {
    let (config, rejections) = all(
        "ExternalIPPool a: {ipRanges: [{start: 10.0.0.2, end: 10.0.0.10}], nodeSelector: {}}\n---\n\
        ExternalIPPool b: {ipRanges: [{cidr: 10.9.0.0/24}], nodeSelector: {}}\n---\n\
        IPAddressPool a: {addresses: [10.0.0.8-10.0.0.20]}",
    );
    let told: Vec<(ConfigKind, &str, bool)> = rejections
        .iter()
        .map(|rejection| (rejection.kind, &*rejection.message, rejection.kept_last_valid))
        .collect();
    assert_eq!(
        told,
        [
            (
                ConfigKind::IpAddressPool,
                "range [10.0.0.8-10.0.0.20] overlaps with range [10.0.0.2-10.0.0.10] of ExternalIPPool a: no new address \
                 is given from what both hold",
                true,
            ),
            (
                ConfigKind::ExternalIpPool,
                "range [10.0.0.2-10.0.0.10] overlaps with range [10.0.0.8-10.0.0.20] of IPAddressPool a: no new address \
                 is given from what both hold",
                true,
            ),
        ]
    );
    let entries: Vec<(String, ConfigKind, String)> = rejections
        .iter()
        .filter_map(|rejection| {
            let other = rejection.other.as_ref()?;
            Some((rejection.field.to_string(), other.kind, other.field.to_string()))
        })
        .collect();
    let (own, external) = ("spec.addresses[0]".to_owned(), "spec.ipRanges[0]".to_owned());
    assert_eq!(
        entries,
        [
            (own.clone(), ConfigKind::ExternalIpPool, external.clone()),
            (external, ConfigKind::IpAddressPool, own),
        ]
    );
    for pool in [&config.pools["a"], &config.external_pools["a"]] {
        assert_eq!(pool.contested_until("10.0.0.9".parse().unwrap()), "10.0.0.10".parse().ok());
        assert_eq!(pool.contested_until("10.0.0.7".parse().unwrap()), None);
    }
    assert!(config.external_pools["b"].contested.is_empty());
    let (config, rejections) = then(
        "IPAddressPool a: {addresses: [10.1.0.0/24]}",
        "IPAddressPool a: {addresses: [10.1.0.0/24]}",
    );
    assert_eq!((rejections.as_slice(), config.pools["a"].contested.len()), ([].as_slice(), 0));
}

#[test]
fn ranges_can_only_be_added() {
    let spec = |ranges: &str| {
        let objects =
            world(&format!("ExternalIPPool p: {{ipRanges: [{ranges}], nodeSelector: {{}}}}"));
        objects.external_pools["p"].spec.clone().unwrap()
    };
    let old = spec("{start: 10.1.0.2, end: 10.1.0.3}, {cidr: 10.0.0.0/24}");
    let more = spec("{cidr: 10.2.0.0/24}, {cidr: 10.0.0.0/24}, {start: 10.1.0.2, end: 10.1.0.3}");
    assert_eq!(removed_ranges(&old, &more), None);
    assert_eq!(
        removed_ranges(&old, &spec("{cidr: 10.0.0.1/24}")).unwrap(),
        "existing IPRanges [10.0.0.0/24 10.1.0.2-10.1.0.3] cannot be updated or deleted"
    );
}

#[test]
fn an_advertisement_selects_external_pools_by_name_only() {
    let (config, rejections) = all(
        "ExternalIPPool p: {ipRanges: [{cidr: 10.0.0.0/28}], nodeSelector: {}}\n---\n\
        BGPAdvertisement all: {}\n---\n\
        BGPAdvertisement named: {ipAddressPools: [other], externalIPPools: [p]}\n---\n\
        BGPAdvertisement wide: {ipAddressPools: [other], externalIPPools: [p], aggregationLength: 24}",
    );
    let selects =
        |name: &str| config.bgp_advertisements[name].selects_pool(&config.external_pools["p"]);
    assert!(!selects("all") && selects("named"));
    assert_eq!(rejections.len(), 1, "an aggregate beyond what the pool holds: {rejections:?}");
    assert!(rejections[0].message.starts_with("invalid aggregation length 24"));
}
