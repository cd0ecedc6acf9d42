// SPDX-License-Identifier: Apache-2.0
//! Every mistake of the configuration objects. Validation tells the first one of an object; without the entry or the field that is
//! guilty of it, it tells the next.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Object, Snapshot};
use crds::config::{AddressRange, ConfigKind, Rejection};
use folder::manifest::{Manifest, Payload};
use folder::schema::Trimmed;
use ipnet::IpNet;
use serde_json::Value;

use super::{Places, Report, fields};

/// An object has at most so many mistakes that are told.
const MOST: usize = 256;

/// The configuration objects, by kind and name.
pub(super) type Suspects = BTreeMap<(ConfigKind, String), Trimmed>;

pub(super) fn suspects(objects: &[Manifest]) -> Suspects {
    let configuration = objects.iter().filter_map(|manifest| match &manifest.payload {
        Payload::Config(kind, _) => Some(((*kind, manifest.key.clone()), manifest.object.clone())),
        _ => None,
    });
    configuration.collect()
}

/// Tells the mistakes, and leaves a snapshot in which no object has one.
pub(super) fn judge(
    mut suspects: Suspects,
    snapshot: &mut Snapshot,
    places: &Places,
    report: &mut Report,
) {
    let mut told = BTreeSet::new();
    for _ in 0..MOST {
        snapshot.take_dirty();
        let mut changed = Vec::new();
        for rejection in snapshot.rejections().to_vec() {
            let identity = (rejection.kind, rejection.name.to_string());
            if !told.insert((identity.clone(), rejection.message.clone())) {
                continue;
            }
            let overlap = overlap(&rejection, &suspects, places);
            let Some(suspect) = suspects.get_mut(&identity) else { continue };
            // Secrets are not kept where manifests are.
            if rejection.message.contains("secret ref not found") {
                report.notes.push(format!(
                    "{} {}: its password is in a Secret, and Secrets are not read here",
                    rejection.kind, rejection.name
                ));
                suspect.take("spec.passwordSecret");
                changed.push((rejection.kind, suspect.value().clone()));
                continue;
            }
            let (field, other) = match overlap {
                Some((field, other)) => (Some(field), other),
                None => (fields::of(&rejection, suspect.value()), String::new()),
            };
            let field = field.map(|field| suspect.original(&field));
            // What was taken out is missed, and that is no mistake of the object.
            if field.as_deref().is_some_and(|field| suspect.is_touched(field)) {
                continue;
            }
            let message = rejection.message.replace('\n', "; ") + &other;
            let place = places.get(rejection.kind.kind(), &rejection.name);
            report.mistakes.extend(place.map(|place| place.mistake(field.clone(), message)));
            if field.is_some_and(|field| suspect.take(&field)) {
                changed.push((rejection.kind, suspect.value().clone()));
            }
        }
        if changed.is_empty() {
            return;
        }
        changed.into_iter().for_each(|(kind, value)| snapshot.apply(Object::Config(kind, value)));
    }
}

/// Of addresses that two entries hold: the field of the guilty one in the object as it is now, and where the other one stands.
fn overlap(
    rejection: &Rejection,
    suspects: &Suspects,
    places: &Places,
) -> Option<(String, String)> {
    let mut quoted = rejection.message.split("CIDR \"").skip(1);
    let mut net = || quoted.next()?.split('"').next()?.parse::<IpNet>().ok();
    let (new, old) = (net()?, net()?);
    let new = AddressRange::new(new.network(), new.broadcast())?;
    let old = AddressRange::new(old.network(), old.broadcast())?;
    let holds = |entry: &Value, range: &AddressRange| {
        let whole = entry.as_str().and_then(|text| AddressRange::parse(text).ok());
        whole.is_some_and(|whole| whole.contains(range.first()) && whole.contains(range.last()))
    };
    let identity = (rejection.kind, rejection.name.to_string());
    let own = suspects.get(&identity)?;
    let entries = entries(own);
    // Of equal entries the later one is too many.
    let guilty = entries.iter().rposition(|entry| holds(entry, &new))?;
    let field = format!("spec.addresses[{guilty}]");
    let earlier = entries.iter().take(guilty).position(|entry| holds(entry, &old));
    if let Some(index) = earlier {
        let other = own.original(&format!("spec.addresses[{index}]"));
        return Some((field, format!("; that is {other} of the same pool")));
    }
    let of_pools = suspects.iter().filter(|((kind, _), _)| {
        matches!(kind, ConfigKind::IpAddressPool | ConfigKind::AddressPool)
    });
    let other =
        of_pools.filter(|(other, _)| **other != identity).find_map(|((kind, name), pool)| {
            let index = self::entries(pool).iter().position(|entry| holds(entry, &old))?;
            let entry = pool.original(&format!("spec.addresses[{index}]"));
            let place = places.get(kind.kind(), name)?.mistake(Some(entry.clone()), String::new());
            let line = place.line.unwrap_or(1);
            Some(format!("; that is {entry} of {kind} {name} ({}:{line})", place.file.display()))
        });
    Some((field, other.unwrap_or_default()))
}

fn entries(pool: &Trimmed) -> &[Value] {
    pool.value().pointer("/spec/addresses").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
