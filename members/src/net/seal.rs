// SPDX-License-Identifier: Apache-2.0
//! The envelope of heartbeats, which share the ring's UDP port: a first octet that no datagram of the memberlist has (they begin with a
//! message kind, 0 to 13, an encryption version, 0 or 1, or the mark of a label, 244), version, flags, and the message, sealed where there is
//! a key.

use super::moment::random;
use crate::heartbeat::wire::{FIRST_BYTE, Message, VERSION};
use crate::{DecodeError, Key, Keyring};

/// The flag of a sealed datagram.
const SEALED: u8 = 1;
/// The number of octets before the seal: first octet, version, flags.
const HEAD: usize = 3;

/// Seals and opens heartbeats.
#[derive(Clone, Debug)]
pub struct Seal {
    /// The keys of the ring.
    pub key: Option<Keyring>,
    /// The label of the ring.
    pub label: String,
    /// True if datagrams that are not sealed are refused where there is a key (`GossipVerifyIncoming`).
    pub verify_incoming: bool,
    /// True if datagrams are sealed where there is a key (`GossipVerifyOutgoing`).
    pub verify_outgoing: bool,
}

impl Seal {
    /// True if a datagram is a heartbeat.
    pub(super) fn is_heartbeat(octets: &[u8]) -> bool {
        octets.first() == Some(&FIRST_BYTE)
    }

    /// The message of a datagram, which is changed in place.
    ///
    /// # Errors
    /// The reason why the datagram counts for nothing.
    pub fn open(&self, octets: &mut [u8]) -> Result<Message, DecodeError> {
        let (head, rest) = octets.split_at_mut_checked(HEAD).ok_or(DecodeError::Truncated)?;
        let [_, version, flags] = *head else { return Err(DecodeError::Truncated) };
        if version != VERSION {
            return Err(DecodeError::Kind(version));
        }
        let body = match (&self.key, flags & SEALED != 0) {
            (Some(key), true) => {
                let parts = rest.split_first_chunk_mut::<{ Key::NONCE }>();
                let (nonce, sealed) = parts.ok_or(DecodeError::Truncated)?;
                let length = key.open(*nonce, &self.associated(head), sealed);
                sealed.get(..length.ok_or(DecodeError::Decryption)?).unwrap_or_default()
            }
            (Some(_), false) if !self.verify_incoming => rest,
            (None, false) => rest,
            (Some(_), false) => return Err(DecodeError::Plaintext),
            (None, true) => return Err(DecodeError::NoKey),
        };
        Message::decode(body).map_err(|_| DecodeError::Value)
    }

    /// The datagram of a message; none if the system has no random octets.
    pub(super) fn seal(&self, message: &Message) -> Option<Vec<u8>> {
        let mut body = message.encode();
        let key = self.key.as_ref().filter(|_| self.verify_outgoing);
        let head = [FIRST_BYTE, VERSION, if key.is_some() { SEALED } else { 0 }];
        let mut octets = head.to_vec();
        if let Some(key) = key {
            let nonce = random()?;
            octets.extend_from_slice(&nonce);
            key.seal(nonce, &self.associated(&head), &mut body);
        }
        octets.append(&mut body);
        Some(octets)
    }

    /// The data that is not secret and must be unchanged: the head, and the label, by which rings on one port are told apart.
    fn associated(&self, head: &[u8]) -> Vec<u8> {
        [head, self.label.as_bytes()].concat()
    }
}
