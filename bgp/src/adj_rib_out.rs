// SPDX-License-Identifier: Apache-2.0
//! What one peer has yet to be told (Adj-RIB-Out, RFC 4271 §3.2), level-triggered: the caller gives the whole table or changes of
//! it, and only the difference to what the peer has is kept and sent. Messages are made one at a time when there is room for them.
//!
//! For every prefix that is not pending the peer has what the table says. So a peer that is up to date costs nothing but the
//! shared table, and a change that is taken back before it was sent is never sent.

mod difference;
mod encode;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::{Families, Family, Ipv6NextHop};
use crate::route::{Attributes, Routes};
use crate::status::{Withheld, WithheldReason};
use crate::wire::{NextHop, RefreshKind, RouteRefresh, Update};
use difference::changed;

/// Addresses of the interface towards the peer that can be next hops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHops {
    /// IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// Global IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// Link-local IPv6, if the peer is on the same link.
    pub link_local: Option<Ipv6Addr>,
}

impl NextHops {
    /// How the IPv6 addresses stand in MP_REACH_NLRI (RFC 2545 §3).
    pub(crate) fn as_ipv6(self, form: Ipv6NextHop) -> Option<NextHop> {
        let global = self.ipv6.or(self.link_local)?;
        let link_local = self.link_local.filter(|_| form == Ipv6NextHop::GlobalAndLinkLocal);
        Some(NextHop::Ipv6 { global, link_local })
    }
}

/// What a session does to paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Egress {
    pub(crate) local_asn: u32,
    pub(crate) internal: bool,
    pub(crate) four_octet_asn: bool,
    /// Families that we offer, and those that both do.
    pub(crate) offered: Families,
    pub(crate) families: Families,
    pub(crate) next_hop_ipv4: Option<NextHop>,
    pub(crate) next_hop_ipv6: Option<NextHop>,
    /// OTC must be added (RFC 9234 §5).
    pub(crate) only_to_customer: bool,
    /// GRACEFUL_SHUTDOWN is added (RFC 8326).
    pub(crate) drain: bool,
    pub(crate) enhanced_route_refresh: bool,
    /// The longest message.
    pub(crate) longest: usize,
}

impl Egress {
    const fn next_hop(&self, family: Family) -> Option<NextHop> {
        match family {
            Family::Ipv4 => self.next_hop_ipv4,
            Family::Ipv6 => self.next_hop_ipv6,
        }
    }

    fn withholds(&self, family: Family) -> Option<WithheldReason> {
        if !self.offered.contains(family) {
            Some(WithheldReason::NotOffered)
        } else if !self.families.contains(family) {
            Some(WithheldReason::NotNegotiated)
        } else if self.next_hop(family).is_none() {
            Some(WithheldReason::NoNextHop)
        } else {
            None
        }
    }

    /// What the peer is to have of this wish.
    fn wanted<'a>(
        &self,
        prefix: &IpNet,
        attributes: &'a Arc<Attributes>,
    ) -> Option<&'a Arc<Attributes>> {
        let family = Family::of(prefix);
        (self.withholds(family).is_none() && encode::fits(self, attributes)).then_some(attributes)
    }
}

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

/// A number of prefixes per family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    ipv4: usize,
    ipv6: usize,
}

impl Counts {
    fn of(routes: &Routes) -> Self {
        let mut counts = Self::default();
        for prefix in routes.keys() {
            *counts.of_mut(Family::of(prefix)) += 1;
        }
        counts
    }

    const fn in_family(&self, family: Family) -> usize {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }

    const fn of_mut(&mut self, family: Family) -> &mut usize {
        match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        }
    }

    /// A prefix was one of these and is one now.
    fn exchange(&mut self, family: Family, before: bool, now: bool) {
        let count = self.of_mut(family);
        *count = count.saturating_add(usize::from(now)).saturating_sub(usize::from(before));
    }
}

type Group = (Family, Arc<Attributes>);

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

fn refresh_mark(family: Family, kind: RefreshKind, out: &mut Vec<u8>) -> Filled {
    RouteRefresh { family: family.into(), kind }.encode(out);
    Filled::Refresh
}

#[cfg(test)]
mod tests;
