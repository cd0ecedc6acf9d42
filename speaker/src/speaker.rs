// SPDX-License-Identifier: Apache-2.0
//! The speaker's books: what this node announces, and what has to be told when that changes.
//!
//! A synchronous value without sockets. Whoever drives it hands in the snapshot and what is dirty, hands
//! [`Speaker::take_changes`] to the l2 engine and carries out the [`Output`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cluster::{Dirty, ObjectKey, Snapshot};
use l2::{Desired, Scope};

use crate::announce::{Announcement, Around, Circumstances, Decided, Remark, Verdict, decide};
use crate::options::Options;
use crate::reason::Withhold;
use crate::reason_counts::ReasonCounts;
use crate::service_view;
use crate::sharing::Sharing;

/// Something that changed and has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The Service is announced from here now.
    Announced {
        /// The Service.
        service: ObjectKey,
        /// Its uid.
        uid: Box<str>,
        /// What is announced.
        announcement: Announcement,
        /// Its addresses until now, if they were others.
        former: Vec<IpAddr>,
    },
    /// The Service was announced from here and is no longer.
    Withdrawn {
        /// The Service.
        service: ObjectKey,
        /// What was announced.
        announcement: Announcement,
        /// Why it ended.
        reason: Withhold,
        /// The node that has its first address now, if one does.
        successor: Option<Arc<str>>,
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

/// What this node announces.
pub struct Speaker {
    options: Options,
    announced: BTreeMap<ObjectKey, Announcement>,
    /// Services that lack an interface here, so that it is told once.
    without_interface: BTreeSet<ObjectKey>,
    /// Why this node does not announce a Service, and who does, for every Service that there is.
    withheld: BTreeMap<ObjectKey, (Withhold, Option<Arc<str>>)>,
    /// Why nobody announces a Service, where this node has a reason of its own.
    nobody: BTreeMap<ObjectKey, Withhold>,
    /// What those that share an address have to bear.
    remarks: BTreeMap<ObjectKey, Vec<Remark>>,
    sharing: Sharing,
    /// What the last round decided again because an address is shared.
    redecided: BTreeSet<ObjectKey>,
    reason_counts: ReasonCounts,
    /// Who uses each announced address, sorted; mostly one.
    users: BTreeMap<IpAddr, Vec<ObjectKey>>,
    /// Addresses whose users changed since it was last asked.
    touched: BTreeSet<IpAddr>,
}

impl Speaker {
    /// One that announces nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            announced: BTreeMap::new(),
            without_interface: BTreeSet::new(),
            withheld: BTreeMap::new(),
            nobody: BTreeMap::new(),
            remarks: BTreeMap::new(),
            sharing: Sharing::default(),
            redecided: BTreeSet::new(),
            reason_counts: ReasonCounts::default(),
            users: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// What it was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What is announced for each Service.
    #[must_use]
    pub fn announced(&self) -> &BTreeMap<ObjectKey, Announcement> {
        &self.announced
    }

    /// Why this node does not announce a Service, and who does; none if it does or there is no such Service.
    #[must_use]
    pub fn withheld(&self, service: &ObjectKey) -> Option<(&Withhold, Option<&Arc<str>>)> {
        self.withheld.get(service).map(|(reason, announcer)| (reason, announcer.as_ref()))
    }

    /// Why nobody announces a Service, the same on every node; none if somebody does or there is no such Service.
    #[must_use]
    pub fn nobody(&self, service: &ObjectKey) -> Option<&Withhold> {
        let (local, announcer) = self.withheld.get(service)?;
        let at_large = self.nobody.get(service).unwrap_or(local);
        announcer.is_none().then_some(at_large)
    }

    /// What a Service has to bear because it shares an address; mostly nothing.
    #[must_use]
    pub fn remarks(&self, service: &ObjectKey) -> &[Remark] {
        self.remarks.get(service).map_or(&[], Vec::as_slice)
    }

    /// The Services that the last [`Self::reconcile`] decided although they were not dirty: they share an address with one that was.
    #[must_use]
    pub fn redecided(&self) -> &BTreeSet<ObjectKey> {
        &self.redecided
    }

    /// How many Services this node does not announce, by the reason.
    #[must_use]
    pub fn reason_counts(&self) -> &ReasonCounts {
        &self.reason_counts
    }

    /// The Services that announce `address` from here.
    pub fn users(&self, address: IpAddr) -> impl Iterator<Item = &ObjectKey> {
        self.users.get(&address).into_iter().flatten()
    }

    /// Every address to answer for, and where: of Services that share one, on the union of their interfaces
    /// (contract 4.8).
    #[must_use]
    pub fn desired(&self) -> Desired {
        self.users.keys().filter_map(|address| Some((*address, self.scope_of(*address)?))).collect()
    }

    /// What became different in [`Self::desired`] since this was last called; none as scope means no longer desired.
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

    /// Decides again what is dirty, and those that share an address with it; nothing is told of what stays as it was.
    pub fn reconcile(
        &mut self,
        snapshot: &Snapshot,
        dirty: &Dirty,
        circumstances: &Circumstances<'_>,
    ) -> Vec<Output> {
        let keys: BTreeSet<ObjectKey> = if dirty.all {
            self.sharing = Sharing::of(snapshot);
            let known = self.announced.keys().chain(&self.without_interface);
            snapshot.services().keys().chain(known).cloned().collect()
        } else {
            self.sharing.update(snapshot, dirty.services.iter())
        };
        self.redecided.clear();
        let mut outputs = Vec::new();
        let mut placement = circumstances.placement.cloned();
        // Of those that share addresses one brings the verdicts for all.
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
        note(&mut self.remarks, &key, Some(verdict.remarks).filter(is_remarkable));
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
                        // Exactly as many as there are: for one a Vec would make room for four.
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

/// From now on this is so of a Service, or nothing.
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
