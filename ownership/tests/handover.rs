// SPDX-License-Identifier: Apache-2.0
//! What passes to another speaker is answered for until that one has it, whichever way it says so.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test may panic, and needs some instant to start from"
)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use l2::Scope;
use ownership::{EngineOrders, Handovers, NodeMetadata, RingSpeaker, RingSpeakers, Withdrawal};

const ADDRESS: &str = "10.0.0.1";
const SECOND: Duration = Duration::from_secs(1);

/// The node b takes the address over and announces it until a member on the node a takes part, which is elected then. If `heard`, another station
/// claimed it so long after b had got it.
fn passed_to(member: RingSpeaker, heard: Option<Duration>) -> (Handovers, Instant) {
    let mut now = Instant::now();
    let mut handovers = Handovers::default();
    let members = |all: &[(&str, &RingSpeaker)]| {
        let all = all.iter().map(|(name, member)| ((*name).into(), (*member).clone()));
        RingSpeakers::Alive(all.collect())
    };
    let ours = RingSpeaker::Ferrolb(NodeMetadata::default());
    let gained = vec![(address(), Some(Scope::AllInterfaces))];
    let both = members(&[("b", &ours), ("c", &ours)]);
    let orders = handovers.carry_out(now, [].into_iter(), gained, &both, true);
    assert_eq!(orders.change.len(), 1);
    if let Some(after) = heard {
        now += after;
        assert!(handovers.heard(now, address()).is_empty());
    }
    let lost = vec![(address(), None)];
    let withdrawal = Withdrawal { addresses: &[address()], successor: Some("a"), leaves: false };
    let both = members(&[("a", &member), ("b", &ours)]);
    let orders = handovers.carry_out(now, [withdrawal].into_iter(), lost, &both, true);
    assert_eq!(orders, EngineOrders { answer_only: vec![address()], ..EngineOrders::default() });
    (handovers, now)
}

fn address() -> IpAddr {
    ADDRESS.parse().unwrap()
}

#[test]
fn one_of_ours_says_so_itself() {
    let (mut handovers, now) =
        passed_to(RingSpeaker::Ferrolb(NodeMetadata::default()), Some(SECOND));
    assert!(handovers.heard(now, address()).is_empty());
    assert_eq!(handovers.deadline(), Some(now + SECOND));
    assert_eq!(handovers.claimed(now, &[address()], |_| false), [address()]);
    assert!(handovers.is_settled());
}

#[test]
fn one_of_metallb_is_heard_on_the_network() {
    let (mut handovers, now) = passed_to(RingSpeaker::MetalLb, None);
    assert!(handovers.heard(now, "10.0.0.9".parse().unwrap()).is_empty());
    assert_eq!(handovers.heard(now, address()), [address()]);
    assert!(handovers.heard(now, address()).is_empty() && handovers.is_settled());
}

#[test]
fn one_of_metallb_that_says_nothing_has_it_after_a_second() {
    let (mut handovers, now) = passed_to(RingSpeaker::MetalLb, None);
    let until = handovers.deadline().unwrap();
    assert_eq!(until, now + SECOND);
    assert_eq!(handovers.expired(until), [address()]);
    assert!(handovers.heard(until, address()).is_empty() && handovers.is_settled());
}

#[test]
fn one_of_metallb_may_have_been_heard_before_it_was_elected() {
    let (handovers, now) = passed_to(RingSpeaker::MetalLb, Some(SECOND));
    assert_eq!(handovers.deadline(), Some(now + Duration::from_millis(100)));
}

/// It answers the probe of the one that takes over.
#[test]
fn the_owner_before_is_not_taken_for_the_one_after() {
    let (handovers, now) = passed_to(RingSpeaker::MetalLb, Some(Duration::from_millis(6)));
    assert_eq!(handovers.deadline(), Some(now + SECOND));
}
