// SPDX-License-Identifier: Apache-2.0
//! The announcements of this node, and the changes that have to be told.
//!
//! A synchronous value without sockets. Its driver hands in the snapshot and what is dirty, hands [`Speaker::take_changes`] to the l2 engine
//! and carries out the [`Output`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cluster::{Dirty, ObjectKey, Snapshot};
use l2::{Desired, Scope};

use crate::announce::{
    Announcement, Around, Circumstances, Decided, Remark, Spreading, Verdict, decide,
};
use crate::options::Options;
use crate::reason::Withhold;
use crate::reason_counts::ReasonCounts;
use crate::service_view;
use crate::sharing::ServicesByAddress;

/// A change that has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The Service is announced from here now.
    Announced {
        /// The Service.
        service: ObjectKey,
        /// Its uid.
        uid: Box<str>,
        /// The announcement from now on.
        announcement: Announcement,
        /// The addresses until now, if they were others.
        former: Vec<IpAddr>,
    },
    /// The Service was announced from here and is no longer.
    Withdrawn {
        /// The Service.
        service: ObjectKey,
        /// The announcement until now.
        announcement: Announcement,
        /// The reason why it ended.
        reason: Withhold,
        /// The node that owns the Service's first address now, if one does.
        successor: Option<Arc<str>>,
    },
    /// The Service, which is announced from here, has other disadvantages now because it shares an address.
    Remarked {
        /// The Service.
        service: ObjectKey,
        /// The disadvantages; at least one.
        remarks: Vec<Remark>,
    },
    /// This node is to announce the Service, and lacks every interface for it (contract 2.9).
    NoInterface {
        /// The Service.
        service: ObjectKey,
        /// Its uid.
        uid: Box<str>,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
}

/// The announcements of this node.
pub struct Speaker {
    options: Options,
    announced: BTreeMap<ObjectKey, Announcement>,
    /// Services that lack an interface here, which is told once.
    without_interface: BTreeSet<ObjectKey>,
    /// For every Service that this node does not announce: the reason, and the announcer, if there is one.
    withheld: BTreeMap<ObjectKey, (Withhold, Option<Arc<str>>)>,
    /// The reason why nobody announces a Service, where it differs from this node's own reason.
    nobody: BTreeMap<ObjectKey, Withhold>,
    /// The nodes that are to serve the addresses of a Service together with this one, which announces it.
    spreading: BTreeMap<ObjectKey, Arc<Spreading>>,
    /// The remarks about Services that share an address.
    remarks: BTreeMap<ObjectKey, Vec<Remark>>,
    sharing: ServicesByAddress,
    /// The Services that the last round decided again because they share an address.
    redecided: BTreeSet<ObjectKey>,
    reason_counts: ReasonCounts,
    /// The Services that use each announced address, sorted; one mostly.
    users: BTreeMap<IpAddr, Vec<ObjectKey>>,
    /// Addresses whose users have changed since the last [`Self::take_changes`].
    touched: BTreeSet<IpAddr>,
}

impl Speaker {
    /// A speaker that announces nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            announced: BTreeMap::new(),
            without_interface: BTreeSet::new(),
            withheld: BTreeMap::new(),
            nobody: BTreeMap::new(),
            remarks: BTreeMap::new(),
            spreading: BTreeMap::new(),
            sharing: ServicesByAddress::default(),
            redecided: BTreeSet::new(),
            reason_counts: ReasonCounts::default(),
            users: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// The options that this speaker was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The announcement of each Service.
    #[must_use]
    pub fn announced(&self) -> &BTreeMap<ObjectKey, Announcement> {
        &self.announced
    }

    /// The reason why this node does not announce a Service, and the announcer; none if this node announces the Service or there is no such
    /// Service.
    #[must_use]
    pub fn withheld(&self, service: &ObjectKey) -> Option<(&Withhold, Option<&Arc<str>>)> {
        self.withheld.get(service).map(|(reason, announcer)| (reason, announcer.as_ref()))
    }

    /// The reason why nobody announces a Service, the same on every node; none if some node announces it or there is no such Service.
    #[must_use]
    pub fn nobody(&self, service: &ObjectKey) -> Option<&Withhold> {
        let (local, announcer) = self.withheld.get(service)?;
        let at_large = self.nobody.get(service).unwrap_or(local);
        announcer.is_none().then_some(at_large)
    }

    /// The remarks about a Service that shares an address; mostly none.
    #[must_use]
    pub fn remarks(&self, service: &ObjectKey) -> &[Remark] {
        self.remarks.get(service).map_or(&[], Vec::as_slice)
    }

    /// The nodes that are to serve a Service that is announced from here; none if this node is to serve it alone.
    #[must_use]
    pub fn spreading(&self, service: &ObjectKey) -> Option<&Spreading> {
        self.spreading.get(service).map(|spreading| &**spreading)
    }

    /// The addresses announced from here that several nodes are to serve, if all Services that use them want that.
    #[must_use]
    pub fn spread_addresses(&self) -> BTreeMap<IpAddr, Arc<Spreading>> {
        let announced = self
            .spreading
            .iter()
            .filter_map(|(key, spreading)| Some((&self.announced.get(key)?.addresses, spreading)));
        let pairs = announced.flat_map(|(addresses, spreading)| {
            addresses.iter().map(move |address| (*address, Arc::clone(spreading)))
        });
        let wanted =
            |address: &IpAddr| self.users(*address).all(|user| self.spreading.contains_key(user));
        pairs.filter(|(address, _)| wanted(address)).collect()
    }

    /// The Services that the last [`Self::reconcile`] decided although they were not dirty: they share an address with a dirty one.
    #[must_use]
    pub fn redecided(&self) -> &BTreeSet<ObjectKey> {
        &self.redecided
    }

    /// The number of Services that this node does not announce, by the reason.
    #[must_use]
    pub fn reason_counts(&self) -> &ReasonCounts {
        &self.reason_counts
    }

    /// The Services that announce `address` from here.
    pub fn users(&self, address: IpAddr) -> impl Iterator<Item = &ObjectKey> {
        self.users.get(&address).into_iter().flatten()
    }

    /// Every address to answer for, with its links: Services that share an address have the union of their interfaces (contract 4.8).
    #[must_use]
    pub fn desired(&self) -> Desired {
        self.users.keys().filter_map(|address| Some((*address, self.scope_of(*address)?))).collect()
    }

    /// The changes of [`Self::desired`] since the last call; an address without a scope is no longer desired.
    pub fn take_changes(&mut self) -> Vec<(IpAddr, Option<Scope>)> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().map(|address| (address, self.scope_of(address))).collect()
    }

    fn scope_of(&self, address: IpAddr) -> Option<Scope> {
        let users = self.users.get(&address)?;
        let scopes = users.iter().filter_map(|key| Some(&self.announced.get(key)?.scope));
        scopes.fold(None, |merged, scope| {
            Some(match (merged, scope) {
                (None, scope) => scope.clone(),
                (Some(Scope::AllInterfaces), _) | (Some(_), Scope::AllInterfaces) => {
                    Scope::AllInterfaces
                }
                (Some(Scope::Interfaces(mut all)), Scope::Interfaces(more)) => {
                    all.extend(more.iter().cloned());
                    Scope::Interfaces(all)
                }
            })
        })
    }

    /// Decides again the Services that are dirty, and the ones that share an address with them. A Service that stays as it was has no output.
    pub fn reconcile(
        &mut self,
        snapshot: &Snapshot,
        dirty: &Dirty,
        circumstances: &Circumstances<'_>,
    ) -> Vec<Output> {
        let keys: BTreeSet<ObjectKey> = if dirty.all {
            self.sharing = ServicesByAddress::of(snapshot);
            let known = self.announced.keys().chain(&self.without_interface);
            snapshot.services().keys().chain(known).cloned().collect()
        } else {
            self.sharing.update(snapshot, dirty.services.iter())
        };
        self.redecided.clear();
        let mut outputs = Vec::new();
        let mut placement = circumstances.placement.cloned();
        // The first of the Services that share addresses brings the verdicts for all of them.
        let mut brought: BTreeMap<ObjectKey, Verdict> = BTreeMap::new();
        for key in keys {
            if let Some(verdict) = brought.remove(&key) {
                self.settle(key, snapshot, dirty, verdict, &mut outputs);
                continue;
            }
            let circumstances = Circumstances { placement: placement.as_ref(), ..*circumstances };
            let Decided { verdicts, owners } = self.decide(&key, snapshot, &circumstances);
            for (address, owner) in owners {
                if let Some(placement) = &mut placement {
                    placement.note(&self.options.node, address, owner.as_deref());
                }
            }
            for (other, verdict) in verdicts {
                if other == key {
                    self.settle(other, snapshot, dirty, verdict, &mut outputs);
                } else {
                    brought.insert(other, verdict);
                }
            }
        }
        for (key, verdict) in brought {
            self.settle(key, snapshot, dirty, verdict, &mut outputs);
        }
        outputs
    }

    fn decide(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        circumstances: &Circumstances<'_>,
    ) -> Decided {
        match snapshot.service(key) {
            Some(service) => {
                let around = Around { snapshot, circumstances, options: &self.options };
                decide(key, service, &self.sharing, around)
            }
            None => Decided {
                verdicts: vec![(key.clone(), Withhold::ServiceDeleted.into())],
                owners: Vec::new(),
            },
        }
    }

    fn settle(
        &mut self,
        key: ObjectKey,
        snapshot: &Snapshot,
        dirty: &Dirty,
        verdict: Verdict,
        outputs: &mut Vec<Output>,
    ) {
        if !dirty.all && !dirty.services.contains(&key) {
            self.redecided.insert(key.clone());
        }
        let uid = snapshot.service(&key).map(|service| service.uid.clone()).unwrap_or_default();
        let differs = |nobody: &Withhold| verdict.local.as_ref().err() != Some(nobody);
        note(&mut self.nobody, &key, verdict.nobody.filter(differs));
        let is_remarkable = |remarks: &Vec<Remark>| !remarks.is_empty();
        let remarks = Some(verdict.remarks).filter(is_remarkable);
        let told = if verdict.local.is_ok() { remarks.as_ref() } else { None };
        if let Some(remarks) = told.filter(|remarks| self.remarks.get(&key) != Some(*remarks)) {
            outputs.push(Output::Remarked { service: key.clone(), remarks: remarks.clone() });
        }
        note(&mut self.remarks, &key, remarks);
        note(&mut self.spreading, &key, verdict.spreading.filter(|_| verdict.local.is_ok()));
        match verdict.local {
            Ok(announcement) => {
                self.withhold(&key, None);
                self.without_interface.remove(&key);
                if self.announced.get(&key) == Some(&announcement) {
                    return;
                }
                let former = self.forget(&key).map(|before| before.addresses).unwrap_or_default();
                for address in &announcement.addresses {
                    let users = self.users.entry(*address).or_default();
                    if let Err(place) = users.binary_search(&key) {
                        // Exact room: for one entry a Vec would make room for four.
                        users.reserve_exact(1);
                        users.insert(place, key.clone());
                    }
                    self.touched.insert(*address);
                }
                self.announced.insert(key.clone(), announcement.clone());
                let former = service_view::replaced(former, &announcement.addresses);
                outputs.push(Output::Announced { service: key, uid, announcement, former });
            }
            Err(reason) => {
                let withheld = snapshot.service(&key).is_some();
                self.withhold(&key, withheld.then(|| (reason.clone(), verdict.announcer.clone())));
                if matches!(reason, Withhold::NoInterface(_)) {
                    if self.without_interface.insert(key.clone()) {
                        let service = snapshot.service(&key);
                        let addresses = service
                            .map(|service| service.ingress_addresses().collect())
                            .unwrap_or_default();
                        outputs.push(Output::NoInterface { service: key.clone(), uid, addresses });
                    }
                } else {
                    self.without_interface.remove(&key);
                }
                if let Some(announcement) = self.forget(&key) {
                    let successor = verdict.owner;
                    outputs.push(Output::Withdrawn {
                        service: key,
                        announcement,
                        reason,
                        successor,
                    });
                }
            }
        }
    }

    fn withhold(&mut self, key: &ObjectKey, withheld: Option<(Withhold, Option<Arc<str>>)>) {
        let is = withheld.as_ref().map(|(reason, _)| reason.name());
        let before = match withheld {
            Some(withheld) => self.withheld.insert(key.clone(), withheld),
            None => self.withheld.remove(key),
        };
        self.reason_counts.change(before.map(|(reason, _)| reason.name()), is);
    }

    fn forget(&mut self, key: &ObjectKey) -> Option<Announcement> {
        let announcement = self.announced.remove(key)?;
        for address in &announcement.addresses {
            self.touched.insert(*address);
            if let Some(users) = self.users.get_mut(address) {
                if let Ok(place) = users.binary_search(key) {
                    users.remove(place);
                }
                if users.is_empty() {
                    self.users.remove(address);
                }
            }
        }
        Some(announcement)
    }
}

/// Sets the value of a Service, or removes it.
fn note<T>(all: &mut BTreeMap<ObjectKey, T>, key: &ObjectKey, value: Option<T>) {
    match value {
        Some(value) => {
            all.insert(key.clone(), value);
        }
        None => {
            all.remove(key);
        }
    }
}
