// SPDX-License-Identifier: Apache-2.0
//! Finds every mistake of the configuration objects. Validation names only the first mistake of an object. So the
//! guilty entry or field is taken out, and validation names the next one.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Object, Snapshot};
use crds::config::{ConfigKind, FieldPath, OtherEntry, Rejection};
use folder::manifest::{Manifest, Payload};
use folder::schema::Trimmed;

use super::{Findings, Places};

/// The limit on the mistakes that are reported for one object.
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

/// Reports the mistakes, and leaves a snapshot in which no object has one.
pub(super) fn judge(
    mut suspects: Suspects,
    snapshot: &mut Snapshot,
    places: &Places,
    findings: &mut Findings,
) {
    let mut told = BTreeSet::new();
    for _ in 0..MOST {
        snapshot.take_dirty();
        let mut changed = Vec::new();
        // A rejection names fields of the object as it is now: look them up before anything else is taken out.
        let found: Vec<_> = snapshot
            .rejections()
            .iter()
            .filter(|it| told.insert((it.kind, it.name.clone(), it.message.clone())))
            .filter_map(|rejection| Found::new(rejection, &suspects, places))
            .collect();
        for Found { rejection, field, outer, other } in found {
            let Some(suspect) = suspects.get_mut(&identity(&rejection)) else { continue };
            let is_about_a_secret = rejection.is_about_a_secret();
            let Rejection { kind, name, message, .. } = rejection;
            // Manifests usually come without Secrets.
            if is_about_a_secret {
                findings.notes.push(format!(
                    "{kind} {name}: its password is in a Secret, and Secrets are not read here"
                ));
                suspect.take("spec.passwordSecret");
                changed.push((kind, suspect.value().clone()));
                continue;
            }
            // Validation now misses the part that was taken out. That is no mistake of the object: the part around it
            // goes as well.
            let is_touched = field.as_deref().is_some_and(|field| suspect.is_touched(field));
            if !is_touched {
                let message = message.replace('\n', "; ") + &other;
                let place = places.get(kind.kind(), &name);
                findings.mistakes.extend(place.map(|place| place.mistake(field.clone(), message)));
            }
            let guilty = if is_touched { outer } else { field };
            if guilty.is_some_and(|field| suspect.take(&field)) {
                changed.push((kind, suspect.value().clone()));
            }
        }
        if changed.is_empty() {
            return;
        }
        changed.into_iter().for_each(|(kind, value)| snapshot.apply(Object::Config(kind, value)));
    }
}

/// A rejection with its places in the objects as they were written.
struct Found {
    rejection: Rejection,
    field: Option<String>,
    /// The field that holds the guilty one, within the `spec`.
    outer: Option<String>,
    /// The place of the entry that the object contradicts, as text.
    other: String,
}

impl Found {
    fn new(rejection: &Rejection, suspects: &Suspects, places: &Places) -> Option<Self> {
        let suspect = suspects.get(&identity(rejection))?;
        let original = |field: &FieldPath| suspect.original(&field.to_string());
        Some(Self {
            field: Some(&rejection.field).filter(|field| !field.is_empty()).map(original),
            outer: rejection.field.parent().filter(|outer| outer.len() > 1).as_ref().map(original),
            other: other(rejection, suspects, places),
            rejection: rejection.clone(),
        })
    }
}

fn identity(rejection: &Rejection) -> (ConfigKind, String) {
    (rejection.kind, rejection.name.to_string())
}

/// The place of the entry that an object contradicts, as the end of its message; empty if it contradicts none.
fn other(rejection: &Rejection, suspects: &Suspects, places: &Places) -> String {
    let Some(OtherEntry { kind, name, field }) = &rejection.other else { return String::new() };
    let suspect = suspects.get(&(*kind, name.to_string()));
    let Some((suspect, place)) = suspect.zip(places.get(kind.kind(), name)) else {
        return String::new();
    };
    let field = suspect.original(&field.to_string());
    if (*kind, name) == (rejection.kind, &rejection.name) {
        let what = match kind {
            ConfigKind::IpAddressPool | ConfigKind::AddressPool | ConfigKind::ExternalIpPool => {
                "pool"
            }
            ConfigKind::L2Advertisement
            | ConfigKind::BgpAdvertisement
            | ConfigKind::BgpPeer
            | ConfigKind::BfdProfile
            | ConfigKind::Community => "object",
        };
        return format!("; that is {field} of the same {what}");
    }
    let place = place.mistake(Some(field.clone()), String::new());
    let line = place.line.unwrap_or(1);
    format!("; that is {field} of {kind} {name} ({}:{line})", place.file.display())
}
