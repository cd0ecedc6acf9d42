// SPDX-License-Identifier: Apache-2.0
//! `ferrolb check`, for manifests without a cluster: reports every mistake of every object at once, and hints at what
//! cannot work.

mod configuration;
mod hints;
mod output;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cluster::{ConfigScope, Snapshot};
use crds::config::{ConfigKind, Rejection};
use crds::rules::field_of_rule;
use folder::manifest::{Grade, Manifest, Manifests, Mistake, Place};
use folder::{FolderState, feed};
use serde::Serialize;

/// The findings of a check.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// Objects and fields that an API server or ferrolb refuses, or would leave out.
    pub mistakes: Vec<Mistake>,
    /// Objects that are valid, and cannot mean what they say.
    pub hints: Vec<Mistake>,
    /// Parts that could not be checked; nothing is known to be wrong with them.
    pub notes: Vec<String>,
    /// The number of objects of each kind that were checked.
    pub objects: BTreeMap<String, usize>,
    /// The number of objects of kinds that ferrolb does not use.
    pub ignored: usize,
}

/// The objects of all files, by kind and key, with the lines of their fields.
struct Places(BTreeMap<(String, String), Place>);

impl Places {
    fn get(&self, kind: &str, key: &str) -> Option<&Place> {
        self.0.get(&(kind.to_owned(), key.to_owned()))
    }
}

/// Checks files and folders. The programs read their configuration from `namespace`; without it from every namespace.
#[must_use]
pub fn run(paths: &[PathBuf], namespace: Option<&str>) -> Findings {
    let mut manifests = Manifests::with_fields();
    manifests.read_paths(paths);
    let mut objects = BTreeMap::<String, usize>::new();
    for object in manifests.objects.iter().chain(&manifests.refused) {
        *objects.entry(object.kind.clone()).or_default() += 1;
    }
    let ignored = manifests.ignored;
    let (hints, mistakes) = std::mem::take(&mut manifests.mistakes)
        .into_iter()
        .partition(|mistake| mistake.grade == Grade::Hint);
    let mut findings = Findings { mistakes, hints, notes: Vec::new(), objects, ignored };

    take_in_refused(&mut manifests);
    let identity = |object: &Manifest| (object.kind.clone(), object.key.clone());
    let places = manifests.objects.iter_mut().map(|it| (identity(it), it.take_place())).collect();
    let places = Places(places);
    // Report a rule about several fields at one of them.
    for mistake in &mut findings.mistakes {
        let object = mistake.object.as_deref().and_then(|object| object.split_once(' '));
        let Some((place, kind)) = object
            .and_then(|(kind, key)| Some((places.get(kind, key)?, ConfigKind::from_kind(kind)?)))
        else {
            continue;
        };
        let Some(field) = field_of_rule(kind, &mistake.message) else { continue };
        let whole = field.parent().map(|whole| whole.to_string());
        // Only the first of two objects with one name is known here.
        let known = place.mistake(whole.clone(), String::new());
        if mistake.field == whole && (&known.file, known.line) == (&mistake.file, mistake.line) {
            *mistake = place.mistake(Some(field.to_string()), mistake.message.clone());
        }
    }
    let suspects = configuration::suspects(&manifests.objects);
    if let Some(namespace) = namespace {
        hints::namespaces(&suspects, namespace, &places, &mut findings);
    }
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    feed(&mut snapshot, manifests, &FolderState::default(), "this-host");
    configuration::judge(suspects, &mut snapshot, &places, &mut findings);
    hints::all(&mut snapshot, &places, &mut findings);
    for list in [&mut findings.mistakes, &mut findings.hints] {
        list.sort();
        list.dedup();
    }
    findings
}

/// All mistakes of a folder: `mistakes` of the objects that could not be read, and `rejections` of the others. A
/// rejection's place is looked up only if there is a rejection.
#[must_use]
pub fn findings(folder: &Path, mistakes: &[Mistake], rejections: &[Rejection]) -> Vec<Mistake> {
    let mut findings = mistakes.to_vec();
    if !rejections.is_empty() {
        findings.extend(run(&[folder.to_owned()], None).mistakes);
    }
    for rejection in rejections {
        let object = format!("{} {}", rejection.kind.kind(), rejection.name);
        // The rejection contradicts something that the files no longer say.
        if !findings.iter().any(|mistake| mistake.object.as_deref() == Some(&*object)) {
            let mistake = Mistake::of_file(folder.into(), rejection.message.clone());
            findings.push(Mistake { object: Some(object), ..mistake });
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Checks the rest of an object that an API server refuses, if no valid object has its name.
fn take_in_refused(manifests: &mut Manifests) {
    let mut seen: BTreeSet<(String, String)> =
        manifests.objects.iter().map(|it| (it.kind.clone(), it.key.clone())).collect();
    let refused = std::mem::take(&mut manifests.refused);
    let new = refused.into_iter().filter(|it| seen.insert((it.kind.clone(), it.key.clone())));
    manifests.objects.extend(new);
}
