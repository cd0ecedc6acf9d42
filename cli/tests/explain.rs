// SPDX-License-Identifier: Apache-2.0
//! `ferrolb explain service`: the whole story of one Service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod folder;

use cli::args::ExplainServiceArgs;
use cli::explain;
use folder::{ADVERTISEMENT, Folder, POOL, node, service};

fn explained(folder: &Folder, name: &str) -> anyhow::Result<String> {
    let args = ExplainServiceArgs {
        service: name.to_owned(),
        folder: Some(folder.path()),
        namespace: "metallb-system".to_owned(),
        view: folder.view(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(explain::service(&args))
}

fn nodes() -> String {
    [node("node-a"), node("node-b"), node("node-c")].join("---\n")
}

#[test]
fn a_service_that_is_announced_says_by_whom_and_why_the_others_do_not() {
    let all = [POOL, ADVERTISEMENT, &service("web", ", loadBalancerIP: 10.0.0.1"), &nodes()]
        .join("---\n");
    let folder = Folder::new(&[("all.yaml", &all)]);
    assert_eq!(
        explained(&folder, "web").unwrap(),
        "\
Service default/web
  wants      ipv4 (SingleStack), exactly 10.0.0.1
  address    10.0.0.1 from pool p
  announced  by node node-b with protocol layer2, on all interfaces
  node       node-a: node node-b announces it
  node       node-b: announces it
  node       node-c: node node-b announces it
"
    );
}

#[test]
fn services_that_share_an_address_name_each_other() {
    let sharing = |name: &str, port: &str| {
        service(name, ", loadBalancerIP: 10.0.0.1").replace("port: 80", port).replace(
            &format!("{{name: {name}}}"),
            &format!("{{name: {name}, annotations: {{metallb.io/allow-shared-ip: k}}}}"),
        )
    };
    let all =
        [POOL, ADVERTISEMENT, &sharing("a", "port: 80"), &sharing("b", "port: 81")].join("---\n");
    let folder = Folder::new(&[("all.yaml", &all)]);
    let text = explained(&folder, "default/b").unwrap();
    assert!(text.contains("sharing by the key \"k\"\n"), "{text}");
    assert!(text.contains("address    10.0.0.1 from pool p, shared with default/a\n"), "{text}");
}

#[test]
fn a_pending_service_says_why_and_that_nobody_announces_it() {
    let all = [POOL, ADVERTISEMENT, &service("web", ", loadBalancerIP: 192.0.2.1")].join("---\n");
    let folder = Folder::new(&[("all.yaml", &all)]);
    let text = explained(&folder, "web").unwrap();
    assert!(text.contains("address    none: [\"192.0.2.1\"] is not allowed in config\n"), "{text}");
    assert!(text.contains("announced  by nobody: the Service has no address\n"), "{text}");
}

#[test]
fn a_service_that_nobody_announces_says_why_for_each_node() {
    let selective =
        ADVERTISEMENT.replace("spec: {}", "spec: {nodeSelectors: [{matchLabels: {a: b}}]}");
    let local = service("web", ", externalTrafficPolicy: Local");
    let all = [POOL, &selective, &local, &nodes()].join("---\n");
    let folder = Folder::new(&[("all.yaml", &all)]);
    let text = explained(&folder, "web").unwrap();
    assert!(text.contains("announced  by nobody: "), "{text}");
    assert!(
        text.contains("externalTrafficPolicy is Local: only nodes with a ready endpoint\n"),
        "{text}"
    );
    assert!(
        text.contains("node       node-a: no L2Advertisement for this Service selects this node\n"),
        "{text}"
    );
}

#[test]
fn a_service_of_another_class_is_not_ours() {
    let all = [POOL, &service("web", ", loadBalancerClass: other")].join("---\n");
    let text = explained(&Folder::new(&[("all.yaml", &all)]), "web").unwrap();
    assert!(text.contains("address    not ours: loadBalancerClass is \"other\"\n"), "{text}");
}

#[test]
fn invalid_configuration_is_told_with_it() {
    let all = [&POOL.replace("/30", "/33"), ADVERTISEMENT, &service("web", "")].join("---\n");
    let text = explained(&Folder::new(&[("all.yaml", &all)]), "web").unwrap();
    assert!(text.contains("  invalid    IPAddressPool \"p\": parsing address pool p: "), "{text}");
}

#[test]
fn a_service_that_is_not_there_is_an_error() {
    let folder =
        Folder::new(&[("all.yaml", &service("web", "").replace("LoadBalancer", "NodePort"))]);
    let error = explained(&folder, "web").unwrap_err();
    assert_eq!(error.to_string(), "there is no Service default/web of type LoadBalancer");
    let error = explained(&folder, "a/b/c").unwrap_err();
    assert_eq!(error.to_string(), "\"a/b/c\" is not NAMESPACE/NAME");
}
