// SPDX-License-Identifier: Apache-2.0
//! The schedule in virtual time.
#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0xc000_0200 + n).into()
}

fn links(list: &[u32]) -> Arc<[u32]> {
    list.into()
}

/// Runs the schedule as a shell would, to `until`, and returns what was sent when (in milliseconds from `start`).
fn run(announcer: &mut Announcer, start: Instant, until: Duration) -> Vec<(u128, Burst)> {
    let mut sent = Vec::new();
    let mut now = start;
    loop {
        while let Some(burst) = announcer.poll(now) {
            sent.push((now.duration_since(start).as_millis(), burst));
        }
        match announcer.deadline() {
            Some(at) if at <= start + until => now = at,
            _ => return sent,
        }
    }
}

#[test]
fn a_new_address_is_announced_five_times_and_asked_for_once() {
    let (mut announcer, now) = (Announcer::new(Duration::ZERO, 1), Instant::now());
    announcer.own(now, address(1), links(&[2]));
    let sent = run(&mut announcer, now, Duration::from_secs(100));
    let times: Vec<u128> = sent.iter().map(|(at, _)| *at).collect();
    // At once, then every 1.1 s, up to 20 ms later for company.
    assert_eq!(times, [0, 1120, 2220, 3320, 4420]);
    assert_eq!(sent.iter().filter(|(_, burst)| burst.probe).count(), 1);
    assert_eq!(announcer.deadline(), None);
}

#[test]
fn what_did_not_change_is_not_announced_again() {
    let (mut announcer, now) = (Announcer::new(Duration::ZERO, 1), Instant::now());
    announcer.own(now, address(1), links(&[2]));
    run(&mut announcer, now, Duration::from_secs(10));
    announcer.own(now + Duration::from_secs(10), address(1), links(&[2]));
    assert_eq!(announcer.deadline(), None);
}

#[test]
fn only_the_link_that_is_new_is_announced_on() {
    let (mut announcer, now) = (Announcer::new(Duration::ZERO, 1), Instant::now());
    announcer.own(now, address(1), links(&[2, 3]));
    run(&mut announcer, now, Duration::from_secs(10));
    let later = now + Duration::from_secs(10);
    announcer.own(later, address(1), links(&[3, 4]));
    let sent = run(&mut announcer, later, Duration::from_secs(10));
    assert_eq!(sent.len(), 5);
    assert!(sent.iter().all(|(_, burst)| burst.link == 4));
}

#[test]
fn a_changed_hardware_address_arms_its_link_only() {
    let (mut announcer, now) = (Announcer::new(Duration::ZERO, 1), Instant::now());
    announcer.own(now, address(1), links(&[2, 3]));
    announcer.own(now, address(2), links(&[3]));
    run(&mut announcer, now, Duration::from_secs(10));
    announcer.rearm(now, 2, |_| true);
    let sent = run(&mut announcer, now, Duration::from_secs(10));
    assert!(sent.iter().all(|(_, burst)| burst.link == 2 && burst.address == address(1)));
    assert_eq!(sent.len(), 5);
}

#[test]
fn nothing_is_sent_for_an_address_after_it_was_lost() {
    let (mut announcer, now) = (Announcer::new(Duration::from_secs(60), 1), Instant::now());
    announcer.own(now, address(1), links(&[2, 3]));
    assert!(announcer.poll(now).is_some());
    announcer.disown(address(1));
    assert_eq!(announcer.poll(now + Duration::from_secs(600)), None);
    assert_eq!(announcer.deadline(), None);
}

#[test]
fn the_periodic_announcement_is_spread_over_the_interval_and_asks_each_time() {
    let (mut announcer, now) = (Announcer::new(Duration::from_secs(60), 7), Instant::now());
    for n in 0..600 {
        announcer.own(now, address(n), links(&[2]));
    }
    let sent = run(&mut announcer, now, Duration::from_secs(305));
    let mut seconds = [0_u32; 300];
    for (at, burst) in sent.iter().filter(|(at, _)| *at >= 5_000) {
        assert!(burst.probe);
        seconds[usize::try_from((*at - 5_000) / 1000).unwrap().min(299)] += 1;
    }
    // Ten a second would be perfect; the first minute lacks those whose place fell into the opening window.
    assert!(seconds[65..].iter().all(|count| (3..=20).contains(count)), "{seconds:?}");
}

#[test]
fn a_long_stall_is_not_made_up_for() {
    let (mut announcer, now) = (Announcer::new(Duration::from_secs(10), 7), Instant::now());
    announcer.own(now, address(1), links(&[2]));
    run(&mut announcer, now, Duration::from_secs(20));
    let later = now + Duration::from_secs(3600);
    let mut count = 0;
    while announcer.poll(later).is_some() {
        count += 1;
    }
    assert_eq!(count, 1);
    assert!(announcer.deadline().unwrap() > later);
}

#[test]
fn a_new_owner_that_the_last_one_contradicts_says_it_once_more() {
    let (mut announcer, now) = (Announcer::new(Duration::ZERO, 1), Instant::now());
    announcer.own(now, address(1), links(&[2]));
    assert!(!announcer.contested(now, address(1), 2), "before it has said anything");
    assert!(announcer.poll(now).is_some());
    for after in [1, 2, 50] {
        assert!(!announcer.contested(now + Duration::from_millis(after), address(1), 2));
    }
    let sent = run(&mut announcer, now, Duration::from_secs(1));
    let times: Vec<u128> = sent.iter().map(|(at, _)| *at).collect();
    assert_eq!(
        times,
        [31],
        "10 ms after it was contradicted first, with the usual 20 ms for company"
    );
}

#[test]
fn who_hears_the_next_owner_does_not_contradict_it() {
    for interval in [Duration::ZERO, Duration::from_secs(10)] {
        let (mut announcer, now) = (Announcer::new(interval, 1), Instant::now());
        announcer.own(now, address(1), links(&[2, 3]));
        announcer.own(now, address(2), links(&[2, 3]));
        let at = |milliseconds| now + Duration::from_millis(milliseconds);
        while announcer.poll(now).is_some() {}
        // The second burst is due, and waits for company.
        assert!(announcer.contested(at(1_105), address(1), 2));
        let others: Vec<Burst> = std::iter::from_fn(|| announcer.poll(at(1_105))).collect();
        assert!(others.len() == 2 && others.iter().all(|burst| burst.address == address(2)));
        // Whoever goes on claiming it does not silence us for longer.
        assert!(!announcer.contested(at(1_500), address(1), 3));
        assert_eq!(run(&mut announcer, at(1_105), Duration::from_millis(495)), []);
        let sent = run(&mut announcer, at(1_600), Duration::from_millis(40));
        assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [25, 25]);
        assert!(!announcer.contested(at(11_000), address(1), 2));
        assert!(announcer.contested(at(11_105), address(1), 2), "every ten seconds at most");
        announcer.disown(address(1));
        announcer.own(at(11_200), address(1), links(&[2, 3]));
        assert!(announcer.contested(at(12_300), address(1), 2), "it is another time");
    }
}

#[test]
fn a_false_claim_is_answered_by_one_announcement_and_not_by_silence() {
    let (mut announcer, now) = (Announcer::new(Duration::from_secs(60), 1), Instant::now());
    announcer.own(now, address(1), links(&[2, 3]));
    let start = now + Duration::from_secs(6);
    run(&mut announcer, now, Duration::from_secs(6));
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    // A station that claims the address every ten milliseconds.
    let mut sent = Vec::new();
    for moment in (0..20_000).step_by(10) {
        announcer.contested(at(moment), address(1), 2);
        while let Some(burst) = announcer.poll(at(moment)) {
            sent.push((moment, burst));
        }
    }
    let defence = Burst { address: address(1), link: 2, probe: false };
    assert_eq!(sent, [(500, defence), (10_500, defence)], "RFC 5227: every ten seconds at most");
    // The next owner's news came in time.
    assert!(announcer.contested(at(20_000), address(1), 2));
    announcer.disown(address(1));
    assert_eq!(announcer.deadline(), None);
}

proptest! {
    #[test]
    fn only_owned_addresses_on_their_links_are_announced_whatever_happens(
        steps in prop::collection::vec((0_u32..6, prop::collection::btree_set(1_u32..5, 0..4), 0_u64..4000, any::<bool>(), any::<bool>()), 1..60)
    ) {
        let mut announcer = Announcer::new(Duration::from_secs(3), 1);
        let mut model: BTreeMap<IpAddr, BTreeSet<u32>> = BTreeMap::new();
        let mut now = Instant::now();
        for (n, on, wait, own, contested) in steps {
            if own {
                announcer.own(now, address(n), on.iter().copied().collect());
                model.insert(address(n), on);
            } else {
                announcer.disown(address(n));
                model.remove(&address(n));
            }
            now += Duration::from_millis(wait);
            if contested {
                announcer.contested(now, address(n), 1);
            }
            while let Some(burst) = announcer.poll(now) {
                prop_assert!(model.get(&burst.address).is_some_and(|links| links.contains(&burst.link)));
            }
            prop_assert!(announcer.deadline().is_none_or(|at| at > now));
            prop_assert_eq!(announcer.addresses.len(), model.len());
            prop_assert!(announcer.queue.len() <= FEW + 2 * (announcer.windows.len() + model.len()));
        }
    }
}

#[test]
fn what_a_start_needs_is_given_back_and_so_is_what_flapping_leaves() {
    let (mut announcer, mut now) = (Announcer::new(Duration::from_secs(60), 7), Instant::now());
    for n in 0..10_000 {
        announcer.own(now, address(n), links(&[2]));
    }
    let room = announcer.queue.capacity();
    run(&mut announcer, now, Duration::from_secs(10));
    assert_eq!(announcer.windows.capacity(), 0);
    assert!(announcer.queue.capacity() < room, "{room}");
    for n in 1..10_000 {
        announcer.disown(address(n));
    }
    for _ in 0..10_000 {
        now += Duration::from_millis(1);
        announcer.own(now, address(1), links(&[2]));
        announcer.disown(address(1));
    }
    assert!(announcer.queue.capacity() <= 8 * FEW, "{}", announcer.queue.capacity());
    assert!(announcer.addresses.capacity() <= 8 * FEW, "{}", announcer.addresses.capacity());
}
