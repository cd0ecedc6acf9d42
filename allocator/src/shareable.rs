// SPDX-License-Identifier: Apache-2.0
//! Addresses in use by Services of MetalLB's world that share them, searched by the ports that are still free on them.
//!
//! Ten thousand Services with one sharing key and the same port have an address each. The next one must not look at each of them:
//! runs of neighbouring addresses where a port is taken are one step, and for each port it is known below which address it is taken
//! everywhere.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::ServicePort;
use crds::config::{AddressRange, Family, from_number, to_number};

use crate::interval_set::IntervalSet;
use crate::sharing::{Claim, Sharing};
use crate::steps::Steps;

/// All such addresses, by those who share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shareable(HashMap<Arc<Sharing>, Groups>);

#[derive(Clone, Debug, Default)]
struct Groups {
    v4: Group,
    v6: Group,
}

/// The addresses of one family that one sharing key uses, as numbers.
#[derive(Clone, Debug, Default)]
struct Group {
    addresses: BTreeSet<u128>,
    ports: HashMap<ServicePort, Taken>,
    arrivals: Arrivals,
}

/// Where a port is taken.
#[derive(Clone, Debug, Default)]
struct Taken {
    on: IntervalSet,
    /// No address of the group below this one has the port free, apart from those that came after `since`.
    from: u128,
    since: u64,
}

/// The order in which addresses came to a group, as far as it matters: the lowest of those that came after any moment.
#[derive(Clone, Debug, Default)]
struct Arrivals {
    count: u64,
    /// Each is lower than all that came later.
    lowest: Vec<(u64, u128)>,
}

impl Arrivals {
    fn add(&mut self, number: u128) {
        self.count += 1;
        while self.lowest.last().is_some_and(|(_, last)| *last >= number) {
            self.lowest.pop();
        }
        self.lowest.push((self.count, number));
    }

    /// The lowest that came after the first `since`.
    fn after(&self, since: u64) -> Option<u128> {
        let index = self.lowest.partition_point(|(at, _)| *at <= since);
        self.lowest.get(index).map(|(_, number)| *number)
    }
}

impl Group {
    /// The lowest address that may have the port free.
    fn floor(&self, taken: &Taken) -> u128 {
        self.arrivals.after(taken.since).map_or(taken.from, |number| number.min(taken.from))
    }

    fn take(&mut self, number: u128, ports: &[ServicePort], steps: &Steps) {
        let is_new = self.addresses.insert(number);
        let now = self.arrivals.count + u64::from(is_new);
        for port in ports {
            let mut taken = self.ports.remove(port).unwrap_or_default();
            // That the address itself came does not matter here: it comes with the port taken.
            taken.from = self.floor(&taken);
            taken.since = now;
            taken.on.insert(number);
            taken.from = self.free_from(&taken, steps).unwrap_or(u128::MAX);
            self.ports.insert(port.clone(), taken);
        }
        if is_new {
            self.arrivals.add(number);
            self.forget_arrivals();
        }
    }

    /// Addresses that come and go must not leave more behind than there are.
    fn forget_arrivals(&mut self) {
        if self.arrivals.lowest.len() < 4 * self.addresses.len() + 64 {
            return;
        }
        let floors: Vec<u128> = self.ports.values().map(|taken| self.floor(taken)).collect();
        for (taken, floor) in self.ports.values_mut().zip(floors) {
            (taken.from, taken.since) = (floor, self.arrivals.count);
        }
        self.arrivals.lowest.clear();
    }

    /// The lowest address of the group where the port is free, which is not below `taken.from`.
    fn free_from(&self, taken: &Taken, steps: &Steps) -> Option<u128> {
        let mut from = taken.from;
        loop {
            steps.add(1);
            let number = *self.addresses.range(from..).next()?;
            match taken.on.end_around(number) {
                None => return Some(number),
                Some(end) => from = end.checked_add(1)?,
            }
        }
    }

    fn leave(&mut self, number: u128, ports: &[ServicePort], is_last: bool) {
        for port in ports {
            let Some(mut taken) = self.ports.remove(port) else { continue };
            taken.on.remove(number);
            if taken.on.is_empty() {
                continue;
            }
            if !is_last {
                taken.from = self.floor(&taken).min(number);
                taken.since = self.arrivals.count;
            }
            self.ports.insert(port.clone(), taken);
        }
        if is_last {
            self.addresses.remove(&number);
        }
    }
}

impl Shareable {
    fn group_mut(&mut self, sharing: &Arc<Sharing>, family: Family) -> &mut Group {
        let groups = self.0.entry(Arc::clone(sharing)).or_default();
        match family {
            Family::V4 => &mut groups.v4,
            Family::V6 => &mut groups.v6,
        }
    }

    /// A Service that shares has got `address`.
    pub(crate) fn take(&mut self, address: IpAddr, claim: &Claim, steps: &Steps) {
        let group = self.group_mut(&claim.sharing, Family::of(address));
        group.take(to_number(address), &claim.ports, steps);
    }

    /// It has it no longer; `is_last` where nobody else has.
    pub(crate) fn leave(&mut self, address: IpAddr, claim: &Claim, is_last: bool) {
        self.group_mut(&claim.sharing, Family::of(address)).leave(
            to_number(address),
            &claim.ports,
            is_last,
        );
        if let Some(groups) = self.0.get(&claim.sharing)
            && groups.v4.addresses.is_empty()
            && groups.v6.addresses.is_empty()
        {
            self.0.remove(&claim.sharing);
        }
    }

    /// The lowest address of `range` on which all ports of `claim` are free and that is not `refused`, which says up to which address
    /// nothing else is of use either.
    pub(crate) fn first(
        &self,
        claim: &Claim,
        range: &AddressRange,
        steps: &Steps,
        refused: impl Fn(IpAddr) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let family = range.family();
        let groups = self.0.get(&claim.sharing)?;
        let group = match family {
            Family::V4 => &groups.v4,
            Family::V6 => &groups.v6,
        };
        let ports: Vec<&Taken> =
            claim.ports.iter().filter_map(|port| group.ports.get(port)).collect();
        let lowest = ports.iter().map(|taken| group.floor(taken)).max().unwrap_or_default();
        let mut from = lowest.max(to_number(range.first()));
        let last = to_number(range.last());
        while from <= last {
            steps.add(1);
            let number = *group.addresses.range(from..=last).next()?;
            let end = ports.iter().filter_map(|taken| taken.on.end_around(number)).max();
            let end = match end {
                Some(end) => end,
                None => {
                    let address = from_number(family, number);
                    match refused(address) {
                        None => return Some(address),
                        Some(end) => to_number(end),
                    }
                }
            };
            from = end.checked_add(1)?;
        }
        None
    }
}

#[cfg(test)]
mod tests;
