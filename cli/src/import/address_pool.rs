// SPDX-License-Identifier: Apache-2.0
//! Converts AddressPool objects of MetalLB 0.13 (v1alpha1 and v1beta1), which 0.14 no longer knows.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use crds::metallb::address_pool::AddressPool;
use serde_json::{Value, json};

use super::documents::{Fields, kind, name, read};
use super::notes::{Names, Notes, of_pool};

/// Converts every AddressPool of a stream of documents, or of a `List`; `together` says that all come into one
/// namespace.
pub(super) fn convert_all(
    text: &str,
    together: bool,
    notes: &mut Notes,
) -> anyhow::Result<Vec<Value>> {
    let pools = read(text)?;
    let namespace = |pool: &Value| {
        let namespace = pool.pointer("/metadata/namespace").and_then(Value::as_str);
        namespace.filter(|_| !together).unwrap_or_default().to_owned()
    };
    let mut names = BTreeMap::new();
    for pool in &pools {
        let here = namespace(pool);
        names.entry(here.clone()).or_insert_with(|| {
            let wanted = || pools.iter().filter(|pool| namespace(pool) == here).map(name);
            ["IPAddressPool", "L2Advertisement", "BGPAdvertisement"]
                .map(|kind| Names::of_objects(kind, wanted()))
        });
    }
    let mut objects = Vec::new();
    for pool in &pools {
        ensure!(
            kind(pool) == "AddressPool",
            "an object of kind {:?}: only AddressPools are converted",
            kind(pool)
        );
        let parsed =
            AddressPool::parse(pool).with_context(|| format!("AddressPool {:?}", name(pool)))?;
        let spec = Fields::spec(pool);
        for key in ["protocol", "addresses", "autoAssign", "bgpAdvertisements"] {
            spec.get(key);
        }
        spec.finish(notes);
        let Some([pools, layer2, bgp]) = names.get_mut(&namespace(pool)) else { continue };
        let new = pools.claim(name(pool), notes, |from, to| Some(of_pool(from, to)));
        for mut object in parsed.objects() {
            // No object refers to an advertisement by its name.
            let own = match kind(&object) {
                "IPAddressPool" => new.clone(),
                "L2Advertisement" => layer2.invent(name(&object)),
                _ => bgp.invent(name(&object)),
            };
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("name".into(), json!(own));
            }
            if let Some(selected) = object.pointer_mut("/spec/ipAddressPools/0") {
                *selected = json!(new);
            }
            objects.push(object);
        }
    }
    ensure!(!objects.is_empty(), "there is no AddressPool in it");
    Ok(objects)
}
