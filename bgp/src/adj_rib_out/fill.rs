// SPDX-License-Identifier: Apache-2.0
//! Makes the messages that the peer is owed, one at a time.

use super::egress::Egress;
use super::{AdjRibOut, Known, encode};
use crate::config::Family;
use crate::wire::{RefreshKind, RouteRefresh, Update};

/// How many prefixes a message carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// An UPDATE that announced and withdrew so many.
    Update {
        /// Announced.
        announced: usize,
        /// Withdrawn.
        withdrawn: usize,
    },
    /// A ROUTE-REFRESH.
    Refresh,
}

impl AdjRibOut {
    /// Appends the next message; `None` if the peer is up to date.
    pub(crate) fn fill(&mut self, out: &mut Vec<u8>) -> Option<Filled> {
        let egress = self.egress.take()?;
        let filled = self.next(&egress, out);
        self.egress = Some(egress);
        filled
    }

    /// Announcements first, then withdrawals, then what marks the end of either.
    fn next(&mut self, egress: &Egress, out: &mut Vec<u8>) -> Option<Filled> {
        for family in Family::ALL {
            if std::mem::take(&mut self.owed_mut(family).begin) {
                return Some(refresh_mark(family, RefreshKind::Begin, out));
            }
        }
        while let Some(mut group) = self.announce.first_entry() {
            let ((family, attributes), prefixes) = (group.key().clone(), group.get_mut());
            let sent = encode::announce(egress, family, &attributes, prefixes, out);
            // None fits only if `wanted` was wrong; then they must not stop the others.
            if prefixes.is_empty() || sent.is_empty() {
                for left in group.remove() {
                    self.pending.remove(&left);
                }
            }
            if sent.is_empty() {
                continue;
            }
            for prefix in &sent {
                if matches!(self.pending.remove(prefix), Some(Known::Nothing) | None) {
                    self.announced += 1;
                }
            }
            return Some(Filled::Update { announced: sent.len(), withdrawn: 0 });
        }
        if !self.withdraw.is_empty() {
            let sent = encode::withdraw(egress, &mut self.withdraw, out);
            for prefix in &sent {
                self.pending.remove(prefix);
            }
            self.announced = self.announced.saturating_sub(sent.len());
            return Some(Filled::Update { announced: 0, withdrawn: sent.len() });
        }
        for family in Family::ALL {
            if self.complete && std::mem::take(&mut self.owed_mut(family).end_of_rib) {
                // It always fits: it is shorter than the shortest limit.
                let _ =
                    Update::end_of_rib(family).encode(encode::context(egress), egress.longest, out);
                return Some(Filled::Update { announced: 0, withdrawn: 0 });
            }
            if std::mem::take(&mut self.owed_mut(family).end) {
                return Some(refresh_mark(family, RefreshKind::End, out));
            }
        }
        None
    }
}

fn refresh_mark(family: Family, kind: RefreshKind, out: &mut Vec<u8>) -> Filled {
    RouteRefresh { family: family.into(), kind }.encode(out);
    Filled::Refresh
}
