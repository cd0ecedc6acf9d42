// SPDX-License-Identifier: Apache-2.0
//! `ferrolb check` on objects that contradict each other, or themselves: the guilty entry, and where the other one stands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod folder;

use cli::check::run;
use folder::{Folder, POOL};

fn mistakes(files: &[(&str, &str)]) -> Vec<String> {
    let folder = Folder::new(files);
    let findings = run(&[folder.path()], None);
    findings.mistakes.iter().map(|mistake| folder.plain(&mistake.to_string())).collect()
}

/// Objects of the configuration, each `Kind name: spec`, one a line of `a.yaml`.
fn of(objects: &[&str]) -> Vec<String> {
    let manifest = |object: &&str| {
        let (head, spec) = object.split_once(": ").unwrap();
        let (kind, name) = head.split_once(' ').unwrap();
        let version = match kind {
            "BGPPeer" => "metallb.io/v1beta2",
            "ExternalIPPool" => "crd.antrea.io/v1beta1",
            _ => "metallb.io/v1beta1",
        };
        format!(
            "---\n{{apiVersion: {version}, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}\n"
        )
    };
    mistakes(&[("a.yaml", &objects.iter().map(manifest).collect::<String>())])
}

#[test]
fn the_newer_of_two_pools_that_overlap_is_the_mistake() {
    let second = POOL.replace("name: p,", "name: q,");
    let found = mistakes(&[("a.yaml", POOL), ("b.yaml", &second)]);
    assert_eq!(
        found,
        [
            "b.yaml:4: IPAddressPool q: spec.addresses[0]: CIDR \"10.0.0.0/30\" in pool \"q\" overlaps with already defined CIDR \"10.0.0.0/30\"; that is spec.addresses[0] of IPAddressPool p (a.yaml:4)"
        ]
    );
}

#[test]
fn an_overlap_within_a_pool_points_at_the_later_entry() {
    let pool = |entries: &str| {
        format!(
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: p}}\nspec: {{addresses: [{entries}]}}\n"
        )
    };
    for (entries, guilty) in [
        ("10.0.0.0/24, 10.0.0.128/25", 1),
        ("10.0.0.128/25, 10.0.0.0/24", 1),
        ("10.0.0.1-10.0.0.9, 10.0.1.0/24, 10.0.0.9-10.0.0.12", 2),
        ("10.0.0.0/30, 10.0.0.0/30", 1),
    ] {
        let found = mistakes(&[("a.yaml", &pool(entries))]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(&format!(": spec.addresses[{guilty}]: ")), "{found:?}");
        assert!(found[0].ends_with("; that is spec.addresses[0] of the same pool"), "{found:?}");
    }
}

#[test]
fn what_contradicts_another_object_names_the_field_of_both() {
    const V6: &str = "IPAddressPool p: {addresses: [10.0.0.0/24, '2001:db8::/64']}";
    const V4: &str = "IPAddressPool p: {addresses: [10.0.1.0/24, 10.0.0.0/28]}";
    for (objects, beginning, end) in [
        (
            &[V4, "BGPAdvertisement a: {aggregationLength: 24}"][..],
            "a.yaml:4: BGPAdvertisement a: spec.aggregationLength: invalid aggregation length 24: ",
            "; that is spec.addresses[1] of IPAddressPool p (a.yaml:2)",
        ),
        (
            &[V6, "BGPAdvertisement a: {aggregationLengthV6: 56}"],
            "a.yaml:4: BGPAdvertisement a: spec.aggregationLengthV6: ",
            "; that is spec.addresses[1] of IPAddressPool p (a.yaml:2)",
        ),
        (
            &[V4, "BGPAdvertisement a: {localPref: 1}", "BGPAdvertisement b: {localPref: 2}"],
            "a.yaml:6: BGPAdvertisement b: spec.localPref: invalid local preference 2: ",
            "; that is spec.localPref of BGPAdvertisement a (a.yaml:4)",
        ),
        (
            &[
                V6,
                "BFDProfile b: {echoMode: true}",
                "BGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}",
                "BGPAdvertisement a: {peers: [z, x]}",
            ],
            "a.yaml:6: BGPPeer x: spec.bfdProfile: pool p has bgpadvertisement a ",
            "; that is spec.addresses[1] of IPAddressPool p (a.yaml:2)",
        ),
        (
            &[
                "Community c: {communities: [{name: z, value: '1:0'}, {name: a, value: '1:1'}]}",
                "Community d: {communities: [{name: a, value: '1:2'}]}",
            ],
            "a.yaml:4: Community d: spec.communities[0]: duplicate definition of community \"a\"",
            "; that is spec.communities[1] of Community c (a.yaml:2)",
        ),
        (
            &["Community c: {communities: [{name: a, value: '1:0'}, {name: a, value: '1:1'}]}"],
            "a.yaml:2: Community c: spec.communities[1]: ",
            "; that is spec.communities[0] of the same object",
        ),
        (
            &[
                "ExternalIPPool e: {nodeSelector: {}, ipRanges: [{cidr: 10.9.0.0/24}, {cidr: 10.0.0.0/24}]}",
                "ExternalIPPool f: {nodeSelector: {}, ipRanges: [{start: 10.0.0.9, end: 10.0.0.9}]}",
            ],
            "a.yaml:4: ExternalIPPool f: spec.ipRanges[0]: range [10.0.0.9-10.0.0.9] overlaps ",
            "; that is spec.ipRanges[1] of ExternalIPPool e (a.yaml:2)",
        ),
    ] {
        let found = of(objects);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(beginning) && found[0].ends_with(end), "{found:#?}");
    }
}

#[test]
fn what_pools_of_both_kinds_hold_is_told_of_both() {
    let found = of(&[
        "IPAddressPool p: {addresses: [10.0.1.0/24, 10.0.0.0/24]}",
        "ExternalIPPool e: {nodeSelector: {}, ipRanges: [{cidr: 10.0.0.0/28}]}",
    ]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("a.yaml:2: IPAddressPool p: spec.addresses[1]: range [")
            && found[0].ends_with("; that is spec.ipRanges[0] of ExternalIPPool e (a.yaml:4)")
            && found[1].starts_with("a.yaml:4: ExternalIPPool e: spec.ipRanges[0]: range [")
            && found[1].ends_with("; that is spec.addresses[1] of IPAddressPool p (a.yaml:2)"),
        "{found:#?}"
    );
}

/// A field without which its neighbours make no sense is taken for wrong together with them, and the rest is judged.
#[test]
fn what_stands_beside_a_wrong_part_is_judged() {
    let found = of(&[
        "ExternalIPPool e: {nodeSelector: {}, subnetInfo: {gateway: 10.0.0.1, prefixLength: 32}, \
         ipRanges: [{cidr: 10.0.0.0/24}, {cidr: 10.0.0.0/25}]}",
        "L2Advertisement l: {preferredNodeSelectors: [{weight: 101, preference: {}}, {weight: 1, preference: {}}], \
         ipAddressPools: [a, b, a]}",
    ]);
    let places: Vec<&str> = found.iter().map(|it| it.split(": ").nth(2).unwrap()).collect();
    assert_eq!(
        places,
        [
            "spec.ipRanges[1]",
            "spec.subnetInfo.prefixLength",
            "spec.ipAddressPools[2]",
            "spec.preferredNodeSelectors[0].weight",
        ],
        "{found:#?}"
    );
}
