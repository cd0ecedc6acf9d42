// SPDX-License-Identifier: Apache-2.0
//! The parts of the tables for addresses that several nodes serve. Addresses with equal content share a chain and its maps, which
//! are named after the content: a change of an address is an element that leads to another chain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::bucket::{bucket, fingerprint, key};
use super::expression::{Expression, R1, R1_SECOND, Verdict};
use super::ingress::VERSIONS;
use super::keep::{Devices, Keep, LeftOut, Missing, Part, octets, version_of};
use super::rules::{fellows_stay, has_hops, is_ethernet, load_source_hardware};
use super::ruleset::{
    CLIENTS, Key, Rule, SERVED, SPREAD, STEPS, Set, Table, Version, chain_first, chain_to,
};
use crate::buckets::BUCKETS;
use crate::history::FIRST_TTL;
use crate::spread::{HashBy, Spread};

type Elements = BTreeMap<Vec<u8>, Option<Verdict>>;

/// What no rule can have, by origin and next node, with the number of buckets.
type Lacking = BTreeMap<(Option<Arc<str>>, Arc<str>), (usize, Missing)>;

/// A value that addresses have in common.
struct Group<'a> {
    spread: &'a Spread,
    addresses: Vec<IpAddr>,
}

/// The maps of steps by bucket.
#[derive(Default)]
struct BucketSteps {
    /// From a bucket to the chain of the next node of clients' frames.
    clients: Elements,
    /// From a bucket and a fellow's hardware address to the chain of the next node.
    fellows: Elements,
}

impl Keep {
    /// The addresses of this version, those together that share a value. The order is that of the first addresses.
    fn groups(&self, version: Version) -> Vec<Group<'_>> {
        let mut places = BTreeMap::new();
        let mut groups: Vec<Group<'_>> = Vec::new();
        let spread = self.spread.iter().filter(|(address, _)| version_of(**address) == version);
        for (address, spread) in spread {
            let place = *places.entry(Arc::as_ptr(spread)).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.addresses.push(*address),
                None => groups.push(Group { spread, addresses: vec![*address] }),
            }
        }
        groups
    }

    /// The table of the family netdev, and what it lacks. None if no bucket of any address is led on.
    pub(super) fn ingress(
        &self,
        devices: &Devices<'_>,
        left_out: &mut Vec<LeftOut>,
    ) -> Option<Table> {
        let mut table = Table::ingress();
        let mut used: BTreeSet<&Arc<str>> = BTreeSet::new();
        let mut leads = false;
        for version in VERSIONS {
            for (fellow, address, device) in self.stations(version, devices) {
                table.forward(version, fellow, &address, device);
            }
            for Group { spread, addresses } in self.groups(version) {
                let (mut buckets, mut lacking) = (Elements::new(), Lacking::new());
                for (bucket, fellow) in (0..BUCKETS).zip(&spread.buckets) {
                    let Some(fellow) = fellow else { continue };
                    match self.reach(version, fellow, devices) {
                        Ok(()) => {
                            let chain = version.chain_to(fellow);
                            buckets.insert(key(bucket), Some(Verdict::Goto(chain)));
                            used.insert(fellow);
                        }
                        Err(missing) => add(&mut lacking, None, fellow, missing),
                    }
                }
                tell(left_out, &addresses, &lacking, Part::Buckets);
                used.extend(spread.steps.keys().flat_map(nodes));
                if buckets.is_empty() {
                    continue;
                }
                leads = true;
                let chain = table.add_buckets(version, spread.hash, buckets);
                addresses.iter().for_each(|it| table.spread(version, octets(*it), &chain));
            }
        }
        self.add_fellows(&mut table);
        let stations = used.into_iter().filter_map(|fellow| self.fellows.get(fellow));
        let interfaces = stations.map(|station| &station.interface);
        interfaces.filter(|it| devices.contains_key(*it)).for_each(|it| table.listen(it));
        leads.then_some(table)
    }

    /// The steps by bucket in the table of this version.
    pub(super) fn add_bucket_steps(
        &self,
        table: &mut Table,
        version: Version,
        devices: &Devices<'_>,
        left_out: &mut Vec<LeftOut>,
    ) {
        for Group { spread, addresses } in self.groups(version) {
            let (mut maps, mut lacking) = (BucketSteps::default(), Lacking::new());
            for (steps, buckets) in &spread.steps {
                let client = steps.client.iter().map(|next| (None, next));
                let fellows = steps.fellows.iter().map(|(origin, next)| (Some(origin), next));
                for (origin, next) in client.chain(fellows) {
                    let reach = self.reach(version, next, devices);
                    for bucket in buckets.iter().copied().filter(|it| *it < BUCKETS) {
                        let added = reach.clone();
                        let added =
                            added.and_then(|()| self.add_bucket(&mut maps, bucket, origin, next));
                        if let Err(missing) = added {
                            add(&mut lacking, origin, next, missing);
                        }
                    }
                }
            }
            tell(left_out, &addresses, &lacking, Part::BucketStep);
            if maps.clients.is_empty() && maps.fellows.is_empty() {
                continue;
            }
            let chain = table.add_steps(version, spread.hash, maps);
            for octets in addresses.iter().map(|address| octets(*address)) {
                if let Some(spread) = table.elements(SPREAD) {
                    spread.insert(octets.clone(), Some(Verdict::Goto(chain.clone())));
                }
                if let Some(served) = table.elements(SERVED) {
                    served.insert(octets, None);
                }
            }
        }
    }

    /// Adds one step of one bucket, whose next node can be reached.
    fn add_bucket(
        &self,
        maps: &mut BucketSteps,
        bucket: u16,
        origin: Option<&Arc<str>>,
        next: &str,
    ) -> Result<(), Missing> {
        let Some(origin) = origin else {
            maps.clients.insert(key(bucket), Some(Verdict::Goto(chain_first(next))));
            return Ok(());
        };
        let station =
            self.fellows.get(origin).ok_or_else(|| Missing::Station(Arc::clone(origin)))?;
        let key = [key(bucket).as_slice(), &station.hardware_address, &[0, 0]].concat();
        let verdict = Some(Verdict::Goto(chain_to(next)));
        if *maps.fellows.entry(key).or_insert_with(|| verdict.clone()) == verdict {
            Ok(())
        } else {
            Err(Missing::HardwareAddress(Arc::clone(origin)))
        }
    }
}

impl Table {
    /// Adds the chain of these steps by bucket with its maps, and gives its name.
    fn add_steps(&mut self, version: Version, hash: HashBy, maps: BucketSteps) -> String {
        let content = fingerprint(hash, maps.clients.iter().chain(&maps.fellows));
        let chain = format!("{SPREAD}_{content}");
        if self.chains.contains_key(&chain) {
            return chain;
        }
        let (clients, fellows) = (format!("{CLIENTS}_{content}"), format!("{STEPS}_{content}"));
        let step = |kind| {
            let mut step = has_hops(version, FIRST_TTL).to_vec();
            step.extend(is_ethernet());
            step.extend(bucket(version, kind));
            step.push(load_source_hardware(R1_SECOND));
            step.push(Expression::Follow { map: fellows.clone(), register: R1 });
            Rule(step)
        };
        let client = |kind| {
            let mut client = bucket(version, kind);
            client.push(Expression::Follow { map: clients.clone(), register: R1 });
            Rule(client)
        };
        let mut rules: Vec<Rule> = hash.protocols().map(step).into();
        rules.push(fellows_stay(version));
        rules.extend(hash.protocols().map(client));
        self.add_chain(&chain, rules);
        for (name, key, elements) in
            [(clients, Key::Bucket, maps.clients), (fellows, Key::BucketAndHardware, maps.fellows)]
        {
            self.sets.insert(name, Set { elements, ..Set::new(key, true, false) });
        }
        chain
    }
}

/// The fellows that steps name.
fn nodes(steps: &crate::history::Steps) -> impl Iterator<Item = &Arc<str>> {
    let fellows = steps.fellows.iter().flat_map(|(origin, next)| [origin, next]);
    steps.client.iter().chain(fellows)
}

fn add(lacking: &mut Lacking, origin: Option<&Arc<str>>, next: &Arc<str>, missing: Missing) {
    let (count, _) =
        lacking.entry((origin.cloned(), Arc::clone(next))).or_insert_with(|| (0, missing));
    *count += 1;
}

fn tell(
    left_out: &mut Vec<LeftOut>,
    addresses: &[IpAddr],
    lacking: &Lacking,
    part: fn(usize) -> Part,
) {
    for address in addresses.iter().copied() {
        left_out.extend(lacking.iter().map(|((origin, next), (count, missing))| LeftOut {
            address,
            part: part(*count),
            origin: origin.clone(),
            next: Arc::clone(next),
            missing: missing.clone(),
        }));
    }
}
