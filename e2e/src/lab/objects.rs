// SPDX-License-Identifier: Apache-2.0
//! The objects that scenarios apply, as short as they can be said.

use anyhow::Context;
use serde_json::{Value, json};

use super::kube::{Failure, Kube, SYSTEM, path};
use super::webhooks::{CONFIGURATIONS, WEBHOOKS};

/// The IPv4 addresses of the usual pool.
pub const POOL_V4: &str = "172.30.0.200-172.30.0.220";
/// The IPv6 addresses of the usual pool.
pub const POOL_V6: &str = "fd30::1000-fd30::10ff";

/// Where ExternalIPPools are.
pub const EXTERNAL_POOLS: &str = "/apis/crd.antrea.io/v1beta1/externalippools";

/// An IPAddressPool.
#[must_use]
pub fn pool(name: &str, addresses: &[&str]) -> Value {
    configuration("IPAddressPool", name, json!({"addresses": addresses}))
}

/// An L2Advertisement.
#[must_use]
pub fn l2_advertisement(name: &str, spec: Value) -> Value {
    configuration("L2Advertisement", name, spec)
}

/// A BGPPeer.
#[must_use]
pub fn bgp_peer(name: &str, spec: Value) -> Value {
    let mut peer = configuration("BGPPeer", name, spec);
    merge(&mut peer, json!({"apiVersion": "metallb.io/v1beta2"}));
    peer
}

/// A BGPAdvertisement.
#[must_use]
pub fn bgp_advertisement(name: &str, spec: Value) -> Value {
    configuration("BGPAdvertisement", name, spec)
}

/// A BFDProfile.
#[must_use]
pub fn bfd_profile(name: &str, spec: Value) -> Value {
    configuration("BFDProfile", name, spec)
}

/// A Community with one alias.
#[must_use]
pub fn community(name: &str, value: &str) -> Value {
    configuration("Community", name, json!({"communities": [{"name": name, "value": value}]}))
}

/// A Secret with a BGP password.
#[must_use]
pub fn password_secret(name: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/basic-auth",
        "metadata": {"name": name, "namespace": SYSTEM},
        "stringData": {"password": password},
    })
}

/// An object of the API group metallb.io.
#[must_use]
pub fn configuration(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": spec,
    })
}

/// A Service of type LoadBalancer, port 80 to 8080, with `change` merged into it.
#[must_use]
pub fn service(name: &str, change: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false,
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        },
    });
    merge(&mut service, change);
    service
}

/// Puts `change` over `value`, map by map.
pub fn merge(value: &mut Value, change: Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (key, change) in change {
                merge(value.entry(key).or_insert(Value::Null), change);
            }
        }
        (value, change) => *value = change,
    }
}

/// The addresses in a Service's status.
#[must_use]
pub fn ingress(service: &Value) -> Vec<String> {
    let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    ingress
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("ip").and_then(Value::as_str).map(str::to_owned))
        .collect()
}

/// The annotation with the pool's name, if the Service carries it.
#[must_use]
pub fn pool_of(service: &Value) -> Option<&str> {
    let annotations = service.pointer("/metadata/annotations")?;
    annotations.get("metallb.io/ip-allocated-from-pool")?.as_str()
}

/// Deletes all that a scenario can have made.
///
/// # Errors
/// When the API refuses.
pub fn delete_all(kube: &Kube) -> anyhow::Result<()> {
    for kind in ["clusterroles", "clusterrolebindings"] {
        kube.delete(&format!("/apis/rbac.authorization.k8s.io/v1/{kind}/antrea-world"))?;
    }
    // First: nothing answers for it any more.
    kube.delete(&format!("{}/{WEBHOOKS}", CONFIGURATIONS))?;
    for service in kube.list("/api/v1/services")? {
        let name = service.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if name != "kubernetes" {
            kube.delete(&path_of(&service, "v1", "Service")?)?;
        }
    }
    for slice in kube.list("/apis/discovery.k8s.io/v1/endpointslices")? {
        let name = slice.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if name != "kubernetes" {
            kube.delete(&path_of(&slice, "discovery.k8s.io/v1", "EndpointSlice")?)?;
        }
    }
    let system =
        ["pods", "secrets", "events"].map(|plural| format!("/api/v1/namespaces/{SYSTEM}/{plural}"));
    let system = system.iter().map(String::as_str);
    for plural in ["deployments", "daemonsets"] {
        kube.delete(&format!("/apis/apps/v1/namespaces/{SYSTEM}/{plural}"))?;
    }
    kube.delete("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations")?;
    kube.delete(&format!("/api/v1/namespaces/{SYSTEM}/configmaps"))?;
    for path in ["/api/v1/nodes", "/api/v1/namespaces/default/events"].into_iter().chain(system) {
        empty(kube, path)?;
    }
    for crd in kube.list("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")? {
        let plural = crd.pointer("/spec/names/plural").and_then(Value::as_str).unwrap_or_default();
        if plural == "externalippools" {
            kube.delete(EXTERNAL_POOLS)?;
            continue;
        }
        if plural == "speakerreports" {
            empty(kube, &format!("/apis/ferrolb.io/v1alpha1/namespaces/{SYSTEM}/{plural}"))?;
            continue;
        }
        if crd.pointer("/spec/group").and_then(Value::as_str) != Some("metallb.io") {
            // A scenario brought it.
            let version = "apiextensions.k8s.io/v1";
            kube.delete(&path_of(&crd, version, "CustomResourceDefinition")?)?;
            continue;
        }
        let version = if plural == "bgppeers" { "v1beta2" } else { "v1beta1" };
        empty(kube, &format!("/apis/metallb.io/{version}/namespaces/{SYSTEM}/{plural}"))?;
    }
    Ok(())
}

/// Deletes a collection; thousands of objects take longer than one request may.
fn empty(kube: &Kube, path: &str) -> anyhow::Result<()> {
    const TRIES: usize = 20;
    for _ in 1..TRIES {
        match kube.delete(path) {
            Err(Failure { code: None, .. }) => {}
            answer => return Ok(answer.map(drop)?),
        }
    }
    Ok(kube.delete(path).map(drop)?)
}

/// The path of an item of a list, which carries neither version nor kind.
fn path_of(item: &Value, version: &str, kind: &str) -> anyhow::Result<String> {
    let mut item = item.clone();
    let item_map = item.as_object_mut().context("an item that is no object")?;
    item_map.insert("apiVersion".into(), version.into());
    item_map.insert("kind".into(), kind.into());
    Ok(path(&item))
}
