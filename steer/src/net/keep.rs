// SPDX-License-Identifier: Apache-2.0
//! The connections that a node shall lead on, as a value, and the tables that follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::expression::Verdict;
use super::ruleset::{CLIENTS, FELLOWS, Family, SERVED, STEPS, Table, chain_first, chain_to};
use crate::history::Steps;
use crate::station::Station;

/// All that a node leads on: the connections that it does not know, to the nodes that do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The other nodes of the link, by name.
    pub fellows: BTreeMap<Arc<str>, Station>,
    /// The steps of this node for each address.
    pub addresses: BTreeMap<IpAddr, Steps>,
    /// The node's `nf_conntrack_tcp_loose`: true for 1, the kernel's default.
    pub loose: bool,
}

/// A step that no rule can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The address that the step is for.
    pub address: IpAddr,
    /// The fellow whose frames the step is for; None for clients'.
    pub origin: Option<Arc<str>>,
    /// The node that the frames should go to.
    pub next: Arc<str>,
    /// The reason.
    pub missing: Missing,
}

/// The reason that a step was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A node that is no fellow.
    #[error("no station of node {0} is known")]
    Station(Arc<str>),
    /// The next node has no address of the family on the link.
    #[error("node {0} has no address of this family on the link")]
    Address(Arc<str>),
    /// The device does not exist.
    #[error("the device {0} does not exist")]
    Interface(Arc<str>),
    /// The origin's hardware address is that of another fellow, whose step is another one.
    #[error("node {0} has the hardware address of another node")]
    HardwareAddress(Arc<str>),
}

/// The tables, and the fellows behind the chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruleset {
    pub(super) tables: [Table; 2],
    /// The fellow of each chain that leads on.
    pub(super) chains: BTreeMap<String, Arc<str>>,
}

impl Keep {
    /// The tables, and the steps that none of them has. `device` gives the index of a device by its name.
    pub(super) fn ruleset(&self, device: &dyn Fn(&str) -> Option<u32>) -> (Ruleset, Vec<LeftOut>) {
        let names: BTreeSet<&Arc<str>> =
            self.fellows.values().map(|station| &station.interface).collect();
        let devices: BTreeMap<&Arc<str>, u32> =
            names.into_iter().filter_map(|name| Some((name, device(name)?))).collect();
        let mut left_out = Vec::new();
        let tables = [Family::V4, Family::V6].map(|family| {
            let mut table = Table::new(family, self.loose);
            self.add_fellows(&mut table, &devices);
            for (address, steps) in &self.addresses {
                if family_of(*address) == family {
                    self.add_address(&mut table, *address, steps, &devices, &mut left_out);
                }
            }
            table
        });
        let chains =
            self.fellows.keys().map(|fellow| (chain_to(fellow), Arc::clone(fellow))).collect();
        (Ruleset { tables, chains }, left_out)
    }

    fn add_fellows(&self, table: &mut Table, devices: &BTreeMap<&Arc<str>, u32>) {
        for (fellow, station) in &self.fellows {
            if let Some(elements) = table.elements(FELLOWS) {
                elements.insert(station.hardware_address.to_vec(), None);
            }
            let address = station.address(table.family);
            if let (Some(address), Some(device)) = (address, devices.get(&station.interface)) {
                table.lead_on(fellow, &address, *device);
            }
        }
    }

    fn add_address(
        &self,
        table: &mut Table,
        address: IpAddr,
        steps: &Steps,
        devices: &BTreeMap<&Arc<str>, u32>,
        left_out: &mut Vec<LeftOut>,
    ) {
        let octets = octets(address);
        let client = steps.client.iter().map(|next| (None, next));
        let fellows = steps.fellows.iter().map(|(origin, next)| (Some(origin), next));
        let mut leads = false;
        for (origin, next) in client.chain(fellows) {
            let added = self
                .reach(table.family, next, devices)
                .and_then(|()| self.add_step(table, &octets, origin, next));
            match added {
                Ok(()) => leads = true,
                Err(missing) => left_out.push(LeftOut {
                    address,
                    origin: origin.cloned(),
                    next: Arc::clone(next),
                    missing,
                }),
            }
        }
        if let (true, Some(served)) = (leads, table.elements(SERVED)) {
            served.insert(octets, None);
        }
    }

    /// Adds one step whose next node can be reached.
    fn add_step(
        &self,
        table: &mut Table,
        address: &[u8],
        origin: Option<&Arc<str>>,
        next: &str,
    ) -> Result<(), Missing> {
        let Some(origin) = origin else {
            if let Some(clients) = table.elements(CLIENTS) {
                clients.insert(address.to_vec(), Some(Verdict::Goto(chain_first(next))));
            }
            return Ok(());
        };
        let station =
            self.fellows.get(origin).ok_or_else(|| Missing::Station(Arc::clone(origin)))?;
        let key = [address, &station.hardware_address, &[0, 0]].concat();
        let verdict = Some(Verdict::Goto(chain_to(next)));
        let Some(steps) = table.elements(STEPS) else { return Ok(()) };
        if *steps.entry(key).or_insert_with(|| verdict.clone()) == verdict {
            Ok(())
        } else {
            Err(Missing::HardwareAddress(Arc::clone(origin)))
        }
    }

    /// The next node has a chain.
    fn reach(
        &self,
        family: Family,
        next: &Arc<str>,
        devices: &BTreeMap<&Arc<str>, u32>,
    ) -> Result<(), Missing> {
        let station = self.fellows.get(next).ok_or_else(|| Missing::Station(Arc::clone(next)))?;
        if !devices.contains_key(&station.interface) {
            return Err(Missing::Interface(Arc::clone(&station.interface)));
        }
        station.address(family).map(drop).ok_or_else(|| Missing::Address(Arc::clone(next)))
    }
}

impl Station {
    fn address(&self, family: Family) -> Option<Vec<u8>> {
        match family {
            Family::V4 => self.address_v4.map(|address| address.octets().to_vec()),
            Family::V6 => self.address_v6.map(|address| address.octets().to_vec()),
        }
    }
}

pub(super) fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
pub(super) mod tests;
