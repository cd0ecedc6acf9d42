// SPDX-License-Identifier: Apache-2.0
//! The paths of the webhooks (contract 6.4).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use crds::admission::{Answer, Nodes, Review, alone, among, converted, kinds};
use crds::config::{ConfigKind, Objects};
use crds::labels::Labels;
use kube::api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::cache::Cache;

/// The largest question, in octets: two objects of the size that the API server stores at most, with room.
const REVIEW: usize = 8 << 20;
/// The API server converts a whole list at once.
const CONVERSION: usize = 64 << 20;
/// How long a question may take to arrive, and a list to come.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the answers come from.
#[derive(Clone)]
pub(super) struct Webhooks {
    pub(super) client: Client,
    /// The namespace of the configuration.
    pub(super) system: Arc<str>,
    pub(super) cache: Arc<Mutex<Cache>>,
}

/// All paths.
pub(super) fn routes(webhooks: Webhooks) -> Router {
    let mut routes = Router::new()
        .route("/convert", post(convert))
        // Where a configuration of webhooks names the old version.
        .route("/validate-metallb-io-v1beta1-bgppeer", post(validate));
    for kind in ConfigKind::ALL {
        let name = kind.kind().to_lowercase();
        let path = match kind {
            // As Antrea's own webhook has it (contract C.3).
            ConfigKind::ExternalIpPool => format!("/validate/{name}"),
            _ => format!("/validate-metallb-io-{}-{name}", kind.version()),
        };
        routes = routes.route(&path, post(validate));
    }
    routes.with_state(webhooks)
}

async fn validate(State(webhooks): State<Webhooks>, body: Body) -> Response {
    let Some(body) = read(body, REVIEW).await else { return too_much() };
    let review = match Review::parse(&body) {
        Ok(review) => review,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let answer = webhooks.answer(&review).await;
    if let Some(message) = &answer.refusal {
        tracing::info!(event = "refused", kind = %review.kind, operation = ?review.operation,
            namespace = review.namespace, name = review.name, error = message, "a change was refused");
    }
    json(&review.answered(&answer))
}

async fn convert(body: Body) -> Response {
    let Some(body) = read(body, CONVERSION).await else { return too_much() };
    match converted(&body) {
        Ok(answer) => json(&answer),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn read(body: Body, most: usize) -> Option<axum::body::Bytes> {
    timeout(PATIENCE, to_bytes(body, most)).await.ok()?.ok()
}

fn too_much() -> Response {
    (StatusCode::PAYLOAD_TOO_LARGE, "too long, or too slow").into_response()
}

fn json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

impl Webhooks {
    async fn answer(&self, review: &Review) -> Answer {
        let mut answer = alone(review, &self.system);
        if answer.is_allowed() && self.suspicion(review).is_some() {
            // What is known may be old by a moment. Only what the API says now is a reason to refuse.
            answer.refusal = match timeout(PATIENCE, self.confirmed(review)).await {
                Ok(Ok(refusal)) => refusal,
                Ok(Err(error)) => Some(format!("cannot list what this has to agree with: {error}")),
                Err(_) => Some("cannot list what this has to agree with in time".to_owned()),
            };
        }
        if let Ok(mut cache) = self.cache.lock() {
            cache.note(review, &answer, &self.system, Instant::now());
        }
        answer
    }

    fn suspicion(&self, review: &Review) -> Option<String> {
        self.cache.lock().ok()?.suspicion(review, &self.system, Instant::now())
    }

    /// The refusal, if it is one by what the API says now.
    async fn confirmed(&self, review: &Review) -> Result<Option<String>, kube::Error> {
        let mut objects = Objects::default();
        for kind in kinds(review) {
            let list: Api<DynamicObject> = if kind.is_namespaced() {
                Api::namespaced_with(self.client.clone(), &self.system, &resource(*kind))
            } else {
                Api::all_with(self.client.clone(), &resource(*kind))
            };
            let found = match list.list(&ListParams::default()).await {
                Ok(list) => list.items,
                // Without its CRD, or where the roles are of a time that has none, there is nothing to agree with.
                Err(kube::Error::Api(status))
                    if kind.is_optional() && matches!(status.code, 403 | 404) =>
                {
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
            let values = found.into_iter().filter_map(|object| serde_json::to_value(object).ok());
            objects.reset(*kind, values.collect());
        }
        let nodes = if kinds(review).contains(&ConfigKind::BgpAdvertisement) {
            nodes(&self.client).await?
        } else {
            Nodes::new()
        };
        Ok(among(review, &self.system, &objects, &nodes))
    }
}

fn resource(kind: ConfigKind) -> ApiResource {
    let version = kind.version();
    ApiResource {
        group: kind.group().into(),
        version: version.into(),
        api_version: format!("{}/{version}", kind.group()),
        kind: kind.kind().into(),
        plural: kind.plural().into(),
    }
}

/// All nodes with their labels; the controller may list them and not watch them.
async fn nodes(client: &Client) -> Result<Nodes, kube::Error> {
    let resource = ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "Node".into(),
        plural: "nodes".into(),
    };
    let list: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let found: Vec<PartialObjectMeta<DynamicObject>> =
        list.list_metadata(&ListParams::default()).await?.items;
    Ok(found
        .into_iter()
        .map(|node| {
            let labels: Labels = node.metadata.labels.unwrap_or_default().into_iter().collect();
            (node.metadata.name.unwrap_or_default().into(), labels)
        })
        .collect())
}
