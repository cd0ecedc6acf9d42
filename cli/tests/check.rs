// SPDX-License-Identifier: Apache-2.0
//! `ferrolb check`: every mistake at once, each with file, line, object and field.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod folder;

use cli::check::{Report, run};
use folder::{ADVERTISEMENT, Folder, POOL, node, service};

fn check(folder: &Folder) -> Report {
    run(&[folder.path()])
}

fn mistakes(files: &[(&str, &str)]) -> Vec<String> {
    let folder = Folder::new(files);
    check(&folder).mistakes.iter().map(|mistake| folder.plain(&mistake.to_string())).collect()
}

#[test]
fn a_folder_without_mistakes_says_what_it_holds() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n";
    let all = [POOL, ADVERTISEMENT, &service("web", ""), deployment].join("---\n");
    let report = check(&Folder::new(&[("all.yaml", &all)]));
    assert_eq!(
        report.text(),
        "no mistakes in 1 IPAddressPool, 1 L2Advertisement, 1 Service, 1 of kinds that ferrolb has no use for\n"
    );
    assert!(report.mistakes.is_empty(), "and so the exit code is 0");
    assert_eq!(check(&Folder::new(&[])).text(), "no mistakes in no objects\n");
}

#[test]
fn every_mistake_is_told_at_once() {
    let folder = Folder::new(&[
        (
            "a.yaml",
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  ports:\n  - port: x\n",
        ),
        ("b.yaml", "a: [\n"),
        (
            "c.yaml",
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: p\nspec:\n  addresses:\n  - 10.0.0.0/30\n  - 10.0.0.0/33\n",
        ),
        (
            "d.yaml",
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: db\n  annotations:\n    metallb.io/loadBalancerIPs: what\nspec:\n  type: LoadBalancer\n",
        ),
        ("e.yaml", "apiVersion: v1\nkind: Nod\nmetadata: {name: nn}\n"),
        ("f.yaml", &node("n1")),
        ("g.yaml", &node("n1")),
    ]);
    let report = check(&folder);
    let text = folder.plain(&report.text());
    let found: Vec<&str> = text.lines().collect();
    assert_eq!(found.len(), 7, "{text}");
    assert_eq!(
        found[0],
        "a.yaml:7: Service default/web: spec.ports[0].port: invalid type: string \"x\", expected u16"
    );
    assert!(found[1].starts_with("b.yaml:"), "{text}");
    assert!(found[1].contains(": not valid YAML: "), "{text}");
    assert!(
        found[2].starts_with("c.yaml:8: IPAddressPool p: spec.addresses[1]: parsing address pool p: invalid CIDR \"10.0.0.0/33\" in pool \"p\""),
        "{text}"
    );
    assert_eq!(
        found[3],
        "d.yaml:6: Service default/db: metadata.annotations.metallb.io/loadBalancerIPs: invalid metallb.io/loadBalancerIPs: \"what\" is not an IP address"
    );
    assert_eq!(
        found[4],
        "e.yaml:2: Nod default/nn: kind: unknown kind \"Nod\" in apiVersion \"v1\""
    );
    assert_eq!(
        found[5],
        "g.yaml:1: Node n1: the same object stands at f.yaml:1 already; that one counts"
    );
    assert_eq!(found[6], "6 mistakes in 1 IPAddressPool, 1 Node, 1 Service");
}

/// Each mistake of a configuration object, with the field that it is about and the field's line.
#[test]
fn mistakes_of_configuration_objects_name_the_field() {
    let object = |kind: &str, version: &str, spec: &str| {
        let spec = spec.replace('\n', "\n  ");
        format!(
            "apiVersion: metallb.io/{version}\nkind: {kind}\nmetadata:\n  name: x\nspec:\n  {spec}\n"
        )
    };
    let pool = |spec: &str| object("IPAddressPool", "v1beta1", spec);
    let l2 = |spec: &str| object("L2Advertisement", "v1beta1", spec);
    let bgp = |spec: &str| object("BGPAdvertisement", "v1beta1", spec);
    let bfd = |spec: &str| object("BFDProfile", "v1beta1", spec);
    let community = |spec: &str| object("Community", "v1beta1", spec);
    let peer = |more: &str| {
        object(
            "BGPPeer",
            "v1beta2",
            &format!("myASN: 1\npeerASN: 2\npeerAddress: 10.0.0.1\n{more}"),
        )
    };
    let rows = [
        (pool("addresses: []"), 6, "spec.addresses"),
        (pool("addresses:\n- 10.0.0.0/30\n- 10.0.0.2/31"), 8, "spec.addresses[1]"),
        (pool("addresses:\n- 10.0.0.0/30\n- 7"), 8, "spec.addresses[1]"),
        (pool("addresses: 10.0.0.0/30"), 6, "spec.addresses"),
        (pool("addresses: [10.0.0.0/30]\nautoAssign: maybe"), 7, "spec.autoAssign"),
        (
            pool(
                "addresses: [10.0.0.0/30]\nserviceAllocation:\n  namespaces:\n  - a\n  - b\n  - a",
            ),
            11,
            "spec.serviceAllocation.namespaces[2]",
        ),
        (
            pool(
                "addresses: [10.0.0.0/30]\nserviceAllocation:\n  serviceSelectors:\n  - matchExpressions: [{key: a, operator: What}]",
            ),
            8,
            "spec.serviceAllocation.serviceSelectors",
        ),
        (l2("ipAddressPools:\n- a\n- a"), 8, "spec.ipAddressPools[1]"),
        (
            l2("interfaces: [a]\nnodeSelectors: [{matchLabels: {a: b}}, {matchLabels: {a: b}}]"),
            7,
            "spec.nodeSelectors",
        ),
        (
            l2("preferredNodeSelectors:\n- weight: 0\n  preference: {}"),
            6,
            "spec.preferredNodeSelectors",
        ),
        (l2("nodeSelectors:\n- matchLabels:\n    a: 1"), 8, "spec.nodeSelectors[0].matchLabels.a"),
        (bgp("aggregationLength: 33"), 6, "spec.aggregationLength"),
        (bgp("aggregationLengthV6: 129"), 6, "spec.aggregationLengthV6"),
        (bgp("communities:\n- '1:2'\n- unknown"), 8, "spec.communities[1]"),
        (bgp("communities: ['1:2', '1:2']"), 6, "spec.communities[1]"),
        (bgp("asPathPrepend: 11"), 6, "spec.asPathPrepend"),
        (bfd("receiveInterval: 3"), 6, "spec.receiveInterval"),
        (bfd("echoMode: true\nminimumTtl: 0"), 7, "spec.minimumTtl"),
        (
            community("communities:\n- {name: a, value: '1:2'}\n- {name: b, value: x}"),
            8,
            "spec.communities[1]",
        ),
        (
            object("BGPPeer", "v1beta2", "peerASN: 2\nmyASN: 0\npeerAddress: 10.0.0.1"),
            7,
            "spec.myASN",
        ),
        (object("BGPPeer", "v1beta2", "myASN: 1\npeerAddress: 10.0.0.1"), 5, "spec.peerASN"),
        (peer("dynamicASN: internal"), 9, "spec.dynamicASN"),
        (peer("interface: eth0"), 9, "spec.interface"),
        (peer("routerID: x"), 9, "spec.routerID"),
        (peer("sourceAddress: x"), 9, "spec.sourceAddress"),
        (peer("holdTime: 1s"), 9, "spec.holdTime"),
        (peer("holdTime: 3s\nkeepaliveTime: 4s"), 10, "spec.keepaliveTime"),
        (peer("connectTime: 1500ms"), 9, "spec.connectTime"),
        (peer("role: boss"), 9, "spec.role"),
        (peer("bfdProfile: none"), 9, "spec.bfdProfile"),
        (peer("peerPort: x"), 9, "spec.peerPort"),
    ];
    for (text, line, field) in rows {
        let report = check(&Folder::new(&[("a.yaml", &text)]));
        let found: Vec<_> = report
            .mistakes
            .iter()
            .map(|mistake| (mistake.line, mistake.field.as_deref()))
            .collect();
        assert_eq!(found, [(Some(line), Some(field))], "{text}{}", report.text());
    }
}

#[test]
fn the_newer_of_two_pools_that_overlap_is_the_mistake() {
    let second = POOL.replace("name: p,", "name: q,");
    let found = mistakes(&[("a.yaml", POOL), ("b.yaml", &second)]);
    assert_eq!(
        found,
        [
            "b.yaml:4: IPAddressPool q: spec.addresses[0]: CIDR \"10.0.0.0/30\" in pool \"q\" overlaps with already defined CIDR \"10.0.0.0/30\""
        ]
    );
}

#[test]
fn requests_that_make_no_sense_name_where_they_are_made() {
    let field = mistakes(&[("a.yaml", &service("web", ", loadBalancerIP: what"))]);
    assert_eq!(
        field,
        [
            "a.yaml:4: Service default/web: spec.loadBalancerIP: invalid spec.loadBalancerIP: \"what\" is not an IP address"
        ]
    );
    let old = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n    metallb.universe.tf/loadBalancerIPs: what\nspec: {type: LoadBalancer}\n";
    let found = mistakes(&[("a.yaml", old)]);
    assert!(
        found[0].starts_with("a.yaml:6: Service default/web: metadata.annotations.metallb.universe.tf/loadBalancerIPs: "),
        "{found:?}"
    );
}

#[test]
fn what_is_valid_and_probably_not_meant_is_a_hint() {
    let advertisement = ADVERTISEMENT.replace("spec: {}", "spec: {ipAddressPools: [q]}");
    let asking = service("web", "")
        .replace("{name: web}", "{name: web, annotations: {metallb.io/address-pool: z}}");
    let peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: peer}\nspec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, passwordSecret: {name: s}}\n";
    let all = [POOL, &advertisement, &asking, peer].join("---\n");
    let report = check(&Folder::new(&[("all.yaml", &all)]));
    assert_eq!(report.mistakes, []);
    assert_eq!(
        report.hints,
        [
            "BGPPeer peer: its password is in a Secret, and Secrets are not read here",
            "L2Advertisement ad: spec.ipAddressPools names \"q\", and there is no such pool",
            "IPAddressPool p: no advertisement selects it, so its addresses are given and not announced",
            "Service default/web: asks for pool \"z\", which is not among these files",
        ]
    );
    assert!(report.text().contains("\nhint: L2Advertisement ad: "), "{}", report.text());
}

#[test]
fn a_path_that_is_not_there_is_a_mistake() {
    let report = run(&["/nowhere/at/all".into()]);
    assert!(report.text().starts_with("/nowhere/at/all: cannot be read: "), "{}", report.text());
}

#[test]
fn addresses_that_are_given_to_nobody_are_hinted_at() {
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: odd}\nspec:\n  addresses:\n  - 192.0.2.0/30\n  - 127.0.0.0/30\n  - ff02::1-ff02::2\n---\n";
    let own = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus:\n  addresses:\n  - {type: InternalIP, address: 192.0.2.1}\n";
    let all = [pool, ADVERTISEMENT, own].join("---\n");
    let report = check(&Folder::new(&[("all.yaml", &all)]));
    assert!(report.mistakes.is_empty());
    assert_eq!(
        report.hints,
        [
            "IPAddressPool odd: 127.0.0.0/30 is loopback: never given",
            "IPAddressPool odd: ff02::1-ff02::2 is multicast: never given",
            "IPAddressPool odd: 192.0.2.1 is node n1's own: given only to a Service that asks for it",
        ]
    );
}

#[test]
fn an_address_text_has_one_reading_everywhere() {
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec:\n  addresses:\n  - 010.020.030.040/29\n---\n";
    assert_eq!(
        mistakes(&[("pool.yaml", pool)]),
        [
            "pool.yaml:6: IPAddressPool p: spec.addresses[0]: parsing address pool p: invalid CIDR \"010.020.030.040/29\" in pool \"p\": invalid CIDR \"010.020.030.040/29\""
        ]
    );
    let asks = service("asks", ", loadBalancerIP: 192.0.2.065");
    let told = "apiVersion: v1\nkind: Service\nmetadata: {name: told}\nspec:\n  type: LoadBalancer\n  clusterIPs: [10.96.0.09]\n  ports: [{port: 80}]\n  loadBalancerSourceRanges: [10.1.2.3/8, 10.0.0.0]\nstatus: {loadBalancer: {ingress: [{ip: '::ffff:192.0.2.64'}]}}\n";
    let report =
        check(&Folder::new(&[("all.yaml", &[POOL, ADVERTISEMENT, &asks, told].join("---\n"))]));
    let text = report.text();
    for part in [
        "spec.loadBalancerIP: invalid spec.loadBalancerIP: \"192.0.2.065\" is not an IP address",
        "spec.loadBalancerSourceRanges[1]: \"10.0.0.0\": it is not a network such as 192.0.2.0/24",
        "hint: Service default/told: spec.clusterIPs[0] is \"10.96.0.09\": a later Kubernetes refuses this form: write 10.96.0.9",
        "hint: Service default/told: spec.loadBalancerSourceRanges[0] is \"10.1.2.3/8\": it is taken for 10.0.0.0/8: write that, or 10.1.2.3/32",
        "hint: Service default/told: status.loadBalancer.ingress[0].ip is \"::ffff:192.0.2.64\": a later Kubernetes refuses this form: write 192.0.2.64",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert_eq!(report.mistakes.len(), 2, "{text}");
}
