// SPDX-License-Identifier: Apache-2.0
//! Which kinds there are: those of Kubernetes, as its OpenAPI documents list them, and those of MetalLB, Antrea and ferrolb.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::near::{nearest, suggestion};
use super::walk::Schema;
use super::{CUSTOM, Grade};

/// The kinds of Kubernetes that ferrolb reads, and the version of each.
const CORE: [(&str, &str); 4] = [
    ("Service", "v1"),
    ("Node", "v1"),
    ("Namespace", "v1"),
    ("EndpointSlice", "discovery.k8s.io/v1"),
];

/// A kind of MetalLB 0.13 and older, which is read and has no definition among ours.
pub(super) const OLDER: [&str; 2] =
    ["metallb.io/v1alpha1/AddressPool", "metallb.io/v1beta1/AddressPool"];

/// Kinds of ferrolb's and MetalLB's groups that programs write: a manifest has no use for them, and may hold them.
const WRITTEN: [&str; 4] =
    ["ServiceL2Status", "ServiceBGPStatus", "ConfigurationState", "SpeakerReport"];

/// Groups of other projects that share names with kinds of ours: their objects are theirs.
const COMMON: [&str; 3] = ["Service", "BGPPeer", "Node"];

/// The schema of [`OLDER`].
pub(super) fn address_pool() -> Value {
    let (integer, texts) =
        (json!({ "type": "integer" }), json!({ "type": "array", "items": { "type": "string" } }));
    json!({ "type": "object", "required": ["spec"], "properties": {
        "status": { "type": "object" },
        "spec": { "type": "object", "required": ["addresses", "protocol"], "properties": {
            "protocol": { "type": "string", "enum": ["layer2", "bgp"] },
            "addresses": texts,
            "autoAssign": { "type": "boolean" },
            "bgpAdvertisements": { "type": "array", "items": { "type": "object", "properties": {
                "aggregationLength": integer,
                "aggregationLengthV6": integer,
                "localPref": integer,
                "communities": texts,
            } } },
        } },
    } })
}

#[derive(Deserialize)]
struct Document {
    kinds: BTreeMap<String, Schema>,
    served: Vec<String>,
}

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../schemas/kubernetes.json"))
        .unwrap_or_else(|_| Document { kinds: BTreeMap::new(), served: Vec::new() })
});

/// `group/version/kind` of everything known; the group of core/v1 is empty.
static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let ours = CUSTOM.keys().cloned().chain(OLDER.map(str::to_owned));
    DOCUMENT.served.iter().cloned().chain(ours).collect()
});

pub(super) fn kinds() -> BTreeMap<String, Schema> {
    DOCUMENT.kinds.clone()
}

/// What is to be made of an object, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindUse {
    /// It is read.
    Used,
    /// ferrolb has no use for it.
    Foreign,
    /// Nobody serves such a kind, as far as that can be known.
    Nobody {
        /// The field that is wrong: `apiVersion` or `kind`.
        field: &'static str,
        /// What is wrong.
        message: String,
        /// How sure that is: an API server refuses it, or another project may have it.
        grade: Grade,
    },
}

/// Looks at the kind of an object.
#[must_use]
pub fn standing(api_version: &str, kind: &str) -> KindUse {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if CORE.contains(&(kind, api_version)) {
        return KindUse::Used;
    }
    let known = format!("{group}/{version}/{kind}");
    if KNOWN.contains(&known) {
        let is_ours = CUSTOM.contains_key(&known) || OLDER.contains(&&*known);
        return match is_ours && !WRITTEN.contains(&kind) {
            true => KindUse::Used,
            false => KindUse::Foreign,
        };
    }
    let entries = || KNOWN.iter().filter_map(|known| split(known));
    let refused = |field, message| KindUse::Nobody { field, message, grade: Grade::Refused };
    // Antrea and ferrolb's own FRR-K8s objects have many kinds that are not for here.
    let is_open = matches!(group, "crd.antrea.io" | "frrk8s.metallb.io");
    let of_group: Vec<(&str, &str)> =
        entries().filter(|known| known.0 == group).map(|known| (known.1, known.2)).collect();
    let versions: Vec<String> = of_group
        .iter()
        .filter(|known| known.1 == kind)
        .map(|known| joined(group, known.0))
        .collect();
    if !versions.is_empty() {
        // Kubernetes' own older versions are a matter of the cluster, but for the kinds that are read here.
        let is_read =
            CORE.iter().any(|(read, _)| *read == kind) || group == "metallb.io" || is_open;
        return match is_read {
            true => refused(
                "apiVersion",
                format!("{api_version:?} is not served for {kind}; use {}", versions.join(" or ")),
            ),
            false => KindUse::Foreign,
        };
    }
    if !of_group.is_empty() && !is_open {
        let elsewhere: Vec<String> = entries()
            .filter(|known| known.2 == kind)
            .map(|known| joined(known.0, known.1))
            .collect();
        return match elsewhere.as_slice() {
            [] => {
                let near = suggestion(kind, of_group.iter().map(|known| known.1));
                refused("kind", format!("no API server has a kind {kind:?} in {api_version}{near}"))
            }
            elsewhere => refused(
                "apiVersion",
                format!(
                    "no API server has {kind} in {api_version}; use {}",
                    elsewhere.join(" or ")
                ),
            ),
        };
    }
    foreign(api_version, group, kind, &entries().collect::<Vec<_>>())
}

/// A group that is not known: another project's, or a misspelt one.
fn foreign(api_version: &str, group: &str, kind: &str, known: &[(&str, &str, &str)]) -> KindUse {
    let right = |of: Option<&str>| -> Vec<String> {
        let of = known.iter().filter(|known| known.2 == kind && of.is_none_or(|of| of == known.0));
        of.map(|known| joined(known.0, known.1)).collect()
    };
    let groups = known.iter().map(|known| known.0).filter(|group| group.contains('.'));
    let meant = match nearest(group, groups) {
        Some(near) => right(Some(near)),
        // A version alone, as `v1beta1`, or a kind that nobody else has.
        None if group.is_empty() || !COMMON.contains(&kind) => right(None)
            .into_iter()
            .filter(|version| group.is_empty() || version.contains("metallb.io"))
            .collect(),
        None => Vec::new(),
    };
    if meant.is_empty() {
        return KindUse::Foreign;
    }
    KindUse::Nobody {
        field: "apiVersion",
        message: format!(
            "nobody serves {kind} in {api_version:?}, as far as is known here: the object is ignored; did you mean {}?",
            meant.join(" or ")
        ),
        grade: Grade::Hint,
    }
}

fn split(known: &str) -> Option<(&str, &str, &str)> {
    let mut parts = known.split('/');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

fn joined(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}
