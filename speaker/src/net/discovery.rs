// SPDX-License-Identifier: Apache-2.0
//! The places of the other speakers: their pods, found by label (contract 3.4).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::ListParams;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use ownership::FIRST_PAUSES;
use ownership::{Listed, Listing, Pod as Speaker};

/// The time between two lists of the pods.
const LIST_INTERVAL: Duration = Duration::from_secs(300);
/// The least time between two lists where one would decide which nodes count.
const HURRY_INTERVAL: Duration = Duration::from_secs(5);
/// The time after a failure in which the watches may still be away: their longest pause is 10 s, and a list takes time.
const SETTLED_AGE: Duration = Duration::from_secs(30);
/// The time from its creation in which a pod that was never met counts, whatever its status says.
const YOUNG_AGE: Duration = Duration::from_secs(60);
/// The pause after a list that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

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
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    creation_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(rename = "podIP", deserialize_with = "crds::address::deserialize_core")]
    pod_ip: Option<IpAddr>,
    phase: String,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// The pods that are looked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) namespace: String,
    pub(super) labels: String,
    /// The name of this speaker's own pod, which is not wanted.
    pub(super) own: Option<String>,
    /// This speaker's node: where the name of its own pod is not known, the pod on this node is taken for it.
    pub(super) node: String,
    /// The port of the ring.
    pub(super) port: u16,
}

/// Tells again and again where the other speakers are, and soon with a fresh list while `hurried`. While the pods cannot be listed nothing is
/// told, and the last list holds.
pub(super) fn discover(
    client: Client,
    wanted: Wanted,
    mut hurried: watch::Receiver<bool>,
) -> mpsc::Receiver<Listed> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut first = FIRST_PAUSES.iter();
        let mut has_reported_off = false;
        let mut failed: Option<tokio::time::Instant> = None;
        loop {
            let asked = tokio::time::Instant::now();
            match list(&client, &wanted).await {
                Ok(pods) => {
                    has_reported_off = false;
                    let settled = failed.is_none_or(|last| asked >= last + SETTLED_AGE);
                    let listing =
                        if settled { Listing::Asked(asked.into()) } else { Listing::Unsettled };
                    if sender.send(Listed { pods, listing }).await.is_err() {
                        return;
                    }
                    // Pods of a fresh cluster get their addresses one by one.
                    let pause = first.next().copied().unwrap_or(LIST_INTERVAL);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = hurry(&mut hurried, asked) => {}
                    }
                }
                Err(error) => {
                    failed = Some(tokio::time::Instant::now());
                    if !std::mem::replace(&mut has_reported_off, true) {
                        tracing::warn!(event = "podListFailed", %error,
                            "the other speakers' pods cannot be listed; it is tried again");
                    }
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    });
    receiver
}

/// Waits until another list is allowed and would decide something.
async fn hurry(hurried: &mut watch::Receiver<bool>, asked: tokio::time::Instant) {
    tokio::time::sleep_until(asked + HURRY_INTERVAL).await;
    if hurried.wait_for(|hurried| *hurried).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn list(client: &Client, wanted: &Wanted) -> Result<Vec<Speaker>, kube::Error> {
    let path = format!("/api/v1/namespaces/{}/pods", wanted.namespace);
    let parameters = ListParams::default().labels(&wanted.labels);
    let request =
        kube::core::Request::new(path).list(&parameters).map_err(kube::Error::BuildRequest)?;
    let pods: List = client.request(request).await?;
    let own = |pod: &Pod| match &wanted.own {
        Some(own) => pod.metadata.name == *own,
        None => pod.spec.node_name.as_ref() == Some(&wanted.node),
    };
    let (now, time) = now();
    let others = pods.items.into_iter().filter(|pod| !own(pod));
    Ok(others.map(|pod| speaker(pod, wanted.port, now, time)).collect())
}

/// The relevant parts of a pod. `now` and `time` are the same moment, by the monotonic clock and by the wall clock.
fn speaker(pod: Pod, port: u16, now: Instant, time: jiff::Timestamp) -> Speaker {
    let Pod { metadata, spec, status } = pod;
    let is_ready = |it: &Condition| it.kind == "Ready" && it.status == "True";
    let created = metadata.creation_timestamp.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let age = created.map(|created| {
        // A pod with a creation time in the future is new: the clocks differ.
        Duration::try_from(time.duration_since(created)).unwrap_or_default()
    });
    let left = age.map(|age| YOUNG_AGE.saturating_sub(age)).filter(|left| !left.is_zero());
    Speaker {
        node: spec.node_name.map(Arc::from),
        address: status.pod_ip.map(|address| SocketAddr::new(address, port)),
        ready: status.phase == "Running" && status.conditions.iter().any(is_ready),
        young_until: left.map(|left| now + left),
    }
}

fn now() -> (Instant, jiff::Timestamp) {
    (clock::now(), jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_runs_if_its_status_says_so_and_is_young_for_a_minute() {
        let (now, time) = now();
        let pod = |phase: &str, ready: &str, age: i64| {
            let created = time.checked_sub(jiff::SignedDuration::from_secs(age)).unwrap();
            let text = serde_json::json!({
                "metadata": { "name": "speaker-x", "creationTimestamp": created.to_string() },
                "spec": { "nodeName": "n1" },
                "status": { "phase": phase, "podIP": "192.0.2.7", "conditions": [
                    { "type": "PodScheduled", "status": "True" },
                    { "type": "Ready", "status": ready },
                ] },
            });
            speaker(serde_json::from_value(text).unwrap(), 7946, now, time)
        };
        let found = pod("Running", "True", 3_600);
        let expected = Speaker {
            node: Some("n1".into()),
            address: Some("192.0.2.7:7946".parse().unwrap()),
            ready: true,
            young_until: None,
        };
        assert_eq!(found, expected);
        assert!(!pod("Running", "False", 3_600).ready);
        assert!(!pod("Pending", "True", 3_600).ready);
        let left = |age| pod("Pending", "False", age).young_until.map(|until| until - now);
        assert_eq!(left(60), None);
        assert_eq!(left(-60), Some(YOUNG_AGE));
        assert!(left(20).is_some_and(|left| left <= YOUNG_AGE * 2 / 3 && left > YOUNG_AGE / 2));
        let bare: Pod = serde_json::from_str(r#"{"metadata":{"name":"x"}}"#).unwrap();
        let bare = speaker(bare, 7946, now, time);
        assert_eq!((bare.ready, bare.young_until, bare.node), (false, None, None));
    }
}
