// SPDX-License-Identifier: Apache-2.0
//! Push/pull: a head, then the state of each member that the sender knows, then a state of the application, which we ignore and
//! do not have.

use std::net::IpAddr;

use super::error::DecodeError;
use super::kind;
use super::message::{Versions, address, meta_data, name, write_address, write_versions};
use super::msgpack::{Reader, Writer};

/// Members that one message may tell of: more than are kept, since the other side may know others that are dead.
pub(crate) const NODES: u32 = 4 * 4096;

/// The state of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It answers, as far as is known.
    Alive,
    /// It did not answer; if it does not refute that in time, it is dead.
    Suspect,
    /// It did not refute the suspicion, or somebody knows for certain.
    Dead,
    /// It said that it leaves.
    Left,
}

/// What the sender knows of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeState<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) meta: &'a [u8],
    pub(crate) incarnation: u32,
    pub(crate) state: State,
    pub(crate) versions: Option<Versions>,
}

/// The head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) nodes: u32,
    /// Octets of the application's state.
    pub(crate) user_state: u32,
    pub(crate) join: bool,
}

impl Head {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut head = Self::default();
        reader.fields(|field, value| {
            match field {
                b"Nodes" => head.nodes = value.unsigned()?,
                b"UserStateLen" => head.user_state = value.unsigned()?,
                b"Join" => head.join = value.boolean()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(head)
    }
}

/// The members of a message that follow its kind, read while the iterator goes on. One that cannot be is an error, and the next follows; it ends
/// where the octets do.
pub(crate) fn decode(
    body: &[u8],
) -> Result<(Head, impl Iterator<Item = Result<NodeState<'_>, DecodeError>> + Clone), DecodeError> {
    let mut reader = Reader::new(body);
    let head = Head::decode(&mut reader)?;
    let mut ended = false;
    let nodes = (0..head.nodes).map_while(move |_| {
        if ended {
            return None;
        }
        let mut node = reader.clone();
        if let Err(error) = reader.skip() {
            ended = true;
            return Some(Err(error));
        }
        Some(NodeState::decode(&mut node))
    });
    Ok((head, nodes))
}

/// A message of that many members.
pub(crate) fn encode<'a>(
    join: bool,
    count: usize,
    nodes: impl Iterator<Item = NodeState<'a>>,
) -> Vec<u8> {
    let mut writer = Writer::message(kind::PUSH_PULL);
    writer.map(3);
    writer.raw(b"Join");
    writer.boolean(join);
    writer.raw(b"Nodes");
    writer.unsigned(u32::try_from(count).unwrap_or(u32::MAX));
    writer.raw(b"UserStateLen");
    writer.unsigned(0);
    for node in nodes.take(count) {
        node.encode(&mut writer);
    }
    writer.finish()
}

impl State {
    const fn number(self) -> u32 {
        match self {
            Self::Alive => 0,
            Self::Suspect => 1,
            Self::Dead => 2,
            Self::Left => 3,
        }
    }

    const fn of(number: u32) -> Result<Self, DecodeError> {
        match number {
            0 => Ok(Self::Alive),
            1 => Ok(Self::Suspect),
            2 => Ok(Self::Dead),
            3 => Ok(Self::Left),
            4.. => Err(DecodeError::Value),
        }
    }
}

impl<'a> NodeState<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut node = NodeState {
            name: "",
            address: None,
            port: 0,
            meta: &[],
            incarnation: 0,
            state: State::Alive,
            versions: None,
        };
        reader.fields(|field, value| {
            match field {
                b"Name" => node.name = name(value)?,
                b"Addr" => node.address = address(value)?,
                b"Port" => node.port = value.unsigned()?,
                b"Meta" => node.meta = meta_data(value)?,
                b"Incarnation" => node.incarnation = value.unsigned()?,
                b"State" => node.state = State::of(value.unsigned()?)?,
                b"Vsn" => node.versions = Versions::decode(value.raw()?)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(node)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.map(7);
        writer.raw(b"Addr");
        match self.address {
            Some(address) => write_address(writer, address),
            None => writer.nil(),
        }
        writer.raw(b"Incarnation");
        writer.unsigned(self.incarnation);
        writer.raw(b"Meta");
        writer.octets(self.meta);
        writer.raw(b"Name");
        writer.raw(self.name.as_bytes());
        writer.raw(b"Port");
        writer.unsigned(self.port.into());
        writer.raw(b"State");
        writer.unsigned(self.state.number());
        writer.raw(b"Vsn");
        write_versions(writer, self.versions);
    }
}
