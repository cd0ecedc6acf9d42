// SPDX-License-Identifier: Apache-2.0
//! The election for an address. An address has one owner, so Services that share an address are elected together.
//!
//! ```text
//! Service ─> Services linked by shared addresses ─> the nodes that may announce most of them ─> one node
//!                ^                                                                                │
//!                └──────── the ones that it does not announce and that have a free address left <─┘
//! ```
//! A Service that shares no address is the common case, and its election is MetalLB's or Antrea's. Beside a speaker of MetalLB, or an older
//! one of ours, each Service is elected by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::Service;
use cluster::{ObjectKey, Snapshot};

use super::entrant::Entrant;
use super::{Circumstances, Remark, Spreading, Verdict, preferred_node};
use crate::options::Options;
use crate::reason::Withhold;
use crate::sharing::ServicesByAddress;
use ownership::election::{Candidate, Strategy, winner};
use ownership::{Choice, is_drained};

/// The inputs of a decision.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) circumstances: &'a Circumstances<'a>,
    pub(crate) options: &'a Options,
}

/// The result for Services that are decided together.
#[derive(Default)]
pub(crate) struct Decided {
    /// The verdict on each Service that takes part.
    pub(crate) verdicts: Vec<(ObjectKey, Verdict)>,
    /// The owners of the addresses that were elected for.
    pub(crate) owners: Vec<(IpAddr, Option<Arc<str>>)>,
}

/// Decides for a Service and all Services linked to it by shared addresses.
pub(crate) fn decide(
    key: &ObjectKey,
    service: &Service,
    sharing: &ServicesByAddress,
    around: Around<'_>,
) -> Decided {
    let first = match Entrant::of(key, service, around) {
        Ok(first) => first,
        Err(reason) => {
            let address = service.ingress_addresses().next();
            // The owner of a shared address is decided with the other Services that have it.
            let alone = address.filter(|address| sharing.users(*address).len() < 2);
            return Decided {
                verdicts: vec![(key.clone(), reason.into())],
                owners: alone.map(|address| (address, None)).into_iter().collect(),
            };
        }
    };
    let entrants = match around.circumstances.members.elect_addresses() {
        true => gather(first, sharing, around),
        false => vec![first],
    };
    let mut election = Election { around, owners: BTreeMap::new(), decided: Decided::default() };
    let mut parties = vec![entrants];
    while let Some(party) = parties.pop() {
        parties.extend(election.hold(party));
    }
    election.decided
}

/// The entrants linked to `first` by shared addresses: the oldest first, then by name.
fn gather<'a>(
    first: Entrant<'a>,
    sharing: &ServicesByAddress,
    around: Around<'a>,
) -> Vec<Entrant<'a>> {
    let is_shared = |address: &IpAddr| sharing.users(*address).len() > 1;
    if !first.addresses().iter().any(is_shared) {
        return vec![first];
    }
    let mut keys = BTreeSet::from([first.key.clone()]);
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    let mut next = first.addresses().to_vec();
    let mut entrants = vec![first];
    while let Some(address) = next.pop() {
        if !addresses.insert(address) {
            continue;
        }
        for key in sharing.users(address) {
            let Some(service) = around.snapshot.service(key) else { continue };
            if !keys.insert(key.clone()) {
                continue;
            }
            // A Service that no node could announce does not take part, and links no others.
            if let Ok(entrant) = Entrant::of(key, service, around) {
                next.extend(entrant.addresses());
                entrants.push(entrant);
            }
        }
    }
    entrants
        .sort_by(|one, two| (one.service.created, &one.key).cmp(&(two.service.created, &two.key)));
    entrants
}

/// Splits a party into parts linked by their free addresses; the order within each part stays.
fn split(party: Vec<Entrant<'_>>) -> Vec<Vec<Entrant<'_>>> {
    let mut of_address: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
    for (place, entrant) in party.iter().enumerate() {
        for address in &entrant.free {
            of_address.entry(*address).or_default().push(place);
        }
    }
    let mut part_of: BTreeMap<usize, usize> = BTreeMap::new();
    for start in 0..party.len() {
        let mut next = vec![start];
        while let Some(place) = next.pop() {
            if part_of.contains_key(&place) {
                continue;
            }
            part_of.insert(place, start);
            for address in party.get(place).into_iter().flat_map(|entrant| &entrant.free) {
                // Each address is followed once.
                next.extend(of_address.remove(address).unwrap_or_default());
            }
        }
    }
    let mut parts: BTreeMap<usize, Vec<Entrant<'_>>> = BTreeMap::new();
    for (place, entrant) in party.into_iter().enumerate() {
        let part = part_of.get(&place).copied().unwrap_or(place);
        parts.entry(part).or_default().push(entrant);
    }
    parts.into_values().collect()
}

/// The election of a group.
struct Election<'a> {
    around: Around<'a>,
    /// The owner of each address, for the Services that share it.
    owners: BTreeMap<IpAddr, Arc<str>>,
    decided: Decided,
}

/// The nodes among which the owner of a party's address is elected.
struct Poll<'a> {
    candidates: Vec<Candidate<'a>>,
    /// True if this node would be a candidate, were it not drained.
    is_drained: bool,
    /// The place in the party of the Service whose preference counts, and the node that it asks for.
    wish: Option<(usize, &'a str)>,
    /// The candidates before the preference was applied.
    before: Vec<Candidate<'a>>,
}

impl<'a> Election<'a> {
    /// Elects one node for a party. Returns the parts of the party that the node does not announce and that have free addresses left.
    fn hold(&mut self, party: Vec<Entrant<'a>>) -> Vec<Vec<Entrant<'a>>> {
        let Some(lead) = party.first() else { return Vec::new() };
        let Some(address) = lead.free.first().copied() else { return Vec::new() };
        let (strategy, options) = (lead.strategy, self.around.options);
        let poll = self.poll(&party);
        let elected = match self.around.circumstances.placement {
            Some(placement) => placement.choose(strategy, &options.node, &poll.candidates, address),
            None => winner(strategy, &poll.candidates, address)
                .map(|winner| Choice::Node(winner.node.into())),
        };
        let node = match elected {
            Some(Choice::Node(node)) => node,
            Some(Choice::Wait(speaker)) => {
                self.decided.owners.push((address, None));
                for entrant in party {
                    let verdict = Withhold::Unsettled(Arc::clone(&speaker)).into();
                    self.decided.verdicts.push((entrant.key, verdict));
                }
                return Vec::new();
            }
            None => {
                self.decided.owners.push((address, None));
                for entrant in party {
                    let verdict = nobody(&entrant);
                    self.decided.verdicts.push((entrant.key, verdict));
                }
                return Vec::new();
            }
        };
        self.decided.owners.push((address, Some(Arc::clone(&node))));
        let remarks = overruled(&party, &poll, self.around);
        let spreading = self.spreading(&party, &poll, &node);
        // An owner that keeps the address without being eligible here knows more: it alone decides that the address moves.
        let knows = party.iter().any(|entrant| entrant.is_for(&node));
        let mut others = Vec::new();
        for (entrant, remark) in party.into_iter().zip(remarks) {
            if knows && !entrant.is_for(&node) {
                others.push(entrant);
                continue;
            }
            for address in &entrant.free {
                self.owners.insert(*address, Arc::clone(&node));
            }
            let mut verdict = self.served(&entrant, &node, &poll, remark);
            verdict.spreading.clone_from(&spreading);
            self.decided.verdicts.push((entrant.key, verdict));
        }
        self.go_on(others)
    }

    /// Sorts the Services that the elected node does not announce: for the addresses that are left to them they elect again.
    fn go_on(&mut self, others: Vec<Entrant<'a>>) -> Vec<Vec<Entrant<'a>>> {
        let mut left = Vec::new();
        for mut entrant in others {
            entrant.free.retain(|address| !self.owners.contains_key(address));
            if !entrant.candidates.is_empty() && !entrant.free.is_empty() {
                left.push(entrant);
                continue;
            }
            let verdict = match entrant.candidates.is_empty() {
                true => nobody(&entrant),
                false => self.elsewhere(&entrant),
            };
            self.decided.verdicts.push((entrant.key, verdict));
        }
        split(left)
    }

    /// The nodes that may announce most of a party; of these the ones that are not drained; of these the one that is asked for.
    fn poll(&self, party: &[Entrant<'a>]) -> Poll<'a> {
        let Around { snapshot, circumstances, options } = self.around;
        let mut candidates = most(party);
        let strategy = party.first().map(|lead| lead.strategy).unwrap_or_default();
        if matches!(strategy, Strategy::Hash) && circumstances.members.is_mixed() {
            return Poll { before: Vec::new(), candidates, is_drained: false, wish: None };
        }
        let stays = |name: &str| {
            let read = || {
                let node = snapshot.nodes().get(name);
                node.is_some_and(|node| is_drained(node, options.drain_on_cordon))
            };
            !circumstances.members.is_drained(name).unwrap_or_else(read)
        };
        let mut is_drained = false;
        if candidates.iter().any(|candidate| stays(candidate.node)) {
            let is_candidate = candidates.iter().any(|candidate| candidate.node == &*options.node);
            is_drained = is_candidate && !stays(&options.node);
            candidates.retain(|candidate| stays(candidate.node));
        }
        let mut wishes = party.iter().enumerate().filter_map(|(place, entrant)| {
            let node = preferred_node(entrant.service, circumstances.time)?;
            Some((place, candidates.iter().find(|candidate| candidate.node == node).copied()?))
        });
        match wishes.next() {
            Some((place, asked)) => {
                let before = std::mem::replace(&mut candidates, vec![asked]);
                Poll { before, candidates, is_drained, wish: Some((place, asked.node)) }
            }
            None => Poll { before: Vec::new(), candidates, is_drained, wish: None },
        }
    }

    /// The verdict on a Service that the elected node announces.
    fn served(
        &self,
        entrant: &Entrant<'_>,
        node: &Arc<str>,
        poll: &Poll<'_>,
        remark: Option<Remark>,
    ) -> Verdict {
        let own = &self.around.options.node;
        let local = if node == own {
            entrant.announcement(self.around)
        } else if let Some(reason) = &entrant.barred {
            Err(reason.clone())
        } else if poll.is_drained {
            Err(Withhold::NodeDrained)
        } else {
            Err(Withhold::NotOwner(Arc::clone(node)))
        };
        let mut remarks: Vec<Remark> = remark.into_iter().collect();
        let elsewhere = entrant.addresses().iter().filter(|it| !entrant.free.contains(it));
        remarks.extend(elsewhere.filter_map(|address| {
            let node = Arc::clone(self.owners.get(address)?);
            Some(Remark::Elsewhere { address: *address, node })
        }));
        let owner = entrant.addresses().first().and_then(|first| self.owners.get(first));
        Verdict {
            local,
            announcer: Some(Arc::clone(node)),
            owner: Some(Arc::clone(owner.unwrap_or(node))),
            nobody: None,
            remarks,
            spreading: None,
        }
    }

    /// The nodes that are to serve a party's addresses together.
    fn spreading(
        &self,
        party: &[Entrant<'_>],
        poll: &Poll<'_>,
        node: &str,
    ) -> Option<Arc<Spreading>> {
        let Around { snapshot, circumstances, .. } = self.around;
        if circumstances.members.is_mixed() {
            return None;
        }
        let candidates = match poll.wish {
            Some(_) => &poll.before,
            None => &poll.candidates,
        };
        let served: Vec<&Entrant<'_>> = party.iter().filter(|it| it.is_for(node)).collect();
        Spreading::of(&served, candidates, snapshot).map(Arc::new)
    }

    /// The verdict on a Service whose addresses are owned for other Services.
    fn elsewhere(&self, entrant: &Entrant<'_>) -> Verdict {
        let owner = entrant.addresses().first().and_then(|first| self.owners.get(first));
        let Some(owner) = owner else { return nobody(entrant) };
        let why = Box::new(entrant.why_not(owner, self.around));
        let at_large = Withhold::SharedElsewhere { node: Arc::clone(owner), why };
        Verdict {
            local: Err(entrant.barred.clone().unwrap_or_else(|| at_large.clone())),
            announcer: None,
            owner: Some(Arc::clone(owner)),
            nobody: Some(at_large),
            remarks: Vec::new(),
            spreading: None,
        }
    }
}

/// The candidates of most Services of a party.
fn most<'a>(party: &[Entrant<'a>]) -> Vec<Candidate<'a>> {
    if let [only] = party {
        return only.candidates.clone();
    }
    // For each node the number of Services, and the sum of their scores for it.
    let mut nodes: BTreeMap<&'a str, (usize, u64)> = BTreeMap::new();
    for candidate in party.iter().flat_map(|entrant| &entrant.candidates) {
        let (services, score) = nodes.entry(candidate.node).or_default();
        *services += 1;
        *score = score.saturating_add(candidate.score);
    }
    let most = nodes.values().map(|(services, _)| *services).max().unwrap_or_default();
    let best = nodes.into_iter().filter(|(_, (services, _))| *services == most);
    best.map(|(node, (_, score))| Candidate { node, score }).collect()
}

/// The remarks about the Services of a party that ask for another node than an older one gets.
fn overruled(party: &[Entrant<'_>], poll: &Poll<'_>, around: Around<'_>) -> Vec<Option<Remark>> {
    let elder = poll.wish.and_then(|(place, node)| Some((party.get(place)?, node)));
    let remark = |entrant: &Entrant<'_>| {
        let (elder, node) = elder?;
        let wish = preferred_node(entrant.service, around.circumstances.time)?;
        let could = poll.before.iter().any(|candidate| candidate.node == wish);
        (wish != node && could).then(|| Remark::Overruled {
            wish: wish.into(),
            other: elder.key.clone(),
            node: node.into(),
        })
    };
    party.iter().map(remark).collect()
}

/// The verdict on a Service that no node may announce.
fn nobody(entrant: &Entrant<'_>) -> Verdict {
    let (local, at_large) = entrant.nobody();
    Verdict { nobody: Some(at_large), ..local.into() }
}
