// SPDX-License-Identifier: Apache-2.0
//! The checks. Each kind is looked at together with the kinds that MetalLB's webhooks look at, no more: what is accepted
//! there is accepted here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::review::{Answer, Operation, Review};
use crate::config::{Config, ConfigKind, Objects, Scope, removed_ranges, validate};
use crate::labels::Labels;

/// The nodes by name, with their labels. Without any, advertisements are taken to share one.
pub type Nodes = BTreeMap<Arc<str>, Labels>;

/// What an `AddressPool` is answered with, as the CRD of the time said it.
const OLD_POOL: &str = "metallb.io v1beta1 AddressPool is deprecated, consider using IPAddressPool";

/// Younger than everything.
const YOUNGEST: &str = "9999-12-30T00:00:00Z";

/// The kinds whose objects are looked at for a change of this kind.
#[must_use]
pub fn kinds(review: &Review) -> &'static [ConfigKind] {
    use ConfigKind::{
        AddressPool, BfdProfile, BgpAdvertisement, BgpPeer, Community, ExternalIpPool,
        IpAddressPool, L2Advertisement,
    };
    match (review.kind, review.operation) {
        (BfdProfile, Operation::Delete) => &[BgpPeer],
        (_, Operation::Delete | Operation::Connect) => &[],
        (IpAddressPool | AddressPool, _) => &[IpAddressPool, AddressPool],
        (BgpAdvertisement, _) => &[BgpAdvertisement, IpAddressPool, AddressPool],
        (Community, _) => &[Community],
        // What both kinds of pools hold is no reason to refuse: neither MetalLB nor Antrea would.
        (ExternalIpPool, _) => &[ExternalIpPool],
        // Nothing that these break is broken together with others.
        (L2Advertisement | BgpPeer | BfdProfile, _) => &[],
    }
}

/// What is wrong with the object by itself; `system` is the namespace of the configuration.
#[must_use]
pub fn alone(review: &Review, system: &str) -> Answer {
    let mut answer = Answer::default();
    if matches!(review.operation, Operation::Delete | Operation::Connect) {
        return answer;
    }
    if review.operation == Operation::Create && !review.is_at_home(system) {
        return Answer::refused(format!("resource must be created in {system} namespace"));
    }
    let kind = review.kind;
    let object = review.object.clone();
    if kind == ConfigKind::AddressPool {
        answer.warnings.push(OLD_POOL.to_owned());
    }
    if kind == ConfigKind::BgpPeer
        && review.operation == Operation::Create
        && object.pointer("/spec/disableMP") == Some(&Value::Bool(true))
    {
        answer.warnings.push(
            "disable mp is deprecated and has no effect since it's the default behavior now"
                .to_owned(),
        );
    }
    // The API server checks the numbers of these; an update is not asked about.
    if kind != ConfigKind::BfdProfile && !changes_nothing(review) {
        answer.refusal = rejection(Objects::default(), kind, &review.name, object, &Nodes::new());
    }
    answer
}

/// What the object breaks together with others, for one that [`alone`] has nothing against. `objects` has at least those of
/// [`kinds`].
#[must_use]
pub fn among(review: &Review, system: &str, objects: &Objects, nodes: &Nodes) -> Option<String> {
    let kind = review.kind;
    if kind == ConfigKind::BfdProfile && review.operation == Operation::Delete {
        let user = objects.user_of_bfd_profile(&review.name)?;
        let profile = &review.name;
        let refusal = format!("failed to delete BFDProfile {profile}, used by BGPPeer {user}");
        return (review.namespace == system).then_some(refusal);
    }
    let kinds = kinds(review);
    if kinds.is_empty() || !review.is_at_home(system) || changes_nothing(review) {
        return None;
    }
    rejection(objects.only(kinds), kind, &review.name, review.object.clone(), nodes)
        .or_else(|| removed_ranges_of(kind, review))
}

/// An `ExternalIPPool` keeps the ranges that it has (contract C.3 rule 6).
fn removed_ranges_of(kind: ConfigKind, review: &Review) -> Option<String> {
    if kind != ConfigKind::ExternalIpPool || review.operation != Operation::Update {
        return None;
    }
    let spec = |object: &Value| serde_json::from_value(object.get("spec")?.clone()).ok();
    removed_ranges(&spec(&review.old)?, &spec(&review.object)?)
}

/// Whether an update leaves alone all that is checked: then it makes nothing worse, and whoever takes a finalizer off
/// is not held up by an old mistake.
fn changes_nothing(review: &Review) -> bool {
    review.operation == Operation::Update
        && ["/spec", "/metadata/labels"]
            .iter()
            .all(|part| review.object.pointer(part) == review.old.pointer(part))
}

/// Why this object, the youngest of all, would be turned away.
fn rejection(
    mut objects: Objects,
    kind: ConfigKind,
    name: &str,
    mut object: Value,
    nodes: &Nodes,
) -> Option<String> {
    // The API server names an object with `generateName` before or after this; either way there is no other of its name.
    let name = if name.is_empty() { "(unnamed)" } else { name };
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".into(), name.into());
        metadata.insert("creationTimestamp".into(), YOUNGEST.into());
    }
    objects.apply(kind, object);
    objects.forget_references();
    let (_, rejections) = validate(&objects, nodes, Scope::All, &Config::default());
    rejections
        .into_iter()
        .find(|rejection| rejection.kind == kind && &*rejection.name == name)
        .map(|rejection| rejection.message)
}
