//! `ferrolb check`: manifests offline, every mistake at once.

use std::fmt::Write;

use cluster::folder::{FolderState, feed};
use cluster::manifest::{Manifests, Mistake};
use cluster::model::Service;
use cluster::{ConfigScope, ObjectKey, Snapshot};
use crds::config::Config;

use crate::args::CheckArgs;

/// What a check found.
pub struct Report {
    /// What is wrong, and the exit code is 1 for.
    pub mistakes: Vec<Mistake>,
    /// What is probably not meant, but valid.
    pub hints: Vec<String>,
    /// What was seen.
    pub summary: String,
}

/// Runs the command.
#[must_use]
pub fn run(args: &CheckArgs) -> Report {
    let mut manifests = Manifests::default();
    manifests.read_paths(&args.paths);
    let summary = summary(&manifests);
    let mut mistakes = std::mem::take(&mut manifests.mistakes);
    let places: Vec<(String, String, Mistake)> = manifests
        .objects
        .iter()
        .map(|object| {
            (object.kind.clone(), object.key.clone(), object.mistake(None, String::new()))
        })
        .collect();
    let place = |kind: &str, key: &str, field: Option<String>, message: String| {
        let found = places.iter().find(|(k, name, _)| k == kind && name == key);
        found.map(|(_, _, place)| Mistake { field, message, ..place.clone() })
    };
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    feed(&mut snapshot, manifests, &FolderState::default(), "this-host");
    snapshot.take_dirty();
    for rejection in snapshot.rejections() {
        let message = rejection.message.replace('\n', "; ");
        mistakes.extend(place(rejection.kind.kind(), &rejection.name, None, message));
    }
    for (key, service) in snapshot.services() {
        if let Err(error) = allocator::requested_addresses(service) {
            let field = match error {
                allocator::RequestError::Field(_) => "spec.loadBalancerIP",
                allocator::RequestError::Annotation(_)
                | allocator::RequestError::Both
                | allocator::RequestError::Families { .. } => {
                    "metadata.annotations.metallb.io/loadBalancerIPs"
                }
            };
            mistakes.extend(place(
                "Service",
                key.as_str(),
                Some(field.to_owned()),
                error.to_string(),
            ));
        }
    }
    mistakes.sort();
    let mut hints = Vec::new();
    hint_at_pools(snapshot.config(), &mut hints);
    for (key, service) in snapshot.services() {
        hint_at_service(key, service, snapshot.config(), &mut hints);
    }
    Report { mistakes, hints, summary }
}

fn summary(manifests: &Manifests) -> String {
    let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
    for object in &manifests.objects {
        *kinds.entry(&object.kind).or_default() += 1;
    }
    let mut text: Vec<String> =
        kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if manifests.ignored > 0 {
        text.push(format!("{} of kinds that ferrolb has no use for", manifests.ignored));
    }
    if text.is_empty() {
        text.push("no objects".to_owned());
    }
    text.join(", ")
}

/// Valid and silent in MetalLB: names that nothing has.
fn hint_at_pools(config: &Config, hints: &mut Vec<String>) {
    for advertisement in config.l2_advertisements.values() {
        for name in
            advertisement.pools.names.iter().filter(|name| !config.pools.contains_key(&***name))
        {
            hints.push(format!(
                "L2Advertisement {}: spec.ipAddressPools names {name:?}, and there is no such pool",
                advertisement.name
            ));
        }
    }
    for pool in config.pools.values() {
        let announced = config.l2_advertisements.values().any(|ad| ad.pools.selects_pool(pool))
            || config.bgp_advertisements.values().any(|ad| ad.pools.selects_pool(pool));
        if !announced {
            hints.push(format!(
                "IPAddressPool {}: no advertisement selects it, so its addresses are given and not announced",
                pool.name
            ));
        }
    }
}

fn hint_at_service(key: &ObjectKey, service: &Service, config: &Config, hints: &mut Vec<String>) {
    if let Some(pool) = allocator::requested_pool(service)
        && !config.pools.contains_key(pool)
    {
        hints
            .push(format!("Service {key}: asks for pool {pool:?}, which is not among these files"));
    }
}

impl Report {
    /// The text to print.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for mistake in &self.mistakes {
            let _ = writeln!(text, "{mistake}");
        }
        for hint in &self.hints {
            let _ = writeln!(text, "hint: {hint}");
        }
        let verdict = match self.mistakes.len() {
            0 => "no mistakes".to_owned(),
            1 => "1 mistake".to_owned(),
            count => format!("{count} mistakes"),
        };
        let _ = writeln!(text, "{verdict} in {}", self.summary);
        text
    }
}
