// SPDX-License-Identifier: Apache-2.0
//! The ConfigMap `bgpextras` of MetalLB's FRR mode. Its text is configuration for FRR, which nothing here reads; users that rely on it are
//! told so.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher;
use kube::runtime::watcher::{Event, watcher as watch};
use kube::{Api, Client};
use tokio::sync::watch as state;

/// The text in the configuration's state where the ConfigMap has content.
pub(super) const MESSAGE: &str = "ConfigMap bgpextras: extra configuration of FRR is ignored, there is no FRR here; \
    the fields of BGPPeer and BGPAdvertisement beyond MetalLB's cover what it is mostly used for";

/// The pause after a refusal.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Watches the ConfigMap; true while it has content.
pub(super) fn follow(client: Client, namespace: &str) -> state::Receiver<bool> {
    let (sender, receiver) = state::channel(false);
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let only = watcher::Config::default().fields("metadata.name=bgpextras");
    tokio::spawn(async move {
        let mut events = watch(api, only).boxed();
        let mut listed = false;
        while let Some(event) = events.next().await {
            let content = match event {
                Ok(Event::Init) => {
                    listed = false;
                    continue;
                }
                Ok(Event::InitApply(map)) => {
                    listed |= has_content(&map);
                    continue;
                }
                Ok(Event::InitDone) => listed,
                Ok(Event::Apply(map)) => has_content(&map),
                Ok(Event::Delete(_)) => false,
                Err(_) => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    continue;
                }
            };
            sender.send_if_modified(|current| std::mem::replace(current, content) != content);
            if sender.is_closed() {
                return;
            }
        }
    });
    receiver
}

fn has_content(map: &ConfigMap) -> bool {
    let extras = map.data.as_ref().and_then(|data| data.get("extras"));
    extras.is_some_and(|text| !text.trim().is_empty())
}
