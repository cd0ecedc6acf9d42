// SPDX-License-Identifier: Apache-2.0
//! From objects to a [`Config`]: every rule of contract 6.2 and 6.3, object by object.
//!
//! Three steps. Each object is parsed by itself. Then objects are admitted from the oldest to the
//! newest, and one that contradicts an admitted one is turned away. Last, an object that failed gets
//! its previous valid version back, unless that contradicts something admitted. It reads no clock and
//! depends on no order: the same objects, nodes and previous configuration give the same result.
//!
//! The restrictions that MetalLB has per BGP mode are not made here: one engine serves all modes.

mod address_pool;
mod advertisement;
mod bfd;
mod community;
mod contest;
mod cross;
mod entry;
mod external_pool;
mod peer;
mod pool;
mod selector;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::fault::{Fault, FieldPath, OtherEntry};
use super::objects::{Age, ConfigKind, Object, Objects, Stored};
use super::{Config, InvalidPool, UnusablePeer};
use crate::labels::{Labels, Selector};
use cross::Admitted;
use entry::Entry;
pub(crate) use external_pool::removed as removed_ranges;
pub(crate) use peer::forget_what_metallb_takes;

/// An object that could not be used as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The object's kind.
    pub kind: ConfigKind,
    /// The object's name.
    pub name: Arc<str>,
    /// The field that is wrong, in the object as it was given; empty for the object as a whole.
    pub field: FieldPath,
    /// What is wrong, in the contract's text; some texts have two lines.
    pub message: String,
    /// What it contradicts, where that is an entry of another object or an earlier one of its own. Of several the first.
    pub other: Option<OtherEntry>,
    /// Whether its last valid version is still in use.
    pub kept_last_valid: bool,
}

impl Rejection {
    fn new(kind: ConfigKind, name: Arc<str>, fault: Fault, kept_last_valid: bool) -> Self {
        let Fault { field, message, other } = fault;
        Self { kind, name, field, message, other, kept_last_valid }
    }

    /// Whether it is about a Secret that a peer refers to: whoever reads no Secrets knows nothing of that.
    #[must_use]
    pub fn is_about_a_secret(&self) -> bool {
        self.kind == ConfigKind::BgpPeer && self.field == peer::secret_name().within("spec".into())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:?}: {}", self.kind, self.name, self.message)
    }
}

/// Who asks, and so which objects count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Pools and communities only: whoever gives addresses is not stopped by peers or advertisements.
    Controller,
    /// Everything, except the `BGPPeer`s and `BGPAdvertisement`s that do not select this node: those are
    /// left out before they are looked at.
    Speaker {
        /// The node's name.
        node: &'a str,
    },
    /// Everything.
    All,
}

/// Makes the configuration of what is valid, and says what is wrong with the rest.
///
/// `nodes` are all nodes known, with their labels; without any, advertisements are taken to share one.
/// `previous` is the configuration in use, whose versions are kept for objects that are invalid now.
/// The rejections come by kind and name.
#[must_use]
pub fn validate(
    objects: &Objects,
    nodes: &BTreeMap<Arc<str>, Labels>,
    scope: Scope<'_>,
    previous: &Config,
) -> (Config, Vec<Rejection>) {
    let mut config = Config::default();
    let mut rejections = Vec::new();

    let candidates = parse_all(&objects.communities, ConfigKind::Community, community::parse);
    let mut aliases = community::Aliases::new(&objects.communities);
    rejections.extend(settle(
        candidates,
        |candidate| previous.community_objects.get(&candidate.name).cloned(),
        |name, defined| aliases.admit(name, defined),
    ));
    config.communities = aliases.by_alias;
    config.community_objects = aliases.by_object;

    let mut candidates =
        parse_all(&objects.pools, ConfigKind::IpAddressPool, |name, object, spec| {
            pool::parse(ConfigKind::IpAddressPool, name, &object.labels, spec).map(Entry::from)
        });
    candidates.extend(parse_all(
        &objects.external_pools,
        ConfigKind::ExternalIpPool,
        |name, object, spec| external_pool::parse(name, &object.labels, spec).map(Entry::from),
    ));

    candidates.extend(parse_all(
        &objects.address_pools,
        ConfigKind::AddressPool,
        |name, object, spec| address_pool::parse(name, &object.labels, spec).map(Entry::from),
    ));
    let excepted = address_pool::names(objects);

    if scope != Scope::Controller {
        let profiles = parse_all(&objects.bfd_profiles, ConfigKind::BfdProfile, bfd::parse);
        rejections.extend(settle(
            profiles,
            |candidate| previous.bfd_profiles.get(&candidate.name).cloned(),
            |name, profile| {
                config.bfd_profiles.insert(name.clone(), profile);
                Ok(())
            },
        ));
        candidates.extend(parse_all(
            &objects.l2_advertisements,
            ConfigKind::L2Advertisement,
            |name, _, spec| {
                let mut advertisement = advertisement::parse_l2(name, spec)?;
                advertisement.pools.except = Arc::clone(&excepted);
                Ok(Entry::from(advertisement))
            },
        ));
        let here = Here { nodes, scope };
        candidates.extend(
            parse_all(&objects.peers, ConfigKind::BgpPeer, |name, object, spec| {
                peer::parse(name, &object.namespace, spec, &config.bfd_profiles, &objects.secrets)
                    .map(Entry::from)
            })
            .into_iter()
            .filter(|peer| {
                here.selected(&objects.peers, &peer.name, |s| s.node_selectors.as_deref())
            }),
        );
        let (own, elsewhere): (Vec<_>, Vec<_>) = parse_all(
            &objects.bgp_advertisements,
            ConfigKind::BgpAdvertisement,
            |name, _, spec| {
                let mut advertisement = advertisement::parse_bgp(name, spec, &config.communities)?;
                advertisement.pools.except = Arc::clone(&excepted);
                Ok(advertisement)
            },
        )
        .into_iter()
        .partition(|advertisement| {
            here.selected(&objects.bgp_advertisements, &advertisement.name, |s| {
                s.node_selectors.as_deref()
            })
        });
        config.bgp_elsewhere =
            elsewhere.into_iter().filter_map(|advertisement| advertisement.parsed.ok()).collect();
        candidates.extend(own.into_iter().map(|advertisement| advertisement.map(Entry::from)));
    }

    let mut admitted = Admitted::new(objects, nodes);
    rejections.extend(settle(
        candidates,
        |candidate| Entry::last_valid(previous, candidate.kind, &candidate.name),
        |_, entry| admitted.admit(entry),
    ));
    if scope != Scope::Controller {
        rejections.extend(address_pool::advertise(objects, &config.communities, &mut admitted));
    }
    rejections.extend(admitted.finish(&mut config));

    rejections.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    set_invalid_pools(&mut config, objects, &rejections);
    (config, rejections)
}

/// The pools of each kind that are invalid now, with the reason.
fn set_invalid_pools(config: &mut Config, objects: &Objects, rejections: &[Rejection]) {
    config.invalid_pools =
        invalid_pools(rejections, ConfigKind::IpAddressPool, &objects.pools, |_| None);
    for (name, pool) in
        invalid_pools(rejections, ConfigKind::AddressPool, &objects.address_pools, |_| None)
    {
        if !config.pools.contains_key(&*name) {
            config.invalid_pools.entry(name).or_insert(pool);
        }
    }
    config.invalid_external_pools =
        invalid_pools(rejections, ConfigKind::ExternalIpPool, &objects.external_pools, |spec| {
            Selector::parse(&spec.node_selector).ok()
        });
    add_unusable_peers(config, objects, rejections);
}

/// What is known of the pools of one kind that were turned away.
fn invalid_pools<S>(
    rejections: &[Rejection],
    kind: ConfigKind,
    stored: &Stored<S>,
    node_selector: impl Fn(&S) -> Option<Selector>,
) -> BTreeMap<Arc<str>, InvalidPool> {
    rejections
        .iter()
        .filter(|rejection| rejection.kind == kind && !rejection.kept_last_valid)
        .map(|rejection| {
            let object = stored.get(&rejection.name);
            let spec = object.and_then(|object| object.spec.as_ref().ok());
            let invalid = InvalidPool {
                labels: object.map(|object| object.labels.clone()).unwrap_or_default(),
                node_selector: spec.and_then(&node_selector),
                reason: rejection.message.as_str().into(),
            };
            (rejection.name.clone(), invalid)
        })
        .collect()
}

/// Adds what is known of peers that were turned away, and how old all of them are.
fn add_unusable_peers(config: &mut Config, objects: &Objects, rejections: &[Rejection]) {
    let rejected = rejections
        .iter()
        .filter(|rejection| rejection.kind == ConfigKind::BgpPeer && !rejection.kept_last_valid);
    config.unusable_peers = rejected
        .filter_map(|rejection| {
            let spec = objects.peers.get(&rejection.name)?.spec.as_ref().ok()?;
            let peer = peer::fields(&rejection.name, spec).ok()?;
            let unusable = UnusablePeer { peer, reason: rejection.message.as_str().into() };
            Some((rejection.name.clone(), unusable))
        })
        .collect();
    let mut by_age: Vec<(Age, Arc<str>)> = config
        .peers
        .keys()
        .chain(config.unusable_peers.keys())
        .map(|name| (objects.peers.get(name).and_then(|object| object.age), name.clone()))
        .collect();
    by_age.sort();
    config.peers_by_age = by_age.into_iter().map(|(_, name)| name).collect();
}

/// An object, parsed by itself or failed at that.
struct Candidate<T> {
    kind: ConfigKind,
    name: Arc<str>,
    age: Age,
    parsed: Result<T, Fault>,
}

impl<T> Candidate<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Candidate<U> {
        let Self { kind, name, age, parsed } = self;
        Candidate { kind, name, age, parsed: parsed.map(change) }
    }
}

fn parse_all<S, T>(
    stored: &Stored<S>,
    kind: ConfigKind,
    parse: impl Fn(&Arc<str>, &Object<S>, &S) -> Result<T, Fault>,
) -> Vec<Candidate<T>> {
    stored
        .iter()
        .map(|(name, object)| {
            let parsed = match &object.spec {
                Ok(spec) => parse(name, object, spec),
                Err(fault) => Err(fault
                    .clone()
                    .reworded(|error| format!("{kind} {name:?} can not be read: {error}"))),
            };
            // Parsers know no more than the spec.
            let parsed = parsed.map_err(|fault| fault.within("spec"));
            Candidate { kind, name: name.clone(), age: object.age, parsed }
        })
        .collect()
}

/// Admits candidates, oldest first; then, for those that failed, their last valid versions.
fn settle<T>(
    mut candidates: Vec<Candidate<T>>,
    last_valid: impl Fn(&Candidate<()>) -> Option<T>,
    mut admit: impl FnMut(&Arc<str>, T) -> Result<(), Fault>,
) -> Vec<Rejection> {
    candidates.sort_by(|a, b| (a.age, a.kind, &a.name).cmp(&(b.age, b.kind, &b.name)));
    let failed: Vec<(Candidate<()>, Fault)> = candidates
        .into_iter()
        .filter_map(|Candidate { kind, name, age, parsed }| {
            let fault = parsed.and_then(|value| admit(&name, value)).err()?;
            Some((Candidate { kind, name, age, parsed: Ok(()) }, fault))
        })
        .collect();
    failed
        .into_iter()
        .map(|(candidate, fault)| {
            let kept_last_valid =
                last_valid(&candidate).is_some_and(|value| admit(&candidate.name, value).is_ok());
            Rejection::new(candidate.kind, candidate.name, fault, kept_last_valid)
        })
        .collect()
}

/// The node for which objects are filtered.
struct Here<'a> {
    nodes: &'a BTreeMap<Arc<str>, Labels>,
    scope: Scope<'a>,
}

impl Here<'_> {
    /// Whether the object counts here. Selectors that cannot be read are taken to select every node, so
    /// that somebody says what is wrong with them.
    fn selected<S>(
        &self,
        stored: &Stored<S>,
        name: &str,
        selectors: impl Fn(&S) -> Option<&[selector::LabelSelector]>,
    ) -> bool {
        let Scope::Speaker { node } = self.scope else { return true };
        let no_labels = Labels::default();
        let labels = self.nodes.get(node).unwrap_or(&no_labels);
        match stored.get(name).map(|object| &object.spec) {
            Some(Ok(spec)) => selector::may_select(selectors(spec), labels),
            Some(Err(_)) | None => true,
        }
    }
}

#[cfg(test)]
mod tests;
