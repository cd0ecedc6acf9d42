// SPDX-License-Identifier: Apache-2.0
//! The messages of packets, and those of streams but push/pull: each a kind and a map of fields, written in the order of their
//! names. Addresses are four or sixteen octets; how one was written is kept, because the library compares octets.

use std::net::{IpAddr, SocketAddr};

use super::error::DecodeError;
use super::msgpack::{Reader, Writer};
use super::{META, NAME, kind};

/// The protocol versions of a member and, the last three, those of the application above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Versions {
    /// The lowest protocol version that it understands.
    pub minimum: u8,
    /// The highest protocol version that it understands.
    pub maximum: u8,
    /// The one that it speaks.
    pub current: u8,
    /// The lowest version of the application's protocol.
    pub delegate_minimum: u8,
    /// The highest version of the application's protocol.
    pub delegate_maximum: u8,
    /// The application's version that it speaks.
    pub delegate_current: u8,
}

/// Where an answer should go; all of it or part may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) node: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ping<'a> {
    pub(crate) sequence: u32,
    /// Whom it is for; empty for whoever gets it.
    pub(crate) node: &'a str,
    pub(crate) source: Source<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndirectPing<'a> {
    pub(crate) sequence: u32,
    pub(crate) target: IpAddr,
    /// Zero in protocol version 1, which has one port for all.
    pub(crate) port: u16,
    pub(crate) node: &'a str,
    /// A nack is wanted when the target does not answer.
    pub(crate) nack: bool,
    pub(crate) source: Source<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alive<'a> {
    pub(crate) incarnation: u32,
    pub(crate) node: &'a str,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) meta: &'a [u8],
    pub(crate) versions: Option<Versions>,
}

/// That a member is suspect, or dead; with `node == from` in the latter case, that it has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accusation<'a> {
    pub(crate) incarnation: u32,
    pub(crate) node: &'a str,
    pub(crate) from: &'a str,
}

/// A message of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Ping(Ping<'a>),
    IndirectPing(IndirectPing<'a>),
    Ack {
        sequence: u32,
    },
    Nack {
        sequence: u32,
    },
    Suspect(Accusation<'a>),
    Alive(Alive<'a>),
    Dead(Accusation<'a>),
    /// Something of an application; we have none.
    User,
}

impl Versions {
    pub(crate) const fn octets(self) -> [u8; 6] {
        [
            self.minimum,
            self.maximum,
            self.current,
            self.delegate_minimum,
            self.delegate_maximum,
            self.delegate_current,
        ]
    }

    /// None are none; fewer than six are not taken.
    pub(crate) fn decode(octets: &[u8]) -> Result<Option<Self>, DecodeError> {
        match *octets {
            [] => Ok(None),
            [
                minimum,
                maximum,
                current,
                delegate_minimum,
                delegate_maximum,
                delegate_current,
                ..,
            ] => Ok(Some(Self {
                minimum,
                maximum,
                current,
                delegate_minimum,
                delegate_maximum,
                delegate_current,
            })),
            _ => Err(DecodeError::Value),
        }
    }
}

impl<'a> Message<'a> {
    /// A message with its kind. Those that a packet does not hold directly (compounds and the like) are errors.
    pub(crate) fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let (first, body) = octets.split_first().ok_or(DecodeError::Truncated)?;
        let mut body = Reader::new(body);
        match *first {
            kind::PING => Ping::decode(&mut body).map(Message::Ping),
            kind::INDIRECT_PING => IndirectPing::decode(&mut body).map(Message::IndirectPing),
            kind::ACK_RESPONSE => Ok(Message::Ack { sequence: sequence(&mut body)? }),
            kind::NACK_RESPONSE => Ok(Message::Nack { sequence: sequence(&mut body)? }),
            kind::SUSPECT => Accusation::decode(&mut body).map(Message::Suspect),
            kind::ALIVE => Alive::decode(&mut body).map(Message::Alive),
            kind::DEAD => Accusation::decode(&mut body).map(Message::Dead),
            kind::USER => Ok(Message::User),
            other => Err(DecodeError::Kind(other)),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Message::Ping(ping) => ping.encode(),
            Message::IndirectPing(ping) => ping.encode(),
            Message::Ack { sequence } => {
                let mut writer = Writer::message(kind::ACK_RESPONSE);
                writer.map(2);
                writer.raw(b"Payload");
                writer.nil();
                writer.raw(b"SeqNo");
                writer.unsigned(*sequence);
                writer.finish()
            }
            Message::Nack { sequence } => {
                let mut writer = Writer::message(kind::NACK_RESPONSE);
                writer.map(1);
                writer.raw(b"SeqNo");
                writer.unsigned(*sequence);
                writer.finish()
            }
            Message::Suspect(accusation) => accusation.encode(kind::SUSPECT),
            Message::Alive(alive) => alive.encode(),
            Message::Dead(accusation) => accusation.encode(kind::DEAD),
            Message::User => vec![kind::USER],
        }
    }
}

impl<'a> Ping<'a> {
    fn decode(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (mut sequence, mut node, mut source) = (0, "", SourceFields::default());
        body.fields(|field, value| {
            match field {
                b"SeqNo" => sequence = value.unsigned()?,
                b"Node" => node = name(value)?,
                _ => return source.take(field, value),
            }
            Ok(true)
        })?;
        Ok(Self { sequence, node, source: source.finish() })
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::PING);
        writer.map(2 + self.source.count());
        writer.raw(b"Node");
        writer.raw(self.node.as_bytes());
        writer.raw(b"SeqNo");
        writer.unsigned(self.sequence);
        self.source.encode(&mut writer);
        writer.finish()
    }
}

impl<'a> IndirectPing<'a> {
    fn decode(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (mut sequence, mut node, mut source) = (0, "", SourceFields::default());
        let (mut target, mut port, mut nack) = (None, 0, false);
        body.fields(|field, value| {
            match field {
                b"SeqNo" => sequence = value.unsigned()?,
                b"Node" => node = name(value)?,
                b"Target" => target = address(value)?,
                b"Port" => port = value.unsigned()?,
                b"Nack" => nack = value.boolean()?,
                _ => return source.take(field, value),
            }
            Ok(true)
        })?;
        let target = target.ok_or(DecodeError::Value)?;
        Ok(Self { sequence, target, port, node, nack, source: source.finish() })
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::INDIRECT_PING);
        writer.map(5 + self.source.count());
        writer.raw(b"Nack");
        writer.boolean(self.nack);
        writer.raw(b"Node");
        writer.raw(self.node.as_bytes());
        writer.raw(b"Port");
        writer.unsigned(self.port.into());
        writer.raw(b"SeqNo");
        writer.unsigned(self.sequence);
        self.source.encode(&mut writer);
        writer.raw(b"Target");
        write_address(&mut writer, self.target);
        writer.finish()
    }
}

impl<'a> Alive<'a> {
    fn decode(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (mut incarnation, mut node, mut at, mut port) = (0, "", None, 0);
        let (mut meta, mut versions): (&[u8], _) = (&[], None);
        body.fields(|field, value| {
            match field {
                b"Incarnation" => incarnation = value.unsigned()?,
                b"Node" => node = name(value)?,
                b"Addr" => at = address(value)?,
                b"Port" => port = value.unsigned()?,
                b"Meta" => meta = meta_data(value)?,
                b"Vsn" => versions = Versions::decode(value.raw()?)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        match (at, node) {
            (None, _) | (_, "") => Err(DecodeError::Value),
            (Some(address), node) => Ok(Self { incarnation, node, address, port, meta, versions }),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(kind::ALIVE);
        writer.map(6);
        writer.raw(b"Addr");
        write_address(&mut writer, self.address);
        writer.raw(b"Incarnation");
        writer.unsigned(self.incarnation);
        writer.raw(b"Meta");
        writer.octets(self.meta);
        writer.raw(b"Node");
        writer.raw(self.node.as_bytes());
        writer.raw(b"Port");
        writer.unsigned(self.port.into());
        writer.raw(b"Vsn");
        write_versions(&mut writer, self.versions);
        writer.finish()
    }
}

impl<'a> Accusation<'a> {
    fn decode(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (mut incarnation, mut node, mut from) = (0, "", "");
        body.fields(|field, value| {
            match field {
                b"Incarnation" => incarnation = value.unsigned()?,
                b"Node" => node = name(value)?,
                b"From" => from = name(value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self { incarnation, node, from })
    }

    fn encode(&self, kind: u8) -> Vec<u8> {
        let mut writer = Writer::message(kind);
        writer.map(3);
        writer.raw(b"From");
        writer.raw(self.from.as_bytes());
        writer.raw(b"Incarnation");
        writer.unsigned(self.incarnation);
        writer.raw(b"Node");
        writer.raw(self.node.as_bytes());
        writer.finish()
    }
}

/// The fields of a source while they are read.
#[derive(Default)]
struct SourceFields<'a> {
    address: Option<IpAddr>,
    port: u16,
    node: &'a str,
}

impl<'a> SourceFields<'a> {
    fn take(&mut self, field: &[u8], value: &mut Reader<'a>) -> Result<bool, DecodeError> {
        match field {
            b"SourceAddr" => self.address = address(value)?,
            b"SourcePort" => self.port = value.unsigned()?,
            b"SourceNode" => self.node = name(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self) -> Source<'a> {
        let address = self.address.filter(|_| self.port != 0);
        Source { address: address.map(|ip| SocketAddr::new(ip, self.port)), node: self.node }
    }
}

impl Source<'_> {
    fn count(&self) -> u8 {
        2 * u8::from(self.address.is_some()) + u8::from(!self.node.is_empty())
    }

    fn encode(&self, writer: &mut Writer) {
        if let Some(address) = self.address {
            writer.raw(b"SourceAddr");
            write_address(writer, address.ip());
        }
        if !self.node.is_empty() {
            writer.raw(b"SourceNode");
            writer.raw(self.node.as_bytes());
        }
        if let Some(address) = self.address {
            writer.raw(b"SourcePort");
            writer.unsigned(address.port().into());
        }
    }
}

/// The sequence number of an acknowledgement, on a packet or a stream.
pub(crate) fn sequence(body: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let mut sequence = 0;
    body.fields(|field, value| {
        let known = field == b"SeqNo";
        if known {
            sequence = value.unsigned()?;
        }
        Ok(known)
    })?;
    Ok(sequence)
}

pub(crate) fn name<'a>(value: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let name = value.text()?;
    // It ends up in logs and on status pages.
    let printable = name.len() <= NAME && !name.contains(char::is_control);
    if printable { Ok(name) } else { Err(DecodeError::Value) }
}

pub(crate) fn meta_data<'a>(value: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let meta = value.raw()?;
    if meta.len() > META { Err(DecodeError::Value) } else { Ok(meta) }
}

/// An address; none if there are no octets.
pub(crate) fn address(value: &mut Reader<'_>) -> Result<Option<IpAddr>, DecodeError> {
    let octets = value.raw()?;
    if octets.is_empty() {
        return Ok(None);
    }
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| v6()).map(Some).map_err(|_| DecodeError::Value)
}

pub(crate) fn write_versions(writer: &mut Writer, versions: Option<Versions>) {
    match versions {
        Some(versions) => writer.raw(&versions.octets()),
        None => writer.nil(),
    }
}

pub(crate) fn write_address(writer: &mut Writer, address: IpAddr) {
    match address {
        IpAddr::V4(address) => writer.raw(&address.octets()),
        IpAddr::V6(address) => writer.raw(&address.octets()),
    }
}
