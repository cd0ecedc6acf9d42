// SPDX-License-Identifier: Apache-2.0
//! A connection that the peer opens while the session runs over another one that it opened. TCP alone says nothing: until an
//! OPEN comes from which a session could come, the old one stays.

use bytes::BytesMut;

use super::{Direction, Peer};
use crate::session::negotiate::{negotiate, offer};
use crate::wire::iana::error;
use crate::wire::{MessageType, Notification, Open, next_message};

/// What is to become of a connection that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Not known yet: hold it without a word until more comes, the session ends or patience does.
    Wait,
    /// It is [`super::Event::Connected`], and then the octets that came are received.
    Take,
    /// Write these octets and close it.
    Refuse(Vec<u8>),
}

impl Peer {
    /// Judges a connection that the peer opened by the octets that came on it so far.
    #[must_use]
    pub fn judge(&self, octets: &[u8]) -> Admission {
        if !self.running {
            return Admission::Refuse(Vec::new());
        }
        // Beside a session that we opened there is a place for it, and a collision is resolved there.
        if self.up != Some(Direction::Incoming) {
            return Admission::Take;
        }
        let open = match next_message(&mut BytesMut::from(octets), false) {
            Ok(None) => return Admission::Wait,
            Ok(Some((MessageType::Open, body))) => Open::decode(body).ok(),
            Ok(Some(_)) | Err(_) => None,
        };
        if open.is_some_and(|open| {
            self.is_replaced_by(Direction::Incoming, &open) && self.agrees(&open)
        }) {
            Admission::Take
        } else {
            Admission::Refuse(Self::refusal())
        }
    }

    /// CEASE/7, for a connection that is not to replace the session.
    #[must_use]
    pub fn refusal() -> Vec<u8> {
        let mut octets = Vec::new();
        Notification::cease(error::COLLISION_RESOLUTION).encode(&mut octets);
        octets
    }

    /// Whether a session could come of this OPEN.
    fn agrees(&self, open: &Open) -> bool {
        let ours = offer(&self.config, self.restarting, self.omitted.parts());
        negotiate(&self.config, &ours, open).is_ok()
    }
}
