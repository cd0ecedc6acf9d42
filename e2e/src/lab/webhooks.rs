// SPDX-License-Identifier: Apache-2.0
//! The webhooks as MetalLB's manifests install them. The API server finds them by their Service and its EndpointSlice,
//! which leads to the controller in the control plane's namespace.

use anyhow::Context;
use serde_json::{Value, json};

use super::kube::{Kube, SYSTEM, documents};

const MANIFEST: &str = include_str!("../../manifests/webhooks.yaml");
/// Where configurations of webhooks are.
pub const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
/// The name of MetalLB's.
pub const WEBHOOKS: &str = "metallb-webhook-configuration";
/// The CRD that is converted.
pub const PEERS_CRD: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io";
/// The name in the certificate.
pub const SERVER: &str = "metallb-webhook-service.metallb-system.svc";

/// The objects, with this failure policy.
///
/// # Errors
/// When the manifest cannot be read.
pub fn manifests(policy: &str) -> anyhow::Result<Vec<Value>> {
    let mut objects = documents(MANIFEST)?;
    for webhook in
        objects.iter_mut().filter_map(|object| object.get_mut("webhooks")?.as_array_mut()).flatten()
    {
        let webhook = webhook.as_object_mut().context("a webhook that is no object")?;
        webhook.insert("failurePolicy".into(), policy.into());
    }
    objects.push(slice_of("metallb-webhook-service"));
    Ok(objects)
}

/// The EndpointSlice of the webhooks' Service.
#[must_use]
pub fn slice_of(service: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": service,
            "namespace": SYSTEM,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 9443, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["172.30.0.2"], "conditions": {"ready": true}}],
    })
}

/// Installs the webhooks with MetalLB's failure policy.
///
/// # Errors
/// When the API refuses.
pub fn install(kube: &Kube) -> anyhow::Result<()> {
    for object in manifests("Fail")? {
        kube.apply(&object)?;
    }
    Ok(())
}
