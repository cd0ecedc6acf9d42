// SPDX-License-Identifier: Apache-2.0
//! `ferrolb check`: manifests offline, every mistake at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use cluster::folder::{FolderState, feed};
use cluster::manifest::{Manifests, Mistake, Place};
use cluster::model::Service;
use cluster::{ConfigScope, ObjectKey, Snapshot};
use crds::address::{Finding, core_texts};
use crds::config::Config;

use crate::fields;

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
pub fn run(paths: &[PathBuf]) -> Report {
    let mut manifests = Manifests::with_fields();
    manifests.read_paths(paths);
    let summary = summary(&manifests);
    let mut mistakes = std::mem::take(&mut manifests.mistakes);
    let places: BTreeMap<(String, String), Place> = manifests
        .objects
        .iter_mut()
        .map(|object| ((object.kind.clone(), object.key.clone()), object.take_place()))
        .collect();
    let place = |kind: &str, key: &str| places.get(&(kind.to_owned(), key.to_owned()));
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    feed(&mut snapshot, manifests, &FolderState::default(), "this-host");
    snapshot.take_dirty();
    let mut hints = Vec::new();
    for rejection in snapshot.rejections() {
        // Secrets are not kept where manifests are.
        if rejection.message.contains("secret ref not found") {
            hints.push(format!(
                "{} {}: its password is in a Secret, and Secrets are not read here",
                rejection.kind, rejection.name
            ));
            continue;
        }
        if let Some(place) = place(rejection.kind.kind(), &rejection.name) {
            let field = fields::of(rejection, &place.value());
            mistakes.push(place.mistake(field, rejection.message.replace('\n', "; ")));
        }
    }
    for (key, service) in snapshot.services() {
        if let Err(error) = allocator::requested_addresses(service) {
            let field = match error {
                allocator::RequestError::Field(_) => "spec.loadBalancerIP".to_owned(),
                allocator::RequestError::Annotation(_)
                | allocator::RequestError::Both
                | allocator::RequestError::Families { .. } => {
                    format!("metadata.annotations.{}", request_annotation(service))
                }
            };
            let place = place("Service", key.as_str());
            mistakes.extend(place.map(|place| place.mistake(Some(field), error.to_string())));
        }
    }
    for ((kind, key), place) in &places {
        for told in core_texts(kind, &place.value()) {
            match told.finding {
                Finding::Refused(why) => {
                    mistakes
                        .push(place.mistake(Some(told.field), format!("{:?}: {why}", told.text)));
                }
                Finding::Advice(advice) => {
                    hints.push(format!("{kind} {key}: {} is {:?}: {advice}", told.field, told.text))
                }
            }
        }
    }
    mistakes.sort();
    hint_at_pools(snapshot.config(), &mut hints);
    hint_at_addresses(&snapshot, &mut hints);
    for (key, service) in snapshot.services() {
        hint_at_service(key, service, snapshot.config(), &mut hints);
    }
    Report { mistakes, hints, summary }
}

/// The annotation by which a Service asks for addresses, under the prefix that counts.
fn request_annotation(service: &Service) -> &'static str {
    const CURRENT: &str = "metallb.io/loadBalancerIPs";
    const DEPRECATED: &str = "metallb.universe.tf/loadBalancerIPs";
    if service.annotations.contains_key(CURRENT) { CURRENT } else { DEPRECATED }
}

fn summary(manifests: &Manifests) -> String {
    let mut kinds = BTreeMap::<&str, usize>::new();
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

/// Addresses of pools that are given to nobody, or to nobody who does not ask.
fn hint_at_addresses(snapshot: &Snapshot, hints: &mut Vec<String>) {
    let config = snapshot.config();
    for pool in config.pools.values().chain(config.external_pools.values()) {
        for (block, range) in &pool.special {
            hints.push(format!("{}: {range} is {}: never given", pool.id(), block.name()));
        }
        for (name, node) in snapshot.nodes() {
            for address in node.internal_addresses.iter().filter(|own| pool.contains(**own)) {
                hints.push(format!(
                    "{}: {address} is node {name}'s own: given only to a Service that asks for it",
                    pool.id()
                ));
            }
        }
    }
}

fn hint_at_service(key: &ObjectKey, service: &Service, config: &Config, hints: &mut Vec<String>) {
    if let Some(pool) = service.external_pool() {
        if !config.external_pools.contains_key(pool) {
            hints.push(format!(
                "Service {key}: its annotation names ExternalIPPool {pool:?}, which is not among these files"
            ));
        }
        return;
    }
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
