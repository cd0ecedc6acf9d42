// SPDX-License-Identifier: Apache-2.0
//! What a connection is to carry next: what its session has to say, and UPDATEs of the Adj-RIB-Out as long as there is room.

use std::time::Instant;

use super::{Direction, Peer, Session};
use crate::adj_rib_out::Filled;

impl Peer {
    /// The octets that the connection shall carry next. UPDATEs are made here, only as many as there is room for: tell by
    /// [`super::Event::Written`] what was taken and call it again.
    pub fn transmit(&mut self, now: Instant, direction: Direction) -> &[u8] {
        if self.up == Some(direction) {
            self.fill(now, direction);
        }
        self.session(direction).map_or(&[], Session::waiting)
    }

    /// Appends UPDATEs and requests for a refresh to what waits, as long as there is room.
    fn fill(&mut self, now: Instant, direction: Direction) {
        let session = match direction {
            Direction::Outgoing => Some(&mut self.outgoing),
            Direction::Incoming => self.incoming.as_mut(),
        };
        let Some(session) = session else { return };
        let mut appended = false;
        while let Some(out) = session.room()
            && let Some(filled) = self.rib.fill(out)
        {
            appended = true;
            match filled {
                Filled::Update { announced, withdrawn } => {
                    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
                    self.counters.sent.updates += 1;
                    self.counters.prefixes_announced += count(announced);
                    self.counters.prefixes_withdrawn += count(withdrawn);
                }
                Filled::Refresh => self.counters.sent.route_refreshes += 1,
            }
        }
        if appended {
            if self.rib.initial_update_sent() {
                self.restarting = false;
            }
            self.revision += 1;
            self.with(now, direction, |session, around| session.appended(around));
        }
    }
}
