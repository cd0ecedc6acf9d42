// SPDX-License-Identifier: Apache-2.0
//! Finds out whether a live Antrea serves the same world (contract C.12). If one does, Antrea decides there, since both
//! would write the same status.

use std::time::Duration;

use cluster::net::request::send;
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::watch;

/// The webhook that antrea-controller answers while it has external pools.
const WEBHOOK: &str = "externalippoolvalidator.antrea.io";
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/crdvalidator.antrea.io";
/// Antrea's report of itself, written every minute.
const REPORT: &str = "/apis/crd.antrea.io/v1beta1/antreacontrollerinfos/antrea-controller";
/// The age of the last report at which Antrea no longer counts as alive.
const SILENT: Duration = Duration::from_secs(300);
/// The pause after a question that found no API.
const AGAIN: Duration = Duration::from_secs(1);
/// The time between two looks for Antrea.
const LOOK: Duration = Duration::from_secs(30);

/// Starts to look for a live Antrea that gives addresses to Services, as soon as `wanted` says so: only clusters with
/// `ExternalIPPool`s need the answer. The receiver holds none until the answer is known.
pub(super) fn look_out(
    client: Client,
    mut wanted: watch::Receiver<bool>,
) -> watch::Receiver<Option<bool>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            return;
        }
        while !sender.is_closed() {
            // A controller without the permission to look has no reason to stand back. An API that cannot be reached is
            // asked again.
            let lives = lives(&client).await;
            if let Some(lives) = lives {
                sender.send_if_modified(|known| known.replace(lives) != Some(lives));
            }
            // The controller decides nothing before the answer is known.
            tokio::time::sleep(if lives.is_some() { LOOK } else { AGAIN }).await;
        }
    });
    receiver
}

/// True if an Antrea lives; none if the API cannot be reached.
async fn lives(client: &Client) -> Option<bool> {
    let configuration = read(client, CONFIGURATION).await.ok()?;
    let report = read(client, REPORT).await.ok()?;
    Some(is_alive(configuration.as_ref(), report.as_ref(), Timestamp::now()))
}

/// The object; none if it is absent or not permitted.
async fn read(client: &Client, path: &str) -> Result<Option<Value>, ()> {
    match send(client, Method::GET, path.to_owned(), None).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
        Err(_) => Err(()),
    }
}

/// True if the webhook is there and the report, if there is one, is fresh. A cluster from which Antrea was removed may
/// have kept either.
fn is_alive(configuration: Option<&Value>, report: Option<&Value>, now: Timestamp) -> bool {
    let webhooks = configuration.and_then(|object| object.get("webhooks")?.as_array());
    let has_webhook = webhooks.is_some_and(|webhooks| {
        webhooks.iter().any(|webhook| webhook.get("name").and_then(Value::as_str) == Some(WEBHOOK))
    });
    let conditions = report.and_then(|object| object.get("controllerConditions")?.as_array());
    let newest = conditions.into_iter().flatten().filter_map(|condition| {
        condition.get("lastHeartbeatTime")?.as_str()?.parse::<Timestamp>().ok()
    });
    let fresh = newest
        .max()
        .map(|time| Duration::try_from(now.duration_since(time)).is_ok_and(|age| age > SILENT));
    match fresh {
        Some(is_silent) => has_webhook && !is_silent,
        None => has_webhook,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_webhook_counts_unless_its_controller_fell_silent() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let webhooks = json!({ "webhooks": [{ "name": "other" }, { "name": WEBHOOK }] });
        let others = json!({ "webhooks": [{ "name": "other" }] });
        let report =
            |time: &str| json!({ "controllerConditions": [{ "lastHeartbeatTime": time }] });
        let (fresh, stale) = (report("2026-01-01T00:09:00Z"), report("2026-01-01T00:04:00Z"));
        assert!(is_alive(Some(&webhooks), Some(&fresh), now));
        assert!(is_alive(Some(&webhooks), None, now));
        assert!(!is_alive(Some(&webhooks), Some(&stale), now));
        assert!(!is_alive(Some(&others), Some(&fresh), now));
        assert!(!is_alive(None, None, now));
    }
}
