// SPDX-License-Identifier: Apache-2.0
//! docs/design/rules.md, rule 2: what a snapshot holds depends on the objects, not on how they came.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod objects;

use std::collections::BTreeMap;

use cluster::model::{Service, Slice};
use cluster::{ConfigScope, Kind, ObjectKey, Snapshot};
use crds::config::ConfigKind;
use objects::{POOL, advertisement, apply, cluster_ip, namespace, node, pool, service, slice};
use proptest::prelude::*;
use serde_json::{Value, json};

const L2: Kind = Kind::Config(ConfigKind::L2Advertisement);
const KINDS: [Kind; 6] =
    [Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::Namespace, POOL, L2];

#[derive(Clone, Debug)]
enum Step {
    Apply(Kind, Value),
    Delete(Kind, u8),
    /// It changed while the watch was interrupted: only the next list shows it.
    Missed(Box<Self>),
    Restart(usize, bool),
    Take,
}

fn labels() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!({})), Just(json!({ "a": "1" })), Just(json!({ "a": "2" }))]
}

fn change() -> impl Strategy<Value = Step> {
    let name = || (0_u8..3).prop_map(|number| format!("o{number}"));
    prop_oneof![
        4 => (name(), labels(), prop::bool::weighted(0.8)).prop_map(|(name, labels, balanced)| {
            // The version is set when it is applied.
            let object = if balanced { service(&name, 0, labels) } else { cluster_ip(&name, 0) };
            Step::Apply(Kind::Service, object)
        }),
        4 => (name(), prop::option::of(name()), prop::sample::subsequence(vec!["n1", "n2"], 0..=2))
            .prop_map(|(name, service, nodes)| {
                Step::Apply(Kind::EndpointSlice, slice(&name, service.as_deref(), &nodes))
            }),
        1 => (name(), labels()).prop_map(|(name, labels)| Step::Apply(Kind::Node, node(&name, labels))),
        1 => (name(), labels()).prop_map(|(name, labels)| {
            Step::Apply(Kind::Namespace, namespace(&name, labels))
        }),
        1 => (0_u8..3, 28_u8..31).prop_map(|(number, length)| {
            Step::Apply(POOL, pool(&format!("o{number}"), &[&format!("10.0.{number}.0/{length}")]))
        }),
        1 => (name(), name()).prop_map(|(name, pool)| {
            Step::Apply(L2, advertisement(&name, json!({ "ipAddressPools": [pool] })))
        }),
        5 => (prop::sample::select(KINDS.to_vec()), 0_u8..3)
            .prop_map(|(kind, number)| Step::Delete(kind, number)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => change(),
        2 => change().prop_map(|step| Step::Missed(Box::new(step))),
        3 => (0..KINDS.len(), any::<bool>()).prop_map(|(kind, reversed)| Step::Restart(kind, reversed)),
        3 => Just(Step::Take),
    ]
}

/// The objects as an API server holds them, with a snapshot that follows.
struct World {
    objects: BTreeMap<(Kind, String), Value>,
    snapshot: Snapshot,
    keep_all_slices: bool,
    version: u64,
}

fn key_of(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Service | Kind::EndpointSlice => format!("default/{name}"),
        _ => name.to_owned(),
    }
}

impl World {
    fn new(keep_all_slices: bool) -> Self {
        Self {
            objects: BTreeMap::new(),
            snapshot: Snapshot::new(ConfigScope::All, keep_all_slices),
            keep_all_slices,
            version: 0,
        }
    }

    fn take(&mut self, step: &Step, seen: bool) {
        match step {
            Step::Apply(kind, object) => {
                let mut object = object.clone();
                self.version += 1;
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                let key = key_of(*kind, object["metadata"]["name"].as_str().unwrap());
                if seen {
                    apply(&mut self.snapshot, &object);
                }
                self.objects.insert((*kind, key), object);
            }
            Step::Delete(kind, number) => {
                let key = key_of(*kind, &format!("o{number}"));
                if seen {
                    self.snapshot.delete(*kind, &key);
                }
                self.objects.remove(&(*kind, key));
            }
            Step::Missed(step) => self.take(step, false),
            Step::Restart(kind, reversed) => self.list(KINDS[*kind], *reversed),
            Step::Take => drop(self.snapshot.take_dirty()),
        }
        self.list_wanted();
    }

    fn list(&mut self, kind: Kind, reversed: bool) {
        self.snapshot.restart(kind);
        let mut listed: Vec<&Value> =
            self.objects.iter().filter(|((k, _), _)| *k == kind).map(|(_, o)| o).collect();
        if reversed {
            listed.reverse();
        }
        for object in listed {
            apply(&mut self.snapshot, object);
        }
        self.snapshot.finish(kind);
    }

    /// The program asks the API for the slices that a snapshot wants.
    fn list_wanted(&mut self) {
        for service in self.snapshot.take_wanted_slices() {
            for ((kind, _), object) in &self.objects {
                let label = &object["metadata"]["labels"]["kubernetes.io/service-name"];
                if *kind == Kind::EndpointSlice && label == service.name() {
                    apply(&mut self.snapshot, object);
                }
            }
        }
    }

    /// A snapshot that saw only the objects as they are, kind by kind in this order.
    fn anew(&self, order: &[Kind]) -> Self {
        let mut fresh = Self { objects: self.objects.clone(), ..Self::new(self.keep_all_slices) };
        for kind in order {
            fresh.list(*kind, false);
            fresh.list_wanted();
        }
        fresh.snapshot.take_dirty();
        fresh
    }
}

type View = (BTreeMap<ObjectKey, (Box<Service>, Vec<Slice>)>, String);

/// What decisions can see; each Service with its slices.
fn view(snapshot: &Snapshot) -> View {
    let services = snapshot.services().iter().map(|(key, service)| {
        (key.clone(), (service.clone(), snapshot.slices(key).cloned().collect()))
    });
    let namespaces: Vec<_> = (0..3).map(|n| snapshot.namespace(&format!("o{n}"))).collect();
    let rest = format!("{:?} {namespaces:?} {:?}", snapshot.nodes(), snapshot.config());
    (services.collect(), rest)
}

proptest! {
    #[test]
    fn the_snapshot_is_what_the_objects_are(
        steps in prop::collection::vec(step(), 1..60),
        keep_all_slices in any::<bool>(),
        order in Just(KINDS.to_vec()).prop_shuffle(),
    ) {
        let mut world = World::new(keep_all_slices);
        for step in &steps {
            world.take(step, true);
        }
        for kind in KINDS {
            world.list(kind, false);
            world.list_wanted();
        }
        world.snapshot.take_dirty();
        prop_assert_eq!(view(&world.snapshot), view(&world.anew(&order).snapshot));
    }

    /// Whatever a decision could see differently is dirty.
    #[test]
    fn every_change_is_dirty(
        steps in prop::collection::vec(step(), 1..60),
        keep_all_slices in any::<bool>(),
    ) {
        let mut world = World::new(keep_all_slices);
        world.snapshot.take_dirty();
        let mut before = view(&world.snapshot);
        for step in steps.iter().filter(|step| !matches!(step, Step::Take)) {
            world.take(step, true);
            let dirty = world.snapshot.take_dirty();
            let after = view(&world.snapshot);
            if before.1 != after.1 {
                prop_assert!(dirty.all, "{step:?}");
            }
            for key in before.0.keys().chain(after.0.keys()) {
                let strip = |view: &View| {
                    view.0.get(key).map(|(service, slices)| {
                        (Box::new(Service { version: Default::default(), ..(**service).clone() }), slices.clone())
                    })
                };
                if strip(&before) != strip(&after) {
                    prop_assert!(dirty.all || dirty.services.contains(key), "{step:?}: {key}");
                }
            }
            before = after;
        }
    }
}
