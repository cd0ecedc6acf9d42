// SPDX-License-Identifier: Apache-2.0
//! Every way in which objects can contradict each other, one row each (contract 6.3).

use super::rejected::check;
use super::{nodes, world};
use crate::config::{Config, Scope, validate};

#[test]
fn objects_that_contradict_each_other_are_rejected() {
    check(&[
        ("pools that overlap",
            "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
IPAddressPool q: {addresses: [10.0.1.0/24, 10.0.0.17-10.0.0.17]}",
            "IPAddressPool q",
            "CIDR \"10.0.0.17/32\" in pool \"q\" overlaps with already defined CIDR \"10.0.0.0/24\""),
        ("a range over several pools",
            "IPAddressPool p: {addresses: ['2001:db8::/112']}
---
IPAddressPool q: {addresses: ['2001:db8::-2001:db8::1:0']}",
            "IPAddressPool q",
            "CIDR \"2001:db8::/112\" in pool \"q\" overlaps with already defined CIDR \"2001:db8::/112\""),
        ("an aggregate beyond the pool",
            "IPAddressPool p: {addresses: [1.1.1.0/28]}
---
BGPAdvertisement a: {aggregationLength: 26}",
            "BGPAdvertisement a",
            "invalid aggregation length 26: prefix 28 in this pool is more specific than the \
             aggregation length for addresses 1.1.1.0/28"),
        ("an IPv6 aggregate beyond the pool",
            "IPAddressPool p: {addresses: ['2001:db8::/64']}
---
BGPAdvertisement a: {aggregationLengthV6: 63}",
            "BGPAdvertisement a", "invalid aggregation length 63: prefix 64 in this pool"),
        ("an aggregate beyond every part of a range",
            "IPAddressPool p: {addresses: [1.1.1.1-1.1.1.126]}
---
BGPAdvertisement a: {aggregationLength: 26}",
            "BGPAdvertisement a", "invalid aggregation length 26: prefix 27 in this pool"),
        ("two LOCAL_PREFs",
            "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
BGPAdvertisement a: {localPref: 100}
---
BGPAdvertisement b: {localPref: 200}",
            "BGPAdvertisement b",
            "invalid local preference 200: local preferernce 100 was already set for the same type of \
             BGP update"),
        ("two LOCAL_PREFs for one family of a pool",
            "IPAddressPool p: {addresses: [10.0.0.0/24, '2001:db8::/64']}
---
BGPAdvertisement a: {localPref: 100, aggregationLength: 24}
---
BGPAdvertisement b: {localPref: 200}",
            "BGPAdvertisement b", "invalid local preference 200: local preferernce 100"),
        ("two LOCAL_PREFs for a common peer",
            "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
BGPAdvertisement a: {localPref: 100, peers: [x, y]}
---
BGPAdvertisement b: {localPref: 200, peers: [y, z]}",
            "BGPAdvertisement b", "invalid local preference"),
        ("a younger pool that two LOCAL_PREFs would apply to",
            "BGPAdvertisement a: {localPref: 100, creationTimestamp: '2026-01-01T00:00:00Z'}
---
BGPAdvertisement b: {localPref: 200, creationTimestamp: '2026-01-02T00:00:00Z'}
---
IPAddressPool p: {addresses: [10.0.0.0/24], creationTimestamp: '2026-01-03T00:00:00Z'}",
            "IPAddressPool p", "invalid local preference 200: local preferernce 100"),
        ("BFD echo to a peer that is sent IPv6",
            "IPAddressPool p: {addresses: ['2001:db8::/64']}
---
BFDProfile b: {echoMode: true}
---
BGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}
---
BGPAdvertisement a: {}",
            "BGPPeer x",
            "pool p has bgpadvertisement a which references peer x which has bfd echo enabled, which is \
             not possible"),
        ("an IPv6 pool for a peer with BFD echo, the advertisement being youngest",
            "IPAddressPool p: {addresses: [10.0.0.0/24, '2001:db8::/64']}
---
BFDProfile b: {echoMode: true}
---
BGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}
---
BGPAdvertisement a: {peers: [x], creationTimestamp: '2026-01-01T00:00:00Z'}",
            "BGPAdvertisement a", "pool p has bgpadvertisement a which references peer x"),
        ("the same, the pool being youngest",
            "IPAddressPool p: {addresses: ['2001:db8::/64'], creationTimestamp: '2026-01-01T00:00:00Z'}
---
BFDProfile b: {echoMode: true}
---
BGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}
---
BGPAdvertisement a: {peers: [x]}",
            "IPAddressPool p", "pool p has bgpadvertisement a which references peer x"),
    ]);
}

#[test]
fn advertisements_conflict_only_where_they_share_a_node() {
    let objects = world(
        "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
BGPAdvertisement a: {localPref: 100, nodeSelectors: [{matchLabels: {rack: a}}]}
---
BGPAdvertisement b: {localPref: 200, nodeSelectors: [{matchLabels: {rack: b}}]}",
    );
    for (known, count) in
        [(nodes(&["one rack=a", "two rack=b"]), 0), (nodes(&["one rack=c"]), 0), (nodes(&[]), 1)]
    {
        let (_, rejections) = validate(&objects, &known, Scope::All, &Config::default());
        assert_eq!(rejections.len(), count, "{known:?}");
    }
}
