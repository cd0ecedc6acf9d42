// SPDX-License-Identifier: Apache-2.0
//! The objects by which the API server knows the authority of the webhooks' certificates.

use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;

use super::bundle::{Older, conversion_patch, webhooks_patch};

/// An object that tells the API server which authority to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// The ValidatingWebhookConfiguration.
    Webhooks,
    /// A CRD that is converted, by name.
    Crd(&'static str),
}

/// The objects to keep. `addresspools` is MetalLB's CRD before 0.14; where it does not exist, access to it is not
/// permitted.
pub(super) const TARGETS: [Target; 3] =
    [Target::Webhooks, Target::Crd("bgppeers.metallb.io"), Target::Crd("addresspools.metallb.io")];

impl Target {
    pub(super) fn api(self, client: &Client) -> Api<DynamicObject> {
        Api::all_with(client.clone(), &self.resource())
    }

    pub(super) fn resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
            Self::Webhooks => (
                "admissionregistration.k8s.io",
                "ValidatingWebhookConfiguration",
                "validatingwebhookconfigurations",
            ),
            Self::Crd(_) => {
                ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions")
            }
        };
        resource(group, kind, plural)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Webhooks => "metallb-webhook-configuration",
            Self::Crd(name) => name,
        }
    }

    pub(super) fn patch(self, object: &Value, authority: &[u8], older: Older) -> Option<Value> {
        match self {
            Self::Webhooks => webhooks_patch(object, authority, older),
            Self::Crd(_) => conversion_patch(object, authority, older),
        }
    }
}

/// A resource of version v1.
pub(super) fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    ApiResource {
        group: group.into(),
        version: "v1".into(),
        api_version,
        kind: kind.into(),
        plural: plural.into(),
    }
}
