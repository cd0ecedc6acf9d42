// SPDX-License-Identifier: Apache-2.0
//! How one address is used, however many Services share it: no question about it walks over them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::ObjectKey;
use cluster::model::ServicePort;
use crds::config::{PoolId, PoolKind};

use crate::sharing::{Claim, Sharing};

/// How one address is used.
#[derive(Clone, Debug)]
pub(crate) struct AddressUse {
    /// The pool that the first user got it from.
    pub(crate) pool: PoolId,
    /// The first user's sharing, which is that of all.
    pub(crate) sharing: Arc<Sharing>,
    holders: Holders,
}

/// Mostly one, whose claim says everything; a crowd has an index.
#[derive(Clone, Debug)]
enum Holders {
    One(ObjectKey),
    Several(Box<Crowd>),
}

#[derive(Clone, Debug, Default)]
struct Crowd {
    users: BTreeSet<ObjectKey>,
    /// The holder of each port, sorted: one for each, but in Antrea's world.
    ports: BTreeMap<ServicePort, Vec<ObjectKey>>,
    /// How many are of Antrea's world.
    of_antrea: usize,
    /// How many do not share.
    unsharing: usize,
}

impl Crowd {
    fn admit(&mut self, service: &ObjectKey, claim: &Claim) {
        if !self.users.insert(service.clone()) {
            return;
        }
        for port in &*claim.ports {
            let users = self.ports.entry(port.clone()).or_default();
            if let Err(index) = users.binary_search(service) {
                users.insert(index, service.clone());
            }
        }
        self.of_antrea += usize::from(is_of_antrea(claim));
        self.unsharing += usize::from(!claim.sharing.is_allowed());
    }

    fn dismiss(&mut self, service: &ObjectKey, claim: &Claim) {
        if !self.users.remove(service) {
            return;
        }
        for port in &*claim.ports {
            let Some(users) = self.ports.get_mut(port) else { continue };
            if let Ok(index) = users.binary_search(service) {
                users.remove(index);
            }
            if users.is_empty() {
                self.ports.remove(port);
            }
        }
        self.of_antrea = self.of_antrea.saturating_sub(usize::from(is_of_antrea(claim)));
        let unsharing = usize::from(!claim.sharing.is_allowed());
        self.unsharing = self.unsharing.saturating_sub(unsharing);
    }
}

fn is_of_antrea(claim: &Claim) -> bool {
    claim.sharing.world() == PoolKind::ExternalIpPool
}

/// A Service and the claim by which it holds the address.
pub(crate) type Holder<'a> = (&'a ObjectKey, &'a Claim);

impl AddressUse {
    pub(crate) fn new(pool: PoolId, (service, claim): Holder<'_>) -> Self {
        let holders = Holders::One(service.clone());
        Self { pool, sharing: Arc::clone(&claim.sharing), holders }
    }

    /// Its users, in the order of their keys.
    pub(crate) fn users(&self) -> impl Iterator<Item = &ObjectKey> {
        let (one, several) = match &self.holders {
            Holders::One(only) => (Some(only), None),
            Holders::Several(crowd) => (None, Some(&crowd.users)),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    /// The only user, if there is only one.
    pub(crate) fn only(&self) -> Option<&ObjectKey> {
        match &self.holders {
            Holders::One(only) => Some(only),
            Holders::Several(_) => None,
        }
    }

    fn holds(&self, service: &ObjectKey) -> bool {
        match &self.holders {
            Holders::One(only) => only == service,
            Holders::Several(crowd) => crowd.users.contains(service),
        }
    }

    /// Whether anybody but `service` uses it.
    pub(crate) fn has_others(&self, service: &ObjectKey) -> bool {
        match &self.holders {
            Holders::One(only) => only != service,
            // A crowd has two at least.
            Holders::Several(_) => true,
        }
    }

    /// Whether another than `service` is of the other world than `world`. `claim_of` tells by what claim a user holds it.
    pub(crate) fn has_foreign<'a>(
        &self,
        service: &ObjectKey,
        world: PoolKind,
        claim_of: impl Fn(&ObjectKey) -> Option<&'a Claim>,
    ) -> bool {
        let is_foreign =
            |user: &ObjectKey| claim_of(user).is_some_and(|held| held.sharing.world() != world);
        match &self.holders {
            Holders::One(only) => only != service && is_foreign(only),
            Holders::Several(crowd) => {
                let foreign = match world {
                    PoolKind::ExternalIpPool => crowd.users.len() - crowd.of_antrea,
                    PoolKind::IpAddressPool => crowd.of_antrea,
                };
                foreign > usize::from(self.holds(service) && is_foreign(service))
            }
        }
    }

    /// Whether all but `service` share it, as they claim it now.
    pub(crate) fn others_share<'a>(
        &self,
        service: &ObjectKey,
        claim_of: impl Fn(&ObjectKey) -> Option<&'a Claim>,
    ) -> bool {
        let shares =
            |user: &ObjectKey| claim_of(user).is_some_and(|held| held.sharing.is_allowed());
        match &self.holders {
            Holders::One(only) => only == service || shares(only),
            Holders::Several(crowd) => {
                crowd.unsharing == usize::from(self.holds(service) && !shares(service))
            }
        }
    }

    /// The holder of `port` besides `service`: the first by its key.
    pub(crate) fn other_with<'a>(
        &'a self,
        port: &ServicePort,
        service: &ObjectKey,
        claim_of: impl Fn(&ObjectKey) -> Option<&'a Claim>,
    ) -> Option<&'a ObjectKey> {
        match &self.holders {
            Holders::One(only) => (only != service
                && claim_of(only).is_some_and(|claim| claim.ports.contains(port)))
            .then_some(only),
            Holders::Several(crowd) => crowd.ports.get(port)?.iter().find(|user| *user != service),
        }
    }

    /// Another user. `only` is the claim of the only one until now, if there is only one.
    pub(crate) fn admit(&mut self, (service, claim): Holder<'_>, only: Option<&Claim>) {
        match &mut self.holders {
            Holders::Several(crowd) => crowd.admit(service, claim),
            Holders::One(first) if first == service => {}
            Holders::One(first) => {
                let mut crowd = Box::<Crowd>::default();
                if let Some(held) = only {
                    crowd.admit(first, held);
                }
                crowd.admit(service, claim);
                self.holders = Holders::Several(crowd);
            }
        }
    }

    /// A user fewer; whether nobody is left.
    pub(crate) fn dismiss(&mut self, (service, claim): Holder<'_>) -> bool {
        match &mut self.holders {
            Holders::One(only) => only == service,
            Holders::Several(crowd) => {
                crowd.dismiss(service, claim);
                let mut left = crowd.users.iter();
                if let (Some(only), None) = (left.next(), left.next()) {
                    self.holders = Holders::One(only.clone());
                }
                false
            }
        }
    }
}
