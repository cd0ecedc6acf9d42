// SPDX-License-Identifier: Apache-2.0
//! Whether this node announces a Service by L2 (contract 4.2 to 4.4), as a pure function.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::{Node, Service, TrafficPolicy};
use cluster::{ObjectKey, Snapshot};
use crds::config::L2Advertisement;
use crds::labels::Labels;
use jiff::Timestamp;
use l2::Scope;

mod external;

use crate::options::Options;
use crate::reason::Withhold;
use crate::subject::{Endpoints, PoolOf, addresses, pool};
use ownership::election::{Candidate, Strategy, winner};
use ownership::{Allowed, Members, PoolOrder, is_drained};
use ownership::{Choice, Tenure};

/// The Service annotation of `ferrolb move`: `NODE`, or `NODE@` and an RFC 3339 time until which it holds.
pub const PREFERRED_NODE_ANNOTATION: &str = "ferrolb.io/preferred-node";

/// What a decision depends on besides the objects of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Which nodes run a speaker.
    pub members: &'a Members,
    /// The names of the node's interfaces that are not excluded.
    pub interfaces: &'a BTreeSet<Box<str>>,
    /// The node's interfaces with its InternalIPs; none where it has none.
    pub transport: Option<&'a BTreeSet<Box<str>>>,
    /// The order in which the members tell of their links.
    pub pools: &'a PoolOrder,
    /// The time, for annotations that end.
    pub time: Timestamp,
    /// Who has what, where owners stay or are spread.
    pub tenure: Option<&'a Tenure<'a>>,
}

/// What this node announces for a Service by L2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The Service's addresses.
    pub addresses: Vec<IpAddr>,
    /// On which interfaces.
    pub scope: Scope,
}

/// Who could announce a Service, as far as it was possible to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What this node does.
    pub local: Result<Announcement, Withhold>,
    /// The node that announces, if one does.
    pub announcer: Option<Arc<str>>,
}

impl From<Withhold> for Verdict {
    fn from(reason: Withhold) -> Self {
        Self { local: Err(reason), announcer: None }
    }
}

/// Decides for one Service.
#[must_use]
pub fn announce(
    key: &ObjectKey,
    service: &Service,
    snapshot: &Snapshot,
    circumstances: &Circumstances<'_>,
    options: &Options,
) -> Verdict {
    match contest(key, service, snapshot, circumstances, options) {
        Ok(contest) => contest.verdict(circumstances, options),
        Err(reason) => reason.into(),
    }
}

/// A Service that some node could announce.
struct Contest<'a> {
    addresses: Vec<IpAddr>,
    /// The advertisements of the Service's pool that select the Service.
    advertisements: Vec<&'a L2Advertisement>,
    /// Those of them that select this node.
    own: Vec<&'a L2Advertisement>,
    /// How candidates are compared.
    strategy: Strategy,
    candidates: Vec<Candidate<'a>>,
    /// Why this node is no candidate.
    barred: Option<Withhold>,
    /// Why there is no candidate at all.
    nobody: &'static str,
}

fn contest<'a>(
    key: &ObjectKey,
    service: &'a Service,
    snapshot: &'a Snapshot,
    circumstances: &Circumstances<'_>,
    options: &Options,
) -> Result<Contest<'a>, Withhold> {
    if !service.is_served(options.class.as_deref()) {
        return Err(Withhold::ServiceDeleted);
    }
    let addresses = addresses(service)?;
    if service.external_pool().is_some() {
        return external::contest(key, service, addresses, snapshot, circumstances, options);
    }
    let config = snapshot.config();
    let pool = pool(service, &addresses, config)?;
    let endpoints = Endpoints::of(key, snapshot, options);
    if !endpoints.any {
        return Err(Withhold::NoEndpoints);
    }
    let advertisements: Vec<&L2Advertisement> = config
        .l2_advertisements
        .values()
        .filter(|ad| ad.pools.selects(&pool.name, pool.labels))
        .filter(|ad| ad.selects_service(&service.labels))
        .collect();
    if advertisements.is_empty() {
        return Err(Withhold::NotAdvertised(pool.name));
    }
    let shares = service.annotation("allow-shared-ip").is_some();
    if shares && advertisements.iter().any(|ad| !ad.service_selectors.is_empty()) {
        return Err(Withhold::SharedWithServiceSelector);
    }
    let own = snapshot
        .nodes()
        .get(&options.node)
        .map(|node| {
            advertisements.iter().copied().filter(|ad| ad.selects_node(&node.labels)).collect()
        })
        .unwrap_or_default();
    let mut contest = Contest {
        addresses,
        advertisements,
        own,
        strategy: Strategy::Hash,
        candidates: Vec::new(),
        barred: Some(Withhold::NodeUnknown),
        nobody: "no node is known",
    };
    let members = circumstances.members;
    for (name, node) in snapshot.nodes() {
        let barrier = contest.barrier(name, node, service, &endpoints, members, options);
        if *name == options.node {
            contest.barred.clone_from(&barrier.as_ref().map(|(reason, _)| reason.clone()));
        }
        match barrier {
            Some((_, nobody)) => contest.nobody = nobody,
            None => {
                let score = contest.score(node);
                contest.candidates.push(Candidate { node: name, score });
            }
        }
    }
    // MetalLB's speakers know nothing of this; beside them every election is theirs.
    if !members.is_mixed() {
        contest.prefer_those_with_links(circumstances, snapshot, &pool, &options.node);
        contest.prefer_those_that_stay(snapshot, members, options);
        contest.prefer_the_one_asked_for(service, circumstances.time);
    }
    Ok(contest)
}

/// The node that the annotation asks for, unless its time is over.
#[must_use]
pub fn preferred_node(service: &Service, time: Timestamp) -> Option<&str> {
    let text = service.annotations.get(PREFERRED_NODE_ANNOTATION)?;
    match text.split_once('@') {
        Some((node, until)) => {
            until.trim().parse::<Timestamp>().is_ok_and(|until| time < until).then(|| node.trim())
        }
        None => Some(text.trim()),
    }
}

/// When a Service's preference for a node ends.
#[must_use]
pub fn preference_ends(service: &Service) -> Option<Timestamp> {
    service.annotations.get(PREFERRED_NODE_ANNOTATION)?.split_once('@')?.1.trim().parse().ok()
}

impl<'a> Contest<'a> {
    /// What keeps a node from announcing, for that node and for the whole cluster.
    fn barrier(
        &self,
        name: &str,
        node: &Node,
        service: &Service,
        endpoints: &Endpoints<'_>,
        members: &Members,
        options: &Options,
    ) -> Option<(Withhold, &'static str)> {
        if !self.advertisements.iter().any(|ad| ad.selects_node(&node.labels)) {
            return Some((
                Withhold::NoMatchingAdvertisement,
                "the node selectors of the L2Advertisements match no node",
            ));
        }
        if node.network_unavailable {
            return Some((
                Withhold::NodeNetworkUnavailable,
                "every candidate's network is unavailable",
            ));
        }
        if node.is_excluded() && !options.ignore_exclude_label {
            return Some((
                Withhold::NodeExcluded,
                "every candidate has the label node.kubernetes.io/exclude-from-external-load-balancers",
            ));
        }
        if service.traffic_policy == TrafficPolicy::Local && !endpoints.are_on(name) {
            return Some((
                Withhold::NoLocalEndpoints,
                "externalTrafficPolicy is Local and no candidate has a ready endpoint",
            ));
        }
        let nobody = "no candidate runs a live speaker";
        if members.is_leaving(name) {
            return Some((Withhold::Leaving, nobody));
        }
        if members.is_silent(name) {
            return Some((Withhold::Silent, nobody));
        }
        (!members.contains(name)).then_some((Withhold::NodeUnknown, nobody))
    }

    /// A node whose links for the first address are down is passed over while another has one; then one that has none for another
    /// address of the Service.
    fn prefer_those_with_links(
        &mut self,
        circumstances: &Circumstances<'_>,
        snapshot: &Snapshot,
        pool: &PoolOf<'_>,
        own: &str,
    ) {
        let Circumstances { members, pools, .. } = circumstances;
        let reason = Withhold::NoLink(Arc::clone(&pool.name));
        let (valid, for_pool) = match self.strategy {
            Strategy::Hash => (&snapshot.config().pools, true),
            Strategy::Ring => (&snapshot.config().external_pools, false),
        };
        if !members.say_links() {
            // Among them are builds that tell only of pools, and decide by that.
            if for_pool {
                self.prefer(own, &reason, |node| members.has_link(node, pools, &pool.name));
            }
            return;
        }
        // What is known of an invalid pool does not suffice to take anything away.
        if !valid.contains_key(&pool.name) {
            return;
        }
        let first = self.addresses.get(..1).unwrap_or_default().to_vec();
        let all = if self.addresses.len() > 1 { self.addresses.clone() } else { Vec::new() };
        for addresses in [first, all] {
            let has = |node: &&str| match members.links(node) {
                Some(links) => {
                    let labels = snapshot.nodes().get(*node).map(|node| &node.labels);
                    self.with_allowed(labels, |allowed| {
                        addresses.iter().all(|address| links.reach(*address, allowed))
                    })
                }
                None => !for_pool || members.has_link(node, pools, &pool.name),
            };
            let nodes = self.candidates.iter().map(|candidate| candidate.node);
            let preferred: BTreeSet<&'a str> = nodes.filter(has).collect();
            self.prefer(own, &reason, |node| preferred.contains(node));
        }
    }

    /// Where a node with these labels announces the Service's addresses.
    fn with_allowed<R>(&self, labels: Option<&Labels>, act: impl FnOnce(Allowed<'_>) -> R) -> R {
        if self.strategy == Strategy::Ring {
            return act(Allowed::Internal);
        }
        let selects = |ad: &&&L2Advertisement| labels.is_some_and(|labels| ad.selects_node(labels));
        let own = || self.advertisements.iter().filter(selects);
        if own().any(|ad| ad.interfaces.is_empty()) {
            return act(Allowed::Any);
        }
        act(Allowed::Named(&|name| own().any(|ad| ad.interfaces.contains(name))))
    }

    /// A node that is being emptied is passed over while another stays.
    fn prefer_those_that_stay(
        &mut self,
        snapshot: &Snapshot,
        members: &Members,
        options: &Options,
    ) {
        self.prefer(&options.node, &Withhold::NodeDrained, |name| {
            let read = || {
                let node = snapshot.nodes().get(name);
                node.is_some_and(|node| is_drained(node, options.drain_on_cordon))
            };
            !members.is_drained(name).unwrap_or_else(read)
        });
    }

    fn prefer_the_one_asked_for(&mut self, service: &Service, time: Timestamp) {
        if let Some(node) = preferred_node(service, time)
            && let Some(asked) = self.candidates.iter().find(|candidate| candidate.node == node)
        {
            self.candidates = vec![*asked];
        }
    }

    /// Keeps those that are preferred, if there are any.
    fn prefer(&mut self, own: &str, reason: &Withhold, preferred: impl Fn(&str) -> bool) {
        if !self.candidates.iter().any(|candidate| preferred(candidate.node)) {
            return;
        }
        if self.candidates.iter().any(|candidate| candidate.node == own) && !preferred(own) {
            self.barred = Some(reason.clone());
        }
        self.candidates.retain(|candidate| preferred(candidate.node));
    }

    /// Contract 4.3: an advertisement scores only nodes that it selects.
    fn score(&self, node: &Node) -> u64 {
        self.advertisements
            .iter()
            .filter(|ad| ad.selects_node(&node.labels))
            .flat_map(|ad| &ad.preferred_nodes)
            .filter(|preferred| preferred.preference.matches(&node.labels))
            .map(|preferred| u64::from(preferred.weight))
            .sum()
    }

    fn verdict(self, circumstances: &Circumstances<'_>, options: &Options) -> Verdict {
        let Some(first) = self.addresses.first().copied() else {
            return Withhold::NoAddress.into();
        };
        let elected = match circumstances.tenure {
            Some(tenure) => tenure.choose(self.strategy, &options.node, &self.candidates, first),
            None => winner(self.strategy, &self.candidates, first)
                .map(|winner| Choice::Node(winner.node.into())),
        };
        let Some(elected) = elected else {
            let local = match self.barred {
                // A node that no advertisement selects says so even where nobody announces.
                Some(
                    reason @ (Withhold::NoMatchingAdvertisement
                    | Withhold::NotInNodeSelector(_)
                    | Withhold::Leaving),
                ) => reason,
                _ => Withhold::NoCandidates(self.nobody),
            };
            return local.into();
        };
        let announcer = match elected {
            Choice::Node(announcer) => announcer,
            Choice::Wait(unknown) => return Withhold::Unsettled(unknown).into(),
        };
        let local = if announcer == options.node {
            self.announcement(circumstances)
        } else {
            Err(match self.barred {
                Some(reason) => reason,
                None => Withhold::NotOwner(Arc::clone(&announcer)),
            })
        };
        Verdict { local, announcer: Some(announcer) }
    }

    /// Contract 4.4: the interfaces of the own node's advertisements; any without a list means all.
    fn announcement(self, circumstances: &Circumstances<'_>) -> Result<Announcement, Withhold> {
        if self.strategy == Strategy::Ring {
            return external::announcement(self.addresses, circumstances);
        }
        if self.own.iter().any(|ad| ad.interfaces.is_empty()) {
            return Ok(Announcement { addresses: self.addresses, scope: Scope::AllInterfaces });
        }
        let named: BTreeSet<Box<str>> =
            self.own.iter().flat_map(|ad| ad.interfaces.iter().cloned()).collect();
        if named.is_disjoint(circumstances.interfaces) {
            let names: Vec<&str> = named.iter().map(|name| &**name).collect();
            return Err(Withhold::NoInterface(names.join(", ")));
        }
        Ok(Announcement { addresses: self.addresses, scope: Scope::Interfaces(named) })
    }
}
