// SPDX-License-Identifier: Apache-2.0
//! The connections that a node shall lead on, as a value, and the tables that follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::expression::Verdict;
use super::ingress::VERSIONS;
use super::ruleset::{
    CLIENTS, FELLOWS, FLOWS, Family, SERVED, STEPS, Table, Version, chain_first, chain_to,
};
use crate::flow::{Flow, MOST_FLOWS};
use crate::history::Steps;
use crate::spread::Spread;
use crate::station::Station;

/// All that a node leads on: the connections that it does not know, to the nodes that do, and clients' frames by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The other nodes of the link, by name.
    pub fellows: BTreeMap<Arc<str>, Station>,
    /// The steps of this node for each address that one node serves. Those of an address that is in `spread` as well are not
    /// looked at.
    pub addresses: BTreeMap<IpAddr, Steps>,
    /// The addresses that several nodes serve.
    pub spread: BTreeMap<IpAddr, Arc<Spread>>,
    /// The flows of UDP of these addresses that other nodes have, as they told. They go the way of connections that this node does
    /// not know, unless its conntrack knows them. A flow is led on until it has had no packet for 180 s, and does not come back then
    /// while the value has it. 60,000 of each version of IP at most ([`MOST_FLOWS`]); further ones are not led on.
    pub flows: BTreeSet<Flow>,
    /// The node's `nf_conntrack_tcp_loose`: true for 1, the kernel's default.
    pub loose: bool,
}

/// A part of a value that no rule can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The address that it is for.
    pub address: IpAddr,
    /// What it is.
    pub part: Part,
    /// The fellow whose frames it is for; None for clients'.
    pub origin: Option<Arc<str>>,
    /// The node that the frames should go to. They stay.
    pub next: Arc<str>,
    /// The reason.
    pub missing: Missing,
}

/// The kind of a part that no rule can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The step of an address that one node serves.
    Step,
    /// The same step of so many buckets.
    BucketStep(usize),
    /// So many buckets that clients' frames should be led on by.
    Buckets(usize),
}

/// The reason that a part was left out.
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

/// The index of each device that exists.
pub(super) type Devices<'a> = BTreeMap<&'a Arc<str>, u32>;

/// The tables, and the fellows behind the chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruleset {
    /// Those of the families ip and ip6, and one of the family netdev if a bucket is led on.
    pub(super) tables: BTreeMap<Family, Table>,
    /// The fellow of each chain that leads on.
    pub(super) chains: BTreeMap<String, Arc<str>>,
}

impl Keep {
    /// The tables, and the steps that none of them has. `device` gives the index of a device by its name.
    pub(super) fn ruleset(&self, device: &dyn Fn(&str) -> Option<u32>) -> (Ruleset, Vec<LeftOut>) {
        let names: BTreeSet<&Arc<str>> =
            self.fellows.values().map(|station| &station.interface).collect();
        let devices: Devices<'_> =
            names.into_iter().filter_map(|name| Some((name, device(name)?))).collect();
        let mut left_out = Vec::new();
        let mut tables = BTreeMap::new();
        for version in VERSIONS {
            let mut table = Table::new(version, self.loose);
            self.add_fellows(&mut table);
            for (fellow, address, device) in self.stations(version, &devices) {
                table.lead_on(version, fellow, &address, device);
            }
            for (address, steps) in &self.addresses {
                if version_of(*address) == version && !self.spread.contains_key(address) {
                    self.add_address(&mut table, *address, steps, &devices, &mut left_out);
                }
            }
            self.add_flows(&mut table, version);
            self.add_bucket_steps(&mut table, version, &devices, &mut left_out);
            tables.insert(table.family, table);
        }
        let ingress = self.ingress(&devices, &mut left_out);
        tables.extend(ingress.map(|table| (table.family, table)));
        let names = |fellow: &Arc<str>| {
            let by_bucket = VERSIONS.map(|version| version.chain_to(fellow));
            let names = by_bucket.into_iter().chain([chain_to(fellow)]);
            names.map(|name| (name, Arc::clone(fellow))).collect::<Vec<_>>()
        };
        let chains = self.fellows.keys().flat_map(names).collect();
        (Ruleset { tables, chains }, left_out)
    }

    fn add_flows(&self, table: &mut Table, version: Version) {
        let Some(elements) = table.elements(FLOWS) else { return };
        let of_version = |address| version_of(address) == version;
        let flows = self.flows.iter().filter(|it| of_version(it.address) && of_version(it.client));
        elements.extend(flows.take(MOST_FLOWS).map(|flow| {
            let (address, client) = (octets(flow.address), octets(flow.client));
            let port = flow.client_port.to_be_bytes();
            ([address.as_slice(), &client, &port, &[0, 0]].concat(), None)
        }));
    }

    /// Adds the hardware addresses of all fellows.
    pub(super) fn add_fellows(&self, table: &mut Table) {
        if let Some(elements) = table.elements(FELLOWS) {
            let addresses = self.fellows.values().map(|station| station.hardware_address.to_vec());
            elements.extend(addresses.map(|address| (address, None)));
        }
    }

    /// The fellows that can be reached by this version, each with its address and the index of the device.
    pub(super) fn stations(
        &self,
        version: Version,
        devices: &Devices<'_>,
    ) -> impl Iterator<Item = (&Arc<str>, Vec<u8>, u32)> {
        self.fellows.iter().filter_map(move |(fellow, station)| {
            Some((fellow, station.address(version)?, *devices.get(&station.interface)?))
        })
    }

    fn add_address(
        &self,
        table: &mut Table,
        address: IpAddr,
        steps: &Steps,
        devices: &Devices<'_>,
        left_out: &mut Vec<LeftOut>,
    ) {
        let (octets, version) = (octets(address), version_of(address));
        let client = steps.client.iter().map(|next| (None, next));
        let fellows = steps.fellows.iter().map(|(origin, next)| (Some(origin), next));
        let mut leads = false;
        for (origin, next) in client.chain(fellows) {
            let added = self
                .reach(version, next, devices)
                .and_then(|()| self.add_step(table, &octets, origin, next));
            match added {
                Ok(()) => leads = true,
                Err(missing) => left_out.push(LeftOut {
                    address,
                    part: Part::Step,
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
    pub(super) fn reach(
        &self,
        version: Version,
        next: &Arc<str>,
        devices: &Devices<'_>,
    ) -> Result<(), Missing> {
        let station = self.fellows.get(next).ok_or_else(|| Missing::Station(Arc::clone(next)))?;
        if !devices.contains_key(&station.interface) {
            return Err(Missing::Interface(Arc::clone(&station.interface)));
        }
        station.address(version).map(drop).ok_or_else(|| Missing::Address(Arc::clone(next)))
    }
}

impl Station {
    fn address(&self, version: Version) -> Option<Vec<u8>> {
        match version {
            Version::V4 => self.address_v4.map(|address| address.octets().to_vec()),
            Version::V6 => self.address_v6.map(|address| address.octets().to_vec()),
        }
    }
}

pub(super) fn version_of(address: IpAddr) -> Version {
    if address.is_ipv4() { Version::V4 } else { Version::V6 }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
pub(super) mod tests;
