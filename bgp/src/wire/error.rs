// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a message, as what has to be done about it (RFC 4271 §6, RFC 7606 §2).

use super::Notification;

/// A message that ends the session, with what the peer is to be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct MessageError {
    notification: Notification,
    detail: &'static str,
}

impl MessageError {
    pub(super) fn new(
        code: u8,
        subcode: u8,
        data: impl Into<Vec<u8>>,
        detail: &'static str,
    ) -> Self {
        Self { notification: Notification::new(code, subcode, data), detail }
    }

    /// What to send.
    #[must_use]
    pub const fn notification(&self) -> &Notification {
        &self.notification
    }

    /// What was wrong, in words.
    #[must_use]
    pub const fn detail(&self) -> &'static str {
        self.detail
    }
}

/// What an error in an attribute leads to (RFC 7606 §2), the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttributeAction {
    /// The attribute is left out.
    Discard,
    /// The prefixes of the message count as withdrawn.
    TreatAsWithdraw,
    /// The family of the MP attribute is ignored from now.
    AfiSafiDisable,
}

/// An error that the session lives through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Type code of the attribute; 0 for the list as a whole.
    pub attribute: u8,
    /// What follows.
    pub action: AttributeAction,
    /// What is wrong, in words.
    pub detail: &'static str,
}

/// What was to be written does not fit into one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("longer than one message may be")]
pub struct TooLong;
