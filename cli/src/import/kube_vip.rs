// SPDX-License-Identifier: Apache-2.0
//! Converts kube-vip: the ConfigMap `kubevip` of its cloud provider, and the annotations of Services.
//!
//! `cidr-NAMESPACE` or `range-NAMESPACE` hold the addresses of a namespace. `cidr-global` and `range-global` hold those
//! of all other namespaces. Where both kinds are there, the CIDRs count.

use std::collections::BTreeMap;

use anyhow::ensure;
use crds::address::parse_prefix;
use serde_json::{Value, json};

use super::documents::{kind, present, read, title};
use super::notes::{Names, Notes};
use super::object;
use super::services::{Becomes, Dialect};

const DIALECT: Dialect = Dialect {
    prefixes: &["kube-vip.io/"],
    known: &[
        ("kube-vip.io/loadbalancerIPs", Becomes::Annotation("metallb.io/loadBalancerIPs")),
        ("kube-vip.io/vipHost", Becomes::Nothing),
        ("kube-vip.io/hwaddr", Becomes::Nothing),
        ("kube-vip.io/requestedIP", Becomes::Nothing),
        ("kube-vip.io/leaseName", Becomes::Nothing),
    ],
    class: "kube-vip.io/",
};

/// The scope that stands for every namespace without addresses of its own.
const GLOBAL: &str = "global";

/// The entries of the ConfigMap for one scope.
#[derive(Default)]
struct Scope<'a> {
    cidr: Option<&'a str>,
    range: Option<&'a str>,
    interface: Option<&'a str>,
}

/// Converts a stream of documents.
pub(super) fn convert(
    text: &str,
    namespace: &str,
    notes: &mut Notes,
) -> anyhow::Result<Vec<Value>> {
    let all = read(text)?;
    let maps: Vec<&Value> = all.iter().filter(|object| kind(object) == "ConfigMap").collect();
    let mut objects = Vec::new();
    let mut pools = Names::new("IPAddressPool", []);
    let mut advertisements = Names::new("L2Advertisement", []);
    for map in &maps {
        let ends = map.pointer("/data/skip-end-ips-in-cidr").is_some_and(is_true);
        for (scope, what) in scopes(map, notes) {
            let field = |key: &str| format!("{}: data.{key}-{scope}", title(map));
            let (addresses, key) = match (what.cidr, what.range) {
                (Some(cidr), range) => {
                    if range.is_some() {
                        notes.lost(field("range"), "kube-vip uses the CIDRs only");
                    }
                    (cidr, "cidr")
                }
                (None, Some(range)) => (range, "range"),
                (None, None) => {
                    notes.lost(field("interface"), "no addresses are named for it");
                    continue;
                }
            };
            let addresses = addresses.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            let addresses: Vec<String> = addresses
                .map(|entry| if ends { without_ends(entry) } else { entry.to_owned() })
                .collect();
            ensure!(!addresses.is_empty(), "{}: it names no addresses", field(key));
            let pool = pools.invent(&format!("kube-vip-{scope}"));
            let pinned = (scope != GLOBAL).then(|| json!({ "namespaces": [scope] }));
            let spec =
                present([("addresses", Some(json!(addresses))), ("serviceAllocation", pinned)]);
            objects.push(object("v1beta1", "IPAddressPool", namespace, &pool, spec));
            let name = advertisements.invent(&pool);
            let spec = present([
                ("ipAddressPools", Some(json!([pool]))),
                ("interfaces", what.interface.map(|interface| json!([interface]))),
            ]);
            objects.push(object("v1beta1", "L2Advertisement", namespace, &name, spec));
        }
    }
    ensure!(
        !objects.is_empty() || all.iter().any(|object| kind(object) == "Service"),
        "there is no ConfigMap with cidr-* or range-* in it"
    );
    if objects.len() > 2 {
        notes.task("a namespace whose own pool is full gets addresses of kube-vip-global as well; kube-vip gives it none: set autoAssign: false there where that matters");
    }
    for other in all.iter().filter(|object| !matches!(kind(object), "ConfigMap" | "Service")) {
        notes.lost(title(other), "only the ConfigMap and annotations of Services are converted; BGP is set up in kube-vip's DaemonSet: write BGPPeers");
    }
    DIALECT.tell(&all, notes);
    Ok(objects)
}

/// The entries for each scope. A note names every other key of the ConfigMap.
fn scopes<'a>(map: &'a Value, notes: &mut Notes) -> BTreeMap<&'a str, Scope<'a>> {
    let mut scopes = BTreeMap::<&str, Scope<'_>>::new();
    for (key, value) in map.get("data").and_then(Value::as_object).into_iter().flatten() {
        let field = format!("{}: data.{key}", title(map));
        let text = value.as_str().unwrap_or_default();
        let part = |prefix| key.strip_prefix(prefix).filter(|scope: &&str| !scope.is_empty());
        if let Some(scope) = part("cidr-") {
            scopes.entry(scope).or_default().cidr = Some(text);
        } else if let Some(scope) = part("range-") {
            scopes.entry(scope).or_default().range = Some(text);
        } else if let Some(scope) = part("interface-") {
            scopes.entry(scope).or_default().interface = Some(text);
        } else if part("allow-share-").is_some() {
            if is_true(value) {
                notes.lost(field, "Services share an address where they ask for it: give those that are to share the same annotation metallb.io/allow-shared-ip");
            }
        } else if key == "search-order" {
            if text == "desc" {
                notes.lost(field, "addresses are given from the lowest up");
            }
        } else if key != "skip-end-ips-in-cidr" {
            notes.lost(field, "there is nothing like it");
        }
    }
    scopes
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| {
        matches!(value.as_str(), Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    })
}

/// A CIDR without its first and last address, as a range. A text that is no CIDR, or a CIDR too small for that, stays
/// as it is.
pub(super) fn without_ends(entry: &str) -> String {
    let Ok(net) = parse_prefix(entry) else { return entry.to_owned() };
    if net.prefix_len() + 1 >= net.max_prefix_len() {
        return entry.to_owned();
    }
    let family = crds::config::Family::of(net.addr());
    let number = |address| crds::config::to_number(address);
    let first = crds::config::from_number(family, number(net.network()) + 1);
    let last = crds::config::from_number(family, number(net.broadcast()) - 1);
    format!("{first}-{last}")
}
