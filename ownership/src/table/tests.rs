// SPDX-License-Identifier: Apache-2.0
use super::conflicts::{CONFLICT_TIME, HEARSAY_INTERVAL};
use super::replica::{ADDRESS_LIMIT, DELIVERY_TIME, SYNC_REQUEST_INTERVAL, SYNC_TIME};
use super::terms::FORGET_LIMIT;
use super::*;

fn ip(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn name(text: &str) -> Arc<str> {
    text.into()
}

#[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
fn beginning() -> Instant {
    Instant::now()
}

/// Passes on the messages of one speaker to the other.
fn hear(now: Instant, hearer: &mut OwnershipTable, from: &str, told: &[PeerMessage]) {
    for told in told {
        match told {
            PeerMessage::OwnedSnapshot(held) => hearer.handle_snapshot(now, from, held),
            PeerMessage::OwnedDelta(changed) => hearer.handle_delta(now, from, changed),
            PeerMessage::ConflictReport { address, term, node } => {
                hearer.handle_conflict_report(now, *address, *term, node)
            }
            PeerMessage::Metadata(_) | PeerMessage::TookOver(_) | PeerMessage::SyncRequest => {
                panic!("{told:?}")
            }
        }
    }
}

fn change(table: &mut OwnershipTable, gained: &[u8], lost: &[u8]) -> Vec<PeerMessage> {
    table.change(gained.iter().map(|it| ip(*it)), lost.iter().map(|it| ip(*it)))
}

fn held(table: &OwnershipTable, address: IpAddr) -> Vec<(Term, &str)> {
    table.holders(address).map(|(term, name)| (term, &**name)).collect()
}

#[test]
fn what_another_holds_is_known_by_list_and_steps() {
    let now = beginning();
    let (mut a, mut b) = (OwnershipTable::new(1_000), OwnershipTable::new(2_000));
    let others = [name("a")];
    b.attend(now, others.iter());
    assert_eq!(b.needs_sync(), Some(&name("a")), "it has said nothing yet");
    assert!(b.questions(now).is_empty(), "it may be under way");
    assert_eq!(b.questions(now + DELIVERY_TIME), [name("a")]);
    assert!(b.questions(now + DELIVERY_TIME).is_empty());
    assert_eq!(b.questions(now + DELIVERY_TIME + SYNC_REQUEST_INTERVAL), [name("a")]);
    assert!(!b.is_unsynchronised(now) && b.is_unsynchronised(now + SYNC_TIME));

    change(&mut a, &(0..=255).collect::<Vec<u8>>(), &[]);
    let list = a.list();
    assert!(list.len() > 2);
    hear(now, &mut b, "a", &list[1..]);
    assert_eq!(b.needs_sync(), Some(&name("a")), "a part is missing");
    hear(now, &mut b, "a", &list);
    b.handle_mark(now, &name("a"), a.mark());
    assert_eq!((b.needs_sync(), held(&b, ip(7))), (None, vec![(1, "a")]));
    assert_eq!(b.take_changes(), ((0..=255).map(ip).collect(), true));

    let steps = change(&mut a, &[], &[7, 8]);
    b.handle_mark(now, &name("a"), a.mark());
    assert!(b.needs_sync().is_some(), "the mark came before the step");
    hear(now, &mut b, "a", &steps);
    assert_eq!((b.needs_sync(), held(&b, ip(7)).len()), (None, 0));
    assert_eq!(b.take_changes(), ([ip(7), ip(8)].into(), true));

    // A change is lost: the next does not follow.
    change(&mut a, &[7], &[]);
    let steps = change(&mut a, &[], &[9]);
    hear(now, &mut b, "a", &steps);
    b.handle_mark(now, &name("a"), a.mark());
    assert_eq!((b.needs_sync(), held(&b, ip(9))), (Some(&name("a")), vec![(1, "a")]));
    hear(now, &mut b, "a", &a.list());
    assert_eq!((b.needs_sync(), held(&b, ip(9)).len(), held(&b, ip(7))), (None, 0, vec![(2, "a")]));
}

#[test]
fn what_a_heartbeat_said_of_one_that_did_not_speak_is_not_forgotten() {
    let now = beginning();
    let (mut a, mut b) = (OwnershipTable::new(1_000), OwnershipTable::new(2_000));
    change(&mut a, &[1], &[]);
    let old = a.list();
    change(&mut a, &[], &[1]);
    b.handle_mark(now, &name("a"), a.mark());
    b.attend(now, [name("a")].iter());
    hear(now, &mut b, "a", &old);
    assert_eq!(b.needs_sync(), Some(&name("a")), "the list was longer under way than the step");
    b.attend(now, [].iter());
    b.retain(|_| false);
    b.attend(now, [name("a")].iter());
    hear(now, &mut b, "a", &old);
    assert_eq!(b.needs_sync(), None, "it has started anew, with a clock that is behind");
}

#[test]
fn whoever_takes_over_is_in_a_higher_term() {
    let now = beginning();
    let (mut a, mut b) = (OwnershipTable::new(1_000), OwnershipTable::new(2_000));
    change(&mut a, &[1], &[]);
    b.attend(now, [name("a")].iter());
    hear(now, &mut b, "a", &a.list());
    b.attend(now, [].iter());
    change(&mut b, &[1, 2], &[]);
    assert_eq!((a.term(ip(1)), b.term(ip(1)), b.term(ip(2))), (Some(1), Some(2), Some(1)));
}

#[test]
fn a_digest_that_differs_is_noticed() {
    let now = beginning();
    let (mut a, mut b) = (OwnershipTable::new(1_000), OwnershipTable::new(2_000));
    b.attend(now, [name("a")].iter());
    hear(now, &mut b, "a", &a.list());
    change(&mut a, &[1], &[]);
    let mut list = a.list();
    if let Some(PeerMessage::OwnedSnapshot(held)) = list.first_mut() {
        held.addresses = vec![(ip(2), 1)];
    }
    hear(now, &mut b, "a", &list);
    assert_eq!(b.needs_sync(), None);
    b.handle_mark(now, &name("a"), a.mark());
    assert_eq!(b.needs_sync(), Some(&name("a")));
    // An older mark, which was longer under way, changes nothing.
    hear(now, &mut b, "a", &a.list());
    b.handle_mark(now, &name("a"), OwnershipTable::new(900).mark());
    assert_eq!((b.needs_sync(), held(&b, ip(1))), (None, vec![(1, "a")]));
}

#[test]
fn nothing_is_kept_of_those_that_do_not_speak() {
    let now = beginning();
    let (mut a, mut b) = (OwnershipTable::new(1_000), OwnershipTable::new(2_000));
    change(&mut a, &[1], &[]);
    b.attend(now, [name("a")].iter());
    hear(now, &mut b, "a", &a.list());
    let _ = b.take_changes();
    b.attend(now, [].iter());
    assert_eq!((b.take_changes().0, held(&b, ip(1)).len()), ([ip(1)].into(), 0));
    b.attend(now, [name("a")].iter());
    assert!(b.needs_sync().is_some());
    hear(now, &mut b, "a", &a.list());
    assert_eq!(held(&b, ip(1)), [(1, "a")]);
    b.require_sync(now);
    assert_eq!((b.needs_sync(), held(&b, ip(1)).len()), (Some(&name("a")), 0));
}

#[test]
fn nothing_is_told_of_what_stays() {
    let mut a = OwnershipTable::new(1_000);
    assert_eq!(change(&mut a, &[1], &[2]).len(), 1);
    let mark = a.mark();
    assert!(change(&mut a, &[1], &[2]).is_empty());
    assert_eq!(a.mark(), mark);
    let mut b = OwnershipTable::new(3_000);
    change(&mut b, &[2], &[]);
    change(&mut b, &[1], &[]);
    change(&mut a, &[2], &[]);
    assert_eq!(a.mark().last_chunk::<8>(), b.mark().last_chunk::<8>(), "a digest knows no order");
    assert!(a.term(ip(1)) == Some(1) && a.count() == 2);
}

/// Two speakers own one address and do not hear one another; a third hears both.
#[test]
fn a_third_tells_those_that_do_not_hear_one_another() {
    let now = beginning();
    let [mut a, mut b, mut third] = [1_000, 2_000, 3_000].map(OwnershipTable::new);
    change(&mut a, &[1], &[]);
    for _ in 0..2 {
        change(&mut b, &[1], &[]);
        change(&mut b, &[], &[1]);
    }
    change(&mut b, &[1], &[]);
    let [from_a, from_b] = [a.list(), b.list()];
    third.attend(now, [name("a"), name("b")].iter());
    a.attend(now, [name("b"), name("third")].iter());
    hear(now, &mut third, "a", &from_a);
    hear(now, &mut third, "b", &from_b);
    assert!(third.disputes(now).is_empty(), "it may be passing");
    let told = third.disputes(now + CONFLICT_TIME);
    let rival = PeerMessage::ConflictReport { address: ip(1), term: 3, node: name("b") };
    assert_eq!(told, [(name("a"), rival.clone())]);
    assert!(third.disputes(now + CONFLICT_TIME).is_empty());
    hear(now, &mut a, "third", &[rival]);
    assert_eq!(held(&a, ip(1)), [(3, "b")]);
    // The other's own message is newer.
    change(&mut b, &[], &[1]);
    hear(now, &mut a, "b", &b.list());
    assert!(held(&a, ip(1)).is_empty());
    hear(now, &mut third, "b", &b.list());
    assert!(third.disputes(now + SYNC_REQUEST_INTERVAL * 3).is_empty());
}

#[test]
fn what_a_third_tells_too_late_is_void_once_the_other_is_heard() {
    let now = beginning();
    for by_mark in [true, false] {
        let (mut a, mut b) = (OwnershipTable::new(1_000), OwnershipTable::new(2_000));
        a.attend(now, [name("b")].iter());
        change(&mut a, &[1], &[]);
        change(&mut b, &[1], &[]);
        change(&mut b, &[], &[1]);
        hear(now, &mut a, "b", &b.list());
        // The report was true when it was sent.
        hear(
            now,
            &mut a,
            "third",
            &[PeerMessage::ConflictReport { address: ip(1), term: 3, node: name("b") }],
        );
        assert_eq!(held(&a, ip(1)), [(3, "b")]);
        a.reconsider(now);
        a.take_changes();
        if by_mark {
            a.handle_mark(now, &name("b"), b.mark());
        } else {
            // No heartbeat comes from the other.
            assert!(a.questions(now).is_empty());
            assert_eq!(a.deadline(now), Some(now + SYNC_REQUEST_INTERVAL));
            assert_eq!(a.questions(now + SYNC_REQUEST_INTERVAL), [name("b")]);
            assert!(a.questions(now + SYNC_REQUEST_INTERVAL).is_empty());
            hear(now, &mut a, "b", &b.list());
            assert!(a.questions(now + SYNC_REQUEST_INTERVAL + HEARSAY_INTERVAL).is_empty());
        }
        assert!(held(&a, ip(1)).is_empty());
        assert!(a.take_changes().0.contains(&ip(1)), "it is decided again");
    }
}

fn many(count: u32) -> Vec<(IpAddr, Term)> {
    (0..count).map(|number| (std::net::Ipv4Addr::from_bits(number).into(), 1)).collect()
}

#[test]
fn a_part_is_taken_once() {
    let now = beginning();
    let mut b = OwnershipTable::new(2_000);
    b.attend(now, [name("a")].iter());
    let part = |part, last| OwnedSnapshot {
        generation: 7,
        part,
        parts: 2,
        addresses: vec![(ip(last), 1)],
    };
    for last in 1..200 {
        b.handle_snapshot(now, "a", &part(0, last));
    }
    b.handle_snapshot(now, "a", &part(1, 250));
    assert_eq!((b.needs_sync(), b.counts().next()), (None, Some((&name("a"), 2))));
    assert_eq!(held(&b, ip(1)), [(1, "a")]);
    assert!(held(&b, ip(2)).is_empty());
}

#[test]
fn of_one_that_says_too_much_it_is_unknown_what_it_holds() {
    let now = beginning();
    let most = u32::try_from(ADDRESS_LIMIT).unwrap();
    for (count, known) in [(most, true), (most + 1, false)] {
        let mut b = OwnershipTable::new(2_000);
        b.attend(now, [name("a")].iter());
        for part in OwnedSnapshot::split(7, &many(count)) {
            b.handle_snapshot(now, "a", &part);
        }
        assert_eq!(b.needs_sync().is_none(), known, "{count}");
        let kept = if known { ADDRESS_LIMIT } else { 0 };
        assert_eq!((b.counts().next(), b.terms.count()), (Some((&name("a"), kept)), kept));
        if known {
            // One change more.
            let step = OwnedDelta {
                generation: 8,
                gained: vec![("fd00::1".parse().unwrap(), 1)],
                lost: vec![],
            };
            let _ = b.take_changes();
            b.handle_delta(now, "a", &step);
            assert_eq!(
                (b.needs_sync(), b.counts().next()),
                (Some(&name("a")), Some((&name("a"), 0)))
            );
            assert_eq!(b.take_changes().0.len(), ADDRESS_LIMIT + 1);
        }
    }
}

#[test]
fn terms_of_addresses_that_nobody_has_are_forgotten() {
    let now = beginning();
    let (mut a, mut b) = (OwnershipTable::new(1_000), OwnershipTable::new(2_000));
    b.attend(now, [name("a")].iter());
    hear(now, &mut b, "a", &a.list());
    change(&mut b, &[1], &[]);
    for (address, _) in many(10_000) {
        let steps = a.change([address].into_iter(), [].into_iter());
        hear(now, &mut b, "a", &steps);
        let steps = a.change([ip(2)].into_iter(), [address].into_iter());
        hear(now, &mut b, "a", &steps);
        b.forget(|| [ip(3)].into());
        a.forget(BTreeSet::new);
        assert!(b.terms.count() <= FORGET_LIMIT + 10 && a.terms.count() <= FORGET_LIMIT + 10);
    }
    change(&mut a, &[3], &[]);
    let steps = change(&mut a, &[], &[3]);
    let list = a.list();
    hear(now, &mut b, "a", &steps);
    hear(now, &mut b, "a", &list);
    // An address that is owned, or given to a Service, keeps its term.
    change(&mut b, &[], &[1]);
    change(&mut b, &[1], &[]);
    assert_eq!((b.term(ip(1)), held(&b, ip(2))), (Some(2), vec![(1, "a")]));
}

/// The room of the others depends on what this speaker owns itself: the next owner of an address without one is named anew, at once and once.
#[test]
fn what_nobody_holds_is_decided_again_when_this_speaker_holds_less() {
    let now = beginning();
    let mut a = OwnershipTable::new(1_000);
    change(&mut a, &[1, 2], &[]);
    a.reconsider(now);
    a.take_changes();
    assert_eq!(a.deadline(now), None);
    change(&mut a, &[], &[1]);
    assert_eq!(a.deadline(now), Some(now));
    a.reconsider(now);
    assert_eq!((a.take_changes(), a.deadline(now)), ((BTreeSet::new(), true), None));
    change(&mut a, &[], &[1]);
    assert_eq!(a.deadline(now), None, "it had gone already");
}

/// A speaker gives an address away by what it knows of the others; they may know better, and none takes it.
#[test]
fn what_nobody_takes_is_kept_by_whoever_gave_it_away() {
    let now = beginning();
    let (mut a, mut b) = (OwnershipTable::new(1_000), OwnershipTable::new(2_000));
    a.attend(now, [name("b")].iter());
    hear(now, &mut a, "b", &b.list());
    change(&mut a, &[1, 2], &[1, 2]);
    let steps = change(&mut b, &[2], &[]);
    hear(now, &mut a, "b", &steps);
    a.take_changes();
    a.note_unclaimed(now, &[ip(1), ip(2)]);
    assert!(a.is_handoff_refused(ip(1)) && !a.is_handoff_refused(ip(2)), "b has taken the other");
    assert_eq!(a.take_changes().0, BTreeSet::from([ip(1)]), "it is to be decided again");
    a.reconsider(now + REFUSED_HANDOFF_TIME);
    assert!(!a.is_handoff_refused(ip(1)), "for a while");
    a.note_unclaimed(now, &[ip(1)]);
    let steps = change(&mut b, &[1], &[]);
    hear(now, &mut a, "b", &steps);
    assert!(!a.is_handoff_refused(ip(1)), "b has taken it after all");
}
