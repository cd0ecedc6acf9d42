// SPDX-License-Identifier: Apache-2.0
//! Claims of other stations to addresses of ours. A claim waits a moment, since the next owner's frame may be here before its message that
//! the address moves. The [`ConflictBook`] and the limit on waiting claims bound the load that a stranger on the link can cause.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use l2::MacAddress;

use crate::conflict_book::ConflictBook;

/// The longest time by which another station's claim may precede the news that explains it.
const NEWS_LAG: Duration = Duration::from_millis(300);
/// The number of claims that wait, at most; further claims are counted with the next one that is told.
const WAITING_LIMIT: usize = 16;

/// A claim of another station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RivalClaim {
    /// The address that both stations claim.
    pub address: IpAddr,
    /// The link on which the other station was heard.
    pub interface: Arc<str>,
    /// The other station's hardware address.
    pub hardware_address: MacAddress,
    /// The number of earlier claims that were not told.
    pub untold: u64,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Conflicts {
    book: ConflictBook,
    waiting: VecDeque<(Instant, RivalClaim)>,
}

impl Conflicts {
    pub(super) fn new(now: Instant) -> Self {
        Self { book: ConflictBook::new(now), waiting: VecDeque::new() }
    }

    pub(super) fn claimed(
        &mut self,
        now: Instant,
        address: IpAddr,
        interface: &Arc<str>,
        hardware_address: MacAddress,
    ) {
        if self.waiting.len() >= WAITING_LIMIT {
            return self.book.missed();
        }
        if let Some(untold) = self.book.heard(now, address) {
            let interface = Arc::clone(interface);
            let claim = RivalClaim { address, interface, hardware_address, untold };
            self.waiting.push_back((now + NEWS_LAG, claim));
        }
    }

    /// The claims that have waited long enough, and whose address is not moving.
    pub(super) fn due(
        &mut self,
        now: Instant,
        is_moving: impl Fn(IpAddr) -> bool,
    ) -> Vec<RivalClaim> {
        let mut due = Vec::new();
        while let Some((_, claim)) = self.waiting.pop_front_if(|(at, _)| *at <= now) {
            if !is_moving(claim.address) {
                due.push(claim);
            }
        }
        due
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }
}
