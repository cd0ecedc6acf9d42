// SPDX-License-Identifier: Apache-2.0
//! Every way in which an object can be wrong by itself, one row each (contract 6.2).

use super::all;

/// What is wrong in one sentence, the objects, who is rejected, and part of the message.
pub(super) type Row = (&'static str, &'static str, &'static str, &'static str);

pub(super) fn check(rows: &[Row]) {
    for (sentence, text, who, fragment) in rows {
        let (_, rejections) = all(text);
        let [rejection] = rejections.as_slice() else {
            panic!("{sentence}: one object is rejected, not {rejections:#?}");
        };
        assert_eq!(format!("{} {}", rejection.kind, rejection.name), *who, "{sentence}");
        assert!(
            rejection.message.contains(fragment),
            "{sentence}:\n{}\ndoes not contain\n{fragment}",
            rejection.message
        );
        assert!(!rejection.kept_last_valid, "{sentence}");
    }
}

/// A peer of which nothing is wrong but what `fields` adds or replaces.
fn check_peers(rows: &[(&str, &str, &str)]) {
    for (sentence, fields, fragment) in rows {
        let mut spec =
            serde_json::json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1" });
        let changes: serde_json::Value = serde_saphyr::from_str(fields).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let text = serde_json::json!({ "BGPPeer p": spec }).to_string();
        let (config, rejections) = all(&text);
        assert!(config.peers.is_empty(), "{sentence}");
        let [rejection] = rejections.as_slice() else { panic!("{sentence}: {rejections:#?}") };
        assert!(
            rejection.message.contains(fragment),
            "{sentence}:\n{}\ndoes not contain\n{fragment}",
            rejection.message
        );
    }
}

#[test]
fn peers_that_are_wrong_by_themselves_are_rejected() {
    check_peers(&[
        ("no own AS number", "{myASN: 0}", "parsing peer p missing local ASN"),
        (
            "no AS number of the peer",
            "{peerASN: 0}",
            "parsing peer p missing peer ASN and dynamicASN",
        ),
        ("two of them", "{dynamicASN: internal}", "both peer ASN and dynamicASN specified"),
        ("an unknown dynamicASN", "{peerASN: 0, dynamicASN: x}", "invalid dynamicASN x"),
        (
            "multi-hop within one AS",
            "{peerASN: 64512, ebgpMultiHop: true}",
            "invalid ebgp-multihop parameter set for an ibgp peer",
        ),
        ("nowhere to be found", "{peerAddress: ''}", "peer has no Address or Interface specified"),
        ("in two places", "{interface: eth0}", "peer has both Address and Interface specified"),
        (
            "a hold time of one second",
            "{holdTime: 1s}",
            "invalid BGPPeer timers: invalid hold time",
        ),
        ("a hold time below three", "{holdTime: 2999ms}", "invalid hold time"),
        ("a hold time below zero", "{holdTime: -9s}", "invalid hold time"),
        ("a hold time of three keepalives", "{keepaliveTime: 500ms}", "invalid hold time"),
        (
            "keepalives rarer than the hold time",
            "{holdTime: 9s, keepaliveTime: 10s}",
            "invalid BGPPeer timers: invalid keepaliveTime",
        ),
        ("an address that is none", "{peerAddress: 1.2.3}", "invalid BGPPeer address \"1.2.3\""),
        ("a zone", "{peerAddress: 'fe80::1%eth0'}", "invalid BGPPeer address \"fe80::1%eth0\""),
        ("a router ID that is none", "{routerID: me}", "invalid router ID \"me\""),
        ("a router ID of IPv6", "{routerID: '2001:db8::1'}", "invalid router ID \"2001:db8::1\""),
        ("a source that is none", "{sourceAddress: x}", "invalid source IP \"x\""),
        (
            "a node selector twice",
            "{nodeSelectors: [{matchLabels: {a: b}}, {matchLabels: {a: b}}]}",
            "duplicate definition of nodeSelectors",
        ),
        (
            "a node selector twice, values in another order",
            "{nodeSelectors: [{matchExpressions: [{key: a, operator: In, values: [b, c]}]},
              {matchExpressions: [{key: a, operator: In, values: [c, b]}]}]}",
            "duplicate definition of nodeSelectors",
        ),
        (
            "a value twice in one expression",
            "{nodeSelectors: [{matchExpressions: [{key: a, operator: In, values: [b, b]}]}]}",
            "invalid nodeSelectors: duplicate value \"b\"",
        ),
        (
            "an unknown operator",
            "{nodeSelectors: [{matchExpressions: [{key: a, operator: Near, values: [b]}]}]}",
            "invalid label selector operator \"Near\"",
        ),
        (
            "an operator without values",
            "{nodeSelectors: [{matchExpressions: [{key: a, operator: In}]}]}",
            "needs at least one value",
        ),
        (
            "values without use",
            "{nodeSelectors: [{matchExpressions: [{key: a, operator: Exists, values: [b]}]}]}",
            "takes no values",
        ),
        (
            "a value that no label can have",
            "{nodeSelectors: [{matchLabels: {a: 'b c'}}]}",
            "invalid label value \"b c\"",
        ),
        (
            "a password and a Secret",
            "{password: x, passwordSecret: {name: s}}",
            "can not have both password and secret ref set in peer config \"metallb-system\"/\"p\"",
        ),
        (
            "a connect time of zero",
            "{connectTime: 0s}",
            "connect time should be between 1 seconds to 65535",
        ),
        (
            "a broken connect time",
            "{connectTime: 1500ms}",
            "connect time should contain a whole number of seconds",
        ),
        ("a duration that is none", "{holdTime: soon}", "invalid duration \"soon\""),
        ("a number beyond its range", "{myASN: 4294967296}", "BGPPeer \"p\" can not be read"),
        (
            "a restart time beyond its bits",
            "{gracefulRestartTime: 4096s}",
            "invalid gracefulRestartTime",
        ),
        (
            "a stale time beyond its bits",
            "{longLivedStaleTime: 16777216s}",
            "invalid longLivedStaleTime",
        ),
        ("a role that is none", "{role: king}", "invalid role \"king\""),
        ("a hop count of zero", "{ttlSecurity: 0}", "invalid ttlSecurity 0"),
    ]);
}

const PEER: &str = "BGPPeer p: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, ";

#[test]
fn peers_whose_secret_is_wrong_are_rejected_with_two_lines() {
    for (secret, line) in [
        ("", "secret ref not found for peer config \"metallb-system\"/\"p\""),
        (
            "Secret s: {type: Opaque, data: {password: eA==}}",
            "secret type mismatch on \"metallb-system\"/\"s\", type \"kubernetes.io/basic-auth\" is expected",
        ),
        (
            "Secret s: {type: kubernetes.io/basic-auth, data: {username: eA==}}",
            "password not specified in the secret \"metallb-system\"/\"s\"",
        ),
        (
            "Secret s: {type: kubernetes.io/basic-auth, data: {password: ''}}",
            "a TCP MD5 key has 1 to 80 octets, that of the secret \"metallb-system\"/\"s\" has 0",
        ),
    ] {
        let (_, rejections) = all(&format!("{secret}\n---\n{PEER}passwordSecret: {{name: s}}}}"));
        let messages: Vec<&str> = rejections.iter().map(|r| r.message.as_str()).collect();
        let expected = format!("parsing peer p {line}\nfailed to parse peer p password secret");
        assert_eq!(messages, [expected]);
    }
}

#[test]
fn a_peer_whose_profile_is_missing_is_rejected_alone() {
    let (config, rejections) = all(&format!(
        "{PEER}bfdProfile: my-bfd-profile}}\n---\nBGPPeer q: {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.2}}"
    ));
    let messages: Vec<&str> = rejections.iter().map(|r| r.message.as_str()).collect();
    assert_eq!(messages, ["peer p referencing non existing bfd profile my-bfd-profile"]);
    assert_eq!(super::names(&config.peers), ["q"]);
}

#[test]
fn profiles_with_numbers_out_of_range_are_rejected() {
    for (field, low, high) in [
        ("receiveInterval", 10, 60_000),
        ("transmitInterval", 10, 60_000),
        ("detectMultiplier", 2, 255),
        ("echoInterval", 10, 60_000),
        ("minimumTtl", 1, 254),
    ] {
        for good in [low, high] {
            assert_eq!(all(&format!("BFDProfile b: {{{field}: {good}}}")).1, []);
        }
        for bad in [low - 1, high + 1] {
            let (config, rejections) = all(&format!("BFDProfile b: {{{field}: {bad}}}"));
            let message = format!("invalid value {bad}, must be in {low}-{high} range");
            assert!(rejections[0].message.contains(&message), "{}", rejections[0]);
            assert!(config.bfd_profiles.is_empty());
        }
    }
}

#[test]
fn pools_that_are_wrong_by_themselves_are_rejected() {
    let who = "IPAddressPool p";
    check(&[
        (
            "no addresses",
            "IPAddressPool p: {addresses: []}",
            who,
            "parsing address pool p: pool has no prefixes defined",
        ),
        ("no spec", "IPAddressPool p: {}", who, "pool has no prefixes defined"),
        (
            "no CIDR",
            "IPAddressPool p: {addresses: [all]}",
            who,
            "invalid CIDR \"all\" in pool \"p\"",
        ),
        (
            "a plain address",
            "IPAddressPool p: {addresses: [10.0.0.1]}",
            who,
            "invalid CIDR \"10.0.0.1\" in pool \"p\"",
        ),
        (
            "too long a prefix",
            "IPAddressPool p: {addresses: [10.0.0.0/33]}",
            who,
            "invalid CIDR \"10.0.0.0/33\" in pool \"p\"",
        ),
        (
            "two dashes",
            "IPAddressPool p: {addresses: [1.1.1.1-1.1.1.2-1.1.1.3]}",
            who,
            "invalid IP range",
        ),
        ("a bad start", "IPAddressPool p: {addresses: [x-1.1.1.2]}", who, "invalid start IP \"x\""),
        (
            "a bad end",
            "IPAddressPool p: {addresses: [1.1.1.1-1.1.1]}",
            who,
            "invalid end IP \"1.1.1\"",
        ),
        (
            "the wrong way round",
            "IPAddressPool p: {addresses: [1.1.1.2-1.1.1.1]}",
            who,
            "start IP 1.1.1.2 is after the end IP 1.1.1.1",
        ),
        (
            "two families",
            "IPAddressPool p: {addresses: ['1.1.1.1-2001:db8::1']}",
            who,
            "invalid CIDR \"1.1.1.1-2001:db8::1\" in pool \"p\": invalid IP range",
        ),
        (
            "a namespace twice",
            "IPAddressPool p: {addresses: [10.0.0.0/24], serviceAllocation: {namespaces: [a, a]}}",
            who,
            "duplicate definition in namespaces field",
        ),
        (
            "a namespace selector twice",
            "IPAddressPool p: {addresses: [10.0.0.0/24], serviceAllocation: {namespaceSelectors: [{}, {}]}}",
            who,
            "parsing address pool p: duplicate definition of namespaceSelectors",
        ),
        (
            "a Service selector that is invalid",
            "IPAddressPool p: {addresses: [10.0.0.0/24], serviceAllocation:
              {serviceSelectors: [{matchExpressions: [{key: a, operator: x}]}]}}",
            who,
            "invalid serviceSelectors",
        ),
        (
            "its own addresses twice",
            "IPAddressPool p: {addresses: [10.0.0.0/24, 10.0.0.128-10.0.0.255]}",
            who,
            "CIDR \"10.0.0.128/25\" in pool \"p\" overlaps with already defined CIDR \"10.0.0.0/24\"",
        ),
        (
            "what is no list",
            "IPAddressPool p: {addresses: 10.0.0.0/24}",
            who,
            "IPAddressPool \"p\" can not be read: invalid type",
        ),
    ]);
}

#[test]
fn l2_advertisements_that_are_wrong_are_rejected() {
    let who = "L2Advertisement a";
    check(&[
        (
            "a pool twice",
            "L2Advertisement a: {ipAddressPools: [x, x]}",
            who,
            "duplicate definition of ipAddressPools \"x\"",
        ),
        (
            "a pool selector twice",
            "L2Advertisement a: {ipAddressPoolSelectors: [{}, {}]}",
            who,
            "duplicate definition of ipAddressPoolSelectors",
        ),
        (
            "a node selector twice",
            "L2Advertisement a: {nodeSelectors: [{}, {}]}",
            who,
            "duplicate definition of nodeSelectors",
        ),
        (
            "a Service selector twice",
            "L2Advertisement a: {serviceSelectors: [{}, {}]}",
            who,
            "duplicate definition of serviceSelectors",
        ),
        (
            "an invalid selector",
            "L2Advertisement a: {nodeSelectors: [{matchExpressions: [{key: a, operator: x}]}]}",
            who,
            "invalid nodeSelectors",
        ),
        (
            "an invalid preference",
            "L2Advertisement a: {preferredNodeSelectors: [{weight: 1, preference: {matchLabels: {'-': b}}}]}",
            who,
            "invalid preferredNodeSelectors",
        ),
        (
            "a weight out of range",
            "L2Advertisement a: {preferredNodeSelectors: [{weight: 101, preference: {}}]}",
            who,
            "invalid weight 101",
        ),
    ]);
}

#[test]
fn bgp_advertisements_that_are_wrong_by_themselves_are_rejected() {
    let who = "BGPAdvertisement a";
    check(&[
        (
            "a pool twice",
            "BGPAdvertisement a: {ipAddressPools: [x, x]}",
            who,
            "duplicate definition of ipAddressPools \"x\"",
        ),
        (
            "a pool selector twice",
            "BGPAdvertisement a: {ipAddressPoolSelectors: [{}, {}]}",
            who,
            "duplicate definition of ipAddressPoolSelectors",
        ),
        (
            "a node selector twice",
            "BGPAdvertisement a: {nodeSelectors: [{}, {}]}",
            who,
            "duplicate definition of nodeSelectors",
        ),
        (
            "a Service selector twice",
            "BGPAdvertisement a: {serviceSelectors: [{}, {}]}",
            who,
            "duplicate definition of serviceSelectors",
        ),
        (
            "a peer twice",
            "BGPAdvertisement a: {peers: [x, x]}",
            who,
            "duplicate definition of peers \"x\"",
        ),
        (
            "a community twice",
            "BGPAdvertisement a: {communities: ['1:2', '1:2']}",
            who,
            "duplicate definition of community \"1:2\"",
        ),
        (
            "Service selectors with an aggregate",
            "BGPAdvertisement a: {serviceSelectors: [{}], aggregationLength: 24}",
            who,
            "serviceSelectors and aggregationLength are mutually exclusive",
        ),
        (
            "Service selectors with an IPv6 aggregate",
            "BGPAdvertisement a: {serviceSelectors: [{}], aggregationLengthV6: 64}",
            who,
            "serviceSelectors and aggregationLength are mutually exclusive",
        ),
        (
            "too long an aggregate",
            "BGPAdvertisement a: {aggregationLength: 33}",
            who,
            "invalid aggregation length",
        ),
        (
            "too long an IPv6 aggregate",
            "BGPAdvertisement a: {aggregationLengthV6: 129}",
            who,
            "invalid aggregation length",
        ),
        (
            "an aggregate of everything",
            "BGPAdvertisement a: {aggregationLength: 0}",
            who,
            "invalid aggregation length",
        ),
        (
            "a community that is too large",
            "BGPAdvertisement a: {communities: ['65536:1']}",
            who,
            "invalid community value: 65536:1\ninvalid community \"65536:1\" in BGP advertisement",
        ),
        (
            "a large community that is not marked so",
            "BGPAdvertisement a: {communities: ['small:1:2:3']}",
            who,
            "invalid community value: ",
        ),
        (
            "an alias that nobody defines",
            "BGPAdvertisement a: {communities: [my-valid-alias]}",
            who,
            "invalid community format: my-valid-alias\n\
             invalid community \"my-valid-alias\" in BGP advertisement",
        ),
        (
            "an extended community that is none",
            "BGPAdvertisement a: {extendedCommunities: [x]}",
            who,
            "invalid extended community: x",
        ),
        (
            "too many prepends",
            "BGPAdvertisement a: {asPathPrepend: 11}",
            who,
            "invalid asPathPrepend 11",
        ),
    ]);
}

#[test]
fn communities_that_are_wrong_are_rejected() {
    check(&[
        (
            "a bad value",
            "Community c: {communities: [{name: a, value: '1:x'}]}",
            "Community c",
            "parsing community \"a\": invalid community value: 1:x",
        ),
        (
            "a bad format",
            "Community c: {communities: [{name: a, value: '1'}]}",
            "Community c",
            "parsing community \"a\": invalid community format: 1",
        ),
        (
            "an alias twice in one object",
            "Community c: {communities: [{name: a, value: '1:1'}, {name: a, value: '1:2'}]}",
            "Community c",
            "duplicate definition of community \"a\"",
        ),
        (
            "an alias twice in two objects",
            "Community c: {communities: [{name: a, value: '1:1'}]}
---
Community d: {communities: [{name: b, value: '1:1'}, {name: a, value: '1:2'}]}",
            "Community d",
            "duplicate definition of community \"a\"",
        ),
    ]);
}

#[test]
fn a_rejection_reads_as_kind_name_and_message() {
    let (_, rejections) = all("IPAddressPool p: {addresses: []}");
    assert_eq!(
        rejections[0].to_string(),
        "IPAddressPool \"p\": parsing address pool p: pool has no prefixes defined"
    );
}
