// SPDX-License-Identifier: Apache-2.0
//! The tables that the kernel shall have, as values. [`super::rules`] has the rules of the families ip and ip6, which are the
//! same for whatever addresses; [`super::ingress`] has those of the family netdev.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attribute::Writer;
use super::expression::{Expression, R1, R2, Verdict, encode_all};
use super::rules::{goto, prerouting, set_hops, unknown};
use crate::hash::fnv1a;

/// The name of the tables.
pub(super) const TABLE: &str = "ferrolb";
/// The chain at the hook.
pub(super) const PREROUTING: &str = "prerouting";
/// The chain of packets of connections that the node does not know.
pub(super) const UNKNOWN: &str = "unknown";
/// The set of addresses that any rule looks at.
pub(super) const SERVED: &str = "served";
/// The set of the fellows' hardware addresses.
pub(super) const FELLOWS: &str = "fellows";
/// The map from an address and a fellow's hardware address to the chain of the next node.
pub(super) const STEPS: &str = "steps";
/// The map from an address to the chain of the next node of clients' frames.
pub(super) const CLIENTS: &str = "clients";

/// The set of flows of UDP that other nodes have.
pub(super) const FLOWS: &str = "flows";
/// The map from an address that several nodes serve to the chain of its steps by bucket.
pub(super) const SPREAD: &str = "spread";

/// How long a flow of UDP is led on behind its last packet: conntrack forgets one that both sides have used after 120 s,
/// or 180 s (`nf_conntrack_udp_timeout_stream`).
pub(super) const FLOW_TIMEOUT: Duration = Duration::from_secs(180);

/// The family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, which nft calls `ip`.
    V4,
    /// IPv6, which nft calls `ip6`.
    V6,
    /// Frames as they come in by a device, which nft calls `netdev`.
    Netdev,
}

/// The version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V4,
    V6,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) family: Family,
    pub(super) chains: BTreeMap<String, Chain>,
    pub(super) sets: BTreeMap<String, Set>,
}

/// A chain. One with a hook has the policy `accept`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) hook: Hook,
    pub(super) rules: Vec<Rule>,
}

/// The place where packets come to a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Hook {
    /// Only from other chains.
    #[default]
    None,
    /// All packets that come in, with priority -150: behind conntrack (-200), before kube-proxy's DNAT (-100).
    Prerouting,
    /// The frames that come in by this device, with priority -500.
    Ingress(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule(pub(super) Vec<Expression>);

/// A set, or a map to verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) key: Key,
    pub(super) verdicts: bool,
    /// True if the elements run out.
    pub(super) expires: bool,
    /// The keys, and for a map their verdicts.
    pub(super) elements: BTreeMap<Vec<u8>, Option<Verdict>>,
    /// Keys that an earlier change has added, of a set whose elements packets renew: one that is gone has run out.
    pub(super) before: BTreeSet<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Address(Version),
    Hardware,
    /// An address and a hardware address, which is padded to eight octets.
    Both(Version),
    /// An address, a client's address and its port, which is padded to four octets.
    Flow(Version),
    /// A bucket: four octets in the host's order.
    Bucket,
    /// A bucket and a hardware address, which is padded to eight octets.
    BucketAndHardware,
    /// The type of a message of ICMP of this version.
    Message(Version),
}

impl Family {
    /// The number of the family in netlink messages.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::Netdev => 5,
            Self::V6 => 10,
        }
    }
}

impl Version {
    /// The family of the tables that see packets of this version alone.
    pub(super) fn family(self) -> Family {
        match self {
            Self::V4 => Family::V4,
            Self::V6 => Family::V6,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
            Self::Netdev => "netdev",
        })
    }
}

impl Key {
    /// The kernel's name for nft's types; it only keeps this for nft.
    pub(super) fn kind(self) -> u32 {
        const HARDWARE: u32 = 9;
        match self {
            Self::Address(Version::V4) => 7,
            Self::Address(Version::V6) => 8,
            Self::Hardware => HARDWARE,
            Self::Both(version) => (Self::Address(version).kind() << 6) | HARDWARE,
            Self::Flow(version) => {
                let address = Self::Address(version).kind();
                (address << 12) | (address << 6) | 13
            }
            // nft has no type of its own for a number in the host's order, but the one of packets' marks.
            Self::Bucket => 19,
            Self::BucketAndHardware => (Self::Bucket.kind() << 6) | HARDWARE,
            Self::Message(Version::V4) => 14,
            Self::Message(Version::V6) => 29,
        }
    }

    /// Octets.
    pub(super) fn length(self) -> u32 {
        match self {
            Self::Address(Version::V4) | Self::Bucket => 4,
            Self::Address(Version::V6) => 16,
            Self::Hardware => 6,
            Self::Both(version) => Self::Address(version).length() + 8,
            Self::Flow(version) => 2 * Self::Address(version).length() + 4,
            Self::BucketAndHardware => Self::Bucket.length() + 8,
            Self::Message(_) => 1,
        }
    }
}

impl Rule {
    /// A number that differs where expressions differ. Rules are known by it in the kernel.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut octets = Writer::default();
        encode_all(&mut octets, &self.0);
        fnv1a(octets.as_octets().iter().copied())
    }
}

impl Set {
    /// A set, or a map to verdicts, without elements.
    pub(super) fn new(key: Key, verdicts: bool, expires: bool) -> Self {
        let (elements, before) = (BTreeMap::new(), BTreeSet::new());
        Self { key, verdicts, expires, elements, before }
    }

    /// True if packets renew the elements, and not the process.
    pub(super) fn is_renewed_by_packets(&self) -> bool {
        matches!(self.key, Key::Flow(_))
    }

    /// The time-out of the elements, if they run out.
    pub(super) fn timeout(&self, linger: Duration) -> Option<Duration> {
        let timeout = if self.is_renewed_by_packets() { FLOW_TIMEOUT } else { linger };
        self.expires.then_some(timeout)
    }
}

impl Table {
    /// The table of this version without fellows and addresses. `loose` is the node's `nf_conntrack_tcp_loose`.
    pub(super) fn new(version: Version, loose: bool) -> Self {
        let sets = [
            (SERVED, Set::new(Key::Address(version), false, true)),
            (FELLOWS, Set::new(Key::Hardware, false, false)),
            (FLOWS, Set::new(Key::Flow(version), false, true)),
            (STEPS, Set::new(Key::Both(version), true, false)),
            (SPREAD, Set::new(Key::Address(version), true, false)),
            (CLIENTS, Set::new(Key::Address(version), true, false)),
        ];
        let sets = sets.map(|(name, set)| (name.to_owned(), set)).into();
        let mut table = Self { family: version.family(), chains: BTreeMap::new(), sets };
        let prerouting = Chain { hook: Hook::Prerouting, rules: prerouting(version, loose) };
        table.chains.insert(PREROUTING.to_owned(), prerouting);
        table.add_chain(UNKNOWN, unknown(version, loose));
        table
    }

    /// Adds a chain that is reached from other chains.
    pub(super) fn add_chain(&mut self, name: &str, rules: Vec<Rule>) {
        self.chains.insert(name.to_owned(), Chain { hook: Hook::None, rules });
    }

    /// Adds the chains that lead on to a fellow at this address, by the device of this index. The second one is for
    /// clients' frames.
    pub(super) fn lead_on(&mut self, version: Version, fellow: &str, address: &[u8], device: u32) {
        let rule = Rule(vec![
            Expression::Counter { packets: 0, octets: 0 },
            Expression::Value { register: R1, value: address.to_vec() },
            Expression::Value { register: R2, value: device.to_ne_bytes().to_vec() },
            Expression::Duplicate { address: R1, device: R2 },
            Expression::Verdict(Verdict::Drop),
        ]);
        self.add_chain(&chain_to(fellow), vec![rule]);
        let mut first = set_hops(version);
        first.push(goto(&chain_to(fellow)));
        self.add_chain(&chain_first(fellow), vec![Rule(first)]);
    }

    /// The set or map of this name; None if the table has none.
    pub(super) fn elements(
        &mut self,
        set: &str,
    ) -> Option<&mut BTreeMap<Vec<u8>, Option<Verdict>>> {
        self.sets.get_mut(set).map(|set| &mut set.elements)
    }
}

/// The chain that leads on to a fellow.
pub(super) fn chain_to(fellow: &str) -> String {
    chain("to_", fellow)
}

/// The chain that leads on clients' frames to a fellow: the first node sets the hops that a packet has.
pub(super) fn chain_first(fellow: &str) -> String {
    chain("first_", fellow)
}

/// Names of chains have at most 255 octets, and are made of the name of a fellow or a device. Letters that nft could not read,
/// and long names, give way to a hash.
pub(super) fn chain(prefix: &str, fellow: &str) -> String {
    const LONGEST: usize = 200;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
    if fellow.len() <= LONGEST && fellow.chars().all(plain) {
        return format!("{prefix}{fellow}");
    }
    let short: String = fellow.chars().filter(|letter| plain(*letter)).take(LONGEST).collect();
    format!("{prefix}{short}/{:016x}", fnv1a(fellow.bytes()))
}
