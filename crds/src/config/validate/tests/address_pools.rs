// SPDX-License-Identifier: Apache-2.0
//! AddressPools of MetalLB 0.13 beside the kinds of today.

use super::all;
use crate::config::{Config, ConfigKind, Rejection};

const PLAIN: &str =
    "AddressPool old: {protocol: layer2, addresses: [10.0.0.0/24], autoAssign: false}
---
AddressPool routed: {protocol: bgp, addresses: [10.1.0.0/24]}
---
IPAddressPool new: {addresses: [10.2.0.0/24]}
---
L2Advertisement all: {}
---
BGPAdvertisement all: {localPref: 7}";

fn valid(text: &str) -> Config {
    let (config, rejections) = all(text);
    assert_eq!(rejections, [], "{text}");
    config
}

/// Which pools L2 and BGP advertisements select.
fn advertised(config: &Config) -> (Vec<&str>, Vec<&str>) {
    let selected = |by: &dyn Fn(&crate::config::Pool) -> bool| {
        config.pools.values().filter(|pool| by(pool)).map(|pool| &*pool.name).collect()
    };
    (
        selected(&|pool| config.l2_advertisements.values().any(|ad| ad.pools.selects_pool(pool))),
        selected(&|pool| config.bgp_advertisements.values().any(|ad| ad.selects_pool(pool))),
    )
}

#[test]
fn each_has_its_own_advertisements_and_no_others() {
    let config = valid(PLAIN);
    assert_eq!(advertised(&config), (vec!["new", "old"], vec!["new", "routed"]));
    let old = &config.pools["old"];
    assert!(old.is_address_pool() && !old.auto_assigns());
    assert!(config.pools["routed"].auto_assigns());
    let of_routed = config.bgp_advertisements.values().find(|ad| ad.pools.names.len() == 1);
    assert_eq!(of_routed.map(|ad| (ad.local_pref, ad.aggregation_length)), Some((0, 32)));
    // Not even by name.
    let named =
        PLAIN.replace("BGPAdvertisement all: {", "BGPAdvertisement all: {ipAddressPools: [old], ");
    assert_eq!(advertised(&valid(&named)).1, ["routed"]);
}

#[test]
fn its_advertisements_say_how_it_is_routed() {
    let config = valid(
        "AddressPool p: {protocol: bgp, addresses: [10.0.0.0/24], bgpAdvertisements: [
           {aggregationLength: 24, localPref: 100, communities: ['64512:1']},
           {aggregationLength: 32, localPref: 50}]}",
    );
    let mut found: Vec<(u8, u32, usize)> = config
        .bgp_advertisements
        .values()
        .map(|ad| (ad.aggregation_length, ad.local_pref, ad.communities.len()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(24, 100, 1), (32, 50, 0)]);
}

fn rejected(text: &str) -> Vec<Rejection> {
    all(text).1
}

#[test]
fn what_is_wrong_with_one_is_told_as_its_own() {
    let of = |text: &str, field: &str, part: &str, other: &str| {
        let found = rejected(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].kind, ConfigKind::AddressPool, "{text}");
        assert!(found[0].message.contains(part), "{text}: {}", found[0].message);
        let told = found[0].other.as_ref();
        let told = told.map(|it| format!("{} {}: {}", it.kind, it.name, it.field));
        let told = (found[0].field.to_string(), told.unwrap_or_default());
        assert_eq!(told, (field.to_owned(), other.to_owned()), "{text}");
    };
    of(
        "AddressPool p: {protocol: layer2, addresses: [nonsense]}",
        "spec.addresses[0]",
        "invalid CIDR",
        "",
    );
    of("AddressPool p: {addresses: [10.0.0.0/24]}", "spec", "can not be read", "");
    of(
        "AddressPool p: {protocol: ping, addresses: [10.0.0.0/24]}",
        "spec.protocol",
        "can not be read",
        "",
    );
    of(
        "AddressPool p: {protocol: layer2, addresses: []}",
        "spec.addresses",
        "pool has no prefixes defined",
        "",
    );
    of(
        "AddressPool p: {protocol: bgp, addresses: [10.0.0.0/28], bgpAdvertisements: [{}, {aggregationLength: 24}]}",
        "spec.bgpAdvertisements[1].aggregationLength",
        "aggregation",
        "AddressPool p: spec.addresses[0]",
    );
    of(
        "AddressPool p: {protocol: bgp, addresses: [10.0.0.0/28], bgpAdvertisements: [{communities: ['1:1', '1:1']}]}",
        "spec.bgpAdvertisements[0].communities[1]",
        "duplicate definition of community",
        "",
    );
    of(
        "AddressPool p: {protocol: bgp, addresses: [10.0.0.0/28], bgpAdvertisements: [{localPref: 1}, {localPref: 2}]}",
        "spec.bgpAdvertisements[1].localPref",
        "invalid local preference 2",
        "AddressPool p: spec.bgpAdvertisements[0].localPref",
    );
    // Without advertisements of its own it has one.
    of(
        "BFDProfile b: {echoMode: true}\n---\nBGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}\n---\nAddressPool p: {protocol: bgp, addresses: ['2001:db8::/64']}",
        "spec.protocol",
        "bfd echo",
        "BGPPeer x: spec.bfdProfile",
    );
    // An IPAddressPool of the same name, or with the same addresses, is as old: kinds go by their order.
    of(
        "IPAddressPool p: {addresses: [10.0.0.0/24]}\n---\nAddressPool p: {protocol: bgp, addresses: [10.1.0.0/24]}",
        "metadata.name",
        "duplicate definition of pool",
        "IPAddressPool p: metadata.name",
    );
    of(
        "IPAddressPool q: {addresses: [10.0.0.0/24]}\n---\nAddressPool p: {protocol: bgp, addresses: [10.0.1.0/24, 10.0.0.0/24]}",
        "spec.addresses[1]",
        "overlap",
        "IPAddressPool q: spec.addresses[0]",
    );
}

#[test]
fn an_invalid_one_takes_nothing_back() {
    let (config, _) = all("AddressPool p: {protocol: layer2, addresses: [nonsense]}");
    assert!(config.pools.values().next().is_none());
    assert!(config.invalid_pools.contains_key("p"));
    assert_eq!(config.l2_advertisements.len(), 1, "what it gave is still announced");
}
