// SPDX-License-Identifier: Apache-2.0
//! A stream carries one message each way. What is encrypted says how long it is; what is not ends where its values end, which is
//! found while it arrives. Not the meaning of the messages.

use super::envelope::{Envelope, STREAM_HEAD, StreamLength};
use super::error::DecodeError;
use super::msgpack::{self, Reader, Writer};
use super::push_pull::{Head, NODES};
use super::{compression, kind, message};

/// Octets of a message at most, compressed or not: more than 4,096 members with the longest meta data and usual names take.
pub(crate) const LIMIT: usize = 4 << 20;

/// Octets around a message that are read with it: the label's head, and kind and length of what is sealed.
const MOST: usize = 2 + 255 + STREAM_HEAD;
/// Octets of the head of a push/pull at most; it has three fields.
const HEAD: usize = 1024;

/// A message that is arriving on a stream. Whatever arrives in whatever pieces, each octet is looked at a bounded number of times, and no more is
/// kept than has come.
#[derive(Debug)]
pub struct Incoming {
    octets: Vec<u8>,
    /// Whether the label's head may come first: on streams that the other side opened.
    labelled: bool,
    /// Where it ends, if it says so.
    end: Option<usize>,
    /// How far its values have been passed, if it ends with them.
    values: Option<Values>,
}

/// What came on a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StreamMessage {
    /// The content that follows the kind.
    PushPull(Vec<u8>),
    Ping(Vec<u8>),
    Ack {
        sequence: u32,
    },
    /// What the other side has against our message.
    Error(String),
    /// Something of an application; we have none.
    User,
}

/// A walk over the values of a message that goes on where it was when more has come.
#[derive(Debug)]
struct Values {
    at: usize,
    /// Values that are still to be passed.
    wanted: usize,
    /// Where a push/pull ends behind its values; none before its head is there.
    behind: Option<usize>,
    is_push_pull: bool,
    /// Heads of values that were decoded, for tests: what it costs.
    steps: usize,
}

impl Incoming {
    /// On a stream that the other side opened the label comes first.
    #[must_use]
    pub const fn new(labelled: bool) -> Self {
        Self { octets: Vec::new(), labelled, end: None, values: None }
    }

    /// Takes more of it; the message, decrypted, once it is there as a whole. What follows it is ignored.
    pub fn receive(
        &mut self,
        envelope: &Envelope,
        more: &[u8],
    ) -> Result<Option<Vec<u8>>, DecodeError> {
        if self.octets.len() + more.len() > LIMIT + MOST {
            return Err(DecodeError::Length);
        }
        self.octets.extend_from_slice(more);
        if self.labelled {
            let Some(head) = envelope.check_label(&self.octets)? else { return Ok(None) };
            self.octets.drain(..head);
            self.labelled = false;
        }
        if self.end.is_none() && self.values.is_none() {
            match envelope.length_of_stream(&self.octets)? {
                StreamLength::Unknown => return Ok(None),
                StreamLength::Known(end) => self.end = Some(end),
                StreamLength::ByItsValues => self.values = Some(Values::new(&self.octets)?),
            }
        }
        if let Some(values) = &mut self.values
            && self.end.is_none()
        {
            self.end = values.pass(&self.octets)?;
        }
        let Some(end) = self.end.filter(|end| *end <= self.octets.len()) else { return Ok(None) };
        let mut octets = std::mem::take(&mut self.octets);
        octets.truncate(end);
        envelope.open_stream(&mut octets).map(|message| Some(message.to_vec()))
    }

    /// How many octets are kept, and how many heads of values were decoded.
    pub(crate) fn cost(&self) -> (usize, usize) {
        (self.octets.capacity(), self.values.as_ref().map_or(0, |values| values.steps))
    }
}

impl Values {
    /// Of a message in the clear.
    fn new(octets: &[u8]) -> Result<Self, DecodeError> {
        let is_push_pull = match octets.first() {
            Some(&kind::PUSH_PULL) => true,
            Some(
                &(kind::PING | kind::ACK_RESPONSE | kind::ERROR | kind::COMPRESS | kind::USER),
            ) => false,
            Some(&other) => return Err(DecodeError::Kind(other)),
            None => return Err(DecodeError::Truncated),
        };
        Ok(Self { at: 1, wanted: 1, behind: None, is_push_pull, steps: 0 })
    }

    /// Goes on over what has come; where the message ends, if that is known now.
    fn pass(&mut self, octets: &[u8]) -> Result<Option<usize>, DecodeError> {
        loop {
            let passed = self.pass_values(octets)?;
            if self.is_push_pull && self.behind.is_none() {
                let seen = if passed { self.at } else { octets.len() };
                if seen > HEAD {
                    return Err(DecodeError::Length);
                }
                if passed {
                    self.begin_nodes(octets)?;
                    continue;
                }
            }
            let end = self.at.saturating_add(self.behind.unwrap_or(0));
            return match passed {
                true if end > LIMIT => Err(DecodeError::Length),
                true => Ok(Some(end)),
                false => Ok(None),
            };
        }
    }

    /// The head of a push/pull is there: it says how many values follow, and how many octets behind them.
    fn begin_nodes(&mut self, octets: &[u8]) -> Result<(), DecodeError> {
        let head = Head::decode(&mut Reader::new(octets.get(1..self.at).unwrap_or_default()))?;
        let too_many = head.nodes > NODES;
        let wanted = usize::try_from(head.nodes).ok().filter(|_| !too_many);
        self.wanted = wanted.ok_or(DecodeError::Length)?;
        let behind = usize::try_from(head.user_state).ok().filter(|behind| *behind <= LIMIT);
        self.behind = Some(behind.ok_or(DecodeError::Length)?);
        Ok(())
    }

    /// Whether all that are wanted are there. The last one is looked at again when more has come, and no other.
    fn pass_values(&mut self, octets: &[u8]) -> Result<bool, DecodeError> {
        while self.wanted > 0 {
            self.steps += 1;
            let mut reader = Reader::new(octets.get(self.at..).unwrap_or_default());
            let inside = match reader.head() {
                Ok(msgpack::Head::Opaque(length) | msgpack::Head::Raw(length)) => {
                    if length > LIMIT {
                        return Err(DecodeError::Length);
                    }
                    if reader.take(length).is_err() {
                        return Ok(false);
                    }
                    0
                }
                Ok(msgpack::Head::Array(count)) => count,
                Ok(msgpack::Head::Map(count)) => count.saturating_mul(2),
                Ok(
                    msgpack::Head::Nil
                    | msgpack::Head::Boolean(_)
                    | msgpack::Head::Unsigned(_)
                    | msgpack::Head::Negative,
                ) => 0,
                Err(DecodeError::Truncated) => return Ok(false),
                Err(error) => return Err(error),
            };
            self.at = octets.len() - reader.rest().len();
            self.wanted = (self.wanted - 1).saturating_add(inside);
            // Each has an octet at least.
            if self.wanted > LIMIT {
                return Err(DecodeError::Length);
            }
        }
        Ok(true)
    }
}

impl StreamMessage {
    /// A message as [`Incoming`] gives it.
    pub(crate) fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        match octets.split_first() {
            Some((&kind::COMPRESS, body)) => Self::plain(&compression::decompress(body, LIMIT)?),
            _ => Self::plain(octets),
        }
    }

    fn plain(octets: &[u8]) -> Result<Self, DecodeError> {
        let (first, body) = octets.split_first().ok_or(DecodeError::Truncated)?;
        match *first {
            kind::PUSH_PULL => Ok(Self::PushPull(body.to_vec())),
            kind::PING => Ok(Self::Ping(octets.to_vec())),
            kind::ACK_RESPONSE => {
                Ok(Self::Ack { sequence: message::sequence(&mut Reader::new(body))? })
            }
            kind::ERROR => Ok(Self::Error(error_text(body)?)),
            kind::USER => Ok(Self::User),
            other => Err(DecodeError::Kind(other)),
        }
    }
}

fn error_text(body: &[u8]) -> Result<String, DecodeError> {
    let mut text = String::new();
    Reader::new(body).fields(|field, value| {
        let known = field == b"Error";
        if known {
            // It goes to a log line.
            text = value.text()?.chars().filter(|letter| !letter.is_control()).take(200).collect();
        }
        Ok(known)
    })?;
    Ok(text)
}

/// The message that tells the other side why its message was not taken.
#[must_use]
pub fn refusal(text: &str) -> Vec<u8> {
    let mut writer = Writer::message(kind::ERROR);
    writer.map(1);
    writer.raw(b"Error");
    writer.raw(text.as_bytes());
    writer.finish()
}

/// A message for a stream, compressed if that is wanted.
pub(crate) fn encode(message: Vec<u8>, compress: bool) -> Vec<u8> {
    let compressed = if compress { compression::compress(&message) } else { None };
    compressed.unwrap_or(message)
}
