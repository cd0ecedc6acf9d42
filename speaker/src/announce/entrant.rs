// SPDX-License-Identifier: Apache-2.0
//! A Service that some node could announce, with the nodes that may: an entrant in the election for its addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::ObjectKey;
use cluster::model::{Node, Service};
use crds::labels::Labels;
use l2::Scope;

use super::group::Around;
use super::{Announcement, Circumstances};
use crate::eligibility::{Eligibility, Furthest};
use crate::reason::{Concern, Withhold};
use ownership::Allowed;
use ownership::election::{Candidate, Strategy};

/// See the module's head.
pub(super) struct Entrant<'a> {
    pub(super) key: ObjectKey,
    pub(super) service: &'a Service,
    /// The comparison of the candidates.
    pub(super) strategy: Strategy<'a>,
    /// The addresses that no node owns yet for Services that share them, in the Service's order.
    pub(super) free: Vec<IpAddr>,
    /// The nodes that may announce the Service, by name.
    pub(super) candidates: Vec<Candidate<'a>>,
    /// The reason why this node is no candidate; none if it is one.
    pub(super) barred: Option<Withhold>,
    eligibility: Eligibility<'a>,
    furthest: Furthest,
}

impl<'a> Entrant<'a> {
    /// # Errors
    /// The reason why no node announces the Service, independent of the nodes.
    pub(super) fn of(
        key: &ObjectKey,
        service: &'a Service,
        around: Around<'a>,
    ) -> Result<Self, Withhold> {
        let Around { snapshot, circumstances, options } = around;
        let eligibility = Eligibility::by_layer2(key, service, snapshot, options)?;
        let strategy = match eligibility.is_external() {
            true => Strategy::Ring(circumstances.places),
            false => Strategy::Hash,
        };
        let mut entrant = Self {
            key: key.clone(),
            service,
            strategy,
            free: eligibility.addresses.clone(),
            candidates: Vec::new(),
            barred: Some(Withhold::NodeUnknown),
            eligibility,
            furthest: Furthest::default(),
        };
        for (name, node) in snapshot.nodes() {
            let barrier = entrant.eligibility.why_not(name, node, circumstances.members, options);
            if *name == options.node {
                entrant.barred = barrier.as_ref().map(|barrier| barrier.reason.clone());
            }
            match barrier {
                Some(barrier) => entrant.furthest.note(name, barrier),
                None => {
                    let score = entrant.score(node);
                    entrant.candidates.push(Candidate { node: name, score });
                }
            }
        }
        // MetalLB's speakers know nothing of links; beside them every election is theirs.
        if matches!(strategy, Strategy::Ring(_)) || !circumstances.members.is_mixed() {
            entrant.prefer_those_with_links(around);
        }
        Ok(entrant)
    }

    /// All addresses of the Service.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.eligibility.addresses
    }

    /// True if the node may announce the Service.
    pub(super) fn is_for(&self, node: &str) -> bool {
        self.candidates.binary_search_by(|candidate| candidate.node.cmp(node)).is_ok()
    }

    /// Passes over nodes without a working link for the first address while another node has one; then nodes that lack one for another
    /// address of the Service.
    fn prefer_those_with_links(&mut self, around: Around<'a>) {
        let Circumstances { members, pools, .. } = *around.circumstances;
        let config = around.snapshot.config();
        let pool = Arc::clone(&self.eligibility.pool.name);
        let (valid, for_pool) = match self.strategy {
            Strategy::Hash => (&config.pools, true),
            Strategy::Ring(_) => (&config.external_pools, false),
        };
        let own = &*around.options.node;
        if !members.say_links() {
            // Some members are of builds that tell only of pools, and decide by that.
            if for_pool {
                self.prefer(own, |node| members.has_link(node, pools, &pool));
            }
            return;
        }
        // An invalid pool is not known well enough to take anything away.
        if !valid.contains_key(&pool) {
            return;
        }
        let addresses = self.addresses();
        let first = addresses.get(..1).unwrap_or_default().to_vec();
        let all = if addresses.len() > 1 { addresses.to_vec() } else { Vec::new() };
        for addresses in [first, all] {
            let has = |node: &&str| match members.links(node) {
                Some(links) => {
                    let labels = around.snapshot.nodes().get(*node).map(|node| &node.labels);
                    self.with_allowed(labels, |allowed| {
                        addresses.iter().all(|address| links.reach(*address, allowed))
                    })
                }
                None => !for_pool || members.has_link(node, pools, &pool),
            };
            let nodes = self.candidates.iter().map(|candidate| candidate.node);
            let preferred: BTreeSet<&'a str> = nodes.filter(has).collect();
            self.prefer(own, |node| preferred.contains(node));
        }
    }

    /// Calls `act` with the links on which a node with these labels announces the Service's addresses.
    fn with_allowed<R>(&self, labels: Option<&Labels>, act: impl FnOnce(Allowed<'_>) -> R) -> R {
        if matches!(self.strategy, Strategy::Ring(_)) {
            return act(Allowed::Internal);
        }
        let own = || labels.into_iter().flat_map(|labels| self.eligibility.layer2_on(labels));
        if own().any(|ad| ad.interfaces.is_empty()) {
            return act(Allowed::Any);
        }
        act(Allowed::Named(&|name| own().any(|ad| ad.interfaces.contains(name))))
    }

    /// Keeps the candidates that are preferred, if there are any.
    fn prefer(&mut self, own: &str, preferred: impl Fn(&str) -> bool) {
        if !self.candidates.iter().any(|candidate| preferred(candidate.node)) {
            return;
        }
        if self.is_for(own) && !preferred(own) {
            self.barred = Some(Withhold::NoLink(Arc::clone(&self.eligibility.pool.name)));
        }
        self.candidates.retain(|candidate| preferred(candidate.node));
    }

    /// The score of a node (contract 4.3): an advertisement scores only nodes that it selects.
    fn score(&self, node: &Node) -> u64 {
        self.eligibility
            .layer2_on(&node.labels)
            .flat_map(|ad| &ad.preferred_nodes)
            .filter(|preferred| preferred.preference.matches(&node.labels))
            .map(|preferred| u64::from(preferred.weight))
            .sum()
    }

    /// True if an advertisement for this node wants several nodes to serve the Service.
    pub(super) fn spreads(&self, labels: &Labels) -> bool {
        self.eligibility.layer2_on(labels).any(|ad| ad.spreads)
    }

    /// The weight of a node among those that serve the Service. None if all nodes are alike.
    pub(super) fn weight_of(&self, node: &str) -> Option<u32> {
        self.eligibility.weight_of(node)
    }

    /// The reason why a node that owns the Service's address does not announce the Service.
    pub(super) fn why_not(&self, name: &str, around: Around<'_>) -> Withhold {
        let Around { snapshot, circumstances, options } = around;
        let Some(node) = snapshot.nodes().get(name) else { return Withhold::NodeUnknown };
        let barrier = self.eligibility.why_not(name, node, circumstances.members, options);
        let no_link = || Withhold::NoLink(Arc::clone(&self.eligibility.pool.name));
        barrier.map_or_else(no_link, |barrier| barrier.reason)
    }

    /// The reason why no node announces the Service: for this node, and at large.
    pub(super) fn nobody(&self) -> (Withhold, Withhold) {
        let nobody = || self.eligibility.nobody(&self.furthest);
        let local = self.barred.as_ref().map_or_else(nobody, |reason| match reason.concern() {
            // A node that no advertisement selects gives this reason even where nobody announces the Service; so does one that leaves.
            Concern::Selection | Concern::Leaving => reason.clone(),
            Concern::Gone | Concern::Address | Concern::Announcement => nobody(),
        });
        (local, self.eligibility.nobody_at_large(&self.furthest))
    }

    /// The announcement of the free addresses from this node, with their links.
    ///
    /// # Errors
    /// This node lacks every interface for the Service.
    pub(super) fn announcement(&self, around: Around<'_>) -> Result<Announcement, Withhold> {
        let circumstances = around.circumstances;
        let scope = match self.strategy {
            Strategy::Ring(_) => internal_scope(circumstances)?,
            Strategy::Hash => self.named_scope(around)?,
        };
        Ok(Announcement { addresses: self.free.clone(), scope })
    }

    /// The interfaces of this node's advertisements (contract 4.4); an advertisement without a list means all.
    fn named_scope(&self, around: Around<'_>) -> Result<Scope, Withhold> {
        let node = around.snapshot.nodes().get(&around.options.node);
        let own = || node.into_iter().flat_map(|node| self.eligibility.layer2_on(&node.labels));
        if own().any(|ad| ad.interfaces.is_empty()) {
            return Ok(Scope::AllInterfaces);
        }
        let named: BTreeSet<Box<str>> =
            own().flat_map(|ad| ad.interfaces.iter().cloned()).collect();
        if named.is_disjoint(around.circumstances.interfaces) {
            let names: Vec<&str> = named.iter().map(|name| &**name).collect();
            return Err(Withhold::NoInterface(names.join(", ")));
        }
        Ok(Scope::Interfaces(named))
    }
}

/// The scope in Antrea's world: the links with the node's own addresses (contract C.7). Where the node has none, as on a host without
/// Kubernetes, all links.
fn internal_scope(circumstances: &Circumstances<'_>) -> Result<Scope, Withhold> {
    match circumstances.transport {
        None => Ok(Scope::AllInterfaces),
        Some(names) if names.is_disjoint(circumstances.interfaces) => {
            Err(Withhold::NoInterface("with the node's InternalIP".to_owned()))
        }
        Some(names) => Ok(Scope::Interfaces(names.clone())),
    }
}
