// SPDX-License-Identifier: Apache-2.0
//! Where the other speakers are: their pods, found by label (contract 3.4).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use crate::joining::FIRST;
use crate::register::Listing;

/// How often the pods are listed.
const LIST: Duration = Duration::from_secs(300);
/// The least time between two lists where one would decide who counts.
const HURRY: Duration = Duration::from_secs(5);
/// After a failure the watches may still be away for so long: their longest pause is 10 s, and a list takes time.
const SETTLED: Duration = Duration::from_secs(30);
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
    /// The name of the own pod, which is not wanted.
    pub(super) own: Option<String>,
    /// The own node: where the own pod's name is not known, the pod there is taken for the own one.
    pub(super) node: String,
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
    /// What may be concluded from it.
    pub(super) listing: Listing,
}

/// Tells again and again where the other speakers are; with a fresh list soon while `hurried`. While they cannot be listed nothing is
/// told, and what was told last holds.
pub(super) fn discover(
    client: Client,
    wanted: Wanted,
    mut hurried: watch::Receiver<bool>,
) -> mpsc::Receiver<Found> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut first = FIRST.iter();
        let mut told_off = false;
        let mut failed: Option<tokio::time::Instant> = None;
        loop {
            let asked = tokio::time::Instant::now();
            match list(&client, &wanted).await {
                Ok(found) => {
                    told_off = false;
                    let settled = failed.is_none_or(|last| asked >= last + SETTLED);
                    let listing =
                        if settled { Listing::Asked(asked.into()) } else { Listing::Unsettled };
                    if sender.send(Found { listing, ..found }).await.is_err() {
                        return;
                    }
                    // Pods of a fresh cluster get their addresses one by one.
                    let pause = first.next().copied().unwrap_or(LIST);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = hurry(&mut hurried, asked) => {}
                    }
                }
                Err(error) => {
                    failed = Some(tokio::time::Instant::now());
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

/// Waits until there may be another list because one would decide something.
async fn hurry(hurried: &mut watch::Receiver<bool>, asked: tokio::time::Instant) {
    tokio::time::sleep_until(asked + HURRY).await;
    if hurried.wait_for(|hurried| *hurried).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn list(client: &Client, wanted: &Wanted) -> Result<Found, kube::Error> {
    let path = format!("/api/v1/namespaces/{}/pods", wanted.namespace);
    let parameters = ListParams::default().labels(&wanted.labels);
    let request =
        kube::core::Request::new(path).list(&parameters).map_err(kube::Error::BuildRequest)?;
    let pods: List = client.request(request).await?;
    let own = |pod: &Pod| match &wanted.own {
        Some(own) => pod.metadata.name == *own,
        None => pod.spec.node_name.as_ref() == Some(&wanted.node),
    };
    let others: Vec<Pod> = pods.items.into_iter().filter(|pod| !own(pod)).collect();
    Ok(Found {
        listing: Listing::Unsettled,
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
