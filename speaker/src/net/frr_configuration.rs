// SPDX-License-Identifier: Apache-2.0
//! In mode `frr-k8s`: removes the configuration that MetalLB's speaker of this node gave to frr-k8s, so that a router has one session with
//! this node, and not both FRR's and ours. A MetalLB that is rolled back writes the configuration again. Configuration that users wrote
//! themselves is left alone.

use std::time::Duration;

use cluster::net::request::send;
use http::Method;
use kube::Client;
use serde::de::IgnoredAny;
use tokio::sync::oneshot;

/// The time between two checks whether the object is gone.
const POLL: Duration = Duration::from_millis(200);
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Deletes `FRRConfiguration/metallb-NODE`. Answers when the object is gone, or when there is no such kind or no permission.
pub(super) fn retire(client: Client, namespace: &str, node: &str) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    let path = format!(
        "/apis/frrk8s.metallb.io/v1beta1/namespaces/{namespace}/frrconfigurations/metallb-{node}"
    );
    tokio::spawn(async move {
        let mut told = false;
        loop {
            let pause = match send::<IgnoredAny>(&client, Method::DELETE, path.clone(), None).await
            {
                // The object is deleted, or marked so and waiting for finalizers: the request is repeated until the object is not there.
                Ok(IgnoredAny) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(
                            event = "frrConfigurationDeleted",
                            path,
                            "the configuration that MetalLB wrote for FRR on this node is deleted; the sessions are opened from here"
                        );
                    }
                    POLL
                }
                Err(kube::Error::Api(status)) if status.code == 404 => break,
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 405) => {
                    tracing::warn!(event = "frrConfigurationKept", error = %status.message,
                        "whether MetalLB left a configuration for FRR on this node can't be found out: not permitted");
                    break;
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(event = "frrConfigurationFailed", %error,
                            "what MetalLB told FRR on this node cannot be deleted; it is tried again, and no session is opened before");
                    }
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
        // The receiver is gone only when the program ends.
        let _ = sender.send(());
    });
    receiver
}
