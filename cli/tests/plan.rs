// SPDX-License-Identifier: Apache-2.0
//! `ferrolb plan`: what would be given and announced.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod folder;

use ::folder::StateFile;
use ::folder::{FolderState, ServiceState};
use cli::args::{Output, PlanArgs};
use cli::plan::{plan, run};
use cli::world::World;
use folder::{ADVERTISEMENT, Folder, POOL, lines, node, service};
use serde_json::{Value, json};

fn table(folder: &Folder) -> String {
    run(&args(folder, None, Output::Table)).unwrap().text
}

fn args(folder: &Folder, against: Option<&Folder>, output: Output) -> PlanArgs {
    let against = against.map(Folder::path);
    PlanArgs { folder: folder.path(), view: folder.view(), against, output }
}

fn as_json(args: &PlanArgs) -> Value {
    serde_json::from_str(&run(args).unwrap().text).unwrap()
}

/// One of each: given and announced, pending, another's.
fn usual() -> Folder {
    let interfaces = ADVERTISEMENT.replace("spec: {}", "spec: {interfaces: [eth0, eth1]}");
    Folder::new(&[
        ("config.yaml", &[POOL, &interfaces].join("---\n")),
        ("a.yaml", &service("a", "")),
        ("b.yaml", &service("b", ", loadBalancerIP: 192.0.2.1")),
        ("c.yaml", &service("c", ", loadBalancerClass: other")),
        ("d.yaml", &service("d", "").replace("LoadBalancer", "ClusterIP")),
    ])
}

#[test]
fn the_table_says_what_is_given_and_why_not() {
    assert_eq!(
        lines(&table(&usual())),
        [
            "SERVICE     ADDRESS    POOL   ANNOUNCED BY         NOTE",
            "default/a   10.0.0.0   p      here on eth0, eth1",
            "default/b   -          -      -                    [\"192.0.2.1\"] is not allowed in config",
            "default/c   -          -      -                    loadBalancerClass \"other\" is another's",
        ]
    );
    assert_eq!(table(&Folder::new(&[])), "no Services of type LoadBalancer\n");
}

#[test]
fn json_says_the_same() {
    assert_eq!(
        as_json(&args(&usual(), None, Output::Json)),
        json!({ "mistakes": [], "hints": [], "notes": [], "services": {
            "default/a": { "addresses": ["10.0.0.0"], "pool": "p", "announcedBy": "here",
                "interfaces": ["eth0", "eth1"] },
            "default/b": { "addresses": [], "reason": "[\"192.0.2.1\"] is not allowed in config" },
            "default/c": { "addresses": [], "reason": "loadBalancerClass \"other\" is another's" },
        } })
    );
}

#[test]
fn who_is_not_announced_says_why() {
    let folder = Folder::new(&[("a.yaml", &[POOL, &service("a", "")].join("---\n"))]);
    let found = table(&folder);
    assert!(
        found.contains("10.0.0.0   p      -              no L2Advertisement selects pool \"p\""),
        "{found}"
    );
}

#[test]
fn what_the_state_says_stays() {
    let folder = usual();
    let given = ServiceState {
        addresses: vec!["10.0.0.3".parse().unwrap()],
        pool: Some("p".to_owned()),
        ..ServiceState::default()
    };
    let state =
        FolderState { node: "here".to_owned(), services: [("default/a".to_owned(), given)].into() };
    StateFile::new(&folder.state(), &folder.path()).unwrap().write(&state).unwrap();
    let plan = plan(&World::load(&folder.path(), &folder.view()).unwrap());
    assert_eq!(plan["default/a"].addresses, state.services["default/a"].addresses);
}

#[test]
fn a_damaged_state_and_a_missing_folder_are_errors() {
    let folder = usual();
    std::fs::write(folder.state().join("status.json"), "{").unwrap();
    let error = run(&args(&folder, None, Output::Table)).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    let missing = PlanArgs { folder: "/nowhere".into(), ..args(&folder, None, Output::Table) };
    assert_eq!(run(&missing).unwrap_err().to_string(), "/nowhere is not a folder");
}

#[test]
fn against_another_folder_only_changes_are_shown() {
    let old = usual();
    let same = usual();
    assert_eq!(
        run(&args(&same, Some(&old), Output::Table)).unwrap().text,
        "nothing would change\n"
    );
    assert_eq!(
        as_json(&args(&same, Some(&old), Output::Json)),
        json!({ "changes": {}, "mistakes": [], "hints": [], "notes": [] })
    );

    let new = usual();
    std::fs::write(new.path().join("b.yaml"), service("b", ", loadBalancerIP: 10.0.0.2")).unwrap();
    std::fs::remove_file(new.path().join("c.yaml")).unwrap();
    std::fs::write(new.path().join("e.yaml"), service("e", "")).unwrap();
    let text = run(&args(&new, Some(&old), Output::Table)).unwrap().text;
    let signs: Vec<_> =
        lines(&text).iter().map(|line| line.split_at(14.min(line.len())).0).collect();
    assert_eq!(
        signs,
        ["    SERVICE   ", "-   default/b ", "+   default/b ", "-   default/c ", "+   default/e "],
        "{text}"
    );
    let changes = as_json(&args(&new, Some(&old), Output::Json));
    assert_eq!(changes["changes"]["default/b"]["after"]["addresses"], json!(["10.0.0.2"]));
    assert_eq!(changes["changes"]["default/c"]["after"], Value::Null);
    assert_eq!(changes["changes"]["default/e"]["before"], Value::Null);
    assert_eq!(changes["changes"].as_object().unwrap().len(), 3);
}

#[test]
fn slices_and_nodes_of_the_folder_count() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\nendpoints: [{addresses: [10.244.0.1], nodeName: n2}]\naddressType: IPv4\n";
    let local = service("a", ", externalTrafficPolicy: Local");
    let all = [POOL, ADVERTISEMENT, &local, slice, &node("n1"), &node("n2")].join("---\n");
    let folder = Folder::new(&[("all.yaml", &all)]);
    let plan = plan(&World::load(&folder.path(), &folder.view()).unwrap());
    assert_eq!(plan["default/a"].announced_by.as_deref(), Some("n2"));
}

#[test]
fn ten_thousand_services_and_two_thousand_pools_are_planned() {
    let pools: Vec<String> = (0..2_000)
        .map(|number| {
            let addresses = format!("10.{}.{}.0/29", number / 250, number % 250);
            POOL.replace("name: p,", &format!("name: p{number:04},"))
                .replace("10.0.0.0/30", &addresses)
        })
        .collect();
    let services: Vec<String> =
        (0..10_000).map(|number| service(&format!("s{number}"), "")).collect();
    let folder = Folder::new(&[
        ("config.yaml", &[&pools.join("---\n"), ADVERTISEMENT].join("---\n")),
        ("services.yaml", &services.join("---\n")),
    ]);
    let world = World::load(&folder.path(), &folder.view()).unwrap();
    assert_eq!(world.mistakes, []);
    let plan = plan(&world);
    assert_eq!(plan.len(), 10_000);
    let addresses: std::collections::BTreeSet<_> =
        plan.values().flat_map(|planned| &planned.addresses).collect();
    assert_eq!(addresses.len(), 10_000);
    assert!(plan.values().all(|planned| planned.announced_by.as_deref() == Some("here")));
}

const BGP: &str = "\
kind: BGPPeer
apiVersion: metallb.io/v1beta2
metadata: {name: tor}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.254}
---
kind: BGPPeer
apiVersion: metallb.io/v1beta2
metadata: {name: other}
spec: {myASN: 64512, peerASN: 64512, peerAddress: 192.0.2.253, nodeSelectors: [{matchLabels: {rack: two}}]}
---
kind: BGPAdvertisement
apiVersion: metallb.io/v1beta1
metadata: {name: ad}
spec: {localPref: 250, communities: ['65000:1'], asPathPrepend: 2}
---
";

/// Two nodes in two racks, a Service that every node advertises, and one that only nodes with its endpoints do.
fn routed() -> Folder {
    let one = node("one");
    let two = node("two").replace("{name: two}", "{name: two, labels: {rack: two}}");
    Folder::new(&[
        ("config.yaml", &[POOL, BGP].join("---\n")),
        ("nodes.yaml", &[one, two].join("---\n")),
        ("a.yaml", &service("a", "")),
    ])
}

#[test]
fn routes_are_shown_with_peers_nodes_and_attributes() {
    assert_eq!(
        lines(&table(&routed())),
        [
            "SERVICE     ADDRESS    POOL   ANNOUNCED BY              NOTE",
            "default/a   10.0.0.0   p      BGP: 2 nodes to 2 peers",
            "",
            "PREFIX        PEER    FROM       ATTRIBUTES",
            "10.0.0.0/32   other   two        localPref 250, prepended 2 times, communities 65000:1",
            "10.0.0.0/32   tor     one, two   localPref 250, prepended 2 times, communities 65000:1",
        ]
    );
    let json = as_json(&args(&routed(), None, Output::Json));
    assert_eq!(
        json["services"]["default/a"]["routes"][1],
        json!({ "prefix": "10.0.0.0/32", "peer": "tor", "nodes": ["one", "two"], "localPref": 250,
            "asPathPrepend": 2, "communities": ["65000:1"] })
    );
}

/// Both sides are told whole, and a Service whose file cannot be read is kept, as a program keeps it.
#[test]
fn mistakes_of_both_sides_come_first_and_what_is_broken_stays() {
    let old = usual();
    std::fs::write(old.path().join("c.yaml"), service("c", ", externalTrafficPolicy: local"))
        .unwrap();
    let new = usual();
    let overlapping = POOL.replace("name: p,", "name: q,");
    std::fs::write(new.path().join("q.yaml"), overlapping).unwrap();
    std::fs::write(new.path().join("a.yaml"), service("a", "").replace("port: 80", "port: \"80\""))
        .unwrap();
    std::fs::write(new.path().join("b.yaml"), "apiVersion: v1\nkind: [\n").unwrap();
    let printed = run(&args(&new, Some(&old), Output::Table)).unwrap();
    assert!(!printed.is_clean);
    let text = old.plain(&new.plain(&printed.text));
    for part in [
        "c.yaml:4: Service default/c: spec.externalTrafficPolicy: \"local\" is not one of Cluster, Local; did you mean \"Local\"?",
        "a.yaml:4: Service default/a: spec.ports[0].port: a whole number is expected here, not the text \"80\"; leave the quotes out",
        "q.yaml:4: IPAddressPool q: spec.addresses[0]: CIDR",
        "b.yaml:2: not valid YAML: ",
        "note: Service default/a stays as it is",
        "note: Service default/b stays as it is",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert!(!text.contains("-   default/a") && !text.contains("-   default/b"), "{text}");
    let json = as_json(&args(&new, Some(&old), Output::Json));
    assert_eq!(json["mistakes"].as_array().unwrap().len(), 4, "{json}");
    let alone = run(&args(&new, None, Output::Table)).unwrap();
    assert!(
        !alone.is_clean && alone.text.contains("q.yaml:4: IPAddressPool q: "),
        "{}",
        alone.text
    );
}

#[test]
fn a_status_of_exported_manifests_is_what_is() {
    let exported =
        format!("{}status: {{loadBalancer: {{ingress: [{{ip: 10.0.0.3}}]}}}}\n", service("a", ""));
    let empty = format!("{}status: null\n", service("b", ""));
    let folder =
        Folder::new(&[("all.yaml", &[POOL, ADVERTISEMENT, &exported, &empty].join("---\n"))]);
    let printed = run(&args(&folder, None, Output::Table)).unwrap();
    assert!(printed.is_clean);
    let found = lines(&printed.text);
    assert_eq!(
        found[0],
        "note: 1 Service comes with a status in the manifests: the addresses there are taken as in use"
    );
    assert!(found[3].starts_with("default/a   10.0.0.3 "), "{found:#?}");
    assert!(found[4].starts_with("default/b   10.0.0.0 "), "{found:#?}");
}
