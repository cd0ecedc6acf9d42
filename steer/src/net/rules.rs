// SPDX-License-Identifier: Apache-2.0
//! The rules of the tables of the families ip and ip6, and the parts that those of the family netdev have in common with them.
//! docs/steering.md says what K0 to K5 are.

use super::expression::{Base, Comparison, Expression, Fact, R1, R1_SECOND, R2, R3, R4, Verdict};
use super::operation::milliseconds;
use super::ruleset::{
    CLIENTS, FELLOWS, FLOW_TIMEOUT, FLOWS, Rule, SERVED, SPREAD, STEPS, UNKNOWN, Version,
};
use crate::history::FIRST_TTL;

/// Ethernet, as a device's type.
const ETHERNET: u16 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const STATE_INVALID: u32 = 1;
const STATE_NEW: u32 = 8;
const STATUS_CONFIRMED: u32 = 8;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

impl Version {
    /// The octets of an address.
    pub(super) fn address_length(self) -> u32 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// The place of the source in the header; the destination follows it.
    pub(super) fn source_offset(self) -> u32 {
        match self {
            Self::V4 => 12,
            Self::V6 => 8,
        }
    }

    pub(super) fn load_destination(self) -> Expression {
        let length = self.address_length();
        let offset = self.source_offset() + length;
        Expression::Load { register: R1, base: Base::Network, offset, length }
    }

    /// The register behind an address in [`R1`].
    pub(super) fn behind_address(self) -> u32 {
        match self {
            Self::V4 => R1_SECOND,
            Self::V6 => R2,
        }
    }

    fn hops_offset(self) -> u32 {
        match self {
            Self::V4 => 8,
            Self::V6 => 7,
        }
    }
}

pub(super) fn goto(chain: &str) -> Expression {
    Expression::Verdict(Verdict::Goto(chain.to_owned()))
}

pub(super) fn compare(comparison: Comparison, value: &[u8]) -> Expression {
    Expression::Compare { register: R1, comparison, value: value.to_vec() }
}

/// `ip daddr != @served accept` (K0), then K1 and K2, or what stands for them, then K5.
pub(super) fn prerouting(version: Version, loose: bool) -> Vec<Rule> {
    let gate = vec![
        version.load_destination(),
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
    std::iter::once(Rule(gate)).chain(segments).chain([flow(version)]).collect()
}

/// A datagram of a flow that another node has and this one does not know (K5). It renews the flow.
fn flow(version: Version) -> Rule {
    let length = version.address_length();
    let offset = version.source_offset();
    let (client, port) = match version {
        Version::V4 => (R1_SECOND, R1_SECOND + 1),
        Version::V6 => (R2, R3),
    };
    let set = || FLOWS.to_owned();
    let timeout = milliseconds(FLOW_TIMEOUT);
    let mut rule = is_protocol(UDP).to_vec();
    rule.extend([
        version.load_destination(),
        Expression::Load { register: client, base: Base::Network, offset, length },
        Expression::Load { register: port, base: Base::Transport, offset: 0, length: 2 },
        Expression::Member { set: set(), register: R1, inverted: false },
        // Not the state: a flow that is never answered stays new.
        Expression::Fact { register: R4, fact: Fact::ConnectionStatus },
        Expression::Bits {
            register: R4,
            mask: STATUS_CONFIRMED.to_ne_bytes().to_vec(),
            xor: vec![0; 4],
        },
        Expression::Compare { register: R4, comparison: Comparison::Equal, value: vec![0; 4] },
        Expression::Renew { set: set(), register: R1, timeout },
        goto(UNKNOWN),
    ]);
    Rule(rule)
}

/// `ct state STATE tcp flags & MASK COMPARISON FLAGS goto unknown`.
fn segment(state: u32, mask: u8, comparison: Comparison, flags: u8) -> Rule {
    let state = state.to_ne_bytes().to_vec();
    let mut rule = vec![
        Expression::Fact { register: R1, fact: Fact::ConnectionState },
        Expression::Bits { register: R1, mask: state, xor: vec![0; 4] },
        compare(Comparison::NotEqual, &[0; 4]),
    ];
    rule.extend(is_protocol(TCP));
    rule.extend([
        Expression::Load { register: R1, base: Base::Transport, offset: 13, length: 1 },
        Expression::Bits { register: R1, mask: vec![mask], xor: vec![0] },
        compare(comparison, &[flags]),
        goto(UNKNOWN),
    ]);
    Rule(rule)
}

/// The packet's protocol is the one of this number.
pub(super) fn is_protocol(number: u8) -> [Expression; 2] {
    let protocol = Expression::Fact { register: R1, fact: Fact::Protocol };
    [protocol, compare(Comparison::Equal, &[number])]
}

/// The device is of Ethernet, so that the frame has a hardware address to look at.
pub(super) fn is_ethernet() -> [Expression; 2] {
    let kind = Expression::Fact { register: R1, fact: Fact::InputType };
    [kind, compare(Comparison::Equal, &ETHERNET.to_ne_bytes())]
}

pub(super) fn load_source_hardware(register: u32) -> Expression {
    Expression::Load { register, base: Base::Link, offset: 6, length: 6 }
}

/// The packet has at most this TTL (hop limit).
pub(super) fn has_hops(version: Version, most: u8) -> [Expression; 2] {
    let offset = version.hops_offset();
    let load = Expression::Load { register: R1, base: Base::Network, offset, length: 1 };
    [load, compare(Comparison::AtMost, &[most])]
}

/// The frame comes from a fellow.
pub(super) fn is_of_fellow() -> [Expression; 4] {
    let [kind, ethernet] = is_ethernet();
    let member = Expression::Member { set: FELLOWS.to_owned(), register: R1, inverted: false };
    [kind, ethernet, load_source_hardware(R1), member]
}

pub(super) fn accept() -> Expression {
    Expression::Verdict(Verdict::Accept)
}

/// The end of every ring (K3), then the fellows' steps (K4), then the steps by bucket, then clients' frames.
///
/// A frame that a fellow has led on by a step has a TTL of at most [`FIRST_TTL`]. A fellow's frame with more was led on by
/// bucket, or the fellow is the client itself: so it counts as a client's.
pub(super) fn unknown(version: Version, loose: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    // A node that is not loose takes strays of healthy connections for invalid as well: a reset would end them.
    if loose {
        let mut reset = has_hops(version, 1).to_vec();
        reset.extend(is_protocol(TCP));
        reset.push(Expression::TcpReset);
        rules.push(Rule(reset));
    }
    let mut end = has_hops(version, 1).to_vec();
    end.push(Expression::Verdict(Verdict::Drop));
    rules.push(Rule(end));

    let mut step = has_hops(version, FIRST_TTL).to_vec();
    step.extend(is_ethernet());
    step.extend([
        version.load_destination(),
        load_source_hardware(version.behind_address()),
        Expression::Follow { map: STEPS.to_owned(), register: R1 },
    ]);
    rules.push(Rule(step));

    let spread = Expression::Follow { map: SPREAD.to_owned(), register: R1 };
    rules.push(Rule(vec![version.load_destination(), spread]));

    rules.push(fellows_stay(version));

    let client = Expression::Follow { map: CLIENTS.to_owned(), register: R1 };
    rules.push(Rule(vec![version.load_destination(), client]));
    rules
}

/// What a fellow has led on by a step stays.
pub(super) fn fellows_stay(version: Version) -> Rule {
    let mut stays = has_hops(version, FIRST_TTL).to_vec();
    stays.extend(is_of_fellow());
    stays.push(accept());
    Rule(stays)
}

/// `ip ttl set 16`. The checksum of IPv4 is one of words, so the TTL is written with the protocol behind it.
pub(super) fn set_hops(version: Version) -> Vec<Expression> {
    let offset = version.hops_offset();
    let (register, base) = (R1, Base::Network);
    match version {
        Version::V4 => vec![
            Expression::Load { register, base, offset, length: 2 },
            Expression::Bits { register, mask: vec![0, 0xff], xor: vec![FIRST_TTL, 0] },
            Expression::Store { register, base, offset, length: 2, checksum: Some(10) },
        ],
        Version::V6 => vec![
            Expression::Value { register, value: vec![FIRST_TTL] },
            Expression::Store { register, base, offset, length: 1, checksum: None },
        ],
    }
}
