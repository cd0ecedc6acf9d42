// SPDX-License-Identifier: Apache-2.0
//! Finds the webhooks' Service and Secret that the cluster has installed: no flag of MetalLB's manifests names them,
//! and their names differ before 0.14. Also finds out whether a server converts BGPPeers where this program does not.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use super::super::args::Args;
use super::rotation::{Names, is_code};
use super::target::{Target, resource};

/// The Service of MetalLB's manifests since 0.14.
const SERVICE: &str = "metallb-webhook-service";
/// The Secret of those manifests.
const SECRET: &str = "metallb-webhook-cert";
/// The time between two questions of a start while the API does not answer.
const AGAIN: Duration = Duration::from_secs(2);
/// The time between two attempts to have BGPPeers converted.
const LOOK: Duration = Duration::from_secs(600);

/// The names from the flags, else those that the cluster has installed, else those of today's manifests.
pub(super) async fn names(client: &Client, namespace: &str, args: &Args) -> Names {
    let service = match filled(args.cert_service_name.as_ref()) {
        Some(name) => name,
        None => {
            let mut named = None;
            // Applying manifests creates the CRD first: the configuration may come later.
            for target in [Target::Webhooks, Target::Crd("bgppeers.metallb.io")] {
                if named.is_none() {
                    let object = get(target.api(client), target.name()).await;
                    named = object.and_then(|found| service_of(&found, namespace));
                }
            }
            named.unwrap_or_else(|| SERVICE.to_owned())
        }
    };
    let secret = match (filled(args.webhook_secret.as_ref()), filled(args.deployment.as_ref())) {
        (Some(name), _) => name,
        (None, Some(deployment)) => {
            let kind = resource("apps", "Deployment", "deployments");
            let api = Api::namespaced_with(client.clone(), namespace, &kind);
            let mounted = get(api, &deployment).await;
            let named = mounted.and_then(|found| secret_of(&found, &args.cert_dir));
            named.unwrap_or_else(|| SECRET.to_owned())
        }
        (None, None) => SECRET.to_owned(),
    };
    if (&*service, &*secret) != (SERVICE, SECRET) {
        tracing::info!(event = "webhookNames", service, secret, "the webhooks' names");
    }
    Names { namespace: namespace.to_owned(), secret, service }
}

fn filled(flag: Option<&String>) -> Option<String> {
    flag.filter(|name| !name.is_empty()).cloned()
}

/// An object, once the API answers; none if it does not exist or may not be read.
async fn get(api: Api<DynamicObject>, name: &str) -> Option<Value> {
    let mut said = false;
    loop {
        match api.get_opt(name).await {
            Ok(found) => return serde_json::to_value(found?).ok(),
            Err(error) if is_code(&error, 403) => return None,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%error, name, "the webhooks wait for the API");
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// The Service of this namespace that a ValidatingWebhookConfiguration leads to, or the conversion of a CRD.
fn service_of(object: &Value, namespace: &str) -> Option<String> {
    let webhooks = object.get("webhooks").and_then(Value::as_array).into_iter().flatten();
    let conversion = object.pointer("/spec/conversion/webhook");
    let services =
        webhooks.chain(conversion).filter_map(|one| one.pointer("/clientConfig/service"));
    let mut own = services.filter(|one| text(one, "/namespace") == Some(namespace));
    own.find_map(|one| text(one, "/name").map(str::to_owned))
}

/// The Secret that a Deployment mounts at the folder of the certificates.
fn secret_of(deployment: &Value, folder: &str) -> Option<String> {
    let pod = deployment.pointer("/spec/template/spec")?;
    let containers = pod.get("containers")?.as_array()?;
    let mounts = containers.iter().filter_map(|one| one.get("volumeMounts")?.as_array()).flatten();
    let trimmed = |path: &str| path.trim_end_matches('/').to_owned();
    let mut there = mounts
        .filter(|mount| text(mount, "/mountPath").map(trimmed) == Some(trimmed(folder)))
        .filter_map(|mount| text(mount, "/name"));
    let volume = there.next()?;
    let volumes = pod.get("volumes")?.as_array()?;
    let mounted = volumes.iter().find(|one| text(one, "/name") == Some(volume))?;
    text(mounted, "/secret/secretName").map(str::to_owned)
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// Warns once, where webhooks are disabled, if the API server cannot read BGPPeers of the older version because their
/// CRD names a webhook that does not answer. The CRD is left alone: another program may be meant to answer, and a
/// MetalLB that comes back needs the CRD as it is.
pub(super) async fn warn_of_conversion(client: Client, namespace: String) {
    let kind = ApiResource {
        api_version: "metallb.io/v1beta1".into(),
        group: "metallb.io".into(),
        version: "v1beta1".into(),
        kind: "BGPPeer".into(),
        plural: "bgppeers".into(),
    };
    let peers: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &kind);
    loop {
        // An empty list needs no conversion.
        if let Err(error) = peers.list(&ListParams::default().limit(1)).await
            && is_code(&error, 500)
        {
            tracing::warn!(event = "conversionUnanswered", %error,
                "webhooks are disabled, and the CRD bgppeers.metallb.io names one for conversion: BGPPeers cannot be read as v1beta1 until somebody answers or spec.conversion is {{strategy: None}}");
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_service_is_that_of_the_own_namespace() {
        let service = |namespace: &str, name: &str| json!({"clientConfig": {"service": {"namespace": namespace, "name": name}}});
        let configuration = json!({"webhooks": [
            {"clientConfig": {"url": "https://192.0.2.1"}},
            service("other", "theirs"),
            service("metallb-system", "webhook-service"),
        ]});
        let found = service_of(&configuration, "metallb-system");
        assert_eq!(found.as_deref(), Some("webhook-service"));
        assert_eq!(service_of(&configuration, "elsewhere"), None);
        assert_eq!(service_of(&json!({}), "metallb-system"), None);
        let conversion = service("metallb-system", "webhook-service");
        let crd = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": conversion}}});
        let found = service_of(&crd, "metallb-system");
        assert_eq!(found.as_deref(), Some("webhook-service"));
    }

    #[test]
    fn the_secret_is_the_one_that_is_mounted_where_the_certificates_are() {
        let deployment = json!({"spec": {"template": {"spec": {
            "containers": [
                {"name": "sidecar"},
                {"name": "controller", "volumeMounts": [
                    {"name": "other", "mountPath": "/etc/other"},
                    {"name": "cert", "mountPath": "/certs/"},
                ]},
            ],
            "volumes": [
                {"name": "other", "secret": {"secretName": "others"}},
                {"name": "cert", "secret": {"secretName": "webhook-server-cert"}},
            ],
        }}}});
        assert_eq!(secret_of(&deployment, "/certs").as_deref(), Some("webhook-server-cert"));
        assert_eq!(secret_of(&deployment, "/none"), None);
        assert_eq!(secret_of(&json!({}), "/certs"), None);
    }
}
