// SPDX-License-Identifier: Apache-2.0
//! `ConversionReview`: objects come in one version and leave in another.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::metallb::bgp_peer_v1beta1::{ConvertError, convert};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    api_version: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    #[serde(rename = "desiredAPIVersion")]
    desired: String,
    objects: Vec<Value>,
}

/// Answers a `ConversionReview`, of whichever version it is: the API server asks as v1beta1 or v1, which are alike.
///
/// # Errors
/// When it is none.
pub fn converted(body: &[u8]) -> Result<Value, serde_json::Error> {
    let Envelope { api_version, request } = serde_json::from_slice(body)?;
    let objects: Result<Vec<Value>, ConvertError> =
        request.objects.into_iter().map(|object| one(object, &request.desired)).collect();
    let response = match objects {
        Ok(objects) => json!({
            "uid": request.uid,
            "result": { "status": "Success" },
            "convertedObjects": objects,
        }),
        Err(error) => json!({
            "uid": request.uid,
            "result": { "status": "Failure", "message": error.to_string() },
            "convertedObjects": [],
        }),
    };
    Ok(json!({ "apiVersion": api_version, "kind": "ConversionReview", "response": response }))
}

/// `AddressPool`, which MetalLB had before 0.14, has the same fields in both of its versions.
fn one(mut object: Value, desired: &str) -> Result<Value, ConvertError> {
    if object.get("kind").and_then(Value::as_str) == Some("AddressPool") {
        if let Some(object) = object.as_object_mut() {
            object.insert("apiVersion".into(), desired.into());
        }
        return Ok(object);
    }
    convert(object, desired)
}
