// SPDX-License-Identifier: Apache-2.0
//! What one peer has yet to be told (Adj-RIB-Out, RFC 4271 §3.2), level-triggered: the caller gives the whole table or changes of
//! it, and only the difference to what the peer has is kept and sent. Messages are made one at a time when there is room for them.
//!
//! For every prefix that is not pending the peer has what the table says. So a peer that is up to date costs nothing but the
//! shared table, and a change that is taken back before it was sent is never sent.

mod counts;
mod difference;
mod egress;
mod encode;
mod fill;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::{Families, Family};
use crate::route::{Attributes, Routes};
use crate::status::{Withheld, WithheldReason};
use counts::Counts;
use difference::changed;
pub(crate) use egress::Egress;
pub use egress::NextHops;
pub(crate) use fill::Filled;

/// What the peer has of a pending prefix.
#[derive(Clone, Debug)]
enum Known {
    /// Nothing.
    Nothing,
    /// This.
    Path(Arc<Attributes>),
    /// Something that must be sent again whatever it is.
    Stale,
}

/// What is still owed for a family besides prefixes.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    /// End-of-RIB.
    end_of_rib: bool,
    /// The begin of an enhanced refresh.
    begin: bool,
    /// Its end.
    end: bool,
}

type Group = (Family, Arc<Attributes>);

#[derive(Debug, Default)]
pub(crate) struct AdjRibOut {
    desired: Arc<Routes>,
    /// How many those are of each family.
    counts: Counts,
    /// How many of them do not fit into a message; counted while there is a session.
    too_long: Counts,
    egress: Option<Egress>,
    announced: usize,
    pending: BTreeMap<IpNet, Known>,
    announce: BTreeMap<Group, BTreeSet<IpNet>>,
    withdraw: BTreeSet<IpNet>,
    owed: [Owed; 2],
    /// Whether End-of-RIB may be sent.
    complete: bool,
}

impl AdjRibOut {
    /// From now the peer shall have this.
    pub(crate) fn set_routes(&mut self, routes: Arc<Routes>) {
        let old = std::mem::replace(&mut self.desired, routes);
        if Arc::ptr_eq(&old, &self.desired) {
            return;
        }
        let new = Arc::clone(&self.desired);
        if self.egress.is_none() {
            self.counts = Counts::of(&new);
            return;
        }
        for (prefix, before, now) in changed(&old, &new) {
            self.note(*prefix, before, now);
        }
    }

    /// From now the peer shall have these, and of those with `None` nothing. The cost is that of the changes, once the table is
    /// not shared with whoever gave it.
    pub(crate) fn change_routes(&mut self, changes: Vec<(IpNet, Option<Arc<Attributes>>)>) {
        for (prefix, now) in changes {
            let table = Arc::make_mut(&mut self.desired);
            let before = match &now {
                Some(now) => table.insert(prefix, Arc::clone(now)),
                None => table.remove(&prefix),
            };
            if before != now {
                self.note(prefix, before.as_ref(), now.as_ref());
            }
        }
    }

    /// The session is up: the peer has nothing.
    pub(crate) fn begin(&mut self, egress: Egress) {
        self.end();
        for family in egress.families.iter() {
            self.owed_mut(family).end_of_rib = true;
        }
        self.egress = Some(egress);
        // They are counted anew on the way.
        self.counts = Counts::default();
        for (prefix, attributes) in Arc::clone(&self.desired).iter() {
            self.note(*prefix, None, Some(attributes));
        }
    }

    /// The session is down.
    pub(crate) fn end(&mut self) {
        *self = Self {
            desired: Arc::clone(&self.desired),
            counts: self.counts,
            complete: self.complete,
            ..Self::default()
        };
    }

    /// The session has changed what it does to paths. What differs by that is sent again.
    pub(crate) fn set_egress(&mut self, new: Egress) {
        let Some(old) = self.egress.replace(new.clone()) else {
            self.egress = None;
            return;
        };
        if old == new {
            return;
        }
        self.too_long = Counts::default();
        for (prefix, attributes) in Arc::clone(&self.desired).iter() {
            let family = Family::of(prefix);
            if !encode::fits(&new, attributes) {
                *self.too_long.of_mut(family) += 1;
            }
            let resend = old.drain != new.drain || old.next_hop(family) != new.next_hop(family);
            let before = old.wanted(prefix, attributes);
            let now = new.wanted(prefix, attributes);
            self.move_to(*prefix, before, now, resend);
        }
    }

    /// Whether everything that the table shall hold is in it, so that End-of-RIB may be sent.
    pub(crate) const fn set_complete(&mut self) {
        self.complete = true;
    }

    /// Whether that was said.
    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The peer asks for everything again (RFC 2918, RFC 7313 §4).
    pub(crate) fn refresh(&mut self, family: Family) {
        // RFC 2918 §4: for a family that is not of the session the request is ignored.
        let Some(egress) = self.egress.clone().filter(|egress| egress.families.contains(family))
        else {
            return;
        };
        let owed = self.owed_mut(family);
        // No BoRR before the initial End-of-RIB.
        if egress.enhanced_route_refresh && !owed.end_of_rib {
            owed.begin = true;
            owed.end = true;
        }
        for (prefix, attributes) in Arc::clone(&self.desired).iter() {
            if Family::of(prefix) == family {
                let wanted = egress.wanted(prefix, attributes);
                self.move_to(*prefix, wanted, wanted, true);
            }
        }
    }

    /// Whether all End-of-RIBs were sent.
    pub(crate) fn initial_update_sent(&self) -> bool {
        self.egress.is_some() && !self.owed.iter().any(|owed| owed.end_of_rib)
    }

    /// Prefixes of these families that the peer shall have.
    pub(crate) fn desired(&self, families: Families) -> usize {
        families.iter().map(|family| self.counts.in_family(family)).sum()
    }

    /// Prefixes that the peer was told of.
    pub(crate) const fn announced(&self) -> usize {
        self.announced
    }

    /// Prefixes that wait to be sent or withdrawn.
    pub(crate) fn queued(&self) -> usize {
        self.pending.len()
    }

    /// What cannot be sent, and why.
    pub(crate) fn withheld(&self) -> Vec<Withheld> {
        let Some(egress) = &self.egress else { return Vec::new() };
        let withheld = |family| {
            let (prefixes, reason) = match egress.withholds(family) {
                Some(reason) => (self.counts.in_family(family), reason),
                None => (self.too_long.in_family(family), WithheldReason::AttributesTooLong),
            };
            (prefixes > 0).then_some(Withheld { family, prefixes, reason })
        };
        Family::ALL.into_iter().filter_map(withheld).collect()
    }

    const fn owed_mut(&mut self, family: Family) -> &mut Owed {
        let [ipv4, ipv6] = &mut self.owed;
        match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }

    /// The wish for a prefix changed: counts it, and sees it through the session if there is one.
    fn note(
        &mut self,
        prefix: IpNet,
        before: Option<&Arc<Attributes>>,
        now: Option<&Arc<Attributes>>,
    ) {
        let family = Family::of(&prefix);
        self.counts.exchange(family, before.is_some(), now.is_some());
        let Some(egress) = &self.egress else { return };
        let too_long = |path: Option<&Arc<Attributes>>| {
            path.is_some_and(|attributes| !encode::fits(egress, attributes))
        };
        self.too_long.exchange(family, too_long(before), too_long(now));
        let before = before.and_then(|attributes| egress.wanted(&prefix, attributes));
        let now = now.and_then(|attributes| egress.wanted(&prefix, attributes));
        let (before, now) = (before.cloned(), now.cloned());
        self.move_to(prefix, before.as_ref(), now.as_ref(), false);
    }

    /// What the peer shall have of a prefix was `before` and is `now`.
    fn move_to(
        &mut self,
        prefix: IpNet,
        before: Option<&Arc<Attributes>>,
        now: Option<&Arc<Attributes>>,
        resend: bool,
    ) {
        let known = match self.pending.remove(&prefix) {
            Some(known) => {
                self.unqueue(&prefix, before);
                known
            }
            None => before.map_or(Known::Nothing, |path| Known::Path(Arc::clone(path))),
        };
        let known = match (known, now) {
            (Known::Nothing, None) => return,
            (Known::Path(path), Some(now)) if path == *now && !resend => return,
            (Known::Path(_), Some(_)) if resend => Known::Stale,
            (known, _) => known,
        };
        match now {
            Some(now) => {
                let group = (Family::of(&prefix), Arc::clone(now));
                self.announce.entry(group).or_default().insert(prefix);
            }
            None => {
                self.withdraw.insert(prefix);
            }
        }
        self.pending.insert(prefix, known);
    }

    fn unqueue(&mut self, prefix: &IpNet, wanted: Option<&Arc<Attributes>>) {
        let Some(wanted) = wanted else {
            self.withdraw.remove(prefix);
            return;
        };
        let group = (Family::of(prefix), Arc::clone(wanted));
        if let Some(prefixes) = self.announce.get_mut(&group) {
            prefixes.remove(prefix);
            if prefixes.is_empty() {
                self.announce.remove(&group);
            }
        }
    }
}

#[cfg(test)]
mod tests;
