// SPDX-License-Identifier: Apache-2.0
//! The own Pod: what owns the objects that are to go with it.

use kube::Client;
use kube::api::ListParams;
use serde::Deserialize;

/// Name and uid of a Pod, for owner references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl OwnPod {
    /// The entry of `metadata.ownerReferences` that names it; not as controller, as MetalLB writes it.
    #[must_use]
    pub fn owner_reference(&self) -> serde_json::Value {
        serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid })
    }
}

/// By what the own Pod is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// By its name.
    Name(String),
    /// As the only one with these labels on this node: manifests before MetalLB 0.14 do not tell a speaker its Pod's name.
    Node {
        /// The node's name.
        node: String,
        /// A label selector.
        labels: String,
    },
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    uid: String,
    #[serde(rename = "deletionTimestamp")]
    deletion_timestamp: Option<String>,
}

/// Finds the own Pod in `namespace` by a list, which roles of every generation of MetalLB's permit (contract 8.2).
/// None if there is no such Pod, or more than one; what prevented it is said in the log.
pub async fn own_pod(client: &Client, namespace: &str, search: &Search) -> Option<OwnPod> {
    let parameters = match search {
        Search::Name(name) => ListParams::default().fields(&format!("metadata.name={name}")),
        Search::Node { node, labels } => {
            ListParams::default().fields(&format!("spec.nodeName={node}")).labels(labels)
        }
    };
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let request = kube::core::Request::new(path).list(&parameters).ok()?;
    let found: Result<List, kube::Error> = client.request(request).await;
    let mut pods = match found {
        Ok(list) => list.items,
        Err(error) => {
            tracing::warn!(event = "ownPodUnknown", ?search, %error,
                "the own Pod cannot be read: status objects get no owner and stay after it");
            return None;
        }
    };
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    match <[Pod; 1]>::try_from(pods) {
        Ok([pod]) => Some(OwnPod { name: pod.metadata.name, uid: pod.metadata.uid }),
        Err(pods) => {
            tracing::warn!(
                event = "ownPodUnknown",
                ?search,
                found = pods.len(),
                "the own Pod is not found: status objects get no owner and stay after it"
            );
            None
        }
    }
}
