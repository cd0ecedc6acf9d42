// SPDX-License-Identifier: Apache-2.0
//! From the books to the engine that answers: what passes to another speaker is kept until that one has it, and what came here is
//! claimed as soon as it is announced. A synchronous value.

mod pending;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use l2::Scope;

use crate::members::Members;
pub use pending::Pending;

/// How long after a planned move, or a change of the members, two may announce one address.
pub const MOVE_TIME: Duration = Duration::from_secs(2);
/// How long after addresses came here a claim to one may be the last owner's: one of ours lets go at once, one of MetalLB's within 0.4 s.
const FORMER_OWNER_TIME: Duration = Duration::from_millis(500);
/// So many addresses that have moved are remembered of one decision.
const MOVING_LIMIT: usize = 256;

/// What the engine is to do, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EngineOrders {
    /// Answer on for these, and announce them no more.
    pub linger: Vec<IpAddr>,
    /// Answer for these there; without a scope no more.
    pub change: Vec<(IpAddr, Option<Scope>)>,
    /// Say when all that is done, with this number.
    pub tell: Option<u64>,
}

/// A Service that was announced here and is no more.
#[derive(Clone, Copy, Debug)]
pub struct Withdrawal<'a> {
    /// Its addresses.
    pub addresses: &'a [IpAddr],
    /// The node that announces it now, if one does.
    pub successor: Option<&'a str>,
    /// Whether it is because this speaker leaves.
    pub leaves: bool,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Handovers {
    handover: Pending,
    /// Addresses that are announced since, by the number with which the engine says that it is done.
    claiming: BTreeMap<u64, Vec<IpAddr>>,
    claims: u64,
    /// Addresses that have just come from another speaker or go to one: two announce them for a moment.
    moving: BTreeMap<IpAddr, Instant>,
    /// What passes to speakers of MetalLB, who say nothing but on the network that they have it.
    mute: BTreeSet<IpAddr>,
    /// Addresses that another station claimed on the network while they were announced here, and when.
    heard: BTreeMap<IpAddr, Instant>,
    /// When addresses last came here: who had them before may answer for them a little longer, to our own probe for example.
    gained: Option<Instant>,
}

impl Handovers {
    /// After a decision, of which these are the withdrawals, and these the changes of what is announced: addresses with the links on which
    /// they are answered for, or none. What goes to another speaker is answered for until that one claims it, if `passes`: MetalLB's
    /// joins the ring before it has read what it is to announce.
    pub fn carry_out<'a>(
        &mut self,
        now: Instant,
        withdrawals: impl Iterator<Item = Withdrawal<'a>>,
        changes: Vec<(IpAddr, Option<Scope>)>,
        members: &Members,
        passes: bool,
    ) -> EngineOrders {
        // What passes on, and whether to a speaker of MetalLB.
        let mut passing: BTreeMap<IpAddr, bool> = BTreeMap::new();
        for Withdrawal { addresses, successor, leaves } in withdrawals.filter(|_| passes) {
            let to = |is: fn(&Members, &str) -> bool| {
                successor.is_some_and(|successor| is(members, successor))
            };
            let (to_ours, to_metallb) = (to(Members::is_ferrolb), to(Members::is_metallb));
            // Nobody can take over yet; somebody who has just started may in a moment.
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
                orders.linger.push(address);
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
            // More at once come from members that are new or gone, which is known otherwise.
            self.moving.extend(gained.iter().take(MOVING_LIMIT).map(|address| (*address, now)));
            orders.tell = self.claim(gained);
        }
        orders
    }

    /// These are claimed when the engine says that it has come to the number returned.
    pub fn claim(&mut self, addresses: Vec<IpAddr>) -> Option<u64> {
        if addresses.is_empty() {
            return None;
        }
        self.claims += 1;
        self.claiming.insert(self.claims, addresses);
        Some(self.claims)
    }

    /// The engine is done up to this number: returns what can be claimed now.
    pub fn done(&mut self, number: u64) -> Vec<IpAddr> {
        let later = self.claiming.split_off(&number.saturating_add(1));
        std::mem::replace(&mut self.claiming, later).into_values().flatten().collect()
    }

    /// Another speaker answers for these now: returns those to let go of. `owned` says which are announced here.
    pub fn claimed(
        &mut self,
        now: Instant,
        addresses: &[IpAddr],
        owned: impl Fn(IpAddr) -> bool,
    ) -> Vec<IpAddr> {
        self.handover.claimed(now, addresses, owned)
    }

    /// Another station claims an address on the network: returns it if that is the word that was waited for. One of ours has to say so
    /// itself, and a claim to what is announced here is remembered, as it may come before the news that explain it; not if the last owner
    /// may have made it.
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

    /// Whether an address passes from one speaker to another, or has just done so.
    #[must_use]
    pub fn is_moving(&self, now: Instant, address: IpAddr) -> bool {
        self.moving.get(&address).is_some_and(|since| now < *since + MOVE_TIME)
    }

    /// Those that nobody claimed in time, to let go of.
    pub fn expired(&mut self, now: Instant) -> Vec<IpAddr> {
        let expired = self.handover.expired(now);
        for address in &expired {
            self.mute.remove(address);
        }
        expired
    }

    /// When [`Self::expired`] has something to say.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.handover.deadline()
    }

    /// What is still answered for here and passes to other nodes.
    pub fn passing(&self) -> impl Iterator<Item = IpAddr> {
        self.handover.passing()
    }

    /// Whether nothing passes to another node at the moment.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.handover.is_empty()
    }
}
