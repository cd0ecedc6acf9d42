// SPDX-License-Identifier: Apache-2.0
//! An API for tests: it answers as a function says, and remembers what it was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::Method;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// The requests so far: method, path with query, body.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<(Method, String, Value)>>>);

impl Asked {
    /// The number of requests with this method.
    pub(crate) fn count(&self, method: &Method) -> usize {
        self.0.lock().unwrap().iter().filter(|(asked, ..)| asked == method).count()
    }

    /// The last request with this method.
    pub(crate) fn last(&self, method: &Method) -> Option<(String, Value)> {
        let all = self.0.lock().unwrap();
        let (_, path, body) = all.iter().rfind(|(asked, ..)| asked == method)?;
        Some((path.clone(), body.clone()))
    }

    /// Waits until the API was asked by this method so often.
    pub(crate) async fn wait_for(&self, method: &Method, count: usize) {
        let enough = async {
            while self.count(method) < count {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), enough).await.unwrap();
    }
}

/// A client of an API that answers with a status and a body; an error has no body of its own.
pub(crate) fn api(
    answer: impl Fn(&Method, &str) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> (Client, Asked) {
    let asked = Asked::default();
    let remembered = asked.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (answer, asked) = (answer.clone(), remembered.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let path = parts.uri.to_string();
            let (code, value) = answer(&parts.method, &path);
            asked.0.lock().unwrap().push((parts.method, path, body));
            let value = if code < 400 {
                value
            } else {
                json!({ "kind": "Status", "apiVersion": "v1", "message": "no", "code": code })
            };
            let body = Body::from(value.to_string().into_bytes());
            Ok::<_, Infallible>(http::Response::builder().status(code).body(body).unwrap())
        }
    });
    (Client::new(service, "default"), asked)
}
