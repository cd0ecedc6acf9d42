// SPDX-License-Identifier: Apache-2.0
//! The generated CRDs on a real API server: established, valid objects accepted, violations refused with the texts that
//! MetalLB's users know.
//!
//! Topology: the control plane only.
//! Steps: all CRDs are established; one object of every kind with all its fields is accepted and keeps them; each rule of
//! the schemas is violated once.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::lab::control_plane::{crds, is_established};
use crate::lab::kube::{path, refusal};
use crate::lab::objects::configuration;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let kube = lab.kube();
    let served = kube.list("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")?;
    ensure!(served.len() == crds()?.len(), "{} CRDs are served", served.len());
    ensure!(served.iter().all(is_established), "a CRD is not established");
    for object in valid() {
        let kept = kube.create(&object).with_context(|| object.to_string())?;
        ensure!(kept.get("spec") == object.get("spec"), "{object} became {kept}");
    }
    for (object, message) in invalid() {
        let refused = refusal(kube.create(&object)).with_context(|| object.to_string())?;
        ensure!(refused.contains(message), "{object}\nwas refused with {refused:?}");
    }
    let defaulted = kube.create(&configuration("IPAddressPool", "short", json!({"addresses": ["198.51.100.0/24"]})))?;
    ensure!(
        defaulted.pointer("/spec")
            == Some(&json!({"addresses": ["198.51.100.0/24"], "autoAssign": true, "avoidBuggyIPs": false})),
        "defaults: {defaulted}"
    );
    let change = json!({"spec": {"enableGracefulRestart": false}});
    let refused = refusal(kube.patch(&path(&peer("full", json!({}))), &change))?;
    ensure!(refused.contains("EnableGracefulRestart cannot be changed after creation"), "{refused}");
    status_is_immutable(lab, "ServiceL2Status")?;
    status_is_immutable(lab, "ServiceBGPStatus")
}

fn peer(name: &str, change: Value) -> Value {
    let mut peer = configuration("BGPPeer", name, json!({"myASN": 64512}));
    crate::lab::objects::merge(&mut peer, json!({"apiVersion": "metallb.io/v1beta2", "spec": change}));
    peer
}

fn selector() -> Value {
    json!([{"matchLabels": {"a": "b"}}, {"matchExpressions": [{"key": "c", "operator": "Exists"}]}])
}

fn valid() -> Vec<Value> {
    vec![
        configuration("IPAddressPool", "full", json!({
            "addresses": ["198.51.100.0/24", "fd00::1 - fd00::ff"],
            "autoAssign": false,
            "avoidBuggyIPs": true,
            "serviceAllocation": {
                "priority": 10,
                "namespaces": ["default"],
                "namespaceSelectors": selector(),
                "serviceSelectors": selector(),
            },
        })),
        configuration("L2Advertisement", "full", json!({
            "ipAddressPools": ["full"],
            "ipAddressPoolSelectors": selector(),
            "nodeSelectors": selector(),
            "interfaces": ["eth0"],
            "serviceSelectors": selector(),
            "preferredNodeSelectors": [{"weight": 100, "preference": {"matchLabels": {"a": "b"}}}],
        })),
        configuration("BGPAdvertisement", "full", json!({
            "aggregationLength": 32,
            "aggregationLengthV6": 128,
            "localPref": 100,
            "communities": ["64512:1", "large:1:2:3", "alias"],
            "ipAddressPools": ["full"],
            "ipAddressPoolSelectors": selector(),
            "nodeSelectors": selector(),
            "peers": ["full"],
            "serviceSelectors": selector(),
        })),
        peer("full", json!({
            "myASN": 4_294_967_295_u32,
            "peerASN": 64513,
            "localASN": 64514,
            "peerAddress": "192.0.2.1",
            "sourceAddress": "192.0.2.2",
            "peerPort": 16384,
            "holdTime": "1m30s",
            "keepaliveTime": "30s",
            "connectTime": "65535s",
            "routerID": "192.0.2.2",
            "nodeSelectors": selector(),
            "passwordSecret": {"name": "secret", "namespace": "metallb-system"},
            "bfdProfile": "full",
            "enableGracefulRestart": true,
            "ebgpMultiHop": true,
            "vrf": "red",
            "disableMP": false,
            "dualStackAddressFamily": true,
        })),
        peer("empty", json!({
            "peerASN": 0,
            "dynamicASN": "internal",
            "peerAddress": "",
            "interface": "eth0",
            "password": "",
            "passwordSecret": {"name": "secret"},
            "holdTime": "0s",
            "keepaliveTime": "0s",
            "ebgpMultiHop": true,
            "peerPort": 179,
            "disableMP": false,
            "dualStackAddressFamily": false,
        })),
        peer("short", json!({
            "peerASN": 1,
            "peerAddress": "x",
            "holdTime": "500ms",
            "peerPort": 179,
            "disableMP": false,
            "dualStackAddressFamily": false,
        })),
        // Invalid, and not the API server's affair: MetalLB's takes it.
        peer("both", json!({
            "peerASN": 1,
            "peerAddress": "192.0.2.1",
            "password": "a",
            "passwordSecret": {"name": "b"},
            "peerPort": 179,
            "disableMP": false,
            "dualStackAddressFamily": false,
        })),
        configuration("BFDProfile", "full", json!({
            "receiveInterval": 10,
            "transmitInterval": 60000,
            "detectMultiplier": 255,
            "echoInterval": 50,
            "echoMode": true,
            "passiveMode": true,
            "minimumTtl": 254,
        })),
        configuration("Community", "full", json!({"communities": [{"name": "alias", "value": "64512:2"}]})),
    ]
}

fn invalid() -> Vec<(Value, &'static str)> {
    let exclusive = "serviceSelectors and aggregationLength are mutually exclusive, can only be used together with default aggregationLength (32) and aggregationLengthV6 (128)";
    let advertisement = |spec| configuration("BGPAdvertisement", "bad", spec);
    let sound = |change| {
        let mut sound = peer("bad", json!({"peerASN": 64513, "peerAddress": "192.0.2.1"}));
        crate::lab::objects::merge(&mut sound, json!({"spec": change}));
        sound
    };
    let bfd = |spec| configuration("BFDProfile", "bad", spec);
    let preferred = |spec: Value| {
        configuration("L2Advertisement", "bad", json!({"preferredNodeSelectors": [spec]}))
    };
    vec![
        (configuration("IPAddressPool", "bad", json!({})), "spec.addresses: Required value"),
        (configuration("IPAddressPool", "bad", json!({"addresses": []})), "pool has no prefixes defined"),
        (advertisement(json!({"aggregationLength": 33})), "invalid aggregation length"),
        (advertisement(json!({"aggregationLengthV6": 129})), "invalid aggregation length"),
        (sound(json!({"myASN": 0})), "missing local ASN"),
        (sound(json!({"peerASN": null})), "missing peer ASN and dynamicASN"),
        (sound(json!({"dynamicASN": "external"})), "both peer ASN and dynamicASN specified"),
        (
            sound(json!({"peerASN": 64512, "ebgpMultiHop": true})),
            "invalid ebgp-multihop parameter set for an ibgp peer",
        ),
        (sound(json!({"peerAddress": null})), "peer has no Address or Interface specified"),
        (sound(json!({"interface": "eth0"})), "peer has both Address and Interface specified"),
        (sound(json!({"holdTime": "2s"})), "invalid hold time"),
        (sound(json!({"holdTime": "-1s"})), "invalid hold time"),
        (sound(json!({"holdTime": "9s", "keepaliveTime": "10s"})), "invalid keepaliveTime"),
        (preferred(json!({"weight": 101, "preference": {}})), "should be less than or equal to 100"),
        (preferred(json!({"weight": 0, "preference": {}})), "should be greater than or equal to 1"),
        (preferred(json!({"weight": 1})), "preference: Required value"),
        (advertisement(json!({"serviceSelectors": [{}], "aggregationLength": 24})), exclusive),
        (advertisement(json!({"serviceSelectors": [{}], "aggregationLengthV6": 64})), exclusive),
        (advertisement(json!({"aggregationLength": 0})), "should be greater than or equal to 1"),
        (peer("bad", json!({"connectTime": "0s"})), "connect time should be between 1 seconds to 65535"),
        (
            peer("bad", json!({"connectTime": "1500ms"})),
            "connect time should contain a whole number of seconds",
        ),
        (peer("bad", json!({"myASN": null})), "spec.myASN: Required value"),
        (peer("bad", json!({"peerPort": 16385})), "should be less than or equal to 16384"),
        (
            peer("bad", json!({"dynamicASN": "some"})),
            "supported values: \"internal\", \"external\"",
        ),
        (bfd(json!({"receiveInterval": 9})), "should be greater than or equal to 10"),
        (bfd(json!({"detectMultiplier": 256})), "should be less than or equal to 255"),
        (bfd(json!({"minimumTtl": 255})), "should be less than or equal to 254"),
    ]
}

fn status_is_immutable(lab: &Lab, kind: &str) -> anyhow::Result<()> {
    let kube = lab.kube();
    let object = configuration(kind, "status", json!({}));
    kube.create(&object)?;
    let status = format!("{}/status", path(&object));
    let written = json!({
        "status": {"node": "node1", "serviceName": "web", "serviceNamespace": "default"},
    });
    kube.patch(&status, &written)?;
    for field in ["node", "serviceName", "serviceNamespace"] {
        let refused = refusal(kube.patch(&status, &json!({"status": {field: "other"}})))?;
        ensure!(refused.contains("Value is immutable"), "{refused}");
    }
    Ok(())
}
