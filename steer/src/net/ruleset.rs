// SPDX-License-Identifier: Apache-2.0
//! The tables that the kernel shall have, as values: one for each family, with the same rules for whatever addresses.

use std::collections::BTreeMap;

use super::attribute::Writer;
use super::expression::{
    Base, Comparison, Expression, Fact, R1, R1_SECOND, R2, Verdict, encode_all,
};
use crate::hash::fnv1a;
use crate::history::FIRST_TTL;

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

/// Ethernet, as a device's type.
const ETHERNET: u16 = 1;
const TCP: u8 = 6;
const STATE_INVALID: u32 = 1;
const STATE_NEW: u32 = 8;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// The family of a table: IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, which nft calls `ip`.
    V4,
    /// IPv6, which nft calls `ip6`.
    V6,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) family: Family,
    pub(super) chains: BTreeMap<String, Chain>,
    pub(super) sets: BTreeMap<&'static str, Set>,
}

/// A chain: the one of the hook has priority -150 and the policy `accept`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) hooked: bool,
    pub(super) rules: Vec<Rule>,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Address(Family),
    Hardware,
    /// An address and a hardware address, which is padded to eight octets.
    Both(Family),
}

impl Family {
    /// The number of the family in netlink messages.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    fn load_destination(self) -> Expression {
        let (offset, length) = match self {
            Self::V4 => (16, 4),
            Self::V6 => (24, 16),
        };
        Expression::Load { register: R1, base: Base::Network, offset, length }
    }

    fn hops_offset(self) -> u32 {
        match self {
            Self::V4 => 8,
            Self::V6 => 7,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        })
    }
}

impl Key {
    /// The kernel's name for nft's types; it only keeps this for nft.
    pub(super) fn kind(self) -> u32 {
        const HARDWARE: u32 = 9;
        match self {
            Self::Address(Family::V4) => 7,
            Self::Address(Family::V6) => 8,
            Self::Hardware => HARDWARE,
            Self::Both(family) => (Self::Address(family).kind() << 6) | HARDWARE,
        }
    }

    /// Octets.
    pub(super) fn length(self) -> u32 {
        match self {
            Self::Address(Family::V4) => 4,
            Self::Address(Family::V6) => 16,
            Self::Hardware => 6,
            Self::Both(family) => Self::Address(family).length() + 8,
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

impl Table {
    /// The table without fellows and addresses. `loose` is the node's `nf_conntrack_tcp_loose`.
    pub(super) fn new(family: Family, loose: bool) -> Self {
        let set =
            |key, verdicts, expires| Set { key, verdicts, expires, elements: BTreeMap::new() };
        let sets = BTreeMap::from([
            (SERVED, set(Key::Address(family), false, true)),
            (FELLOWS, set(Key::Hardware, false, false)),
            (STEPS, set(Key::Both(family), true, false)),
            (CLIENTS, set(Key::Address(family), true, false)),
        ]);
        let prerouting = Chain { hooked: true, rules: prerouting(family, loose) };
        let unknown = Chain { hooked: false, rules: unknown(family, loose) };
        let chains =
            BTreeMap::from([(PREROUTING.to_owned(), prerouting), (UNKNOWN.to_owned(), unknown)]);
        Self { family, chains, sets }
    }

    /// Adds the chains that lead on to a fellow at this address, by the device of this index. The second one is for
    /// clients' frames.
    pub(super) fn lead_on(&mut self, fellow: &str, address: &[u8], device: u32) {
        let rule = Rule(vec![
            Expression::Counter { packets: 0, octets: 0 },
            Expression::Value { register: R1, value: address.to_vec() },
            Expression::Value { register: R2, value: device.to_ne_bytes().to_vec() },
            Expression::Duplicate { address: R1, device: R2 },
            Expression::Verdict(Verdict::Drop),
        ]);
        self.chains.insert(chain_to(fellow), Chain { hooked: false, rules: vec![rule] });
        let mut first = set_hops(self.family);
        first.push(goto(&chain_to(fellow)));
        self.chains.insert(chain_first(fellow), Chain { hooked: false, rules: vec![Rule(first)] });
    }

    /// The set or map of this name; all four are there from the beginning.
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

/// Names of chains have at most 255 octets. Letters that nft could not read, and long names, give way to a hash.
fn chain(prefix: &str, fellow: &str) -> String {
    const LONGEST: usize = 200;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
    if fellow.len() <= LONGEST && fellow.chars().all(plain) {
        return format!("{prefix}{fellow}");
    }
    let short: String = fellow.chars().filter(|letter| plain(*letter)).take(LONGEST).collect();
    format!("{prefix}{short}/{:016x}", fnv1a(fellow.bytes()))
}

fn goto(chain: &str) -> Expression {
    Expression::Verdict(Verdict::Goto(chain.to_owned()))
}

fn compare(comparison: Comparison, value: &[u8]) -> Expression {
    Expression::Compare { register: R1, comparison, value: value.to_vec() }
}

/// `ip daddr != @served accept` (K0), then K1 and K2, or what stands for them.
fn prerouting(family: Family, loose: bool) -> Vec<Rule> {
    let gate = vec![
        family.load_destination(),
        Expression::Member { set: SERVED.to_owned(), register: R1, inverted: true },
        Expression::Verdict(Verdict::Accept),
    ];
    let segments = if loose {
        vec![
            segment(STATE_NEW, SYN | RST | ACK, Comparison::Equal, ACK),
            segment(STATE_INVALID, FIN | RST, Comparison::NotEqual, 0),
        ]
    } else {
        vec![segment(STATE_INVALID, SYN, Comparison::Equal, 0)]
    };
    std::iter::once(Rule(gate)).chain(segments).collect()
}

/// `ct state STATE tcp flags & MASK COMPARISON FLAGS goto unknown`.
fn segment(state: u32, mask: u8, comparison: Comparison, flags: u8) -> Rule {
    let state = state.to_ne_bytes().to_vec();
    let mut rule = vec![
        Expression::Fact { register: R1, fact: Fact::ConnectionState },
        Expression::Bits { register: R1, mask: state, xor: vec![0; 4] },
        compare(Comparison::NotEqual, &[0; 4]),
    ];
    rule.extend(is_tcp());
    rule.extend([
        Expression::Load { register: R1, base: Base::Transport, offset: 13, length: 1 },
        Expression::Bits { register: R1, mask: vec![mask], xor: vec![0] },
        compare(comparison, &[flags]),
        goto(UNKNOWN),
    ]);
    Rule(rule)
}

fn is_tcp() -> [Expression; 2] {
    let protocol = Expression::Fact { register: R1, fact: Fact::Protocol };
    [protocol, compare(Comparison::Equal, &[TCP])]
}

/// The device is of Ethernet, so that the frame has a hardware address to look at.
fn is_ethernet() -> [Expression; 2] {
    let kind = Expression::Fact { register: R1, fact: Fact::InputType };
    [kind, compare(Comparison::Equal, &ETHERNET.to_ne_bytes())]
}

fn load_source_hardware(register: u32) -> Expression {
    Expression::Load { register, base: Base::Link, offset: 6, length: 6 }
}

/// The end of every ring (K3), then the fellows' steps (K4), then clients' frames.
fn unknown(family: Family, loose: bool) -> Vec<Rule> {
    let offset = family.hops_offset();
    let last_hop = || {
        let load = Expression::Load { register: R1, base: Base::Network, offset, length: 1 };
        vec![load, compare(Comparison::AtMost, &[1])]
    };
    let mut rules = Vec::new();
    // A node that is not loose takes strays of healthy connections for invalid as well: a reset would end them.
    if loose {
        let mut reset = last_hop();
        reset.extend(is_tcp());
        reset.push(Expression::TcpReset);
        rules.push(Rule(reset));
    }
    let mut end = last_hop();
    end.push(Expression::Verdict(Verdict::Drop));
    rules.push(Rule(end));

    let behind_address = match family {
        Family::V4 => R1_SECOND,
        Family::V6 => R2,
    };
    let mut step = is_ethernet().to_vec();
    step.extend([
        family.load_destination(),
        load_source_hardware(behind_address),
        Expression::Follow { map: STEPS.to_owned(), register: R1 },
    ]);
    rules.push(Rule(step));

    let mut stays = is_ethernet().to_vec();
    stays.extend([
        load_source_hardware(R1),
        Expression::Member { set: FELLOWS.to_owned(), register: R1, inverted: false },
        Expression::Verdict(Verdict::Accept),
    ]);
    rules.push(Rule(stays));

    let client = Expression::Follow { map: CLIENTS.to_owned(), register: R1 };
    rules.push(Rule(vec![family.load_destination(), client]));
    rules
}

/// `ip ttl set 16`. The checksum of IPv4 is one of words, so the TTL is written with the protocol behind it.
fn set_hops(family: Family) -> Vec<Expression> {
    let offset = family.hops_offset();
    let (register, base) = (R1, Base::Network);
    match family {
        Family::V4 => vec![
            Expression::Load { register, base, offset, length: 2 },
            Expression::Bits { register, mask: vec![0, 0xff], xor: vec![FIRST_TTL, 0] },
            Expression::Store { register, base, offset, length: 2, checksum: Some(10) },
        ],
        Family::V6 => vec![
            Expression::Value { register, value: vec![FIRST_TTL] },
            Expression::Store { register, base, offset, length: 1, checksum: None },
        ],
    }
}
