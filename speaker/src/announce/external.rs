// SPDX-License-Identifier: Apache-2.0
//! Who may announce a Service of Antrea's world (contract C.6): its pool says, by a selector of nodes; no advertisement does. Beyond Antrea
//! the exclude label and a drain are honoured, and who may not announce falls silent also when nobody takes over (contract C.14).

use std::net::IpAddr;

use cluster::model::{Node, Service, TrafficPolicy};
use cluster::{ObjectKey, Snapshot};
use crds::config::Family;
use l2::Scope;

use super::{Announcement, Circumstances, Contest};
use crate::options::Options;
use crate::reason::Withhold;
use crate::subject::{Endpoints, PoolOf, given_here, pool};
use ownership::Members;
use ownership::election::{Candidate, Strategy};

/// The contest for a Service whose annotation names an `ExternalIPPool`. Endpoints count only with externalTrafficPolicy Local.
pub(super) fn contest<'a>(
    key: &ObjectKey,
    service: &'a Service,
    addresses: Vec<IpAddr>,
    snapshot: &'a Snapshot,
    circumstances: &Circumstances<'_>,
    options: &Options,
) -> Result<Contest<'a>, Withhold> {
    let pool = pool(service, &addresses, snapshot.config())?;
    given_here(service, options)?;
    let first = addresses.first().copied().ok_or(Withhold::NoAddress)?;
    let endpoints = Endpoints::of_family(key, snapshot, options, Family::of(first));
    let local = service.traffic_policy == TrafficPolicy::Local;
    let rules = Rules { pool: &pool, endpoints: local.then_some(&endpoints) };
    let mut contest = Contest {
        addresses,
        advertisements: Vec::new(),
        own: Vec::new(),
        strategy: Strategy::Ring,
        candidates: Vec::new(),
        barred: Some(Withhold::NodeUnknown),
        nobody: "no node is known",
    };
    for (name, node) in snapshot.nodes() {
        let barrier = rules.barrier(name, node, circumstances.members, options);
        if *name == options.node {
            contest.barred.clone_from(&barrier.as_ref().map(|(reason, _)| reason.clone()));
        }
        match barrier {
            Some((_, nobody)) => contest.nobody = nobody,
            None => contest.candidates.push(Candidate { node: name, score: 0 }),
        }
    }
    contest.prefer_those_with_links(circumstances, snapshot, &pool, &options.node);
    contest.prefer_those_that_stay(snapshot, circumstances.members, options);
    contest.prefer_the_one_asked_for(service, circumstances.time);
    Ok(contest)
}

/// What a node must meet.
struct Rules<'a> {
    pool: &'a PoolOf<'a>,
    /// Where there is one a node must have one.
    endpoints: Option<&'a Endpoints<'a>>,
}

impl Rules<'_> {
    /// What keeps a node from announcing, for that node and for the whole cluster.
    fn barrier(
        &self,
        name: &str,
        node: &Node,
        members: &Members,
        options: &Options,
    ) -> Option<(Withhold, &'static str)> {
        if !self.pool.selects_node(&node.labels) {
            return Some((
                Withhold::NotInNodeSelector(self.pool.name.clone()),
                "the nodeSelector of the ExternalIPPool matches no node that could",
            ));
        }
        if node.is_excluded() && !options.ignore_exclude_label {
            return Some((
                Withhold::NodeExcluded,
                "every candidate has the label node.kubernetes.io/exclude-from-external-load-balancers",
            ));
        }
        if self.endpoints.is_some_and(|endpoints| !endpoints.are_on(name)) {
            return Some((
                Withhold::NoLocalEndpoints,
                "externalTrafficPolicy is Local and no candidate has a ready or serving endpoint",
            ));
        }
        let nobody = "no candidate runs a live speaker";
        if members.is_leaving(name) {
            return Some((Withhold::Leaving, nobody));
        }
        if members.is_silent(name) {
            return Some((Withhold::Silent, nobody));
        }
        // MetalLB's speakers know nothing of this world.
        let serves = members.contains(name) && !members.is_metallb(name);
        (!serves).then_some((Withhold::NodeUnknown, nobody))
    }
}

/// Where it is announced: on the links with the node's own addresses (contract C.7). Where the node has none, as on a host without
/// Kubernetes, on all.
pub(super) fn announcement(
    addresses: Vec<IpAddr>,
    circumstances: &Circumstances<'_>,
) -> Result<Announcement, Withhold> {
    let scope = match circumstances.transport {
        None => Scope::AllInterfaces,
        Some(names) if names.is_disjoint(circumstances.interfaces) => {
            return Err(Withhold::NoInterface("with the node's InternalIP".to_owned()));
        }
        Some(names) => Scope::Interfaces(names.clone()),
    };
    Ok(Announcement { addresses, scope })
}
