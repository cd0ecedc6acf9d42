// SPDX-License-Identifier: Apache-2.0
use crate::Detection;
use crate::heartbeat::wire::{Body, Mark, Opinion, Stamp};
use crate::quorum::Side;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
fn beginning() -> Instant {
    Instant::now()
}

fn place(last: u8) -> SocketAddr {
    ([192, 0, 2, last], 7946).into()
}

fn detector(now: Instant, fencing: Fencing) -> FailureDetector {
    let options = Detection {
        fencing,
        session: 7,
        start_wait: Duration::from_secs(2),
        alone: false,
        ..Detection::off()
    };
    FailureDetector::new("a".into(), options, now)
}

/// Lets time pass as the thread does. Returns the probes, each with its receiver, and the other actions.
fn pass(
    detector: &mut FailureDetector,
    from: Instant,
    time: Duration,
) -> (Vec<(SocketAddr, Message)>, Vec<Action>) {
    let (mut now, mut probes, mut others) = (from, Vec::new(), Vec::new());
    loop {
        while let Some(action) = detector.poll() {
            match action {
                Action::Send { to, message } => probes.push((to, message)),
                other => others.push(other),
            }
        }
        let next = detector.deadline().max(now + Duration::from_millis(1));
        if next > from + time {
            return (probes, others);
        }
        now = next;
        detector.tick(now);
    }
}

/// A detector that was started while two others are listed, and has met none of them.
fn unmet(now: Instant, fencing: Fencing) -> FailureDetector {
    let mut detector = detector(now, fencing);
    let names = ["b", "c"].map(Arc::from).into();
    detector.set_expected(now, names, [place(2), place(3)].into());
    pass(&mut detector, now, SECOND * 3);
    detector
}

#[test]
fn who_meets_none_of_the_listed_members_asks_the_link() {
    let now = beginning();
    let by_link = Standing::ByLink { present: 1, known: 3, met: false };
    assert_eq!(unmet(now, Fencing::Link).standing(), by_link);
    assert_eq!(unmet(now, Fencing::Majority).standing(), Standing::Confirmed);
    assert_eq!(unmet(now, Fencing::Stall).standing(), Standing::Confirmed);
}

#[test]
fn who_has_not_heard_of_any_list_asks_the_link_and_who_is_alone_need_not() {
    let now = beginning();
    let mut detector = detector(now, Fencing::Link);
    pass(&mut detector, now, SECOND * 3);
    assert_eq!(detector.standing(), Standing::ByLink { present: 1, known: 1, met: false });
    detector.alone(now + SECOND * 3);
    assert_eq!(detector.standing(), Standing::Confirmed);
}

#[test]
fn each_place_gets_a_probe_every_fifth_of_a_second() {
    let now = beginning();
    let mut detector = unmet(now, Fencing::Link);
    let (probes, _) = pass(&mut detector, now + SECOND * 3, SECOND * 2);
    for last in [2, 3] {
        let to = probes.iter().filter(|(to, _)| *to == place(last)).count();
        assert!((9..=11).contains(&to), "{to} probes in two seconds");
    }
    assert!(probes.iter().all(|(_, message)| matches!(message.body, Body::Probe)));
}

fn answer(echo: Option<Stamp>) -> Message {
    Message {
        from: "b".into(),
        stamp: Stamp { session: 9, counter: 1 },
        echo,
        view: Opinion::Unknown,
        side: Side::Majority,
        mark: Mark::default(),
        body: Body::Answer,
    }
}

#[test]
fn the_first_answer_silences_and_is_followed_up() {
    let now = beginning();
    let mut detector = unmet(now, Fencing::Link);
    let later = now + SECOND * 3;
    let (probes, _) = pass(&mut detector, later, SECOND);
    let later = later + SECOND;
    let (_, newest) = probes.iter().rfind(|(to, _)| *to == place(2)).unwrap();
    let (_, oldest) = probes.iter().find(|(to, _)| *to == place(2)).unwrap();
    let forged = [
        None,
        Some(Stamp { session: 8, ..newest.stamp }),
        Some(Stamp { counter: newest.stamp.counter + 100, ..newest.stamp }),
        Some(oldest.stamp),
    ];
    for echo in forged {
        detector.handle(later, place(2), answer(echo));
        assert!(detector.standing().asks_link(), "{echo:?} proves nothing");
    }
    detector.handle(later, place(9), answer(Some(newest.stamp)));
    assert!(detector.standing().asks_link(), "nobody is listed there");
    detector.handle(later, place(2), answer(Some(newest.stamp)));
    assert_eq!(detector.standing(), Standing::Doubtful);
    assert_eq!(detector.lease(), Some(Duration::ZERO));
    let (_, others) = pass(&mut detector, later, SECOND);
    assert!(others.contains(&Action::Join(place(2))), "{others:?}");
    // It cannot be joined: the link has the last word again.
    pass(&mut detector, later + SECOND, SECOND * 2);
    assert!(detector.standing().asks_link());
}

#[test]
fn who_stood_still_asks_anew() {
    let now = beginning();
    let mut detector = unmet(now, Fencing::Link);
    while detector.poll().is_some() {}
    detector.stalled(now + SECOND * 4, SECOND);
    let told: Vec<Action> = std::iter::from_fn(|| detector.poll())
        .filter(|action| matches!(action, Action::Tell(Event::Standing(_))))
        .collect();
    let standing = |standing| Action::Tell(Event::Standing(standing));
    let by_link = Standing::ByLink { present: 1, known: 3, met: false };
    assert_eq!(told, [standing(Standing::Doubtful), standing(by_link)]);
}
