// SPDX-License-Identifier: Apache-2.0
//! The datagrams of the heartbeat: their content, and their bytes before sealing. They share the port of the memberlist and begin with a byte
//! that no message of the memberlist begins with.
//!
//! ```text
//!   0xf7  version  flags (1: sealed)  | nonce (12, if sealed) | body (sealed: ciphertext and tag)
//!   body: name length, name, session (8), counter (8), echoed session (8), echoed counter (8), view (1), side (1), mark (16), kind (1), ...
//! ```
//! Numbers are big-endian.

use std::sync::Arc;

use crate::quorum::Side;

/// The first byte of every datagram of this protocol. Datagrams of the memberlist begin with a message type (0 to 15), an encryption version
/// (0, 1) or a label (244).
pub const FIRST_BYTE: u8 = 0xf7;
/// The version used here; others are not read.
pub const VERSION: u8 = 1;
/// The longest text of a [`Body::Notice`] in bytes: with everything around it a datagram stays below 1,400.
pub const NOTICE_LIMIT: usize = 1_000;
/// The longest name in bytes: that of a Kubernetes Node.
const NAME_LIMIT: usize = 253;

/// Bytes that a member's heartbeats carry for the layer above.
pub type Mark = [u8; 16];

/// The sender's view of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Opinion {
    /// The receiver is not a member for the sender.
    #[default]
    Unknown,
    /// The receiver lives.
    Alive,
    /// The receiver is silent at the moment.
    Suspect,
    /// The receiver counts as dead.
    Dead,
}

impl Opinion {
    /// True if the receiver is a member, heard or not.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// The counter by which a replay is told from a new datagram: the session of a process, and the number of the datagram in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// A number that each process chooses at random for each run; never zero.
    pub session: u64,
    /// A number that grows with every datagram to the same peer; begins at 1.
    pub counter: u64,
}

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender's name.
    pub from: Arc<str>,
    /// The sender's stamp of this datagram.
    pub stamp: Stamp,
    /// The newest stamp that the sender had got from the receiver.
    pub echo: Option<Stamp>,
    /// The sender's view of the receiver.
    pub view: Opinion,
    /// The sender's side by its own count.
    pub side: Side,
    /// The sender's mark.
    pub mark: Mark,
    /// The body.
    pub body: Body,
}

/// The body of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The sender lives.
    Heartbeat,
    /// The receiver is to answer at once.
    Probe,
    /// The answer to [`Self::Probe`] and [`Self::PingAll`].
    Answer,
    /// A question whether the receiver hears a member.
    Ask {
        /// The member's name.
        about: Arc<str>,
    },
    /// The answer to [`Self::Ask`], sent again if the member is heard soon after.
    Report {
        /// The name that was asked for.
        about: Arc<str>,
        /// The milliseconds since the member was heard, 65,534 for that or more; none if it never was.
        silent_for: Option<u16>,
    },
    /// Bytes for the layer above.
    Notice {
        /// The id by which the notice is confirmed and told from a copy.
        id: u32,
        /// The text, at most [`NOTICE_LIMIT`] bytes; empty if only the fields of every datagram are to arrive.
        bytes: Vec<u8>,
    },
    /// A notice has arrived.
    NoticeReceived {
        /// The id of the notice.
        id: u32,
    },
    /// The receiver is to answer at once, and to find out itself which members are there: half of those that the sender knows are silent.
    PingAll,
}

/// The reason why bytes are no [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the message needs.
    #[error("it ends too early")]
    Truncated,
    /// More bytes than the message has.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// A name of zero or more than 253 bytes, or not UTF-8.
    #[error("a name in it is none")]
    Name,
    /// A value without meaning.
    #[error("its {0} has a value without meaning")]
    Value(&'static str),
    /// A notice above [`NOTICE_LIMIT`].
    #[error("its notice has {0} bytes")]
    TooLong(usize),
}

impl Message {
    /// The body's bytes, to be sealed or sent as they are.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_name(&mut out, &self.from);
        put_stamp(&mut out, Some(self.stamp));
        put_stamp(&mut out, self.echo);
        out.push(match self.view {
            Opinion::Unknown => 0,
            Opinion::Alive => 1,
            Opinion::Suspect => 2,
            Opinion::Dead => 3,
        });
        out.push(match self.side {
            Side::Undecided => 0,
            Side::Majority => 1,
            Side::Minority => 2,
        });
        out.extend_from_slice(&self.mark);
        match &self.body {
            Body::Heartbeat => out.push(0),
            Body::Probe => out.push(1),
            Body::Answer => out.push(2),
            Body::Ask { about } => {
                out.push(3);
                put_name(&mut out, about);
            }
            Body::Report { about, silent_for } => {
                out.push(4);
                put_name(&mut out, about);
                out.extend_from_slice(&silent_for.unwrap_or(u16::MAX).to_be_bytes());
            }
            Body::Notice { id, bytes } => {
                out.push(5);
                out.extend_from_slice(&id.to_be_bytes());
                out.extend_from_slice(bytes);
            }
            Body::NoticeReceived { id } => {
                out.push(6);
                out.extend_from_slice(&id.to_be_bytes());
            }
            Body::PingAll => out.push(7),
        }
        out
    }

    /// Reads a body.
    ///
    /// # Errors
    /// A [`DecodeError`] with the fault. Nothing is read beyond the bytes given.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = Reader(bytes);
        let from = rest.name()?;
        let stamp = rest.stamp()?.ok_or(DecodeError::Value("session"))?;
        let echo = rest.stamp()?;
        let view = match rest.byte()? {
            0 => Opinion::Unknown,
            1 => Opinion::Alive,
            2 => Opinion::Suspect,
            3 => Opinion::Dead,
            _ => return Err(DecodeError::Value("view")),
        };
        let side = match rest.byte()? {
            0 => Side::Undecided,
            1 => Side::Majority,
            2 => Side::Minority,
            _ => return Err(DecodeError::Value("side")),
        };
        let mark = rest.take()?;
        let body = match rest.byte()? {
            0 => Body::Heartbeat,
            1 => Body::Probe,
            2 => Body::Answer,
            3 => Body::Ask { about: rest.name()? },
            4 => {
                let about = rest.name()?;
                let silent_for = u16::from_be_bytes(rest.take()?);
                Body::Report { about, silent_for: (silent_for != u16::MAX).then_some(silent_for) }
            }
            5 => {
                let id = u32::from_be_bytes(rest.take()?);
                if rest.0.len() > NOTICE_LIMIT {
                    return Err(DecodeError::TooLong(rest.0.len()));
                }
                Body::Notice { id, bytes: std::mem::take(&mut rest.0).to_vec() }
            }
            6 => Body::NoticeReceived { id: u32::from_be_bytes(rest.take()?) },
            7 => Body::PingAll,
            _ => return Err(DecodeError::Value("kind")),
        };
        match rest.0.len() {
            0 => Ok(Self { from, stamp, echo, view, side, mark, body }),
            more => Err(DecodeError::Trailing(more)),
        }
    }
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    // Names come from Kubernetes or were read by `name`, which refuses longer ones.
    let mut length = name.len().min(NAME_LIMIT);
    while !name.is_char_boundary(length) {
        length -= 1;
    }
    out.push(u8::try_from(length).unwrap_or(u8::MAX));
    out.extend(name.bytes().take(length));
}

fn put_stamp(out: &mut Vec<u8>, stamp: Option<Stamp>) {
    let stamp = stamp.unwrap_or(Stamp { session: 0, counter: 0 });
    out.extend_from_slice(&stamp.session.to_be_bytes());
    out.extend_from_slice(&stamp.counter.to_be_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.take().map(|[byte]| byte)
    }

    fn name(&mut self) -> Result<Arc<str>, DecodeError> {
        let length = usize::from(self.byte()?);
        if length == 0 || length > NAME_LIMIT {
            return Err(DecodeError::Name);
        }
        let (name, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        std::str::from_utf8(name).map(Arc::from).map_err(|_| DecodeError::Name)
    }

    fn stamp(&mut self) -> Result<Option<Stamp>, DecodeError> {
        let session = u64::from_be_bytes(self.take()?);
        let counter = u64::from_be_bytes(self.take()?);
        Ok((session != 0).then_some(Stamp { session, counter }))
    }
}

#[cfg(test)]
mod tests;
