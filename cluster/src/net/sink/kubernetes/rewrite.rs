// SPDX-License-Identifier: Apache-2.0
//! Read, change, PUT: one status subresource, as untyped JSON.

use http::Method;
use kube::Client;
use serde_json::Value;

use crate::net::fence::Fence;
use crate::net::request::send;

/// How often a write that another writer overtook is tried at once.
const CONFLICTS: usize = 5;

/// What became of a rewrite.
#[derive(Debug)]
pub enum Rewrite {
    /// Written; the object as the server has it now.
    Written(Value),
    /// Nothing had to change; the object as it was read.
    Unchanged(Value),
    /// There is no such object.
    Gone,
    /// Another process writes now.
    Fenced,
}

/// Reads the object at `path`, lets `change` alter it, and if that says so puts it to `path/status`, if `fence`
/// allows that at the last moment.
///
/// # Errors
/// When the API refuses or cannot be reached, or other writers were faster several times in a row.
pub async fn rewrite_status(
    client: &Client,
    path: &str,
    fence: &Fence,
    mut change: impl FnMut(&mut Value) -> bool,
) -> Result<Rewrite, kube::Error> {
    let mut conflicts = 0;
    loop {
        if !fence.pass().await {
            return Ok(Rewrite::Fenced);
        }
        let mut object: Value = match send(client, Method::GET, path.to_owned(), None).await {
            Ok(object) => object,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Rewrite::Gone),
            Err(error) => return Err(error),
        };
        if !change(&mut object) {
            return Ok(Rewrite::Unchanged(object));
        }
        // Without it the fence lapsed meanwhile, or was closed.
        let Some(_writing) = fence.enter(clock::now()) else { continue };
        match send(client, Method::PUT, format!("{path}/status"), Some(&object)).await {
            Ok(written) => return Ok(Rewrite::Written(written)),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Rewrite::Gone),
            Err(kube::Error::Api(status)) if status.code == 409 && conflicts < CONFLICTS => {
                conflicts += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The time, in whole seconds as `metav1.Time` has them.
pub(super) fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
