// SPDX-License-Identifier: Apache-2.0
//! The drain of a node (RFC 8326): its routes are first marked with GRACEFUL_SHUTDOWN, then withdrawn.

use std::time::Duration;

use tokio::time::Instant;

/// The progress of the drain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    time: Duration,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Off,
    /// The routes are marked, and are to be withdrawn at this moment.
    Marked(Instant),
    Withdrawn,
}

impl Drain {
    /// A drain that has not begun; the routes will stay marked for `time`.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, step: Step::Off }
    }

    /// Sets the state at the start: there is nothing to mark yet, so a drain that is on is over at once.
    pub(super) fn begin(&mut self, on: bool) -> bool {
        if on {
            self.step = Step::Withdrawn;
        }
        on
    }

    /// Begins or ends the drain. Returns true if that changed anything.
    pub(super) fn set(&mut self, on: bool) -> bool {
        if on == self.is_on() {
            return false;
        }
        self.step = if on { Step::Marked(Instant::now() + self.time) } else { Step::Off };
        true
    }

    /// True if the node is drained.
    pub(super) fn is_on(&self) -> bool {
        self.step != Step::Off
    }

    /// True if the routes are to be withdrawn.
    pub(super) fn is_over(&self) -> bool {
        self.step == Step::Withdrawn
    }

    /// Returns true if the moment to withdraw has come since the last call.
    pub(super) fn tick(&mut self) -> bool {
        let due = matches!(self.step, Step::Marked(at) if at <= Instant::now());
        if due {
            self.step = Step::Withdrawn;
        }
        due
    }

    /// The time at which [`Self::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.step {
            Step::Marked(at) => Some(at),
            Step::Off | Step::Withdrawn => None,
        }
    }
}
