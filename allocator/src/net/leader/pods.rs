// SPDX-License-Identifier: Apache-2.0
//! Asks the API about the Pods of controllers.

use cluster::net::request::send;
use http::Method;
use kube::Client;
use serde_json::Value;

use super::candidate::Holder;

/// The place to ask.
#[derive(Clone)]
pub(super) struct Pods {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// The own Deployment's name, if it is known.
    pub(super) deployment: Option<String>,
}

impl Pods {
    /// True if the own Deployment has other Pods that are not about to end; none if the API does not say.
    pub(super) async fn others(&self) -> Option<bool> {
        let name = self.deployment.as_ref()?;
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/{name}", self.namespace);
        let deployment: Value = send(&self.client, Method::GET, path, None).await.ok()?;
        // The number counts the Pods of all ReplicaSets, also of the one that a rollout replaces.
        Some(deployment.pointer("/status/replicas").and_then(Value::as_u64).unwrap_or_default() > 1)
    }

    /// The state of the Pod that holds a Lease.
    pub(super) async fn holder(&self, holder: Option<(&str, &str)>, own: Option<&str>) -> Holder {
        let Some((name, uid)) = holder else { return Holder::Unknown };
        if own.and_then(|own| own.split_once('/')) == Some((name, uid)) {
            return Holder::Before;
        }
        // Roles of every generation permit a list.
        let path = format!(
            "/api/v1/namespaces/{}/pods?fieldSelector=metadata.name%3D{name}",
            self.namespace
        );
        let Ok(list) = send::<Value>(&self.client, Method::GET, path, None).await else {
            return Holder::Unknown;
        };
        let Some(pods) = list.get("items").and_then(Value::as_array) else {
            return Holder::Unknown;
        };
        let text = |object: &'_ Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let Some(pod) = pods.iter().find(|pod| text(pod, "/metadata/uid") == uid) else {
            return Holder::Gone;
        };
        if matches!(&*text(pod, "/status/phase"), "Succeeded" | "Failed") {
            return Holder::Gone;
        }
        let node = text(pod, "/spec/nodeName");
        if node.is_empty() {
            return Holder::Alive;
        }
        let path = format!("/api/v1/nodes/{node}");
        match send::<Value>(&self.client, Method::GET, path, None).await {
            Ok(node) if is_ready(&node) => Holder::Alive,
            Ok(_) => Holder::Gone,
            Err(kube::Error::Api(status)) if status.code == 404 => Holder::Gone,
            Err(_) => Holder::Unknown,
        }
    }
}

fn is_ready(node: &Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let text =
        |value: &'_ Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    conditions.into_iter().flatten().any(|condition| {
        text(condition, "type").as_deref() == Some("Ready")
            && text(condition, "status").as_deref() == Some("True")
    })
}
