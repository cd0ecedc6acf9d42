// SPDX-License-Identifier: Apache-2.0
//! The commands for the ring, in the order in which they are to be carried out.

use std::collections::VecDeque;
use std::sync::Arc;

use members::Command;

use crate::wire::message::PeerMessage;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Outbox(VecDeque<Command>);

impl Outbox {
    /// Adds a command.
    pub(super) fn push(&mut self, command: Command) {
        self.0.push_back(command);
    }

    /// Takes the next command.
    pub(super) fn pop(&mut self) -> Option<Command> {
        self.0.pop_front()
    }

    /// Sends a message to one speaker, or to all.
    pub(super) fn notify(&mut self, to: Option<&Arc<str>>, told: &PeerMessage) {
        let notices = told.encode().into_iter();
        self.0.extend(notices.map(|octets| Command::Notify { to: to.cloned(), octets }));
    }
}
