// SPDX-License-Identifier: Apache-2.0
//! Converts Cilium's pools of LB-IPAM, its L2 policies, and the annotations of Services. `cilium_bgp.rs` converts its
//! BGP.

use anyhow::ensure;
use serde_json::{Value, json};

use super::cilium_selector::{advertised, split};
use super::documents::{Fields, kind, labels, name, present, read, title};
use super::kube_vip::without_ends;
use super::notes::{Names, Notes};
use super::services::{Becomes, Dialect};
use super::{cilium_bgp, object};

const DIALECT: Dialect = Dialect {
    prefixes: &["lbipam.cilium.io/", "io.cilium/lb-ipam"],
    known: &[
        ("lbipam.cilium.io/ips", Becomes::Annotation("metallb.io/loadBalancerIPs")),
        ("io.cilium/lb-ipam-ips", Becomes::Annotation("metallb.io/loadBalancerIPs")),
        ("lbipam.cilium.io/sharing-key", Becomes::Annotation("metallb.io/allow-shared-ip")),
        ("io.cilium/lb-ipam-sharing-key", Becomes::Annotation("metallb.io/allow-shared-ip")),
        // Services of all namespaces share an address by the same key.
        ("lbipam.cilium.io/sharing-cross-namespace", Becomes::Nothing),
        ("io.cilium/lb-ipam-sharing-cross-namespace", Becomes::Nothing),
    ],
    class: "io.cilium/",
};

/// Converts a stream of documents.
pub(super) fn convert(
    text: &str,
    namespace: &str,
    notes: &mut Notes,
) -> anyhow::Result<Vec<Value>> {
    let all = read(text)?;
    let of = |wanted: &str| all.iter().filter(|object| kind(object) == wanted).collect::<Vec<_>>();
    let pools = of("CiliumLoadBalancerIPPool");
    let policies = of("CiliumL2AnnouncementPolicy");
    let mut objects = Vec::new();
    let mut names = Names::of_objects("IPAddressPool", pools.iter().map(|pool| name(pool)));
    for source in pools {
        objects.extend(pool(source, namespace, &mut names, notes));
    }
    let mut names =
        Names::of_objects("L2Advertisement", policies.iter().map(|policy| name(policy)));
    for source in policies {
        objects.extend(layer2(source, namespace, &mut names, notes));
    }
    objects.extend(cilium_bgp::convert(&all, namespace, notes));
    ensure!(!objects.is_empty(), "there is nothing in it that can be converted");
    for other in &all {
        if !matches!(
            kind(other),
            "CiliumLoadBalancerIPPool" | "CiliumL2AnnouncementPolicy" | "Service"
        ) && !cilium_bgp::KINDS.contains(&kind(other))
        {
            notes.lost(title(other), "objects of this kind are not converted");
        }
    }
    DIALECT.tell(&all, notes);
    Ok(objects)
}

fn pool(source: &Value, namespace: &str, names: &mut Names, notes: &mut Notes) -> Option<Value> {
    let spec = Fields::spec(source);
    let all = spec.get("allowFirstLastIPs");
    let skips = all.is_some_and(|value| *value == json!("No") || *value == json!(false));
    let mut addresses = Vec::new();
    // Cilium 1.13 to 1.15 called `blocks` `cidrs`.
    for block in spec.list("blocks").into_iter().chain(spec.list("cidrs")) {
        match (block.text("cidr"), block.text("start"), block.text("stop")) {
            (Some(cidr), ..) if skips => addresses.push(without_ends(cidr)),
            (Some(cidr), ..) => addresses.push(cidr.to_owned()),
            (None, Some(start), stop) => {
                addresses.push(format!("{start}-{}", stop.unwrap_or(start)));
            }
            (None, None, _) => notes.lost(block.path(), "it names no addresses"),
        }
        block.finish(notes);
    }
    let (allocation, whole) = allocation(&spec, notes);
    let disabled = spec.flag("disabled");
    spec.finish(notes);
    if addresses.is_empty() {
        notes.lost(title(source), "it has no addresses");
        return None;
    }
    let name = names.claim(name(source), notes, |_, _| None);
    // A pool that would serve other Services than before serves only those that ask for it.
    let automatic = whole && !disabled;
    let content = present([
        ("addresses", Some(json!(addresses))),
        ("autoAssign", (!automatic).then_some(Value::Bool(false))),
        ("serviceAllocation", allocation),
    ]);
    let mut pool = object("v1beta1", "IPAddressPool", namespace, &name, content);
    set_labels(&mut pool, source);
    Some(pool)
}

fn set_labels(object: &mut Value, source: &Value) {
    if let (Some(metadata), Some(labels)) =
        (object.get_mut("metadata").and_then(Value::as_object_mut), labels(source))
    {
        metadata.insert("labels".into(), labels);
    }
}

/// The Services that a pool serves; true if that is all that the selector says.
fn allocation(spec: &Fields<'_>, notes: &mut Notes) -> (Option<Value>, bool) {
    let Some(selector) = spec.child("serviceSelector") else { return (None, true) };
    let (rest, namespaces, whole) = split(&selector, notes);
    let allocation = present([
        ("namespaces", (!namespaces.is_empty()).then(|| json!(namespaces))),
        ("serviceSelectors", rest.map(|rest| json!([rest]))),
    ]);
    (allocation.as_object().filter(|map| !map.is_empty()).map(|map| json!(map)), whole)
}

fn layer2(source: &Value, namespace: &str, names: &mut Names, notes: &mut Notes) -> Option<Value> {
    let spec = Fields::spec(source);
    let selector = spec.child("serviceSelector");
    let services = advertised(selector.as_ref(), notes);
    let nodes = spec.get("nodeSelector").cloned();
    let announces = spec.flag("loadBalancerIPs");
    if spec.flag("externalIPs") {
        notes.lost(spec.at("externalIPs"), "externalIPs of Services are not announced");
    }
    let written = spec.texts("interfaces");
    let plain: Vec<&str> = written.iter().filter_map(|text| literal(text)).collect();
    let is_plain = plain.len() == written.len();
    if !is_plain {
        notes.lost(spec.at("interfaces"), "interfaces are named, not matched by a regular expression: write an L2Advertisement with their names");
    }
    spec.finish(notes);
    if !announces {
        return None;
    }
    let (Some(services), true) = (services, is_plain) else {
        notes.lost(title(source), "without that it would announce more than it did");
        return None;
    };
    let name = names.claim(name(source), notes, |_, _| None);
    let content = present([
        ("serviceSelectors", services.map(|selector| json!([selector]))),
        ("nodeSelectors", nodes.map(|selector| json!([selector]))),
        ("interfaces", (!plain.is_empty()).then(|| json!(plain))),
    ]);
    Some(object("v1beta1", "L2Advertisement", namespace, &name, content))
}

/// The name that a regular expression stands for, if it stands for one.
fn literal(expression: &str) -> Option<&str> {
    let name = expression.strip_prefix('^').unwrap_or(expression);
    let name = name.strip_suffix('$').unwrap_or(name);
    let is_plain =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '@');
    (!name.is_empty() && name.chars().all(is_plain)).then_some(name)
}
