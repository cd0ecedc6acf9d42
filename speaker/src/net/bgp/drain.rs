// SPDX-License-Identifier: Apache-2.0
//! A node that is to be emptied (RFC 8326): its routes are first marked with GRACEFUL_SHUTDOWN, then withdrawn.

use std::time::Duration;

use tokio::time::Instant;

/// How far the emptying is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    time: Duration,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Off,
    /// Marked; withdrawn at this moment.
    Marked(Instant),
    Withdrawn,
}

impl Drain {
    /// Not begun; the routes stay marked for `time`.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, step: Step::Off }
    }

    /// At the start: there is nothing to mark yet, so it is over at once if it is on.
    pub(super) fn begin(&mut self, on: bool) -> bool {
        if on {
            self.step = Step::Withdrawn;
        }
        on
    }

    /// Begins or ends it; whether that changed anything.
    pub(super) fn set(&mut self, on: bool) -> bool {
        if on == self.is_on() {
            return false;
        }
        self.step = if on { Step::Marked(Instant::now() + self.time) } else { Step::Off };
        true
    }

    /// Whether the node is to be emptied.
    pub(super) fn is_on(&self) -> bool {
        self.step != Step::Off
    }

    /// Whether the routes are to be withdrawn.
    pub(super) fn is_over(&self) -> bool {
        self.step == Step::Withdrawn
    }

    /// Whether the moment to withdraw has come just now.
    pub(super) fn tick(&mut self) -> bool {
        let due = matches!(self.step, Step::Marked(at) if at <= Instant::now());
        if due {
            self.step = Step::Withdrawn;
        }
        due
    }

    /// When [`Self::tick`] is to be asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.step {
            Step::Marked(at) => Some(at),
            Step::Off | Step::Withdrawn => None,
        }
    }
}
