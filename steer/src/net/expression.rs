// SPDX-License-Identifier: Apache-2.0
//! The expressions of nf_tables that the rules need, and their octets.
//!
//! A rule is a list of expressions that load registers, compare them and end with a verdict. Numbers of attributes are those of
//! the kernel's `linux/netfilter/nf_tables.h`.

use super::attribute::{Attributes, Writer};

/// A register of 16 octets.
pub(super) const R1: u32 = 1;
/// The next one.
pub(super) const R2: u32 = 2;
/// The third one.
pub(super) const R3: u32 = 3;
/// A register that no rule has a key in.
pub(super) const R4: u32 = 4;
/// The second four octets of [`R1`], and those behind.
pub(super) const R1_SECOND: u32 = 9;
/// The register of the verdict.
const VERDICT: u32 = 0;
const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
/// The kernel's number for the operation of a set that adds or renews.
const UPDATE: u32 = 1;
/// The kernel's number for Jenkins' hash.
const JENKINS: u32 = 0;
const GOTO: u32 = -4_i32 as u32;

/// The place where a packet goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Drop,
    Accept,
    Goto(String),
}

/// The header that an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Link,
    Network,
    Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    AtMost,
}

/// A fact beside the packet's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// Two octets: 0x0800 is IPv4, 0x86dd IPv6. For families that see frames.
    EtherType,
    /// Two octets, in the host's order: `ARPHRD_ETHER` for Ethernet.
    InputType,
    /// One octet: 0 for frames to this host's own hardware address.
    PacketType,
    /// One octet: TCP is 6.
    Protocol,
    /// Four octets of flags, in the host's order.
    ConnectionState,
    /// The same: 8 says that the entry is no draft any more.
    ConnectionStatus,
}

/// One expression. Registers are numbers as the kernel has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Load {
        register: u32,
        base: Base,
        offset: u32,
        length: u32,
    },
    /// Writes octets into the packet. `checksum` is the offset of the IPv4 header's.
    Store {
        register: u32,
        base: Base,
        offset: u32,
        length: u32,
        checksum: Option<u32>,
    },
    Fact {
        register: u32,
        fact: Fact,
    },
    Compare {
        register: u32,
        comparison: Comparison,
        value: Vec<u8>,
    },
    /// `register = (register & mask) ^ xor`; both have the same length.
    Bits {
        register: u32,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    /// Goes on if the set has the register (or has it not).
    Member {
        set: String,
        register: u32,
        inverted: bool,
    },
    /// Follows the verdict that the map has for the register, if any.
    Follow {
        map: String,
        register: u32,
    },
    Value {
        register: u32,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    Counter {
        packets: u64,
        octets: u64,
    },
    TcpReset,
    /// Adds the register to a set, or gives the element its time-out anew, in milliseconds.
    Renew {
        set: String,
        register: u32,
        timeout: u64,
    },
    /// Jenkins' hash of so many octets, as a number in the host's order below the modulus.
    Hash {
        source: u32,
        length: u32,
        register: u32,
        modulus: u32,
        seed: u32,
    },
    /// Sends the frame to the neighbour of this address, one of the protocol family of this number, by the device.
    Forward {
        device: u32,
        address: u32,
        protocol: u32,
    },
    /// Sends a copy to the address in one register, by the device whose index is in the other.
    Duplicate {
        address: u32,
        device: u32,
    },
}

impl Verdict {
    /// The verdict as the value of an attribute of data.
    pub(super) fn encode(&self, data: &mut Writer) {
        let (code, chain) = match self {
            Self::Drop => (0, None),
            Self::Accept => (1, None),
            Self::Goto(chain) => (GOTO, Some(chain)),
        };
        data.nested(DATA_VERDICT, |verdict| {
            verdict.be32(1, code);
            if let Some(chain) = chain {
                verdict.text(2, chain);
            }
        });
    }

    /// None for verdicts that no rule of ours has.
    pub(super) fn decode(data: Attributes<'_>) -> Option<Self> {
        let verdict = data.nested(DATA_VERDICT)?;
        Some(match verdict.be32(1)? {
            0 => Self::Drop,
            1 => Self::Accept,
            GOTO => Self::Goto(verdict.text(2)?.to_owned()),
            _ => return None,
        })
    }
}

/// A value as the value of an attribute of data.
pub(super) fn encode_value(data: &mut Writer, value: &[u8]) {
    data.octets(DATA_VALUE, value);
}

pub(super) fn decode_value(data: Attributes<'_>) -> Option<&[u8]> {
    data.octets(DATA_VALUE)
}

/// Writes the list of a rule's expressions.
pub(super) fn encode_all(list: &mut Writer, expressions: &[Expression]) {
    for expression in expressions {
        list.nested(LIST_ELEMENT, |element| {
            element.text(1, expression.name());
            element.nested(2, |data| expression.encode(data));
        });
    }
}

/// Reads such a list; None stands for an expression that no rule of ours has.
pub(super) fn decode_all(list: Attributes<'_>) -> impl Iterator<Item = Option<Expression>> {
    list.filter(|(kind, _)| *kind == LIST_ELEMENT).map(|(_, element)| {
        let element = Attributes(element);
        Expression::decode(element.text(1)?, element.nested(2)?)
    })
}

impl Expression {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Load { .. } | Self::Store { .. } => "payload",
            Self::Fact { fact: Fact::ConnectionState | Fact::ConnectionStatus, .. } => "ct",
            Self::Fact { .. } => "meta",
            Self::Compare { .. } => "cmp",
            Self::Bits { .. } => "bitwise",
            Self::Member { .. } | Self::Follow { .. } => "lookup",
            Self::Value { .. } | Self::Verdict(_) => "immediate",
            Self::Counter { .. } => "counter",
            Self::TcpReset => "reject",
            Self::Renew { .. } => "dynset",
            Self::Hash { .. } => "hash",
            Self::Forward { .. } => "fwd",
            Self::Duplicate { .. } => "dup",
        }
    }

    fn encode(&self, data: &mut Writer) {
        match self {
            Self::Load { register, base, offset, length } => {
                data.be32(1, *register).be32(2, base.number()).be32(3, *offset).be32(4, *length);
            }
            Self::Store { register, base, offset, length, checksum } => {
                data.be32(5, *register).be32(2, base.number()).be32(3, *offset).be32(4, *length);
                data.be32(6, u32::from(checksum.is_some())).be32(7, checksum.unwrap_or(0));
            }
            Self::Fact { register, fact } => {
                data.be32(1, *register).be32(2, fact.number());
            }
            Self::Compare { register, comparison, value } => {
                data.be32(1, *register).be32(2, comparison.number());
                data.nested(3, |data| encode_value(data, value));
            }
            Self::Bits { register, mask, xor } => {
                let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
                data.be32(1, *register).be32(2, *register).be32(3, length);
                data.nested(4, |data| encode_value(data, mask));
                data.nested(5, |data| encode_value(data, xor));
            }
            Self::Member { set, register, inverted } => {
                data.text(1, set).be32(2, *register).be32(5, u32::from(*inverted));
            }
            Self::Follow { map, register } => {
                data.text(1, map).be32(2, *register).be32(3, VERDICT);
            }
            Self::Value { register, value } => {
                data.be32(1, *register).nested(2, |data| encode_value(data, value));
            }
            Self::Verdict(verdict) => {
                data.be32(1, VERDICT).nested(2, |data| verdict.encode(data));
            }
            Self::Counter { packets, octets } => {
                data.be64(1, *octets).be64(2, *packets);
            }
            Self::TcpReset => {
                data.be32(1, 1).octets(2, &[0]);
            }
            Self::Renew { set, register, timeout } => {
                data.text(1, set).be32(3, UPDATE).be32(4, *register).be64(6, *timeout);
            }
            Self::Hash { source, length, register, modulus, seed } => {
                data.be32(1, *source).be32(2, *register).be32(3, *length);
                data.be32(4, *modulus).be32(5, *seed).be32(7, JENKINS);
            }
            Self::Forward { device, address, protocol } => {
                data.be32(1, *device).be32(2, *address).be32(3, *protocol);
            }
            Self::Duplicate { address, device } => {
                data.be32(1, *address).be32(2, *device);
            }
        }
    }

    fn decode(name: &str, data: Attributes<'_>) -> Option<Self> {
        Some(match name {
            "payload" => Self::decode_payload(data)?,
            "meta" | "ct" => {
                let fact = Fact::of(name, data.be32(2)?)?;
                Self::Fact { register: data.be32(1)?, fact }
            }
            "cmp" => Self::Compare {
                register: data.be32(1)?,
                comparison: Comparison::of(data.be32(2)?)?,
                value: decode_value(data.nested(3)?)?.to_vec(),
            },
            "bitwise" => {
                let register = data.be32(1).filter(|source| data.be32(2) == Some(*source))?;
                let mask = decode_value(data.nested(4)?)?.to_vec();
                let xor = decode_value(data.nested(5)?)?.to_vec();
                Self::Bits { register, mask, xor }
            }
            "lookup" => {
                let (name, register) = (data.text(1)?.to_owned(), data.be32(2)?);
                if data.be32(3).is_some() {
                    Self::Follow { map: name, register }
                } else {
                    let inverted = data.be32(5).unwrap_or(0) & 1 != 0;
                    Self::Member { set: name, register, inverted }
                }
            }
            "immediate" => match (data.be32(1)?, data.nested(2)?) {
                (VERDICT, data) => Self::Verdict(Verdict::decode(data)?),
                (register, data) => Self::Value { register, value: decode_value(data)?.to_vec() },
            },
            "counter" => Self::Counter { octets: data.be64(1)?, packets: data.be64(2)? },
            "reject" if data.be32(1)? == 1 => Self::TcpReset,
            "dynset" if data.be32(3)? == UPDATE => Self::Renew {
                set: data.text(1)?.to_owned(),
                register: data.be32(4)?,
                timeout: data.be64(6)?,
            },
            "hash" if data.be32(7)? == JENKINS && data.be32(6).unwrap_or(0) == 0 => Self::Hash {
                source: data.be32(1)?,
                length: data.be32(3)?,
                register: data.be32(2)?,
                modulus: data.be32(4)?,
                seed: data.be32(5)?,
            },
            "fwd" => Self::Forward {
                device: data.be32(1)?,
                address: data.be32(2)?,
                protocol: data.be32(3)?,
            },
            "dup" => Self::Duplicate { address: data.be32(1)?, device: data.be32(2)? },
            _ => return None,
        })
    }

    fn decode_payload(data: Attributes<'_>) -> Option<Self> {
        let (base, offset, length) = (Base::of(data.be32(2)?)?, data.be32(3)?, data.be32(4)?);
        let Some(register) = data.be32(5) else {
            return Some(Self::Load { register: data.be32(1)?, base, offset, length });
        };
        let checksum = data.be32(7).filter(|_| data.be32(6) == Some(1));
        Some(Self::Store { register, base, offset, length, checksum })
    }
}

impl Base {
    fn number(self) -> u32 {
        self as u32
    }

    fn of(number: u32) -> Option<Self> {
        [Self::Link, Self::Network, Self::Transport].into_iter().find(|it| it.number() == number)
    }
}

impl Comparison {
    fn number(self) -> u32 {
        match self {
            Self::Equal => 0,
            Self::NotEqual => 1,
            Self::AtMost => 3,
        }
    }

    fn of(number: u32) -> Option<Self> {
        [Self::Equal, Self::NotEqual, Self::AtMost].into_iter().find(|it| it.number() == number)
    }
}

impl Fact {
    fn number(self) -> u32 {
        match self {
            Self::ConnectionState => 0,
            Self::ConnectionStatus => 2,
            Self::EtherType => 1,
            Self::InputType => 8,
            Self::PacketType => 19,
            Self::Protocol => 16,
        }
    }

    fn of(name: &str, number: u32) -> Option<Self> {
        match (name, number) {
            ("ct", 2) => Some(Self::ConnectionStatus),
            ("ct", 0) => Some(Self::ConnectionState),
            ("meta", 1) => Some(Self::EtherType),
            ("meta", 19) => Some(Self::PacketType),
            ("meta", 8) => Some(Self::InputType),
            ("meta", 16) => Some(Self::Protocol),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
