// SPDX-License-Identifier: Apache-2.0
//! What passes to another speaker is answered for until that one has it, whichever way it says so.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test may panic, and needs some instant to start from"
)]

mod world;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cluster::Dirty;
use serde_json::json;
use speaker::{Facts, Member, Members, Passage, Speaker};
use world::{World, advertisement, node, options, pool, service, slice};

const ADDRESS: &str = "10.0.0.1";
const SECOND: Duration = Duration::from_secs(1);

/// The node b takes the address over and announces it until a member on the node a takes part, which is elected then. If `heard`, another station
/// claimed it so long after b had got it.
fn passed_to(member: Member, heard: Option<Duration>) -> (Passage, Instant) {
    let mut world = World::new(&[
        node("a", json!({})),
        node("b", json!({})),
        pool("p", &["10.0.0.0/24"]),
        advertisement("ad", json!({})),
        service("web", &[ADDRESS]),
        slice("web", &["b"]),
    ]);
    let mut now = Instant::now();
    let mut speaker = Speaker::new(options("b"));
    let mut passage = Passage::default();
    let mut decide = |passage: &mut Passage, now, members: &[(&str, &Member)]| {
        let members = members.iter().map(|(name, member)| ((*name).into(), (*member).clone()));
        world.members = Members::Alive(members.collect());
        let all = Dirty { all: true, ..Dirty::default() };
        let outputs = world.in_circumstances(|it| speaker.reconcile(&world.snapshot, &all, it));
        passage.carry_out(now, &mut speaker, &outputs, &world.members, true)
    };
    let ours = Member::Ferrolb(Facts::default());
    assert_eq!(decide(&mut passage, now, &[("b", &ours), ("c", &ours)]).change.len(), 1);
    if let Some(after) = heard {
        now += after;
        assert!(passage.heard(now, address()).is_empty());
    }
    let orders = decide(&mut passage, now, &[("a", &member), ("b", &ours)]);
    assert_eq!((orders.linger, orders.change), (vec![address()], Vec::new()));
    (passage, now)
}

fn address() -> IpAddr {
    ADDRESS.parse().unwrap()
}

#[test]
fn one_of_ours_says_so_itself() {
    let (mut passage, now) = passed_to(Member::Ferrolb(Facts::default()), Some(SECOND));
    assert!(passage.heard(now, address()).is_empty());
    assert_eq!(passage.deadline(), Some(now + SECOND));
    assert_eq!(passage.claimed(now, &[address()], |_| false), [address()]);
    assert!(passage.is_settled());
}

#[test]
fn one_of_metallb_is_heard_on_the_network() {
    let (mut passage, now) = passed_to(Member::MetalLb, None);
    assert!(passage.heard(now, "10.0.0.9".parse().unwrap()).is_empty());
    assert_eq!(passage.heard(now, address()), [address()]);
    assert!(passage.heard(now, address()).is_empty() && passage.is_settled());
}

#[test]
fn one_of_metallb_that_says_nothing_has_it_after_a_second() {
    let (mut passage, now) = passed_to(Member::MetalLb, None);
    let until = passage.deadline().unwrap();
    assert_eq!(until, now + SECOND);
    assert_eq!(passage.expired(until), [address()]);
    assert!(passage.heard(until, address()).is_empty() && passage.is_settled());
}

#[test]
fn one_of_metallb_may_have_been_heard_before_it_was_elected() {
    let (passage, now) = passed_to(Member::MetalLb, Some(SECOND));
    assert_eq!(passage.deadline(), Some(now + Duration::from_millis(100)));
}

/// It answers the probe of the one that takes over.
#[test]
fn the_owner_before_is_not_taken_for_the_one_after() {
    let (passage, now) = passed_to(Member::MetalLb, Some(Duration::from_millis(6)));
    assert_eq!(passage.deadline(), Some(now + SECOND));
}
