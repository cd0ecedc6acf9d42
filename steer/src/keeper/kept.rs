// SPDX-License-Identifier: Apache-2.0
//! The times of one address: until when an order stands beside the one before, when predecessors are forgotten, and
//! what an address waits for.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CLAIM_SETTLE_TIME, SETTLE_TIME};
use crate::history::History;

/// The knowledge of one address.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) history: History,
    /// The time at which the steps of the generation before go.
    pub(super) settles: Option<Instant>,
    /// The generations of the linger time, each with the time at which it was told.
    began: VecDeque<(u64, Instant)>,
}

/// An address that this node is to announce, and that waits for tables.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) generation: u64,
    /// The nodes whose answers are missing.
    pub(super) fellows: BTreeSet<Arc<str>>,
    /// The version of this node's own table that the kernel has to follow; none once it does.
    pub(super) version: Option<u64>,
    pub(super) until: Instant,
}

impl Hold {
    pub(super) fn is_over(&self) -> bool {
        self.fellows.is_empty() && self.version.is_none()
    }
}

impl Kept {
    pub(super) fn new(now: Instant, history: History) -> Self {
        let began = VecDeque::from([(history.generation(), now)]);
        Self { history, settles: None, began }
    }

    pub(super) fn moved(&mut self, now: Instant, generation: u64, to: &str) -> bool {
        let moved = self.history.moved(generation, None, to);
        if moved {
            self.begin(now);
        }
        moved
    }

    pub(super) fn told(&mut self, now: Instant, generation: u64, nodes: &[Arc<str>]) -> bool {
        let told = self.history.told(generation, nodes);
        if told {
            self.begin(now);
        }
        told
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.began.push_back((self.history.generation(), now));
        self.settles = Some(now + SETTLE_TIME);
    }

    pub(super) fn died(&mut self, name: &str) -> bool {
        let before = self.history.clone();
        self.history.died(name);
        if self.history.is_settled() {
            self.settles = None;
        }
        self.history != before
    }

    /// The owner claims the address, and its former owner falls silent.
    pub(super) fn claimed(&mut self, now: Instant, from: &str) {
        if self.history.owner().is_some_and(|owner| **owner == *from)
            && let Some(settles) = &mut self.settles
        {
            *settles = (*settles).min(now + CLAIM_SETTLE_TIME);
        }
    }

    pub(super) fn has_predecessors(&self) -> bool {
        self.history.predecessors().next().is_some()
    }

    pub(super) fn expire(&mut self, now: Instant, linger: Duration) -> bool {
        let mut changed = false;
        if self.settles.take_if(|at| *at <= now).is_some() {
            self.history.settle();
            changed = true;
        }
        while let Some((generation, at)) = self.began.front().copied()
            && at + linger <= now
        {
            self.began.pop_front();
            let had = self.history.predecessors().count();
            self.history.expire(generation);
            changed |= self.history.predecessors().count() != had;
        }
        changed
    }

    pub(super) fn deadline(&self, linger: Duration) -> Option<Instant> {
        let lingers = self.began.front().map(|(_, at)| *at + linger);
        self.settles.into_iter().chain(lingers).min()
    }
}
