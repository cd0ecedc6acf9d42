// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{CUSTOM, Grade, KindUse, Trimmed, judge, nearest, standing};

fn faults(api_version: &str, kind: &str, object: &Value) -> Vec<String> {
    let mut object = Trimmed::new(object.clone());
    judge(api_version, kind, &mut object)
        .into_iter()
        .map(|fault| format!("{:?} {}: {}", fault.grade, fault.field, fault.message))
        .collect()
}

#[test]
fn every_rule_of_our_definitions_compiles() {
    for (kind, custom) in CUSTOM.iter() {
        let mut nodes = vec![&custom.rules];
        while let Some(node) = nodes.pop() {
            assert!(
                node.compilation_errors().is_empty(),
                "{kind}: {:?}",
                node.compilation_errors()
            );
            nodes.extend(node.properties.values());
            nodes.extend(node.items.as_deref());
        }
    }
    assert!(CUSTOM.len() > 10, "{:?}", CUSTOM.keys());
}

#[test]
fn rules_of_our_definitions_are_asked() {
    let pool = json!({ "metadata": { "name": "p" }, "spec": { "addresses": [] } });
    assert_eq!(
        faults("metallb.io/v1beta1", "IPAddressPool", &pool),
        ["Refused spec: pool has no prefixes defined"]
    );
    let peer = json!({ "metadata": { "name": "p" }, "spec": { "myASN": 0, "peerASN": 1, "peerAddress": "192.0.2.1" } });
    assert_eq!(faults("metallb.io/v1beta2", "BGPPeer", &peer), ["Refused spec: missing local ASN"]);
}

#[test]
fn an_unknown_field_is_named_with_the_known_one_and_left_out() {
    let mut pool = Trimmed::new(json!({
        "metadata": { "name": "p", "lables": {} },
        "spec": { "addresses": ["192.0.2.0/24"], "autoassign": false },
    }));
    let found = judge("metallb.io/v1beta1", "IPAddressPool", &mut pool);
    let told: Vec<_> = found.iter().map(|it| (&*it.field, it.grade, &*it.message)).collect();
    assert_eq!(
        told,
        [
            ("metadata.lables", Grade::LeftOut, "there is no such field; did you mean \"labels\"?"),
            (
                "spec.autoassign",
                Grade::LeftOut,
                "there is no such field; did you mean \"autoAssign\"?"
            ),
        ]
    );
    assert_eq!(pool.value()["spec"], json!({ "addresses": ["192.0.2.0/24"] }));
}

#[test]
fn a_pool_of_the_oldest_kind_has_a_schema_too() {
    let pool = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "AddressPool", "metadata": { "name": "p" },
        "spec": { "protocol": "Layer2", "addresses": ["192.0.2.0/24"], "autoassign": false } });
    assert_eq!(
        faults("metallb.io/v1beta1", "AddressPool", &pool),
        [
            "Refused spec.protocol: the text \"Layer2\" is not one of \"layer2\", \"bgp\"",
            "LeftOut spec.autoassign: there is no such field; did you mean \"autoAssign\"?",
        ]
    );
}

#[test]
fn null_is_absence() {
    let service = json!({
        "metadata": { "name": "s", "labels": null, "annotations": null },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80, "name": null }], "selector": null },
        "status": null,
    });
    assert_eq!(faults("v1", "Service", &service), [""; 0]);
    let pool = json!({ "metadata": { "name": "p" }, "spec": { "addresses": ["192.0.2.0/24"], "serviceAllocation": null } });
    assert_eq!(faults("metallb.io/v1beta1", "IPAddressPool", &pool), [""; 0]);
}

#[test]
fn each_kind_has_its_standing() {
    let nobody = |api_version, kind| match standing(api_version, kind) {
        KindUse::Nobody { message, grade, .. } => format!("{grade:?}: {message}"),
        other => format!("{other:?}"),
    };
    for (api_version, kind) in [
        ("v1", "Service"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("metallb.io/v1beta1", "IPAddressPool"),
        ("metallb.io/v1beta1", "BGPPeer"),
        ("metallb.io/v1beta2", "BGPPeer"),
        ("metallb.io/v1alpha1", "AddressPool"),
        ("crd.antrea.io/v1beta1", "ExternalIPPool"),
    ] {
        assert_eq!(standing(api_version, kind), KindUse::Used, "{api_version} {kind}");
    }
    for (api_version, kind) in [
        ("v1", "ConfigMap"),
        ("apps/v1", "Deployment"),
        ("serving.knative.dev/v1", "Service"),
        ("monitoring.coreos.com/v1", "ServiceMonitor"),
        ("crd.projectcalico.org/v1", "BGPPeer"),
        ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy"),
        ("metallb.io/v1beta1", "ServiceL2Status"),
        ("policy/v1", "PodDisruptionBudget"),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler"),
    ] {
        assert_eq!(standing(api_version, kind), KindUse::Foreign, "{api_version} {kind}");
    }
    assert_eq!(
        nobody("v1", "Servise"),
        "Refused: no API server has a kind \"Servise\" in v1; did you mean \"Service\"?"
    );
    assert_eq!(
        nobody("apps/v1", "Service"),
        "Refused: no API server has Service in apps/v1; use v1"
    );
    assert_eq!(
        nobody("metalllb.io/v1beta1", "IPAddressPool"),
        "Hint: nobody serves IPAddressPool in \"metalllb.io/v1beta1\", as far as is known here: the object is ignored; did you mean metallb.io/v1beta1?"
    );
    assert_eq!(
        nobody("metallb.io/v1", "L2Advertisement"),
        "Refused: \"metallb.io/v1\" is not served for L2Advertisement; use metallb.io/v1beta1"
    );
    assert_eq!(
        nobody("metallb.io/v1beta1", "L2Advertisment"),
        "Refused: no API server has a kind \"L2Advertisment\" in metallb.io/v1beta1; did you mean \"L2Advertisement\"?"
    );
    assert_eq!(
        nobody("v1beta1", "IPAddressPool"),
        "Refused: no API server has IPAddressPool in v1beta1; use metallb.io/v1beta1"
    );
}

#[test]
fn the_nearest_name_is_near() {
    assert_eq!(nearest("ipaddresspools", ["ipAddressPools", "peers"]), Some("ipAddressPools"));
    assert_eq!(nearest("Loadbalancer", ["LoadBalancer"]), Some("LoadBalancer"));
    assert_eq!(nearest("frobnicate", ["nodeSelectors"]), None);
}

#[test]
fn every_fault_of_an_object_is_told() {
    let service = json!({
        "metadata": { "name": "S", "labels": { "a": 1 } },
        "spec": { "type": "Loadbalancer", "ports": [{ "port": "80" }, { "port": 0, "protocol": "tcp" }], "ipFamilies": ["ipv6", 4] },
    });
    let fields: Vec<_> = faults("v1", "Service", &service)
        .into_iter()
        .map(|fault| fault.split(": ").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        fields,
        [
            "Refused metadata.labels.a",
            "Refused spec.ipFamilies[1]",
            "Refused spec.ports[0].port",
            "Refused metadata.name",
            "Refused spec.type",
            "Refused spec.ports[0].name",
            "Refused spec.ports[1].name",
            "Refused spec.ports[1].port",
            "Refused spec.ports[1].protocol",
            "Refused spec.ipFamilies[0]",
        ]
    );
}
