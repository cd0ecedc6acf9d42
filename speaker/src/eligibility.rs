// SPDX-License-Identifier: Apache-2.0
//! The rules for the nodes that may announce a Service, by L2 in both worlds and by BGP: one list in order, with the text for the case that
//! no node meets a rule.
//!
//! ```text
//! Service ─> Eligibility (the rules for the Service itself) ── why_not(node) ──> the first of RULES that the node does not meet
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::{Node, Service, TrafficPolicy};
use cluster::{ObjectKey, Snapshot};
use crds::config::{BgpAdvertisement, Family, L2Advertisement};
use crds::labels::Labels;

use crate::options::Options;
use crate::reason::{Concern, Nobody, Withhold};
use crate::service_view::{Endpoints, PoolOf, addresses, given_here, pool};
use ownership::RingSpeakers;

/// One requirement to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// An advertisement for the pool, or the ExternalIPPool, selects the node.
    Selected,
    /// A BGPAdvertisement for this Service selects the node.
    Wanted,
    /// The advertisements for the node do not contradict one another.
    Agreed,
    /// The node's condition NetworkUnavailable is not True.
    Network,
    /// The node has no exclude label.
    Unlabelled,
    /// With externalTrafficPolicy Local, a usable endpoint is on the node.
    LocalEndpoint,
    /// There is a usable endpoint on any node.
    Endpoint,
    /// The node's speaker is not about to end.
    Staying,
    /// The node's speaker may answer.
    Speaking,
    /// The node runs a speaker that serves this world.
    Member,
}

/// A rule, and for each world and protocol the text if no node gets past the rule; none where the rule does not apply.
struct Line {
    rule: Rule,
    /// MetalLB's world by L2, contract 4.2.
    layer2: Option<&'static str>,
    /// Antrea's world by L2, contract C.6 and C.14.
    external: Option<&'static str>,
    /// Both worlds by BGP, contract 5.3.
    bgp: Option<&'static str>,
}

const L2_LABEL: &str =
    "every candidate has the label node.kubernetes.io/exclude-from-external-load-balancers";
const NO_SPEAKER: Option<&str> = Some("no candidate runs a live speaker");
const NO_BGP_SELECTOR: Option<&str> =
    Some("the node selectors of the BGPAdvertisements match no node");

/// All rules for a node, in order. The contract makes three differences between worlds and protocols: Antrea does not look at the network's
/// condition; the endpoint is a rule for the Service by L2, before any node is looked at, and the last rule for each node by BGP; and by BGP
/// every eligible node announces, so that the speakers of other nodes do not count.
const RULES: [Line; 10] = [
    Line {
        rule: Rule::Selected,
        layer2: Some("the node selectors of the L2Advertisements match no node"),
        external: Some("the nodeSelector of the ExternalIPPool matches no node that could"),
        bgp: NO_BGP_SELECTOR,
    },
    // By L2 only advertisements that select the Service count from the beginning.
    Line { rule: Rule::Wanted, layer2: None, external: None, bgp: NO_BGP_SELECTOR },
    Line {
        rule: Rule::Agreed,
        layer2: None,
        external: None,
        bgp: Some("BGPAdvertisements want different localPref for the same prefix of this Service"),
    },
    Line {
        rule: Rule::Network,
        layer2: Some("every candidate's network is unavailable"),
        external: None,
        bgp: Some("every such node's network is unavailable"),
    },
    Line {
        rule: Rule::Unlabelled,
        layer2: Some(L2_LABEL),
        external: Some(L2_LABEL),
        bgp: Some(
            "every such node has the label node.kubernetes.io/exclude-from-external-load-balancers",
        ),
    },
    Line {
        rule: Rule::LocalEndpoint,
        layer2: Some("externalTrafficPolicy is Local and no candidate has a ready endpoint"),
        external: Some(
            "externalTrafficPolicy is Local and no candidate has a ready or serving endpoint",
        ),
        bgp: Some("externalTrafficPolicy is Local and no such node has a ready endpoint"),
    },
    Line { rule: Rule::Endpoint, layer2: None, external: None, bgp: Some("no endpoint is ready") },
    Line { rule: Rule::Staying, layer2: NO_SPEAKER, external: NO_SPEAKER, bgp: None },
    Line { rule: Rule::Speaking, layer2: NO_SPEAKER, external: NO_SPEAKER, bgp: None },
    Line { rule: Rule::Member, layer2: NO_SPEAKER, external: NO_SPEAKER, bgp: None },
];

/// The way of announcing, and the objects that select the nodes.
enum Way<'a> {
    /// By L2, in MetalLB's world: the advertisements that select the pool and the Service.
    Layer2(Vec<&'a L2Advertisement>),
    /// By L2, in Antrea's world: the pool.
    External,
    /// By BGP: the advertisements that select the pool, and those of them that select the Service.
    Bgp { of_pool: Vec<&'a BgpAdvertisement>, own: Vec<&'a BgpAdvertisement> },
}

/// A Service that could be announced, with its requirements to a node.
pub(crate) struct Eligibility<'a> {
    /// The Service's addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// The pool that contains the addresses.
    pub(crate) pool: PoolOf<'a>,
    way: Way<'a>,
    is_local: bool,
    endpoints: Endpoints<'a>,
}

/// The obstacle that keeps a node from announcing.
pub(crate) struct Barrier {
    /// The rule's place in the list.
    stage: usize,
    /// The reason that the node tells.
    pub(crate) reason: Withhold,
}

/// The barrier that lies furthest in the list, among those that nodes have met.
#[derive(Default)]
pub(crate) struct Furthest(Option<(Barrier, Arc<str>)>);

impl Furthest {
    /// A node has met this barrier. Nodes come in the order of names: of several that came as far the first stays.
    pub(crate) fn note(&mut self, node: &Arc<str>, barrier: Barrier) {
        if self.0.as_ref().is_none_or(|(furthest, _)| furthest.stage < barrier.stage) {
            self.0 = Some((barrier, Arc::clone(node)));
        }
    }
}

impl<'a> Eligibility<'a> {
    /// The eligibility by L2.
    ///
    /// # Errors
    /// The reason why no node at all may announce the Service.
    pub(crate) fn by_layer2(
        key: &ObjectKey,
        service: &Service,
        snapshot: &'a Snapshot,
        options: &Options,
    ) -> Result<Self, Withhold> {
        let (addresses, pool) = subject(service, snapshot, options)?;
        let is_local = service.traffic_policy == TrafficPolicy::Local;
        if service.external_pool().is_some() {
            let first = addresses.first().copied().ok_or(Withhold::NoAddress)?;
            let endpoints = Endpoints::of_family(key, snapshot, options, Family::of(first));
            return Ok(Self { addresses, pool, way: Way::External, is_local, endpoints });
        }
        let endpoints = Endpoints::of(key, snapshot, options);
        if !endpoints.any {
            return Err(Withhold::NoEndpoints);
        }
        let all = snapshot.config().l2_advertisements.values();
        let advertisements: Vec<&L2Advertisement> = all
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
        Ok(Self { addresses, pool, way: Way::Layer2(advertisements), is_local, endpoints })
    }

    /// The eligibility by BGP, with these advertisements.
    ///
    /// # Errors
    /// The reason why no node at all may announce the Service, as far as the places of its endpoints do not matter.
    pub(crate) fn by_bgp(
        key: &ObjectKey,
        service: &Service,
        snapshot: &'a Snapshot,
        advertisements: impl Iterator<Item = &'a BgpAdvertisement>,
        options: &Options,
    ) -> Result<Self, Withhold> {
        let (addresses, pool) = subject(service, snapshot, options)?;
        let of_pool: Vec<&BgpAdvertisement> =
            advertisements.filter(|ad| ad.selects(pool.kind, &pool.name, pool.labels)).collect();
        let own = of_pool.iter().copied().filter(|ad| ad.selects_service(&service.labels));
        let own: Vec<&BgpAdvertisement> = own.collect();
        // Without an advertisement nothing depends on the endpoints, and there may be thousands of such Services.
        let endpoints = match own.as_slice() {
            [] => Endpoints::nowhere(),
            _ => Endpoints::with_address(key, snapshot, options),
        };
        let way = Way::Bgp { of_pool, own };
        let is_local = service.traffic_policy == TrafficPolicy::Local;
        Ok(Self { addresses, pool, way, is_local, endpoints })
    }

    /// Checks for BGP that some advertisement is for the Service, and that there is an endpoint.
    ///
    /// # Errors
    /// The reason why no node may announce the Service.
    pub(crate) fn check_anywhere(&self) -> Result<(), Withhold> {
        let (of_pool, own) = match &self.way {
            Way::Bgp { of_pool, own } => (!of_pool.is_empty(), !own.is_empty()),
            Way::Layer2(_) | Way::External => (true, true),
        };
        if !of_pool {
            return Err(Withhold::NoBgpAdvertisement(Arc::clone(&self.pool.name)));
        }
        if !own {
            return Err(Withhold::NoMatchingBgpAdvertisement(Arc::clone(&self.pool.name)));
        }
        self.endpoints.any.then_some(()).ok_or(Withhold::NoEndpoints)
    }

    /// True if the Service is of Antrea's world, by L2.
    pub(crate) fn is_external(&self) -> bool {
        matches!(self.way, Way::External)
    }

    /// The L2Advertisements for the Service that select a node with these labels.
    pub(crate) fn layer2_on(&self, labels: &Labels) -> impl Iterator<Item = &'a L2Advertisement> {
        let all: &[&L2Advertisement] = match &self.way {
            Way::Layer2(advertisements) => advertisements,
            Way::External | Way::Bgp { .. } => &[],
        };
        all.iter().copied().filter(|ad| ad.selects_node(labels))
    }

    /// The weight of a node among those that serve the Service together: with the policy Local its endpoints. None if all nodes
    /// are alike.
    pub(crate) fn weight_of(&self, node: &str) -> Option<u32> {
        self.is_local.then(|| self.endpoints.count_on(node))
    }

    /// The BGPAdvertisements for the Service, on any node.
    pub(crate) fn routes(&self) -> &[&'a BgpAdvertisement] {
        match &self.way {
            Way::Bgp { own, .. } => own,
            Way::Layer2(_) | Way::External => &[],
        }
    }

    /// The BGPAdvertisements for the Service that select a node with these labels.
    pub(crate) fn routes_on(&self, labels: &Labels) -> Vec<&'a BgpAdvertisement> {
        self.routes().iter().copied().filter(|ad| ad.selects_node(labels)).collect()
    }

    /// The first rule that a node does not meet, if there is one.
    pub(crate) fn why_not(
        &self,
        name: &str,
        node: &Node,
        members: &RingSpeakers,
        options: &Options,
    ) -> Option<Barrier> {
        let mut asked = RULES.iter().enumerate().filter(|(_, line)| self.nobody_by(line).is_some());
        asked.find_map(|(stage, line)| {
            let reason = self.fails(line.rule, name, node, members, options)?;
            Some(Barrier { stage, reason })
        })
    }

    /// The reason why a node does not meet a rule; none if it does.
    fn fails(
        &self,
        rule: Rule,
        name: &str,
        node: &Node,
        members: &RingSpeakers,
        options: &Options,
    ) -> Option<Withhold> {
        let pool = || Arc::clone(&self.pool.name);
        match rule {
            Rule::Selected => match &self.way {
                Way::Layer2(_) => {
                    let mut here = self.layer2_on(&node.labels);
                    here.next().is_none().then_some(Withhold::NoMatchingAdvertisement)
                }
                Way::External => (!self.pool.selects_node(&node.labels))
                    .then(|| Withhold::NotInNodeSelector(pool())),
                Way::Bgp { of_pool, .. } => {
                    (!of_pool.iter().any(|ad| ad.selects_node(&node.labels)))
                        .then(|| Withhold::NoBgpAdvertisement(pool()))
                }
            },
            Rule::Wanted => (!self.routes().iter().any(|ad| ad.selects_node(&node.labels)))
                .then(|| Withhold::NoMatchingBgpAdvertisement(pool())),
            Rule::Agreed => {
                let (one, two) = contradiction(&self.routes_on(&node.labels), &self.addresses)?;
                let names = (Arc::clone(&one.name), Arc::clone(&two.name));
                Some(Withhold::ConflictingAdvertisements(names.0, names.1))
            }
            Rule::Network => node.network_unavailable.then_some(Withhold::NodeNetworkUnavailable),
            Rule::Unlabelled => (node.is_excluded() && !options.ignore_exclude_label)
                .then_some(Withhold::NodeExcluded),
            Rule::LocalEndpoint => (self.is_local && !self.endpoints.are_on(name))
                .then_some(Withhold::NoLocalEndpoints),
            Rule::Endpoint => (!self.endpoints.any).then_some(Withhold::NoEndpoints),
            Rule::Staying => members.is_leaving(name).then_some(Withhold::Leaving),
            Rule::Speaking => members.is_silent(name).then_some(Withhold::Silent),
            // MetalLB's speakers know nothing of Antrea's world.
            Rule::Member => (!members.contains(name)
                || self.is_external() && members.is_metallb(name))
            .then_some(Withhold::NodeUnknown),
        }
    }

    fn nobody_by(&self, line: &Line) -> Option<&'static str> {
        match self.way {
            Way::Layer2(_) => line.layer2,
            Way::External => line.external,
            Way::Bgp { .. } => line.bgp,
        }
    }

    /// The reason why no node may announce the Service, after each has met a barrier.
    pub(crate) fn nobody(&self, furthest: &Furthest) -> Withhold {
        let Some((barrier, node)) = &furthest.0 else {
            return Withhold::NoCandidates(Nobody { why: "no node is known", furthest: None });
        };
        let line = RULES.get(barrier.stage);
        let why = line.and_then(|line| self.nobody_by(line)).unwrap_or_default();
        // At these rules the first node came no further than all others.
        let all = line.is_none_or(|line| matches!(line.rule, Rule::Selected | Rule::Wanted));
        let furthest = (!all).then(|| Arc::clone(node));
        Withhold::NoCandidates(Nobody { why, furthest })
    }

    /// The same for the whole cluster: where nothing selects any node, the nodes' own reason is given.
    pub(crate) fn nobody_at_large(&self, furthest: &Furthest) -> Withhold {
        let nobody = || self.nobody(furthest);
        furthest.0.as_ref().map_or_else(nobody, |(Barrier { reason, .. }, _)| {
            match reason.concern() {
                Concern::Selection => reason.clone(),
                Concern::Gone | Concern::Address | Concern::Leaving | Concern::Announcement => {
                    nobody()
                }
            }
        })
    }
}

/// The first rules for every Service: its class, its addresses, their pool, and that the addresses were given here.
fn subject<'a>(
    service: &Service,
    snapshot: &'a Snapshot,
    options: &Options,
) -> Result<(Vec<IpAddr>, PoolOf<'a>), Withhold> {
    if !service.is_served(options.class.as_deref()) {
        return Err(Withhold::ServiceDeleted);
    }
    let addresses = addresses(service)?;
    let pool = pool(service, &addresses, snapshot.config())?;
    given_here(service, options)?;
    Ok((addresses, pool))
}

/// Two advertisements that want different LOCAL_PREFs for one prefix of the Service at a common peer (contract 6.3).
fn contradiction<'a>(
    own: &[&'a BgpAdvertisement],
    addresses: &[IpAddr],
) -> Option<(&'a BgpAdvertisement, &'a BgpAdvertisement)> {
    let families: BTreeSet<Family> = addresses.iter().map(|address| Family::of(*address)).collect();
    own.iter().enumerate().find_map(|(index, one)| {
        let two = own.iter().skip(index + 1).find(|two| {
            let common_peer =
                one.peers.is_empty() || two.peers.is_empty() || !one.peers.is_disjoint(&two.peers);
            one.local_pref != two.local_pref
                && common_peer
                && families.iter().any(|family| one.length_for(*family) == two.length_for(*family))
        })?;
        Some((*one, *two))
    })
}
