// SPDX-License-Identifier: Apache-2.0
//! One request about an object of the API, with JSON both ways.

use http::{Method, Request};
use kube::Client;
use serde::de::{DeserializeOwned, IgnoredAny};
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
    let content_type = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    send_as(client, method, path, content_type, body).await
}

/// Applies the object's fields on the server's side, as `manager` and with force: fields of other writers stay.
///
/// # Errors
/// When the API refuses or cannot be reached.
pub async fn apply(
    client: &Client,
    path: String,
    manager: &str,
    object: &Value,
) -> Result<(), kube::Error> {
    let path = format!("{path}?fieldManager={manager}&force=true");
    // JSON is YAML.
    let content_type = "application/apply-patch+yaml";
    send_as(client, Method::PATCH, path, content_type, Some(object)).await.map(|IgnoredAny| ())
}

/// Removes the object; one that is not there is removed.
///
/// # Errors
/// When the API refuses or cannot be reached.
pub async fn delete(client: &Client, path: String) -> Result<(), kube::Error> {
    match send(client, Method::DELETE, path, None).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(|IgnoredAny| ()),
    }
}

async fn send_as<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: String,
    content_type: &str,
    body: Option<&Value>,
) -> Result<T, kube::Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", content_type)
        .header("Accept", "application/json")
        .body(body.map(|body| body.to_string().into_bytes()).unwrap_or_default())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}
