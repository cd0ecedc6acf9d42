// SPDX-License-Identifier: Apache-2.0
//! Makes the Secret with the memberlist's key, once (contract 3.4): speakers' Pods cannot start before it is there.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use cluster::net::request::send;
use http::Method;
use kube::Client;
use ring::rand::{SecureRandom, SystemRandom};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// The pause after a failure; it doubles up to a minute.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The Secret to make, and its owner.
#[derive(Clone, Debug)]
pub(super) struct MemberlistSecret {
    pub(super) namespace: String,
    /// The Secret's name.
    pub(super) name: String,
    /// The own Deployment: when it is deleted, the Secret goes as well.
    pub(super) deployment: Option<String>,
}

impl MemberlistSecret {
    /// Makes the Secret if it is absent; tries until it is there.
    pub(super) fn ensure(self, client: Client) {
        tokio::spawn(async move {
            let mut pause = RETRY;
            loop {
                match self.create(&client).await {
                    Ok(created) => {
                        if created {
                            tracing::info!(
                                event = "memberlistSecret",
                                secret = self.name,
                                "created the memberlist's key"
                            );
                        }
                        return;
                    }
                    Err(error) => {
                        if pause == RETRY {
                            tracing::error!(event = "memberlistSecretFailed", secret = self.name, %error,
                                "the memberlist's key cannot be created, and speakers cannot start without it; it is tried again");
                        }
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST);
                    }
                }
            }
        });
    }

    /// Makes the Secret if it is absent. True if it was absent.
    async fn create(&self, client: &Client) -> Result<bool, kube::Error> {
        let secrets = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        // MetalLB's roles of every generation permit a list of this name.
        let own = format!("{secrets}?fieldSelector=metadata.name%3D{}", self.name);
        let list: Value = send(client, Method::GET, own, None).await?;
        let items = list.get("items").and_then(Value::as_array);
        if items.is_some_and(|items| !items.is_empty()) {
            return Ok(false);
        }
        let owner = match &self.deployment {
            Some(name) => {
                let path =
                    format!("/apis/apps/v1/namespaces/{}/deployments/{name}", self.namespace);
                let deployment: Value = send(client, Method::GET, path, None).await?;
                let uid = deployment.pointer("/metadata/uid").cloned().unwrap_or_default();
                json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid }])
            }
            None => json!([]),
        };
        let mut octets = [0; 16];
        if SystemRandom::new().fill(&mut octets).is_err() {
            return Err(kube::Error::Service("the kernel gives no random numbers".into()));
        }
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": self.name, "namespace": self.namespace, "ownerReferences": owner },
            "stringData": { "secretkey": STANDARD_NO_PAD.encode(octets) },
        });
        match send(client, Method::POST, secrets, Some(&secret)).await {
            Ok(IgnoredAny) => Ok(true),
            // Another controller was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}
