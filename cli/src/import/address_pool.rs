// SPDX-License-Identifier: Apache-2.0
//! AddressPool objects of MetalLB 0.13 (v1alpha1 and v1beta1), which 0.14 no longer knows.

use anyhow::{Context, ensure};
use crds::metallb::address_pool::AddressPool;
use serde_json::Value;

/// Converts every AddressPool of a stream of documents, or of a `List`.
pub(super) fn convert_all(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("this is no YAML")?;
    let mut pools = Vec::new();
    for document in documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) => pools.extend(items.iter().cloned()),
            None => pools.push(document),
        }
    }
    let mut objects = Vec::new();
    for pool in pools {
        if pool.is_null() {
            continue;
        }
        let kind = pool.get("kind").and_then(Value::as_str).unwrap_or_default();
        ensure!(
            kind == "AddressPool",
            "an object of kind {kind:?}: only AddressPools are converted"
        );
        let name = pool.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let parsed = AddressPool::parse(&pool).with_context(|| format!("AddressPool {name:?}"))?;
        objects.extend(parsed.objects());
    }
    ensure!(!objects.is_empty(), "there is no AddressPool in it");
    Ok(objects)
}
