// SPDX-License-Identifier: Apache-2.0
//! The nodes that serve an address together (`spread: nodes` of an L2Advertisement), as a pure function of the election's
//! candidates.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::Snapshot;
use ownership::election::Candidate;
use steer::HashBy;

use super::entrant::Entrant;

/// The nodes that are to serve addresses together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spreading {
    /// The nodes that may announce and are not drained, each with its weight: with the policy Local its endpoints, else 1.
    pub weights: BTreeMap<Arc<str>, u32>,
    /// The part of a packet that says which node serves it.
    pub hash: HashBy,
}

impl Spreading {
    /// None unless advertisements want it for all Services of the party, on each candidate that counts.
    pub(super) fn of(
        party: &[&Entrant<'_>],
        candidates: &[Candidate<'_>],
        snapshot: &Snapshot,
    ) -> Option<Self> {
        let wanted = |candidate: &&Candidate<'_>| {
            let node = snapshot.nodes().get(candidate.node);
            node.is_some_and(|node| party.iter().all(|entrant| entrant.spreads(&node.labels)))
        };
        // Services that share an address have one table: a node needs endpoints of each that is Local.
        let weight = |candidate: &Candidate<'_>| {
            party.iter().filter_map(|entrant| entrant.weight_of(candidate.node)).min().unwrap_or(1)
        };
        let weights: BTreeMap<Arc<str>, u32> = candidates
            .iter()
            .filter(wanted)
            .map(|candidate| (candidate.node.into(), weight(candidate)))
            .filter(|(_, weight)| *weight > 0)
            .collect();
        let by_client = party.iter().any(|entrant| entrant.service.client_affinity);
        let hash = if by_client { HashBy::Client } else { HashBy::Connection };
        (!weights.is_empty()).then_some(Self { weights, hash })
    }
}
