// SPDX-License-Identifier: Apache-2.0
//! A stream carries one message each way. What is encrypted says how long it is; what is not ends where its values end, which is
//! found while it arrives. Not the meaning of the messages.

use super::envelope::{Envelope, STREAM_HEAD};
use super::error::DecodeError;
use super::msgpack::{Reader, Writer};
use super::push_pull::Head;
use super::{compression, kind, message};

/// Octets of a message at most, compressed or not: more than 4,096 members with the longest meta data and usual names take.
pub(crate) const LIMIT: usize = 4 << 20;

/// A message that is arriving on a stream.
#[derive(Debug)]
pub struct Incoming {
    octets: Vec<u8>,
    /// Whether the label's head may come first: on streams that the other side opened.
    labelled: bool,
    /// Up to where it has been looked at.
    at: usize,
    /// What has to come before the end, if a push/pull has begun.
    nodes: Option<Head>,
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

impl Incoming {
    /// On a stream that the other side opened the label comes first.
    #[must_use]
    pub const fn new(labelled: bool) -> Self {
        Self { octets: Vec::new(), labelled, at: 0, nodes: None }
    }

    /// Takes more of it; the message, decrypted, once it is there as a whole. What follows it is ignored.
    pub fn receive(
        &mut self,
        envelope: &Envelope,
        more: &[u8],
    ) -> Result<Option<Vec<u8>>, DecodeError> {
        if self.octets.len() + more.len() > LIMIT {
            return Err(DecodeError::Length);
        }
        self.octets.extend_from_slice(more);
        if self.labelled {
            let Some(head) = envelope.check_label(&self.octets)? else { return Ok(None) };
            self.octets.drain(..head);
            self.labelled = false;
        }
        let Some(end) = self.end()? else { return Ok(None) };
        let mut octets = std::mem::take(&mut self.octets);
        octets.truncate(end);
        envelope.open_stream(&mut octets).map(|message| Some(message.to_vec()))
    }

    /// Where the message ends; `None` if more must come.
    fn end(&mut self) -> Result<Option<usize>, DecodeError> {
        match *self.octets.as_slice() {
            [] => Ok(None),
            [kind::ENCRYPT, a, b, c, d, ..] => {
                let length = u32::from_be_bytes([a, b, c, d]);
                let length = usize::try_from(length).map_err(|_| DecodeError::Length)?;
                if length > LIMIT {
                    return Err(DecodeError::Length);
                }
                let end = STREAM_HEAD + length;
                Ok((end <= self.octets.len()).then_some(end))
            }
            [kind::ENCRYPT, ..] => Ok(None),
            [kind::PUSH_PULL, ..] => self.end_of_push_pull(),
            [
                kind::PING | kind::ACK_RESPONSE | kind::ERROR | kind::COMPRESS | kind::USER,
                ref body @ ..,
            ] => {
                let mut reader = Reader::new(body);
                Ok(or_more(reader.skip())?.map(|()| self.octets.len() - reader.rest().len()))
            }
            [other, ..] => Err(DecodeError::Kind(other)),
        }
    }

    fn end_of_push_pull(&mut self) -> Result<Option<usize>, DecodeError> {
        let at = self.at.max(1);
        let mut reader = Reader::new(self.octets.get(at..).unwrap_or_default());
        let mut head = match self.nodes {
            Some(head) => head,
            None => match or_more(Head::decode(&mut reader))? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        while head.nodes > 0 {
            let before = reader.clone();
            if or_more(reader.skip())?.is_none() {
                self.at = self.octets.len() - before.rest().len();
                self.nodes = Some(head);
                return Ok(None);
            }
            head.nodes -= 1;
        }
        self.at = self.octets.len() - reader.rest().len();
        self.nodes = Some(head);
        let user_state = usize::try_from(head.user_state).map_err(|_| DecodeError::Length)?;
        let end = self.at.saturating_add(user_state);
        if end > LIMIT {
            return Err(DecodeError::Length);
        }
        Ok((end <= self.octets.len()).then_some(end))
    }
}

/// What is truncated now may be whole later.
fn or_more<T>(result: Result<T, DecodeError>) -> Result<Option<T>, DecodeError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(DecodeError::Truncated) => Ok(None),
        Err(error) => Err(error),
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
