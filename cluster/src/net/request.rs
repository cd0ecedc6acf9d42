// SPDX-License-Identifier: Apache-2.0
//! One request about an object of the API, with JSON both ways.

use http::{Method, Request};
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Sends a request; a PATCH is a merge patch.
///
/// # Errors
/// The API refuses or cannot be reached, or its answer is not of the expected type.
pub async fn send<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: String,
    body: Option<&Value>,
) -> Result<T, kube::Error> {
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    send_octets(client, method, &path, body).await
}

/// The same with a body that is JSON already; an empty body is none.
pub(crate) async fn send_octets<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<T, kube::Error> {
    let content_type = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", content_type)
        .header("Accept", "application/json")
        .body(body)
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}
