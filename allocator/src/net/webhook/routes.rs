// SPDX-License-Identifier: Apache-2.0
//! The paths of the webhooks (contract 6.4).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use crds::admission::{Answer, Nodes, Review, ReviewError, alone, among, converted, kinds};
use crds::config::{ConfigKind, Objects};
use crds::labels::Labels;
use daemon::serve::{Budget, Connection, Refused};
use kube::api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::cache::Cache;

/// The largest review, in octets: two objects of the size that the API server stores at most, with room.
const REVIEW: usize = 8 << 20;
/// The largest conversion, in octets: the API server converts a whole list at once.
const CONVERSION: usize = 64 << 20;
/// The octets that all short bodies may take together. The long bodies beside them may take as much as the longest.
const SMALL_BODIES: usize = 32 << 20;
const LARGE_BODIES: usize = CONVERSION;
/// The length up to which a body is handled at once, in octets: that takes a thousandth of a second.
const SHORT: usize = 32 << 10;
/// The number of refusals that lists confirm at a time; others wait their turn.
const LISTS: usize = 8;
/// The time in which a question must arrive, and a list must come.
const PATIENCE: Duration = Duration::from_secs(8);

/// The state from which the answers come.
#[derive(Clone)]
pub(super) struct Webhooks {
    pub(super) client: Client,
    /// The namespace of the configuration.
    pub(super) system: Arc<str>,
    pub(super) cache: Arc<Mutex<Cache>>,
    /// The octets that all bodies take together.
    pub(super) budget: Budget,
    /// The turn to convert; a question waits for the ones before it.
    pub(super) conversions: Arc<tokio::sync::Mutex<()>>,
    /// The turn to judge a long review.
    pub(super) reviews: Arc<tokio::sync::Mutex<()>>,
    /// The turns to list the API's objects: anybody may ask a question that makes a list necessary.
    pub(super) lists: Arc<Semaphore>,
}

impl Webhooks {
    pub(super) fn new(client: Client, system: &str, cache: Arc<Mutex<Cache>>) -> Self {
        Self {
            client,
            system: system.into(),
            cache,
            budget: Budget::new(SMALL_BODIES, LARGE_BODIES),
            conversions: Arc::default(),
            reviews: Arc::default(),
            lists: Arc::new(Semaphore::new(LISTS)),
        }
    }
}

/// All paths.
pub(super) fn routes(webhooks: Webhooks) -> Router {
    let mut routes = Router::new()
        .route("/convert", post(convert))
        // A configuration of the webhooks may name the old version.
        .route("/validate-metallb-io-v1beta1-bgppeer", post(validate));
    for kind in ConfigKind::ALL {
        let name = kind.kind().to_lowercase();
        let path = match kind {
            // Antrea's own webhook has this path (contract C.3).
            ConfigKind::ExternalIpPool => format!("/validate/{name}"),
            _ => format!("/validate-metallb-io-{}-{name}", kind.version()),
        };
        routes = routes.route(&path, post(validate));
    }
    routes.with_state(webhooks)
}

async fn validate(
    State(webhooks): State<Webhooks>,
    Extension(connection): Extension<Connection>,
    body: Body,
) -> Response {
    let (body, share) = match webhooks.budget.read(&connection, body, REVIEW, PATIENCE).await {
        Ok(read) => read,
        Err(refused) => return too_much(refused),
    };
    let (system, octets) = (Arc::clone(&webhooks.system), body.len());
    let judged = off_the_loop(&webhooks.reviews, octets, move || {
        let review = Review::parse(&body)?;
        drop(body);
        let answer = alone(&review, &system);
        Ok::<_, ReviewError>((review, answer))
    });
    let (review, answer) = match judged.await {
        Some(Ok((review, answer))) => (Arc::new(review), answer),
        Some(Err(error)) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        None => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let answer = webhooks.answer(&review, octets, answer).await;
    if let Some(message) = &answer.refusal {
        tracing::info!(event = "refused", kind = %review.kind, operation = ?review.operation,
            namespace = review.namespace, name = review.name, error = message, "a change was refused");
    }
    json(share.answer(vec![review.answered(&answer).to_string().into_bytes()]))
}

async fn convert(
    State(webhooks): State<Webhooks>,
    Extension(connection): Extension<Connection>,
    body: Body,
) -> Response {
    let (body, share) = match webhooks.budget.read(&connection, body, CONVERSION, PATIENCE).await {
        Ok(read) => read,
        Err(refused) => return too_much(refused),
    };
    match off_the_loop(&webhooks.conversions, body.len(), move || converted(&body)).await {
        Some(Ok(answer)) => json(share.answer(answer)),
        Some(Err(error)) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Does the work that a body asks for: a short body's at once, a long one's on a thread of its own, one such thread at
/// a time. None if the work could not be done, which does not happen.
async fn off_the_loop<T: Send + 'static>(
    turn: &tokio::sync::Mutex<()>,
    octets: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if octets <= SHORT {
        return Some(work());
    }
    let _turn = turn.lock().await;
    tokio::task::spawn_blocking(work).await.ok()
}

fn too_much(refused: Refused) -> Response {
    (StatusCode::PAYLOAD_TOO_LARGE, refused.to_string()).into_response()
}

fn json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

impl Webhooks {
    /// Completes the answer to a review of an object that breaks no rule by itself.
    async fn answer(&self, review: &Arc<Review>, octets: usize, mut answer: Answer) -> Answer {
        if answer.is_allowed() && self.suspicion(review, octets).await.is_some() {
            // The known objects may be a moment old. Only the API's present objects are a reason to refuse.
            let confirmed = async {
                let _turn = self.lists.acquire().await;
                self.confirmed(review).await
            };
            answer.refusal = match timeout(PATIENCE, confirmed).await {
                Ok(Ok((objects, nodes))) => self.among(review, octets, objects, nodes).await,
                Ok(Err(error)) => Some(format!("cannot list what this has to agree with: {error}")),
                Err(_) => Some("cannot list what this has to agree with in time".to_owned()),
            };
        }
        if let Ok(mut cache) = self.cache.lock() {
            cache.note(review, &answer, &self.system, Instant::now());
        }
        answer
    }

    /// The rule that the object breaks, judged by the objects known here.
    async fn suspicion(&self, review: &Arc<Review>, octets: usize) -> Option<String> {
        let now = Instant::now();
        if octets <= SHORT {
            return self.cache.lock().ok()?.suspicion(review, &self.system, now);
        }
        let known = self.cache.lock().ok()?.known(now);
        self.among(review, octets, known, Nodes::new()).await
    }

    /// The rule that the object breaks, judged by these objects.
    async fn among(
        &self,
        review: &Arc<Review>,
        octets: usize,
        objects: Objects,
        nodes: Nodes,
    ) -> Option<String> {
        let (review, system) = (Arc::clone(review), Arc::clone(&self.system));
        let judged =
            off_the_loop(&self.reviews, octets, move || among(&review, &system, &objects, &nodes));
        judged.await.unwrap_or_else(|| Some("it could not be judged".to_owned()))
    }

    /// The objects with which the reviewed one must agree, as the API has them now.
    async fn confirmed(&self, review: &Review) -> Result<(Objects, Nodes), kube::Error> {
        let mut objects = Objects::default();
        for kind in kinds(review) {
            let list: Api<DynamicObject> = if kind.is_namespaced() {
                Api::namespaced_with(self.client.clone(), &self.system, &resource(*kind))
            } else {
                Api::all_with(self.client.clone(), &resource(*kind))
            };
            let found = match list.list(&ListParams::default()).await {
                Ok(list) => list.items,
                // There is no object to agree with if the CRD is absent, or if the roles are older than the CRD.
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
        Ok((objects, nodes))
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use daemon::endpoints::{Readiness, serve_health};
    use daemon::serve::{Plain, Server};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const PEER: &str = r#"{"apiVersion":"metallb.io/v1beta2","kind":"BGPPeer","metadata":{"name":"peer","namespace":"metallb-system","uid":"0b0e3f9e-9d9a-4c1c-8a51-111111111111","resourceVersion":"1234567","generation":1,"creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"myASN":64512,"peerASN":64513,"peerAddress":"192.0.2.1"}}"#;

    fn review(object: &str) -> String {
        format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","kind":{{"group":"metallb.io","version":"v1beta2","kind":"BGPPeer"}},"operation":"CREATE","namespace":"metallb-system","name":"peer","object":{object}}}}}"#
        )
    }

    fn conversion(octets: usize) -> String {
        let mut objects = format!("{PEER},").repeat(octets / PEER.len());
        objects.pop();
        format!(
            r#"{{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","request":{{"uid":"u","desiredAPIVersion":"metallb.io/v1beta1","objects":[{objects}]}}}}"#
        )
    }

    async fn post(address: SocketAddr, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let octets = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {octets}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server does not read a refused body to its end.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        String::from_utf8_lossy(&said).into_owned()
    }

    async fn health(address: SocketAddr) -> bool {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said.ends_with("ok")
    }

    #[tokio::test]
    async fn what_is_long_delays_neither_health_nor_reviews_and_what_is_too_much_is_refused() {
        // None of these questions makes the webhooks ask the API.
        let api = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let webhooks = Webhooks::new(api.try_into().unwrap(), "metallb-system", Arc::default());
        let budget = webhooks.budget.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plain = Plain::Routes(routes(webhooks));
        Server { tls: None, plain, limits: super::super::LIMITS }.start(listener);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probes = listener.local_addr().unwrap();
        serve_health(listener, Readiness::default());

        let converting = tokio::spawn(async move {
            post(address, "/convert", &conversion(16 << 20)).await.contains("\"Success\"")
        });
        let (mut healthy, mut reviewed) = (0, 0);
        while !converting.is_finished() {
            healthy += u32::from(health(probes).await);
            let path = "/validate-metallb-io-v1beta2-bgppeer";
            let said = post(address, path, &review(PEER)).await;
            assert!(said.contains("\"allowed\":true"), "{said}");
            reviewed += 1;
        }
        assert!(converting.await.unwrap());
        assert!(healthy > 2 && reviewed > 2, "{healthy} probes and {reviewed} reviews meanwhile");
        // A stranger asks for too much; another one reads too little.
        let many = format!(r#"{{"x":[{}0]}}"#, "{\"\":0},".repeat(1 << 20));
        for (path, body) in [
            ("/validate-metallb-io-v1beta2-bgppeer", review(&many)),
            ("/validate-metallb-io-v1beta2-bgppeer", "[".repeat(1 << 20)),
            ("/convert", "[".repeat(1 << 20)),
            ("/validate-metallb-io-v1beta2-bgppeer", "x".repeat(REVIEW + 1)),
        ] {
            let said = post(address, path, &body).await;
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
        }
        while budget.held() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
