// SPDX-License-Identifier: Apache-2.0
//! What is around a packet or a stream: the label of the ring, and encryption. On a packet the encryption is a version octet, a
//! nonce, the ciphertext and the tag; on a stream a kind and a length come first and are authenticated too, as is the label.
//! Version 0 pads to 16 octets (PKCS #7); it is read, version 1 is written.

use super::error::DecodeError;
use super::kind;
use super::stream::LIMIT;
use crate::key::{Key, Keyring};

/// Octets of a label at most.
const LABEL: usize = 255;
/// Octets of the version.
const VERSION: usize = 1;
/// Octets that encryption adds to a packet.
const ENCRYPTION: usize = VERSION + Key::NONCE + Key::TAG;
/// Octets of kind and length before an encrypted stream.
pub(crate) const STREAM_HEAD: usize = 5;

/// What is known of the length of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamLength {
    /// More has to come.
    Unknown,
    /// So many octets, its head included.
    Known(usize),
    /// It is in the clear.
    ByItsValues,
}

/// How the packets and streams of a ring are wrapped.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// The label; empty for none.
    label: String,
    key: Option<Keyring>,
    verify_incoming: bool,
    verify_outgoing: bool,
}

/// The label has more than 255 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a label has 255 octets at most")]
pub struct LabelTooLong;

impl Envelope {
    /// With a key, everything sent is encrypted if `verify_outgoing`, and only what is encrypted is taken if `verify_incoming`.
    pub fn new(
        label: &str,
        key: Option<Keyring>,
        verify_incoming: bool,
        verify_outgoing: bool,
    ) -> Result<Self, LabelTooLong> {
        if label.len() > LABEL {
            return Err(LabelTooLong);
        }
        Ok(Self { label: label.to_owned(), key, verify_incoming, verify_outgoing })
    }

    /// The same with other keys; as it is if it has none.
    #[must_use]
    pub fn with_keys(&self, keys: Keyring) -> Self {
        Self { key: self.key.as_ref().map(|_| keys), ..self.clone() }
    }

    /// Octets that it adds to a packet.
    #[must_use]
    pub const fn overhead(&self) -> usize {
        let label = if self.label.is_empty() { 0 } else { 2 + self.label.len() };
        label + if self.key.is_some() { ENCRYPTION } else { 0 }
    }

    /// The key with which what leaves is encrypted.
    fn sealing(&self) -> Option<&Keyring> {
        self.key.as_ref().filter(|_| self.verify_outgoing)
    }

    /// The head that names the label; empty if there is none.
    #[must_use]
    pub fn label_head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(2 + self.label.len());
        if let Some(length) = u8::try_from(self.label.len()).ok().filter(|length| *length > 0) {
            head.extend([kind::HAS_LABEL, length]);
            head.extend_from_slice(self.label.as_bytes());
        }
        head
    }

    /// The datagram of a packet. The nonce must never have been used with this key.
    #[must_use]
    pub fn seal_packet(&self, nonce: [u8; Key::NONCE], packet: &[u8]) -> Vec<u8> {
        let mut datagram = self.label_head();
        match self.sealing() {
            Some(key) => seal(key, nonce, self.label.as_bytes(), packet, &mut datagram),
            None => datagram.extend_from_slice(packet),
        }
        datagram
    }

    /// The packet of a datagram, which is decrypted in place.
    pub fn open_packet<'a>(&self, datagram: &'a mut [u8]) -> Result<&'a [u8], DecodeError> {
        let head = self.check_label(datagram)?.ok_or(DecodeError::Truncated)?;
        let sealed = datagram.get_mut(head..).unwrap_or_default();
        let Some(key) = &self.key else { return Ok(sealed) };
        if self.verify_incoming {
            return open(key, self.label.as_bytes(), sealed);
        }
        // It may be in the clear, and trying to decrypt it would spoil it.
        match open(key, self.label.as_bytes(), &mut sealed.to_vec()) {
            Ok(plaintext) => {
                let length = plaintext.len();
                let plaintext = plaintext.to_vec();
                if let Some(place) = sealed.get_mut(..length) {
                    place.copy_from_slice(&plaintext);
                }
                Ok(sealed.get(..length).unwrap_or_default())
            }
            Err(_) => Ok(sealed),
        }
    }

    /// What is written to a stream for one message. Whoever opened the stream first writes the [`Envelope::label_head`]. The nonce
    /// must never have been used with this key.
    #[must_use]
    pub fn seal_stream(&self, nonce: [u8; Key::NONCE], message: Vec<u8>) -> Vec<u8> {
        let Some(key) = self.sealing() else { return message };
        let length = u32::try_from(message.len() + ENCRYPTION).unwrap_or(u32::MAX);
        let mut octets = vec![kind::ENCRYPT];
        octets.extend(length.to_be_bytes());
        let associated = self.associated(&octets);
        seal(key, nonce, &associated, &message, &mut octets);
        octets
    }

    /// The message of a stream that is there as a whole, without the label's head; decrypted in place.
    pub(crate) fn open_stream<'a>(&self, octets: &'a mut [u8]) -> Result<&'a [u8], DecodeError> {
        match (octets.first(), &self.key) {
            (Some(&kind::ENCRYPT), None) => Err(DecodeError::NoKey),
            (Some(&kind::ENCRYPT), Some(key)) => {
                let (head, sealed) =
                    octets.split_at_mut_checked(STREAM_HEAD).ok_or(DecodeError::Truncated)?;
                open(key, &self.associated(head), sealed)
            }
            (_, Some(_)) if self.verify_incoming => Err(DecodeError::Plaintext),
            (_, _) => Ok(octets),
        }
    }

    /// What the first octets of a stream, behind the label's head, say of its length with them: none if it ends where its values end.
    /// Nothing is read of what is not sealed where it should be, or cannot be.
    pub(crate) fn length_of_stream(&self, octets: &[u8]) -> Result<StreamLength, DecodeError> {
        match (octets, &self.key) {
            ([], _) => Ok(StreamLength::Unknown),
            ([kind::ENCRYPT, ..], None) => Err(DecodeError::NoKey),
            ([kind::ENCRYPT, a, b, c, d, ..], Some(_)) => {
                let length = u32::from_be_bytes([*a, *b, *c, *d]);
                let length = usize::try_from(length).map_err(|_| DecodeError::Length)?;
                match length {
                    ..ENCRYPTION => Err(DecodeError::Truncated),
                    ENCRYPTION..=LIMIT => Ok(StreamLength::Known(STREAM_HEAD + length)),
                    _ => Err(DecodeError::Length),
                }
            }
            ([kind::ENCRYPT, ..], Some(_)) => Ok(StreamLength::Unknown),
            (_, Some(_)) if self.verify_incoming => Err(DecodeError::Plaintext),
            (_, _) => Ok(StreamLength::ByItsValues),
        }
    }

    /// How long the label's head of what was received is; `None` if more is needed to tell. An error as soon as it cannot be our label.
    pub(crate) fn check_label(&self, octets: &[u8]) -> Result<Option<usize>, DecodeError> {
        let ours = self.label.as_bytes();
        match *octets {
            [] => Ok(None),
            [kind::HAS_LABEL, ..] if ours.is_empty() => Err(DecodeError::Label),
            [kind::HAS_LABEL] => Ok(None),
            [kind::HAS_LABEL, length, ..] if usize::from(length) != ours.len() => {
                Err(DecodeError::Label)
            }
            [kind::HAS_LABEL, _, ref rest @ ..] => match rest.get(..ours.len()) {
                Some(label) if label == ours => Ok(Some(2 + ours.len())),
                Some(_) => Err(DecodeError::Label),
                None if ours.starts_with(rest) => Ok(None),
                None => Err(DecodeError::Label),
            },
            _ if ours.is_empty() => Ok(Some(0)),
            _ => Err(DecodeError::Label),
        }
    }

    fn associated(&self, head: &[u8]) -> Vec<u8> {
        [head, self.label.as_bytes()].concat()
    }
}

/// Appends version, nonce, ciphertext and tag.
fn seal(
    key: &Keyring,
    nonce: [u8; Key::NONCE],
    associated: &[u8],
    plaintext: &[u8],
    octets: &mut Vec<u8>,
) {
    let mut buffer = plaintext.to_vec();
    key.seal(nonce, associated, &mut buffer);
    octets.push(1);
    octets.extend(nonce);
    octets.append(&mut buffer);
}

fn open<'a>(
    key: &Keyring,
    associated: &[u8],
    sealed: &'a mut [u8],
) -> Result<&'a [u8], DecodeError> {
    let (head, ciphertext) =
        sealed.split_at_mut_checked(VERSION + Key::NONCE).ok_or(DecodeError::Truncated)?;
    let (version, nonce) = head.split_first().ok_or(DecodeError::Truncated)?;
    if *version > 1 || ciphertext.len() < Key::TAG {
        return Err(DecodeError::Decryption);
    }
    let nonce = <[u8; Key::NONCE]>::try_from(nonce).map_err(|_| DecodeError::Truncated)?;
    let mut length = key.open(nonce, associated, ciphertext).ok_or(DecodeError::Decryption)?;
    if *version == 0 {
        let padding = length.checked_sub(1).and_then(|last| ciphertext.get(last));
        let padding = padding.copied().ok_or(DecodeError::Truncated)?;
        length = length.checked_sub(padding.into()).ok_or(DecodeError::Value)?;
    }
    Ok(ciphertext.get(..length).unwrap_or_default())
}
