// SPDX-License-Identifier: Apache-2.0
//! The loop of the BFD thread.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::poll::Wake;
use super::{Command, StartError};
use crate::{SessionKey, Status};

pub(super) struct Runner {
    commands: Receiver<Command>,
}

impl Runner {
    pub(super) fn new(
        commands: Receiver<Command>,
        _wake: Arc<Wake>,
        _on_change: Box<dyn Fn(&SessionKey, &Status) + Send>,
    ) -> Result<Self, StartError> {
        Ok(Self { commands })
    }

    pub(super) fn run(self) {
        while let Ok(command) = self.commands.recv() {
            match command {
                Command::Stop => return,
                Command::Sessions(_) | Command::Statuses(_) => {}
            }
        }
    }
}
