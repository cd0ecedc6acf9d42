// SPDX-License-Identifier: Apache-2.0
//! The objects of the configuration, as the webhooks know them. The watches brought them. For a moment they include
//! objects that the webhooks have just let through and that the watches may not have brought yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::net::source::Update;
use cluster::{Kind, Object};
use crds::admission::{Answer, Nodes, Operation, Review, among};
use crds::config::{ConfigKind, Objects};
use tokio::time::Instant;

/// The time for which an object that was let through counts before a watch has brought it.
const RECENT: Duration = Duration::from_secs(5);
/// The greatest number of such objects.
const MOST_RECENT: usize = 64;

/// The objects.
#[derive(Debug, Default)]
pub(super) struct Cache {
    objects: Objects,
    /// The names that a list which begins anew has not shown yet.
    stale: BTreeMap<ConfigKind, BTreeSet<Arc<str>>>,
    listed: BTreeSet<ConfigKind>,
    recent: Vec<(Instant, ConfigKind, serde_json::Value)>,
}

impl Cache {
    /// Takes in an update of a watch.
    pub(super) fn handle(&mut self, update: Update) {
        match update {
            Update::Restart(Kind::Config(kind)) => {
                self.stale.insert(kind, self.objects.names(kind).into_iter().collect());
            }
            Update::Apply(Object::Config(kind, object)) => {
                let name = object.pointer("/metadata/name").and_then(|name| name.as_str());
                if let Some(stale) = self.stale.get_mut(&kind) {
                    stale.remove(name.unwrap_or_default());
                }
                self.objects.apply(kind, object);
            }
            Update::Delete(Kind::Config(kind), name) => drop(self.objects.delete(kind, &name)),
            Update::Finish(Kind::Config(kind)) => {
                for name in self.stale.remove(&kind).unwrap_or_default() {
                    self.objects.delete(kind, &name);
                }
                self.listed.insert(kind);
            }
            // A kind that is not there has no objects.
            Update::Absent(Kind::Config(kind), _) => drop(self.listed.insert(kind)),
            _ => {}
        }
    }

    /// True if every kind was listed once, or cannot be had.
    pub(super) fn is_complete(&self) -> bool {
        ConfigKind::ALL.iter().all(|kind| self.listed.contains(kind))
    }

    /// The rule that the object breaks together with others, as far as is known here: a list must confirm a refusal.
    pub(super) fn suspicion(
        &mut self,
        review: &Review,
        system: &str,
        now: Instant,
    ) -> Option<String> {
        self.recent.retain(|(end, ..)| now < *end);
        // Nodes are not watched. Without any node, all advertisements count as sharing one, which is the stricter view.
        if self.recent.is_empty() {
            return among(review, system, &self.objects, &Nodes::new());
        }
        among(review, system, &self.known(now), &Nodes::new())
    }

    /// A copy of all known objects, for work that takes longer than the lock may be held.
    pub(super) fn known(&mut self, now: Instant) -> Objects {
        self.recent.retain(|(end, ..)| now < *end);
        let mut objects = self.objects.clone();
        for (_, kind, object) in &self.recent {
            objects.apply(*kind, object.clone());
        }
        objects
    }

    /// Remembers an object that was let through.
    pub(super) fn note(&mut self, review: &Review, answer: &Answer, system: &str, now: Instant) {
        let kind = review.kind;
        let stored = matches!(review.operation, Operation::Create | Operation::Update)
            && answer.is_allowed()
            && !review.dry_run
            && review.is_at_home(system);
        if stored && self.recent.len() < MOST_RECENT {
            self.recent.push((now + RECENT, kind, review.object.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SYSTEM: &str = "metallb-system";
    const POOL: Kind = Kind::Config(ConfigKind::IpAddressPool);

    fn pool(name: &str, addresses: &str) -> Value {
        json!({
            "metadata": { "name": name, "namespace": SYSTEM },
            "spec": { "addresses": [addresses] },
        })
    }

    fn review(name: &str, addresses: &str) -> Review {
        let body = json!({
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "u", "kind": { "group": "metallb.io", "version": "v1beta1", "kind": "IPAddressPool" },
                "operation": "CREATE", "namespace": SYSTEM, "name": name,
                "object": pool(name, addresses),
            },
        });
        Review::parse(body.to_string().as_bytes()).unwrap()
    }

    fn apply(object: Value) -> Update {
        Update::Apply(Object::Config(ConfigKind::IpAddressPool, object))
    }

    #[test]
    fn a_list_that_begins_anew_drops_what_is_gone() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.handle(Update::Restart(POOL));
        cache.handle(apply(pool("a", "10.0.0.0/24")));
        cache.handle(Update::Finish(POOL));
        assert!(cache.suspicion(&review("b", "10.0.0.0/25"), SYSTEM, now).is_some());
        cache.handle(Update::Restart(POOL));
        assert!(cache.suspicion(&review("b", "10.0.0.0/25"), SYSTEM, now).is_some());
        cache.handle(Update::Finish(POOL));
        assert!(cache.suspicion(&review("b", "10.0.0.0/25"), SYSTEM, now).is_none());
        cache.handle(apply(pool("a", "10.0.0.0/24")));
        cache.handle(Update::Delete(POOL, "a".into()));
        assert!(cache.suspicion(&review("b", "10.0.0.0/25"), SYSTEM, now).is_none());
        assert!(!cache.is_complete());
        for kind in ConfigKind::ALL {
            cache.handle(Update::Absent(Kind::Config(kind), String::new()));
        }
        assert!(cache.is_complete());
    }

    #[test]
    fn what_was_just_let_through_counts_for_a_moment() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let (first, second) = (review("a", "10.0.0.0/24"), review("b", "10.0.0.0/25"));
        cache.note(&first, &Answer::refused("no"), SYSTEM, now);
        assert!(cache.suspicion(&second, SYSTEM, now).is_none(), "it was refused");
        cache.note(&first, &Answer::default(), SYSTEM, now);
        assert!(cache.suspicion(&second, SYSTEM, now).is_some());
        assert!(cache.suspicion(&first, SYSTEM, now).is_none(), "itself is no rival");
        assert!(cache.suspicion(&second, SYSTEM, now + RECENT).is_none());
    }
}
