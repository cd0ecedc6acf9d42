// SPDX-License-Identifier: Apache-2.0
//! The actions and events that the detector wants, and its report for people.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::heartbeat::wire::{Mark, Message};

/// The reason why a member counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// None of the members that were asked hears it.
    Silent,
    /// The member's node answers that nobody listens on the port: the process is gone.
    PortClosed,
}

/// An action or an event that the detector wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this message.
    Send {
        /// The receiver's address.
        to: SocketAddr,
        /// The message.
        message: Message,
    },
    /// A member that is watched here is dead. Told once, until the member is heard again.
    Dead {
        /// The member's name.
        name: Arc<str>,
        /// The cause.
        cause: Cause,
    },
    /// A member that was told as dead, or did not answer when all members were pinged, is heard.
    Back {
        /// The member's name.
        name: Arc<str>,
    },
    /// A member that hears this one, and counted it, counts it no more: this one was declared dead.
    Forgotten,
    /// A member's mark has changed.
    Marked {
        /// The member's name.
        name: Arc<str>,
        /// The mark.
        mark: Mark,
    },
    /// A notice of another member.
    Notice {
        /// The member's name.
        from: Arc<str>,
        /// The content of the notice.
        bytes: Vec<u8>,
    },
}

/// A member as it is known, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// The member's name.
    pub name: Arc<str>,
    /// The time since the member was last heard; none if it never was.
    pub silent_for: Option<Duration>,
    /// True if the member is watched here.
    pub watched: bool,
    /// True if the member counts as present.
    pub confirmed: bool,
}
