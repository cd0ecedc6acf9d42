// SPDX-License-Identifier: Apache-2.0
//! Where the other speakers are: their pods, found by label (contract 3.4).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use serde::Deserialize;
use tokio::sync::mpsc;

/// How often the pods are listed.
const LIST: Duration = Duration::from_secs(300);
/// The pauses before the first lists are repeated: pods of a fresh cluster get their addresses one by one.
const FIRST: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// The pause after a list that failed.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<IpAddr>,
}

/// Which pods are looked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) namespace: String,
    pub(super) labels: String,
    /// The own pod, which is not wanted.
    pub(super) own: Option<String>,
    /// The port of the ring.
    pub(super) port: u16,
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Where other speakers listen.
    pub(super) addresses: Vec<SocketAddr>,
    /// On which nodes other speakers are.
    pub(super) nodes: BTreeSet<Arc<str>>,
    /// How many other pods there are, those without an address included.
    pub(super) pods: usize,
}

/// Tells again and again where the other speakers are. While they cannot be listed nothing is told, and what was told last holds.
pub(super) fn discover(client: Client, wanted: Wanted) -> mpsc::Receiver<Found> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut first = FIRST.iter();
        let mut told_off = false;
        loop {
            match list(&client, &wanted).await {
                Ok(found) => {
                    told_off = false;
                    if sender.send(found).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(first.next().copied().unwrap_or(LIST)).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut told_off, true) {
                        tracing::warn!(event = "podListFailed", %error,
                            "the other speakers' pods cannot be listed; it is tried again");
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
    receiver
}

async fn list(client: &Client, wanted: &Wanted) -> Result<Found, kube::Error> {
    let path = format!("/api/v1/namespaces/{}/pods", wanted.namespace);
    let parameters = ListParams::default().labels(&wanted.labels);
    let request =
        kube::core::Request::new(path).list(&parameters).map_err(kube::Error::BuildRequest)?;
    let pods: List = client.request(request).await?;
    let own = |pod: &Pod| Some(&pod.metadata.name) == wanted.own.as_ref();
    let others: Vec<Pod> = pods.items.into_iter().filter(|pod| !own(pod)).collect();
    Ok(Found {
        pods: others.len(),
        nodes: others
            .iter()
            .filter_map(|pod| pod.spec.node_name.as_deref().map(Arc::from))
            .collect(),
        addresses: others
            .into_iter()
            .filter_map(|pod| pod.status.pod_ip)
            .map(|address| SocketAddr::new(address, wanted.port))
            .collect(),
    })
}
