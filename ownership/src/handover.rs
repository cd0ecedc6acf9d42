// SPDX-License-Identifier: Apache-2.0
//! The link between the decisions and the engine that answers. An address that passes to another speaker is answered for until that speaker
//! has it; an address that came here is claimed as soon as it is announced. A synchronous value.

mod pending;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use l2::Scope;

use crate::members::RingSpeakers;
pub use pending::Pending;

/// The time after a planned move, or a change of the members, in which two nodes may announce one address.
pub const MOVE_TIME: Duration = Duration::from_secs(2);
/// The time after addresses came here in which a claim to one of them may be the last owner's. One of our speakers lets go at once, one of
/// MetalLB's within 0.4 s.
const FORMER_OWNER_TIME: Duration = Duration::from_millis(500);
/// The number of addresses that one decision may mark as having just come here, at most.
const MOVING_LIMIT: usize = 256;

/// The orders of one decision to the engine, to be carried out in this sequence.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EngineOrders {
    /// Answer only: go on answering for these addresses, and announce them no more.
    pub answer_only: Vec<IpAddr>,
    /// Answer for these addresses on these links; without a scope answer no more.
    pub change: Vec<(IpAddr, Option<Scope>)>,
    /// Report with this number when all of the above is done.
    pub tell: Option<u64>,
}

/// A Service that this node announced and announces no more.
#[derive(Clone, Copy, Debug)]
pub struct Withdrawal<'a> {
    /// The addresses of the Service.
    pub addresses: &'a [IpAddr],
    /// The node that announces the Service now, if one does.
    pub successor: Option<&'a str>,
    /// True if the reason is that this speaker leaves.
    pub leaves: bool,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Handovers {
    handover: Pending,
    /// Addresses that the engine has been told to announce, by the number with which it reports that it is done.
    claiming: BTreeMap<u64, Vec<IpAddr>>,
    claims: u64,
    /// Addresses that have just come from another speaker, or go to one: two nodes announce them for a moment.
    moving: BTreeMap<IpAddr, Instant>,
    /// Addresses that pass to MetalLB's speakers, which claim an address only on the network.
    mute: BTreeSet<IpAddr>,
    /// Addresses that another station claimed on the network while they were announced here, and when.
    heard: BTreeMap<IpAddr, Instant>,
    /// The time at which addresses last came here. Their former owners may answer for them a little longer, to this node's own probe for
    /// example.
    gained: Option<Instant>,
}

impl Handovers {
    /// Turns a decision into orders for the engine. `changes` are the addresses whose announcement changes, each with the links on which it
    /// is answered for, or with none. If `passes` is true, an address that goes to another speaker is answered for until that speaker claims
    /// it, as MetalLB's speaker joins the ring before it has read the objects that tell it what to announce.
    pub fn carry_out<'a>(
        &mut self,
        now: Instant,
        withdrawals: impl Iterator<Item = Withdrawal<'a>>,
        changes: Vec<(IpAddr, Option<Scope>)>,
        members: &RingSpeakers,
        passes: bool,
    ) -> EngineOrders {
        // The addresses that pass on, and for each whether it goes to a speaker of MetalLB.
        let mut passing: BTreeMap<IpAddr, bool> = BTreeMap::new();
        for Withdrawal { addresses, successor, leaves } in withdrawals.filter(|_| passes) {
            let to = |is: fn(&RingSpeakers, &str) -> bool| {
                successor.is_some_and(|successor| is(members, successor))
            };
            let (to_ours, to_metallb) =
                (to(RingSpeakers::is_ferrolb), to(RingSpeakers::is_metallb));
            // Nobody can take over yet, but a speaker that has just started may be able to in a moment.
            let to_somebody = leaves && members.has_others();
            if to_ours || to_metallb || to_somebody {
                for address in addresses {
                    *passing.entry(*address).or_default() |= to_metallb;
                }
            }
        }
        self.moving.retain(|_, since| now < *since + MOVE_TIME);
        let mut orders = EngineOrders::default();
        let mut gained = Vec::new();
        for (address, scope) in changes {
            if scope.is_some() {
                self.handover.end(address);
                self.mute.remove(&address);
                gained.push(address);
            } else if let Some(to_metallb) = passing.get(&address) {
                self.moving.insert(address, now);
                let early = self.heard.remove(&address).is_some_and(|at| now < at + MOVE_TIME);
                if *to_metallb {
                    self.mute.insert(address);
                    if early {
                        self.handover.claimed(now, &[address], |_| true);
                    }
                }
                self.handover.begin(now, address);
                orders.answer_only.push(address);
                continue;
            } else {
                self.handover.end(address);
            }
            orders.change.push((address, scope));
        }
        if members.has_others() {
            if !gained.is_empty() {
                self.gained = Some(now);
            }
            // More than that at once comes from members that are new or gone, and `Membership::just_changed` covers that.
            self.moving.extend(gained.iter().take(MOVING_LIMIT).map(|address| (*address, now)));
            orders.tell = self.claim(gained);
        }
        orders
    }

    /// These addresses are to be claimed when the engine reports the returned number.
    pub fn claim(&mut self, addresses: Vec<IpAddr>) -> Option<u64> {
        if addresses.is_empty() {
            return None;
        }
        self.claims += 1;
        self.claiming.insert(self.claims, addresses);
        Some(self.claims)
    }

    /// These addresses are not announced yet, so that they are not claimed with this number. Returns false if nothing is left to claim with
    /// it.
    pub fn unclaim(&mut self, number: u64, addresses: &BTreeSet<IpAddr>) -> bool {
        let Some(claimed) = self.claiming.get_mut(&number) else { return false };
        claimed.retain(|address| !addresses.contains(address));
        let left = !claimed.is_empty();
        if !left {
            self.claiming.remove(&number);
        }
        left
    }

    /// The engine is done up to this number. Returns the addresses that can be claimed now.
    pub fn done(&mut self, number: u64) -> Vec<IpAddr> {
        let later = self.claiming.split_off(&number.saturating_add(1));
        std::mem::replace(&mut self.claiming, later).into_values().flatten().collect()
    }

    /// Another speaker answers for these addresses now. Returns the ones that this node is to let go of. `owned` tells whether this node
    /// announces an address.
    pub fn claimed(
        &mut self,
        now: Instant,
        addresses: &[IpAddr],
        owned: impl Fn(IpAddr) -> bool,
    ) -> Vec<IpAddr> {
        self.handover.claimed(now, addresses, owned)
    }

    /// Another station claims an address on the network. Returns the address if it passes to a speaker of MetalLB, whose claim was waited
    /// for; one of our speakers has to send a message of its own. Any other claim is remembered, as it may come before the news that explains
    /// it, unless it may be the last owner's.
    pub fn heard(&mut self, now: Instant, address: IpAddr) -> Vec<IpAddr> {
        if self.mute.remove(&address) {
            return self.handover.claimed(now, &[address], |_| false);
        }
        self.heard.retain(|_, at| now < *at + MOVE_TIME);
        if self.gained.is_some_and(|at| now < at + FORMER_OWNER_TIME) {
            return Vec::new();
        }
        self.heard.insert(address, now);
        Vec::new()
    }

    /// True if the address passes from one speaker to another, or has just done so.
    #[must_use]
    pub fn is_moving(&self, now: Instant, address: IpAddr) -> bool {
        self.moving.get(&address).is_some_and(|since| now < *since + MOVE_TIME)
    }

    /// The addresses that nobody claimed in time; this node is to let go of them.
    pub fn expired(&mut self, now: Instant) -> Vec<IpAddr> {
        let expired = self.handover.expired(now);
        for address in &expired {
            self.mute.remove(address);
        }
        expired
    }

    /// The time at which [`Self::expired`] has something to return.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.handover.deadline()
    }

    /// The addresses that pass to other nodes and are still answered for here.
    pub fn passing(&self) -> impl Iterator<Item = IpAddr> {
        self.handover.passing()
    }

    /// True if no address passes to another node at the moment.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.handover.is_empty()
    }
}
