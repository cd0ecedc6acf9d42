// SPDX-License-Identifier: Apache-2.0
//! The table of the family netdev, which leads clients' frames on by bucket before this node's own network sees them.
//! docs/steering.md says what S1, S2 and K0 are.

use std::collections::BTreeMap;

use super::bucket::{bucket, bucket_of_error, fingerprint};
use super::expression::{Comparison, Expression, Fact, R1, R2, Verdict};
use super::rules::{accept, compare, has_hops, is_of_fellow};
use super::ruleset::{Chain, FELLOWS, Family, Hook, Key, Rule, Set, Table, Version, chain};
use crate::history::FIRST_TTL;
use crate::spread::HashBy;

/// Both versions of IP.
pub(super) const VERSIONS: [Version; 2] = [Version::V4, Version::V6];

/// The TTL (hop limit) of frames that stay, and all below it. `fwd` takes one off the TTL, and what a fellow gets with
/// [`FIRST_TTL`] or less counts there as led on by a step, not as a client's. The bound ends every ring as well, also where hardware addresses are not known.
const LAST_TTL: u8 = FIRST_TTL + 1;

impl Version {
    /// The names of the parts of the table that are of this version alone.
    fn named(self, name: &str) -> String {
        format!("{name}{}", if self == Self::V4 { '4' } else { '6' })
    }

    /// The map from an address to the chain of its buckets, which is the gate (K0).
    pub(super) fn spread(self) -> String {
        self.named("spread")
    }

    fn errors_set(self) -> String {
        self.named("errors")
    }

    /// The chain that leads on to a fellow.
    pub(super) fn chain_to(self, fellow: &str) -> String {
        chain(&format!("{}_", self.named("to")), fellow)
    }

    fn ether_type(self) -> [u8; 2] {
        match self {
            Self::V4 => [0x08, 0x00],
            Self::V6 => [0x86, 0xdd],
        }
    }

    /// The frame has a packet of this version.
    fn is_inside(self) -> Vec<Expression> {
        let kind = Expression::Fact { register: R1, fact: Fact::EtherType };
        vec![kind, compare(Comparison::Equal, &self.ether_type())]
    }
}

impl Table {
    /// The table of the family netdev without devices, fellows and addresses.
    pub(super) fn ingress() -> Self {
        let mut sets =
            BTreeMap::from([(FELLOWS.to_owned(), Set::new(Key::Hardware, false, false))]);
        for version in VERSIONS {
            sets.insert(version.spread(), Set::new(Key::Address(version), true, true));
            let mut errors = Set::new(Key::Message(version), false, false);
            errors.elements = version.errors().iter().map(|kind| (vec![*kind], None)).collect();
            sets.insert(version.errors_set(), errors);
        }
        Self { family: Family::Netdev, chains: BTreeMap::new(), sets }
    }

    /// Adds the chain of a device. The gate comes first (K0), so that other traffic meets nothing else.
    pub(super) fn listen(&mut self, device: &str) {
        let rules = VERSIONS.map(|version| {
            let mut gate = version.is_inside();
            gate.push(version.load_destination());
            gate.push(Expression::Follow { map: version.spread(), register: R1 });
            Rule(gate)
        });
        let hook = Hook::Ingress(device.to_owned());
        self.chains.insert(chain("in_", device), Chain { hook, rules: rules.into() });
    }

    /// Adds the chain that leads on to a fellow at this address, by the device of this index.
    pub(super) fn forward(&mut self, version: Version, fellow: &str, address: &[u8], device: u32) {
        let rule = Rule(vec![
            Expression::Counter { packets: 0, octets: 0 },
            Expression::Value { register: R1, value: device.to_ne_bytes().to_vec() },
            Expression::Value { register: R2, value: address.to_vec() },
            Expression::Forward {
                device: R1,
                address: R2,
                protocol: version.family().number().into(),
            },
        ]);
        self.add_chain(&version.chain_to(fellow), vec![rule]);
    }

    /// Adds the buckets of an address, from a bucket to the chain of its fellow, and gives the name of their chain. The same
    /// buckets have the same chain, and need no second one.
    pub(super) fn add_buckets(
        &mut self,
        version: Version,
        hash: HashBy,
        buckets: BTreeMap<Vec<u8>, Option<Verdict>>,
    ) -> String {
        let content = fingerprint(hash, buckets.iter());
        let map = format!("{}_{content}", version.named("buckets"));
        let chain = format!("{}_{content}", version.spread());
        if !self.chains.contains_key(&chain) {
            self.add_chain(&chain, led_on(version, hash, &map));
            let mut set = Set::new(Key::Bucket, true, false);
            set.elements = buckets;
            self.sets.insert(map, set);
        }
        chain
    }

    /// Leads frames to an address on by the buckets of this chain.
    pub(super) fn spread(&mut self, version: Version, address: Vec<u8>, chain: &str) {
        if let Some(spread) = self.elements(&version.spread()) {
            spread.insert(address, Some(Verdict::Goto(chain.to_owned())));
        }
    }
}

/// The rules of an address: what stays whatever its bucket, then what has one.
fn led_on(version: Version, hash: HashBy, map: &str) -> Vec<Rule> {
    // S1: a frame that the switch floods is another node's.
    let kind = Expression::Fact { register: R1, fact: Fact::PacketType };
    let flooded = vec![kind, compare(Comparison::NotEqual, &[0]), accept()];
    let mut last = version.is_inside();
    last.extend(has_hops(version, LAST_TTL));
    last.push(accept());
    // S2: a frame that a fellow has led on already.
    let mut fellow = is_of_fellow().to_vec();
    fellow.push(accept());

    let follow = Expression::Follow { map: map.to_owned(), register: R1 };
    let rule =
        |expressions| Rule([version.is_inside(), expressions, vec![follow.clone()]].concat());
    let packets = hash.protocols().map(|kind| rule(bucket(version, kind)));
    let errors =
        hash.protocols().map(|kind| rule(bucket_of_error(version, &version.errors_set(), kind)));
    let stay = [flooded, last, fellow].map(Rule);
    stay.into_iter().chain(packets).chain(errors).collect()
}
