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

use crate::announce::{Announcement, Circumstances, Verdict, announce};
use crate::options::Options;
use crate::reason::Withhold;
use crate::subject;
use crate::tally::Tally;

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
        /// The node that announces it now, if one does.
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
    tally: Tally,
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
            tally: Tally::default(),
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

    /// How many Services this node does not announce, by the reason.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
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

    /// Decides again what is dirty; nothing is told of what stays as it was.
    pub fn reconcile(
        &mut self,
        snapshot: &Snapshot,
        dirty: &Dirty,
        circumstances: &Circumstances<'_>,
    ) -> Vec<Output> {
        let keys: BTreeSet<ObjectKey> = if dirty.all {
            let known = self.announced.keys().chain(&self.without_interface);
            snapshot.services().keys().chain(known).cloned().collect()
        } else {
            dirty.services.clone()
        };
        let mut outputs = Vec::new();
        let mut tenure = circumstances.tenure.cloned();
        for key in keys {
            let verdict = match snapshot.service(&key) {
                Some(service) => {
                    let circumstances = Circumstances { tenure: tenure.as_ref(), ..*circumstances };
                    announce(&key, service, snapshot, &circumstances, &self.options)
                }
                None => Verdict::from(Withhold::ServiceDeleted),
            };
            if let Some(tenure) = &mut tenure
                && let Some(address) =
                    snapshot.service(&key).and_then(|service| service.ingress_addresses().next())
            {
                tenure.note(&self.options.node, address, verdict.announcer.as_deref());
            }
            let uid = snapshot.service(&key).map(|service| service.uid.clone()).unwrap_or_default();
            self.settle(key, uid, snapshot, verdict, &mut outputs);
        }
        outputs
    }

    fn settle(
        &mut self,
        key: ObjectKey,
        uid: Box<str>,
        snapshot: &Snapshot,
        verdict: Verdict,
        outputs: &mut Vec<Output>,
    ) {
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
                let former = subject::replaced(former, &announcement.addresses);
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
                    let successor = verdict.announcer;
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
        self.tally.change(before.map(|(reason, _)| reason.name()), is);
    }

    fn forget(&mut self, key: &ObjectKey) -> Option<Announcement> {
        let announcement = self.announced.remove(key)?;
        for address in &announcement.addresses {
            self.touched.insert(*address);
            if let Some(users) = self.users.get_mut(address) {
                users.retain(|user| user != key);
                if users.is_empty() {
                    self.users.remove(address);
                }
            }
        }
        Some(announcement)
    }
}
