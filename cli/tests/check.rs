// SPDX-License-Identifier: Apache-2.0
//! `ferrolb check`: every mistake at once, each with file, line, object and field.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod folder;

use cli::check::{Findings, run};
use folder::{ADVERTISEMENT, Folder, POOL, node, service};

fn check(folder: &Folder) -> Findings {
    run(&[folder.path()], None)
}

fn hints(findings: &Findings) -> Vec<String> {
    findings
        .hints
        .iter()
        .map(|hint| hint.to_string().rsplit_once("/all.yaml:").unwrap().1.to_owned())
        .collect()
}

fn mistakes(files: &[(&str, &str)]) -> Vec<String> {
    let folder = Folder::new(files);
    check(&folder).mistakes.iter().map(|mistake| folder.plain(&mistake.to_string())).collect()
}

#[test]
fn a_folder_without_mistakes_says_what_it_holds() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n";
    let all = [POOL, ADVERTISEMENT, &service("web", ""), deployment].join("---\n");
    let findings = check(&Folder::new(&[("all.yaml", &all)]));
    assert_eq!(
        findings.text(),
        "no mistakes in 1 IPAddressPool, 1 L2Advertisement, 1 Service, 1 of kinds that ferrolb has no use for\n"
    );
    assert!(findings.mistakes.is_empty(), "and so the exit code is 0");
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
    let findings = check(&folder);
    let text = folder.plain(&findings.text());
    let found: Vec<&str> = text.lines().collect();
    assert_eq!(found.len(), 9, "{text}");
    assert_eq!(
        found[0],
        "a.yaml:7: Service default/web: spec.ports[0].port: a whole number is expected here, not the text \"x\""
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
        found[4..],
        [
            "d.yaml:7: Service default/db: spec.ports: missing: a Service needs a port",
            "e.yaml:2: Nod nn: kind: no API server has a kind \"Nod\" in v1; did you mean \"Node\"?",
            "g.yaml:1: Node n1: the same object stands at f.yaml:1 already; that one counts",
            "hint: c.yaml:1: IPAddressPool p: no advertisement selects it: its addresses are given and not announced",
            "7 mistakes and 1 hint in 1 IPAddressPool, 1 Node, 1 Service",
        ]
    );
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
            9,
            "spec.serviceAllocation.serviceSelectors[0]",
        ),
        (l2("ipAddressPools:\n- a\n- a"), 8, "spec.ipAddressPools[1]"),
        (
            l2("interfaces: [a]\nnodeSelectors: [{matchLabels: {a: b}}, {matchLabels: {a: b}}]"),
            7,
            "spec.nodeSelectors[1]",
        ),
        (
            l2("preferredNodeSelectors:\n- weight: 0\n  preference: {}"),
            7,
            "spec.preferredNodeSelectors[0].weight",
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
        let findings = check(&Folder::new(&[("a.yaml", &text)]));
        let found: Vec<_> = findings
            .mistakes
            .iter()
            .map(|mistake| (mistake.line, mistake.field.as_deref()))
            .collect();
        assert_eq!(found, [(Some(line), Some(field))], "{text}{}", findings.text());
    }
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
    let old = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n    metallb.universe.tf/loadBalancerIPs: what\nspec: {type: LoadBalancer, ports: [{port: 80}]}\n";
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
    let findings = check(&Folder::new(&[("all.yaml", &all)]));
    assert_eq!(findings.mistakes, []);
    assert_eq!(
        hints(&findings),
        [
            "1: IPAddressPool p: no advertisement selects it: its addresses are given and not announced",
            "9: L2Advertisement ad: spec.ipAddressPools[0]: there is no IPAddressPool \"q\"",
            "13: Service default/web: metadata.annotations.metallb.io/address-pool: asks for pool \"z\", which is not among these files",
        ]
    );
    assert_eq!(
        findings.notes,
        ["BGPPeer peer: its password is in a Secret, and Secrets are not read here"]
    );
    assert!(!findings.is_clean(true) && findings.is_clean(false));
}

#[test]
fn a_path_that_is_not_there_is_a_mistake() {
    let findings = run(&["/nowhere/at/all".into()], None);
    assert!(
        findings.text().starts_with("/nowhere/at/all: cannot be read: "),
        "{}",
        findings.text()
    );
}

#[test]
fn addresses_that_are_given_to_nobody_are_hinted_at() {
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: odd}\nspec:\n  addresses:\n  - 192.0.2.0/30\n  - 127.0.0.0/30\n  - ff02::1-ff02::2\n---\n";
    let own = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus:\n  addresses:\n  - {type: InternalIP, address: 192.0.2.1}\n";
    let all = [pool, ADVERTISEMENT, own].join("---\n");
    let findings = check(&Folder::new(&[("all.yaml", &all)]));
    assert!(findings.mistakes.is_empty());
    assert_eq!(
        hints(&findings),
        [
            "6: IPAddressPool odd: spec.addresses[0]: 192.0.2.1 is node n1's own: given only to a Service that asks for it",
            "7: IPAddressPool odd: spec.addresses[1]: 127.0.0.0/30 is loopback: never given",
            "8: IPAddressPool odd: spec.addresses[2]: ff02::1-ff02::2 is multicast: never given",
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
    let told = "apiVersion: v1\nkind: Service\nmetadata: {name: told}\nspec:\n  type: LoadBalancer\n  clusterIP: 10.96.0.09\n  clusterIPs: [10.96.0.09]\n  ports: [{port: 80}]\n  loadBalancerSourceRanges: [10.1.2.3/8, 10.0.0.0]\nstatus: {loadBalancer: {ingress: [{ip: '::ffff:192.0.2.64'}]}}\n";
    let findings =
        check(&Folder::new(&[("all.yaml", &[POOL, ADVERTISEMENT, &asks, told].join("---\n"))]));
    let text = findings.text();
    for part in [
        "spec.loadBalancerIP: invalid spec.loadBalancerIP: \"192.0.2.065\" is not an IP address",
        "spec.loadBalancerSourceRanges[1]: \"10.0.0.0\" is not a range such as 192.0.2.0/24",
        "Service default/told: spec.clusterIPs[0]: \"10.96.0.09\": a later Kubernetes refuses this form: write 10.96.0.9",
        "Service default/told: spec.loadBalancerSourceRanges[0]: \"10.1.2.3/8\": it is taken for 10.0.0.0/8: write that, or 10.1.2.3/32",
        "Service default/told: status.loadBalancer.ingress[0].ip: \"::ffff:192.0.2.64\": a later Kubernetes refuses this form: write 192.0.2.64",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert_eq!(findings.mistakes.len(), 2, "{text}");
}

/// What a pool has wrong is told at once, and each entry by its own line, whatever stands before it.
#[test]
fn every_mistake_of_an_object_is_told() {
    let text = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec:\n  addresses:\n  - 10.0.0.0/33\n  - 7\n  - 10.0.0.0/30\n  - 10.0.0.5-10.0.0.2\n  - here\n  autoAssign: maybe\n  avoidBuggyIPs: \"yes\"\n  autoassign: false\n  serviceAllocation:\n    namespaces: [a, a]\n    priority: high\n";
    let found = mistakes(&[("a.yaml", text)]);
    let places: Vec<&str> = found.iter().map(|it| it.split(": ").nth(2).unwrap()).collect();
    assert_eq!(
        places,
        [
            "spec.addresses[0]",
            "spec.addresses[1]",
            "spec.addresses[3]",
            "spec.addresses[4]",
            "spec.autoAssign",
            "spec.avoidBuggyIPs",
            "spec.autoassign",
            "spec.serviceAllocation.namespaces[1]",
            "spec.serviceAllocation.priority",
        ],
        "{found:#?}"
    );
    let lines: Vec<&str> = found.iter().map(|it| it.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["6", "7", "9", "10", "11", "12", "13", "15", "16"]);
}

#[test]
fn what_cannot_work_is_hinted_at_where_it_is_said() {
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {zone: a}}\n";
    let asks = service("asks", ", loadBalancerIP: 203.0.113.1");
    let six = service("six", ", ipFamilies: [IPv6], loadBalancerIP: 10.0.0.1");
    let ad = "apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {name: bgp}\nspec:\n  ipAddressPools: [pp]\n  peers: [none]\n  nodeSelectors: [{matchLabels: {zone: b}}]\n";
    let all = [POOL, ADVERTISEMENT, &asks, &six, node, ad].join("---\n");
    let findings = check(&Folder::new(&[("all.yaml", &all)]));
    assert_eq!(findings.mistakes, []);
    let found = hints(&findings);
    for part in [
        "Service default/asks: spec.loadBalancerIP: gets no address: [\"203.0.113.1\"] is not allowed in config",
        "Service default/six: spec.loadBalancerIP: gets no address: ",
        "BGPAdvertisement bgp: spec.ipAddressPools[0]: there is no IPAddressPool \"pp\"",
        "BGPAdvertisement bgp: spec.peers[0]: there is no BGPPeer \"none\"",
        "BGPAdvertisement bgp: spec.nodeSelectors: matches none of the Nodes that are given",
    ] {
        assert!(found.iter().any(|hint| hint.contains(part)), "{part}\nis not in\n{found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn names_that_nobody_has_are_told_with_the_nearest_known_one() {
    let ad = ADVERTISEMENT.replace("spec: {}", "spec: {ipaddressPools: [p]}");
    let shared = service("web", "")
        .replace("{name: web}", "{name: web, annotations: {metallb.universe.tf/allow-shared: k}}");
    let elsewhere = POOL
        .replace("name: p, namespace: metallb-system", "name: other, namespace: kube-system")
        .replace("10.0.0.0/30", "10.9.0.0/30");
    let misspelt = POOL.replace("metallb.io", "metalllb.io");
    let all = format!("{}--- {}---\n{}---\n{}---\n{}", POOL, ad, shared, elsewhere, misspelt);
    let folder = Folder::new(&[("all.yaml", &all)]);
    let findings = run(&[folder.path()], Some("metallb-system"));
    let text = folder.plain(&findings.text());
    for part in [
        "stands on the line of the ---, and nobody reads it there",
        "metadata.annotations.metallb.universe.tf/allow-shared: nobody reads this annotation on a Service; did you mean \"metallb.universe.tf/allow-shared-ip\"?",
        "IPAddressPool other: metadata.namespace: nobody reads IPAddressPools in namespace \"kube-system\"",
        "did you mean metallb.io/v1beta1?",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    let whole = [POOL, &ad].join("---\n");
    assert_eq!(
        mistakes(&[("all.yaml", &whole)]),
        [
            "all.yaml:9: L2Advertisement ad: spec.ipaddressPools: there is no such field; did you mean \"ipAddressPools\"?"
        ]
    );
}

#[test]
fn a_report_is_json_and_annotations_as_well() {
    let other = POOL.replace("name: p,", "name: q,");
    let folder =
        Folder::new(&[("a.yaml", &POOL.replace("10.0.0.0/30", "50%")), ("b.yaml", &other)]);
    let findings = check(&folder);
    let json: serde_json::Value =
        serde_json::from_str(&findings.print(cli::args::Style::Json)).unwrap();
    assert_eq!(json["mistakes"][0]["object"], "IPAddressPool p");
    assert_eq!(json["mistakes"][0]["field"], "spec.addresses[0]");
    assert_eq!(json["mistakes"][0]["line"], 4);
    let github = folder.plain(&findings.print(cli::args::Style::Github));
    assert!(
        github.contains("a.yaml,line=4,title=IPAddressPool p::spec.addresses[0]: parsing address pool p: invalid CIDR \"50%25\""),
        "{github}"
    );
    assert!(github.contains("::warning file="), "{github}");
}
