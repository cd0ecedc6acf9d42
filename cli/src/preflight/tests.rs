// SPDX-License-Identifier: Apache-2.0
use serde_json::json;

use super::*;

fn texts(survey: &Survey) -> Vec<String> {
    findings(survey).iter().map(ToString::to_string).collect()
}

fn has(survey: &Survey, part: &str) -> bool {
    texts(survey).iter().any(|text| text.contains(part))
}

#[test]
fn ipvs_without_strict_arp_is_an_error() {
    let with = |config: &str| {
        let survey =
            Survey::of(&[]).with("kube-proxy", json!({ "data": { "config.conf": config } }));
        has(&survey, "strictARP")
    };
    assert!(with("mode: ipvs\nipvs:\n  strictARP: false\n"));
    assert!(with("mode: \"ipvs\"\n"));
    assert!(!with("mode: ipvs\nipvs:\n  strictARP: true\n"));
    assert!(!with("mode: nftables\n"));
}

#[test]
fn a_conversion_that_nobody_answers_is_named() {
    let why = |why| {
        has(&Survey::without("bgppeers.v1beta1", why), "cannot be read as metallb.io/v1beta1")
    };
    assert!(why(
        "conversion webhook for metallb.io/v1beta2, Kind=BGPPeer failed: connection refused"
    ));
    assert!(!why("the server could not find the requested resource"));
    assert!(!has(&Survey::of(&[]), "cannot be read as"));
}

#[test]
fn a_cluster_of_excluded_nodes_is_named() {
    let label = "node.kubernetes.io/exclude-from-external-load-balancers";
    let node = |name: &str, excluded: bool| {
        let labels = if excluded { json!({ label: "" }) } else { json!({}) };
        json!({ "metadata": { "name": name, "labels": labels } })
    };
    let all = Survey::of(&[("nodes", json!([node("a", true)]))]);
    assert!(has(&all, "every node has the label"));
    let some = Survey::of(&[("nodes", json!([node("a", true), node("b", false)]))]);
    assert!(has(&some, "nothing is announced from a"));
    assert!(!has(&some, "every node"));
}

#[test]
fn others_that_serve_the_same_services_are_named_once() {
    let workload = |namespace: &str, image: &str| {
        json!({
            "metadata": { "namespace": namespace, "name": "x" },
            "spec": { "template": { "spec": { "containers": [{ "image": image }] } } },
        })
    };
    let survey = Survey::of(&[(
        "daemonsets",
        json!([
            workload("kube-system", "rancher/klipper-lb:v0.4"),
            workload("metallb-system", "quay.io/metallb/speaker:v0.16.1"),
            workload("other", "quay.io/metallb/speaker:v0.16.1"),
        ]),
    )]);
    let found: Vec<String> =
        texts(&survey).into_iter().filter(|text| text.contains("fight")).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("--disable=servicelb"));
    assert!(found[1].contains("other/x"));
}

#[test]
fn a_taken_port_and_an_address_of_no_pool_are_named() {
    let survey = Survey::of(&[
        (
            "allpods",
            json!([{
                "metadata": { "namespace": "a", "name": "p" },
                "spec": { "hostNetwork": true, "nodeName": "n1",
                          "containers": [{ "ports": [{ "containerPort": 7946 }] }] },
            }]),
        ),
        (
            "ipaddresspools",
            json!([{ "metadata": { "name": "p" }, "spec": { "addresses": ["192.0.2.0/24"] } }]),
        ),
        (
            "services",
            json!([{
                "metadata": { "namespace": "default", "name": "web" },
                "spec": { "type": "LoadBalancer" },
                "status": { "loadBalancer": { "ingress": [{ "ip": "198.51.100.1" }] } },
            }]),
        ),
    ]);
    assert!(has(&survey, "takes port 7946 on node n1"));
    assert!(has(&survey, "default/web has 198.51.100.1 of no pool"));
    assert!(has(&survey, "no L2Advertisement and no BGPAdvertisement selects pool \"p\""));
}

#[test]
fn what_the_daemons_would_reject_is_an_error_and_leftovers_are_named() {
    let survey = Survey::of(&[
        (
            "ipaddresspools",
            json!([{ "metadata": { "name": "p" }, "spec": { "addresses": ["192.0.2.9-192.0.2.1"] } }]),
        ),
        ("configmaps", json!([{ "metadata": { "name": "bgpextras" }, "data": { "extras": "x" } }])),
        (
            "frrconfigurations",
            json!([
                { "metadata": { "name": "metallb-n1", "namespace": "a" } },
                { "metadata": { "name": "mine", "namespace": "a" } },
            ]),
        ),
    ]);
    assert_eq!(findings(&survey)[0].severity, Severity::Error);
    assert!(has(&survey, "IPAddressPool"));
    assert!(has(&survey, "bgpextras"));
    assert!(has(&survey, "FRRConfiguration a/mine"));
    assert!(!has(&survey, "metallb-n1"));
}
