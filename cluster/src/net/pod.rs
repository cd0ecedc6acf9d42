// SPDX-License-Identifier: Apache-2.0
//! The own Pod, which owns the objects that are to be deleted with it.

use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The pause after a list that failed.
const RETRY: Duration = Duration::from_secs(2);
/// The number of refusals that are not believed. An API server that starts refuses everything, and of objects that are
/// applied together a role may come last.
const REFUSALS: u32 = 30;

/// Name and uid of a Pod, for owner references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    /// The name of the Pod.
    pub name: String,
    /// The uid of the Pod.
    pub uid: String,
}

/// The key by which the own Pod is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The Pod's name.
    Name(String),
    /// The labels and the node, which only this Pod has together: manifests before MetalLB 0.14 do not tell a speaker
    /// its Pod's name.
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

/// The own Pod, shared by all writers of objects that go with it. The search goes on until the API has answered.
#[derive(Clone, Debug)]
pub struct Owner(watch::Receiver<Option<Option<OwnPod>>>);

impl Owner {
    /// Begins to look for the Pod in `namespace`, by a list, which roles of every generation of MetalLB's permit
    /// (contract 8.2). Without a key there is no Pod.
    #[must_use]
    pub fn find(client: Client, namespace: String, search: Option<Search>) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let pod = match search {
                Some(search) => look(&client, &namespace, &search).await,
                None => None,
            };
            sender.send_replace(Some(pod));
        });
        Self(receiver)
    }

    /// Makes the Pod the owner of an object with this metadata, as soon as the Pod is known, if there is one; not as
    /// controller, as MetalLB writes it.
    pub async fn own(&self, metadata: &mut Value) {
        if let (Some(OwnPod { name, uid }), Some(metadata)) =
            (self.pod().await, metadata.as_object_mut())
        {
            let owner = json!({ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid });
            metadata.insert("ownerReferences".to_owned(), json!([owner]));
        }
    }

    /// Waits for the Pod. None if there is no such Pod, or more than one, or if it may not be read; the log says so.
    pub async fn pod(&self) -> Option<OwnPod> {
        let mut found = self.0.clone();
        // The task ends when it has an answer.
        found.wait_for(Option::is_some).await.ok()?.clone().flatten()
    }
}

async fn look(client: &Client, namespace: &str, search: &Search) -> Option<OwnPod> {
    let mut refused = 0;
    let mut told = false;
    loop {
        let error = match list(client, namespace, search).await {
            Ok(pods) => return only(pods, search),
            Err(error) => error,
        };
        refused += u32::from(matches!(&error, kube::Error::Api(status) if status.code == 403));
        if refused > REFUSALS {
            tracing::warn!(event = "ownPodUnknown", ?search, %error,
                "the own Pod cannot be read: status objects get no owner and stay after it");
            return None;
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(event = "ownPodFailed", ?search, %error,
                "the own Pod cannot be read; it is tried again before status objects are written");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn list(client: &Client, namespace: &str, search: &Search) -> Result<Vec<Pod>, kube::Error> {
    let parameters = match search {
        Search::Name(name) => ListParams::default().fields(&format!("metadata.name={name}")),
        Search::Node { node, labels } => {
            ListParams::default().fields(&format!("spec.nodeName={node}")).labels(labels)
        }
    };
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let request =
        kube::core::Request::new(path).list(&parameters).map_err(kube::Error::BuildRequest)?;
    let list: List = client.request(request).await?;
    Ok(list.items)
}

fn only(mut pods: Vec<Pod>, search: &Search) -> Option<OwnPod> {
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
