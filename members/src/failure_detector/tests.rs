// SPDX-License-Identifier: Apache-2.0
use super::presence::EXCHANGE_INTERVAL;
use super::*;

fn detector(now: Instant) -> FailureDetector {
    let options = Detection {
        fencing: Fencing::Majority,
        session: 7,
        start_wait: Duration::from_secs(2),
        alone: false,
        ..Detection::off()
    };
    FailureDetector::new("a".into(), options, now)
}

fn neighbour(name: &str, last: u8, heartbeat: bool) -> (Arc<str>, Neighbour) {
    let address = ([192, 0, 2, last], 7946).into();
    (name.into(), Neighbour { name: name.into(), address, heartbeat })
}

#[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
fn beginning() -> Instant {
    Instant::now()
}

#[test]
fn whoever_was_never_heard_counts_neither_as_known_nor_as_present() {
    let now = beginning();
    let mut detector = detector(now);
    detector.set_members(now, [neighbour("b", 2, true), neighbour("c", 3, true)].into(), &[]);
    assert_eq!(detector.count(now), Count { present: 1, known: 1, enough: true, disputed: false });
    detector.set_members(now, [neighbour("b", 2, true), neighbour("m", 4, false)].into(), &[]);
    let count = detector.count(now);
    assert_eq!((count.present, count.known), (2, 2), "MetalLB's is judged by the ring alone");
}

#[test]
fn those_whom_the_api_names_count_as_soon_as_anybody_was_met() {
    let now = beginning();
    let mut detector = detector(now);
    let names: BTreeSet<Arc<str>> = ["b", "c", "d", "e"].map(Arc::from).into();
    detector.set_expected(now, names, BTreeSet::new());
    assert_eq!(detector.count(now).known, 1, "it may be that the port is blocked");
    detector.set_members(now, [neighbour("b", 2, true)].into(), &[]);
    let count = detector.count(now);
    assert_eq!((count.known, count.enough), (5, false));
    detector.set_members(now, [].into(), &["b".into()]);
    assert_eq!(detector.count(now).known, 4, "it has left in order");
}

/// Lets time pass as the thread does; a member answers an exchange at once if `over_tcp` is true for it. Returns the other actions.
fn pass(
    detector: &mut FailureDetector,
    from: Instant,
    time: Duration,
    over_tcp: impl Fn(&str) -> bool,
) -> Vec<Action> {
    let (mut now, mut others) = (from, Vec::new());
    loop {
        while let Some(output) = detector.poll() {
            match output {
                Action::Exchange(name) if over_tcp(&name) => {
                    detector.exchanged(now, &name, now);
                }
                Action::Send { .. } => {}
                other => others.push(other),
            }
        }
        let next = detector.deadline().max(now + Duration::from_millis(1));
        if next > from + time {
            return others;
        }
        now = next;
        detector.tick(now);
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn members_that_only_tcp_reaches_silence_nobody_for_ever_and_are_told() {
    for others in [1, 2, 4] {
        let now = beginning();
        let mut detector = detector(now);
        let neighbours: BTreeMap<_, _> =
            (2..2 + others).map(|last| neighbour(&format!("b{last}"), last, true)).collect();
        let names: BTreeSet<Arc<str>> = neighbours.keys().cloned().collect();
        detector.set_expected(now, names.clone(), BTreeSet::new());
        detector.set_members(now, neighbours, &[]);
        assert_eq!(detector.standing(), Standing::Doubtful, "they may say something yet");
        let told = pass(&mut detector, now, SECOND * 3, |_| true);
        assert_eq!(detector.standing(), Standing::Confirmed, "with {others} others");
        assert_eq!(detector.count(now + SECOND * 3).present, usize::from(others) + 1);
        let unheard = told.iter().rfind(|it| matches!(it, Action::Tell(Event::Unheard(_))));
        assert_eq!(unheard, Some(&Action::Tell(Event::Unheard(names))));
    }
}

#[test]
fn whoever_only_others_have_met_is_neither_present_nor_awaited() {
    let now = beginning();
    let mut detector = detector(now);
    detector.set_expected(now, ["b", "c"].map(Arc::from).into(), BTreeSet::new());
    detector.set_members(now, [neighbour("b", 2, true), neighbour("c", 3, true)].into(), &[]);
    pass(&mut detector, now, SECOND * 10, |_| false);
    assert_eq!(detector.standing(), Standing::Minority { present: 1, known: 3 });
}

#[test]
fn what_was_exchanged_before_somebody_could_be_a_stranger_says_nothing() {
    let now = beginning();
    let mut detector = detector(now);
    detector.set_expected(now, ["b", "c"].map(Arc::from).into(), BTreeSet::new());
    detector.set_members(now, [neighbour("b", 2, true), neighbour("c", 3, true)].into(), &[]);
    // Both joined by this exchange, and the network parted at once.
    for name in ["b", "c"] {
        detector.exchanged(now + SECOND, &name.into(), now + SECOND);
    }
    pass(&mut detector, now, SECOND * 10, |_| false);
    assert_eq!(detector.count(now + SECOND * 10).present, 1);
}

#[test]
fn without_fencing_no_doubt_silences() {
    let now = beginning();
    let mut detector = detector(now);
    detector.options.fencing = Fencing::Off;
    detector.set_members(now, [neighbour("b", 2, true)].into(), &[]);
    assert_eq!(detector.standing(), Standing::Confirmed);
    detector.accused(now);
    detector.stalled(now, SECOND * 20);
    assert_eq!(detector.standing(), Standing::Confirmed);
}

/// A detector that is confirmed, with only MetalLB's members beside it.
fn beside_metallb(now: Instant, metallb: &[&str]) -> FailureDetector {
    let mut detector = detector(now);
    let others = metallb.iter().zip(2..).map(|(name, last)| neighbour(name, last, false));
    detector.set_members(now, others.collect(), &[]);
    assert_eq!(detector.standing(), Standing::Confirmed);
    pass(&mut detector, now, SECOND, |_| false);
    detector
}

#[test]
fn after_a_standstill_beside_metallb_the_ring_has_to_confirm() {
    let now = beginning();
    let mut detector = beside_metallb(now, &["m", "n"]);
    let woken = now + SECOND * 21;
    detector.stalled(woken, SECOND * 20);
    assert_eq!(detector.standing(), Standing::Doubtful);
    assert_eq!(detector.lease(), Some(Duration::ZERO));
    let mut asked = |now| {
        detector.tick(now);
        let outputs = std::iter::from_fn(|| detector.poll());
        let asked = outputs.filter_map(|it| match it {
            Action::Exchange(name) => Some(name),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    assert_eq!(asked(woken), ["m".into()]);
    assert_eq!(asked(woken + EXCHANGE_INTERVAL), ["n".into()], "the first may be dead");
    let answered = woken + EXCHANGE_INTERVAL * 3 / 2;
    detector.exchanged(answered, &"n".into(), woken - SECOND);
    assert_eq!(detector.standing(), Standing::Doubtful, "that began before the standstill");
    detector.detector.contradicted(answered);
    detector.exchanged(answered, &"n".into(), woken + EXCHANGE_INTERVAL);
    assert_eq!(detector.standing(), Standing::Doubtful, "it had this member for dead");
    detector.exchanged(answered + EXCHANGE_INTERVAL, &"m".into(), answered);
    assert_eq!(detector.standing(), Standing::Confirmed);
}

#[test]
fn a_ring_that_says_nothing_silences_nobody_for_ever() {
    let now = beginning();
    let mut detector = beside_metallb(now, &["m"]);
    detector.stalled(now + SECOND, SECOND);
    pass(&mut detector, now + SECOND, SECOND * 4, |_| false);
    assert_eq!(detector.standing(), Standing::Doubtful);
    pass(&mut detector, now + SECOND * 5, SECOND * 3, |_| false);
    assert_eq!(detector.standing(), Standing::Confirmed);
    // A ring without any other member does not either.
    detector.set_members(now + SECOND * 9, BTreeMap::new(), &[]);
    detector.stalled(now + SECOND * 10, SECOND);
    assert_eq!(detector.standing(), Standing::Confirmed);
}

#[test]
fn whoever_was_expected_and_never_met_is_forgotten_with_the_list() {
    let now = beginning();
    let mut detector = detector(now);
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    detector.set_expected(now, names(&["b", "c", "d"]), BTreeSet::new());
    detector.set_members(now, [neighbour("m", 4, false)].into(), &[]);
    assert_eq!(detector.count(now).known, 5);
    detector.set_expected(now, names(&["b"]), BTreeSet::new());
    assert_eq!(detector.count(now).known, 3);
    detector.set_gone(now, names(&["b"]));
    assert_eq!(detector.count(now).known, 2, "its Node is gone");
    detector.set_members(now, BTreeMap::new(), &[]);
    detector.forget(now, &names(&["b", "m"]));
    detector.set_gone(now, names(&[]));
    assert_eq!(detector.count(now).known, 1, "nothing is kept of them");
}
