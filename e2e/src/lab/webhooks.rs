// SPDX-License-Identifier: Apache-2.0
//! The webhooks as MetalLB's manifests install them. The API server finds them by their Service and its EndpointSlice,
//! which leads to the controller in the control plane's namespace.

use anyhow::Context;
use serde_json::{Value, json};

use super::Lab;
use super::kube::{SYSTEM, documents};

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
    objects.push(endpoint());
    Ok(objects)
}

/// Leads from the webhooks' Service to the controller.
#[must_use]
pub fn endpoint() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "metallb-webhook-service",
            "namespace": SYSTEM,
            "labels": {"kubernetes.io/service-name": "metallb-webhook-service"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 9443, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["172.30.0.2"], "conditions": {"ready": true}}],
    })
}

impl Lab {
    /// Installs the webhooks with MetalLB's failure policy.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn install_webhooks(&self) -> anyhow::Result<()> {
        for object in manifests("Fail")? {
            self.kube().apply(&object)?;
        }
        Ok(())
    }
}
