// SPDX-License-Identifier: Apache-2.0
//! The Services by address: Services that share an address have one election.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cluster::{ObjectKey, Snapshot};

/// The Services by their addresses, whatever their class and pool.
#[derive(Debug, Default)]
pub struct ServicesByAddress {
    /// Sorted; one Service mostly.
    users: BTreeMap<IpAddr, Vec<ObjectKey>>,
    /// The addresses that each Service had when it was last looked at.
    addresses: BTreeMap<ObjectKey, Box<[IpAddr]>>,
}

impl ServicesByAddress {
    /// The Services of a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut sharing = Self::default();
        for (key, service) in snapshot.services() {
            let addresses: BTreeSet<IpAddr> = service.ingress_addresses().collect();
            for address in &addresses {
                // The Services come in the order of their keys.
                sharing
                    .users
                    .entry(*address)
                    .or_insert_with(|| Vec::with_capacity(1))
                    .push(key.clone());
            }
            if !addresses.is_empty() {
                sharing.addresses.insert(key.clone(), addresses.into_iter().collect());
            }
        }
        sharing
    }

    /// These Services may have changed. Returns all Services whose decision may depend on them.
    pub fn update<'a>(
        &mut self,
        snapshot: &Snapshot,
        changed: impl Iterator<Item = &'a ObjectKey>,
    ) -> BTreeSet<ObjectKey> {
        let mut touched: BTreeSet<IpAddr> = BTreeSet::new();
        let mut all = BTreeSet::new();
        for key in changed {
            all.insert(key.clone());
            let service = snapshot.service(key);
            let is: BTreeSet<IpAddr> =
                service.into_iter().flat_map(|service| service.ingress_addresses()).collect();
            let was = self.addresses.remove(key).unwrap_or_default();
            for address in was.iter().filter(|address| !is.contains(address)) {
                self.remove(*address, key);
            }
            for address in is.iter().filter(|address| !was.contains(address)) {
                let users = self.users.entry(*address).or_insert_with(|| Vec::with_capacity(1));
                if let Err(place) = users.binary_search(key) {
                    users.insert(place, key.clone());
                }
            }
            touched.extend(was.iter().copied().chain(is.iter().copied()));
            if !is.is_empty() {
                self.addresses.insert(key.clone(), is.into_iter().collect());
            }
        }
        // Each address is looked up once: a thousand Services that share one are not looked through a thousand times.
        all.extend(touched.into_iter().flat_map(|address| self.users(address).iter().cloned()));
        all
    }

    fn remove(&mut self, address: IpAddr, key: &ObjectKey) {
        let Some(users) = self.users.get_mut(&address) else { return };
        if let Ok(place) = users.binary_search(key) {
            users.remove(place);
        }
        if users.is_empty() {
            self.users.remove(&address);
        }
    }

    /// The Services with this address, sorted.
    #[must_use]
    pub fn users(&self, address: IpAddr) -> &[ObjectKey] {
        self.users.get(&address).map_or(&[], Vec::as_slice)
    }
}
