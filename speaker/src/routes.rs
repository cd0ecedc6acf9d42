// SPDX-License-Identifier: Apache-2.0
//! The books of BGP: what this node advertises of every Service, and from it the table that each peer shall have.
//!
//! A synchronous value without sockets. Whoever drives it hands in the snapshot and what is dirty, gives
//! [`RouteBooks::take_changes`] to the sessions and carries out the [`RouteOutput`]s. Paths for one prefix are merged: communities
//! are united, the highest LOCAL_PREF wins (contract 5.4).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bgp::{Attributes, Families, Family, Routes};
use cluster::{Dirty, ObjectKey, Snapshot};
use ipnet::IpNet;

use crate::advertise::{Path, advertise};
use crate::options::Options;
use crate::reason::Withhold;
use crate::reason_counts::ReasonCounts;
use crate::service_view::replaced;

/// Something that changed and has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteOutput {
    /// The Service is advertised from here now, or differently.
    Advertised {
        /// The Service.
        service: ObjectKey,
        /// Its uid.
        uid: Box<str>,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// Those until now, if they were others.
        former: Vec<IpAddr>,
    },
    /// The Service was advertised from here and is no longer.
    Withdrawn {
        /// The Service.
        service: ObjectKey,
        /// What its addresses were.
        addresses: Vec<IpAddr>,
        /// Why it ended.
        reason: Withhold,
    },
    /// The Service's advertisements contradict one another, so that it is not advertised (contract 5.4).
    Conflict {
        /// The Service.
        service: ObjectKey,
        /// Which ones.
        reason: Withhold,
    },
    /// The peers that get a prefix of the Service are others now (contract 5.8); none are left when it is empty.
    Peers {
        /// The Service.
        service: ObjectKey,
        /// Their names, in order.
        peers: Vec<Arc<str>>,
    },
    /// Services want different LOCAL_PREFs for one prefix; the highest is sent.
    LocalPrefDiffers {
        /// The prefix.
        prefix: IpNet,
    },
}

/// What this node advertises.
pub struct RouteBooks {
    options: Options,
    advertised: BTreeMap<ObjectKey, Advertised>,
    /// Who uses each prefix, sorted; mostly one.
    users: BTreeMap<IpNet, Vec<ObjectKey>>,
    tables: BTreeMap<Arc<str>, Routes>,
    peers_of: BTreeMap<ObjectKey, Vec<Arc<str>>>,
    /// Every set of attributes in use, once.
    attributes: BTreeSet<Arc<Attributes>>,
    /// Prefixes about which LOCAL_PREFs differ, so that it is told once.
    disputed: BTreeSet<IpNet>,
    /// What changed in the peers' tables since it was last asked.
    changes: BTreeMap<Arc<str>, RouteChanges>,
    /// The families that each peer carries.
    families: BTreeMap<Arc<str>, Families>,
    /// Why nothing at all is advertised, if that is so.
    closed: Option<Withhold>,
    /// The name of the reason why a Service is not advertised.
    withheld: BTreeMap<ObjectKey, &'static str>,
    reason_counts: ReasonCounts,
}

/// Prefixes with their new attributes; none where a peer is no longer to have it.
pub type RouteChanges = BTreeMap<IpNet, Option<Arc<Attributes>>>;

/// A Service as it was last told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Its paths, sorted.
    pub paths: Vec<Path>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its uid.
    pub uid: Box<str>,
}

impl RouteBooks {
    /// Books that are empty.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            advertised: BTreeMap::new(),
            users: BTreeMap::new(),
            tables: BTreeMap::new(),
            peers_of: BTreeMap::new(),
            attributes: BTreeSet::new(),
            disputed: BTreeSet::new(),
            changes: BTreeMap::new(),
            families: BTreeMap::new(),
            closed: None,
            withheld: BTreeMap::new(),
            reason_counts: ReasonCounts::default(),
        }
    }

    /// From the next decision of a Service nothing is advertised, for this reason; or again.
    pub fn set_closed(&mut self, reason: Option<Withhold>) {
        self.closed = reason;
    }

    /// Each Service that is advertised from here.
    #[must_use]
    pub fn advertised(&self) -> &BTreeMap<ObjectKey, Advertised> {
        &self.advertised
    }

    /// How many Services this node does not advertise, by the reason.
    #[must_use]
    pub fn reason_counts(&self) -> &ReasonCounts {
        &self.reason_counts
    }

    /// The table of each peer.
    #[must_use]
    pub fn tables(&self) -> &BTreeMap<Arc<str>, Routes> {
        &self.tables
    }

    /// The prefixes of more than one address that are advertised from here.
    #[must_use]
    pub fn aggregates(&self) -> BTreeSet<IpNet> {
        let shorter = |prefix: &&IpNet| prefix.prefix_len() < prefix.max_prefix_len();
        self.users.keys().filter(shorter).copied().collect()
    }

    /// The names of the peers that get a prefix of the Service, in order.
    #[must_use]
    pub fn peers_of(&self, service: &ObjectKey) -> &[Arc<str>] {
        self.peers_of.get(service).map(Vec::as_slice).unwrap_or_default()
    }

    /// What changed in each peer's table since this was last called. A new peer's table was empty before.
    pub fn take_changes(&mut self) -> BTreeMap<Arc<str>, RouteChanges> {
        std::mem::take(&mut self.changes)
    }

    /// Decides again what is dirty, for exactly these peers, each of which gets the families that it carries.
    pub fn reconcile(
        &mut self,
        snapshot: &Snapshot,
        dirty: &Dirty,
        peers: &BTreeMap<Arc<str>, Families>,
    ) -> Vec<RouteOutput> {
        let keys: BTreeSet<ObjectKey> = if dirty.all {
            snapshot.services().keys().chain(self.advertised.keys()).cloned().collect()
        } else {
            dirty.services.clone()
        };
        let mut outputs = Vec::new();
        let mut touched = BTreeSet::new();
        for key in keys {
            self.decide(&key, snapshot, &mut touched, &mut outputs);
        }
        if self.families != *peers {
            self.families.clone_from(peers);
            self.tables.retain(|peer, _| peers.contains_key(peer));
            self.changes.retain(|peer, _| peers.contains_key(peer));
            for peer in peers.keys() {
                self.tables.entry(Arc::clone(peer)).or_default();
            }
            touched.extend(self.users.keys().copied());
        }
        let mut services = BTreeSet::new();
        for prefix in &touched {
            self.update_tables(*prefix, &mut outputs);
            services.extend(self.users.get(prefix).into_iter().flatten().cloned());
        }
        for key in services {
            self.update_peers(key, &mut outputs);
        }
        if dirty.all {
            self.attributes.retain(|attributes| Arc::strong_count(attributes) > 1);
        }
        outputs
    }

    fn decide(
        &mut self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        touched: &mut BTreeSet<IpNet>,
        outputs: &mut Vec<RouteOutput>,
    ) {
        let service = snapshot.service(key);
        let verdict = match service {
            Some(service) => match &self.closed {
                Some(reason) => Err(reason.clone()),
                None => advertise(key, service, snapshot, &self.options),
            },
            None => Err(Withhold::ServiceDeleted),
        };
        let is = service.and(verdict.as_ref().err()).map(Withhold::name_by_bgp);
        let was = match is {
            Some(name) => self.withheld.insert(key.clone(), name),
            None => self.withheld.remove(key),
        };
        self.reason_counts.change(was, is);
        if let Err(reason @ Withhold::ConflictingAdvertisements(..)) = &verdict
            && was != is
        {
            outputs.push(RouteOutput::Conflict { service: key.clone(), reason: reason.clone() });
        }
        match (verdict, service) {
            (Ok(mut paths), Some(service)) => {
                let addresses: Vec<IpAddr> = service.ingress_addresses().collect();
                if self.advertised.get(key).is_some_and(|known| {
                    known.paths == paths && known.addresses == addresses && known.uid == service.uid
                }) {
                    return;
                }
                for path in &mut paths {
                    path.attributes = self.intern(Arc::clone(&path.attributes));
                }
                let former = self.forget(key, touched).unwrap_or_default();
                for path in &paths {
                    let users = self.users.entry(path.prefix).or_default();
                    if let Err(index) = users.binary_search(key) {
                        users.insert(index, key.clone());
                    }
                    touched.insert(path.prefix);
                }
                let uid = service.uid.clone();
                outputs.push(RouteOutput::Advertised {
                    service: key.clone(),
                    uid: uid.clone(),
                    addresses: addresses.clone(),
                    former: replaced(former, &addresses),
                });
                self.advertised.insert(key.clone(), Advertised { paths, addresses, uid });
            }
            (verdict, _) => {
                if let Some(addresses) = self.forget(key, touched) {
                    let reason = verdict.err().unwrap_or(Withhold::ServiceDeleted);
                    let service = key.clone();
                    outputs.push(RouteOutput::Withdrawn { service, addresses, reason });
                    if self.peers_of.remove(key).is_some() {
                        outputs
                            .push(RouteOutput::Peers { service: key.clone(), peers: Vec::new() });
                    }
                }
            }
        }
    }

    /// Nothing is advertised of it any more; returns its addresses if something was.
    fn forget(&mut self, key: &ObjectKey, touched: &mut BTreeSet<IpNet>) -> Option<Vec<IpAddr>> {
        let known = self.advertised.remove(key)?;
        for path in known.paths {
            if let Some(users) = self.users.get_mut(&path.prefix) {
                if let Ok(index) = users.binary_search(key) {
                    users.remove(index);
                }
                if users.is_empty() {
                    self.users.remove(&path.prefix);
                }
            }
            touched.insert(path.prefix);
        }
        Some(known.addresses)
    }

    fn intern(&mut self, attributes: Arc<Attributes>) -> Arc<Attributes> {
        if let Some(known) = self.attributes.get(&attributes) {
            return Arc::clone(known);
        }
        self.attributes.insert(Arc::clone(&attributes));
        attributes
    }

    /// Brings the prefix in every peer's table to what its users want now.
    fn update_tables(&mut self, prefix: IpNet, outputs: &mut Vec<RouteOutput>) {
        let users = self.users.get(&prefix).map(Vec::as_slice).unwrap_or_default();
        let paths: Vec<&Path> = users
            .iter()
            .filter_map(|key| self.advertised.get(key))
            .flat_map(|known| &known.paths)
            .filter(|path| path.prefix == prefix)
            .collect();
        let mut wanted: Vec<(Arc<str>, Option<Arc<Attributes>>)> =
            Vec::with_capacity(self.tables.len());
        let mut disputed = false;
        for peer in self.tables.keys() {
            let mut merged: Option<Arc<Attributes>> = None;
            let carries = self
                .families
                .get(peer)
                .is_some_and(|families| families.contains(Family::of(&prefix)));
            for path in paths.iter().filter(|path| carries && path.is_for(peer)) {
                merged = Some(match merged {
                    None => Arc::clone(&path.attributes),
                    Some(one) if one == path.attributes => one,
                    Some(one) => {
                        disputed |= one.local_pref() != path.attributes.local_pref();
                        Arc::new(one.union(&path.attributes))
                    }
                });
            }
            wanted.push((Arc::clone(peer), merged));
        }
        for (peer, attributes) in wanted {
            let attributes = attributes.map(|attributes| self.intern(attributes));
            let Some(table) = self.tables.get_mut(&peer) else { continue };
            if table.get(&prefix) == attributes.as_ref() {
                continue;
            }
            match &attributes {
                Some(attributes) => table.insert(prefix, Arc::clone(attributes)),
                None => table.remove(&prefix),
            };
            self.changes.entry(peer).or_default().insert(prefix, attributes);
        }
        if !disputed {
            self.disputed.remove(&prefix);
        } else if self.disputed.insert(prefix) {
            outputs.push(RouteOutput::LocalPrefDiffers { prefix });
        }
    }

    fn update_peers(&mut self, key: ObjectKey, outputs: &mut Vec<RouteOutput>) {
        let known = self.advertised.get(&key);
        let paths = known.map(|known| known.paths.as_slice()).unwrap_or_default();
        let peers: Vec<Arc<str>> = self
            .tables
            .iter()
            .filter(|(_, table)| paths.iter().any(|path| table.contains_key(&path.prefix)))
            .map(|(peer, _)| Arc::clone(peer))
            .collect();
        if self.peers_of(&key) == peers {
            return;
        }
        if peers.is_empty() {
            self.peers_of.remove(&key);
        } else {
            self.peers_of.insert(key.clone(), peers.clone());
        }
        outputs.push(RouteOutput::Peers { service: key, peers });
    }
}
