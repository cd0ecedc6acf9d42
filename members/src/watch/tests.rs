// SPDX-License-Identifier: Apache-2.0
use super::*;

fn watch(now: Instant) -> Watch {
    let options = WatchOptions {
        name: "a".into(),
        heartbeat: heartbeat::Options::default(),
        fencing: Fencing::Majority,
        fence_two: false,
        session: 7,
        start_wait: Duration::from_secs(2),
    };
    Watch::new(options, false, now)
}

fn neighbour(name: &str, last: u8, heartbeat: bool) -> Neighbour {
    Neighbour { name: name.into(), address: ([192, 0, 2, last], 7946).into(), heartbeat }
}

#[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
fn beginning() -> Instant {
    Instant::now()
}

#[test]
fn whoever_was_never_heard_counts_neither_as_known_nor_as_present() {
    let now = beginning();
    let mut watch = watch(now);
    watch.set_members(now, vec![neighbour("b", 2, true), neighbour("c", 3, true)], &[]);
    assert_eq!(watch.count(now), Count { present: 1, known: 1, enough: true, disputed: false });
    watch.set_members(now, vec![neighbour("b", 2, true), neighbour("m", 4, false)], &[]);
    let count = watch.count(now);
    assert_eq!((count.present, count.known), (2, 2), "MetalLB's is judged by the ring alone");
}

#[test]
fn those_whom_the_api_names_count_as_soon_as_anybody_was_met() {
    let now = beginning();
    let mut watch = watch(now);
    let names: BTreeSet<Arc<str>> = ["b", "c", "d", "e"].map(Arc::from).into();
    watch.set_expected(now, names);
    assert_eq!(watch.count(now).known, 1, "it may be that the port is blocked");
    watch.set_members(now, vec![neighbour("b", 2, true)], &[]);
    let count = watch.count(now);
    assert_eq!((count.known, count.enough), (5, false));
    watch.set_members(now, vec![], &["b".into()]);
    assert_eq!(watch.count(now).known, 4, "it has left in order");
}

/// Lets time pass as the thread does; a member answers an exchange at once if `over_tcp` says so. What else was wanted.
fn pass(
    watch: &mut Watch,
    from: Instant,
    time: Duration,
    over_tcp: impl Fn(&str) -> bool,
) -> Vec<WatchOutput> {
    let (mut now, mut others) = (from, Vec::new());
    loop {
        while let Some(output) = watch.poll() {
            match output {
                WatchOutput::Exchange(name) if over_tcp(&name) => {
                    watch.exchanged(now, &name, now);
                }
                WatchOutput::Send { .. } => {}
                other => others.push(other),
            }
        }
        let next = watch.deadline().max(now + Duration::from_millis(1));
        if next > from + time {
            return others;
        }
        now = next;
        watch.tick(now);
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn members_that_only_tcp_reaches_silence_nobody_for_ever_and_are_told() {
    for others in [1, 2, 4] {
        let now = beginning();
        let mut watch = watch(now);
        let neighbours: Vec<Neighbour> =
            (2..2 + others).map(|last| neighbour(&format!("b{last}"), last, true)).collect();
        let names: BTreeSet<Arc<str>> = neighbours.iter().map(|it| Arc::clone(&it.name)).collect();
        watch.set_expected(now, names.clone());
        watch.set_members(now, neighbours, &[]);
        assert_eq!(watch.standing(), Standing::Doubtful, "they may say something yet");
        let told = pass(&mut watch, now, SECOND * 3, |_| true);
        assert_eq!(watch.standing(), Standing::Confirmed, "with {others} others");
        assert_eq!(watch.count(now + SECOND * 3).present, usize::from(others) + 1);
        let unheard = told.iter().rfind(|it| matches!(it, WatchOutput::Unheard(_)));
        assert_eq!(unheard, Some(&WatchOutput::Unheard(names)));
    }
}

#[test]
fn whoever_only_others_have_met_is_neither_present_nor_awaited() {
    let now = beginning();
    let mut watch = watch(now);
    watch.set_expected(now, ["b", "c"].map(Arc::from).into());
    watch.set_members(now, vec![neighbour("b", 2, true), neighbour("c", 3, true)], &[]);
    pass(&mut watch, now, SECOND * 10, |_| false);
    assert_eq!(watch.standing(), Standing::Minority { present: 1, known: 3 });
}

#[test]
fn what_was_exchanged_before_somebody_could_be_a_stranger_says_nothing() {
    let now = beginning();
    let mut watch = watch(now);
    watch.set_expected(now, ["b", "c"].map(Arc::from).into());
    watch.set_members(now, vec![neighbour("b", 2, true), neighbour("c", 3, true)], &[]);
    // It joined by that, and the network parted at once.
    for name in ["b", "c"] {
        watch.exchanged(now + SECOND, &name.into(), now + SECOND);
    }
    pass(&mut watch, now, SECOND * 10, |_| false);
    assert_eq!(watch.count(now + SECOND * 10).present, 1);
}

#[test]
fn without_fencing_no_doubt_silences() {
    let now = beginning();
    let mut watch = watch(now);
    watch.options.fencing = Fencing::Off;
    watch.set_members(now, vec![neighbour("b", 2, true)], &[]);
    assert_eq!(watch.standing(), Standing::Confirmed);
    watch.accused(now);
    watch.stalled(now, SECOND * 20);
    assert_eq!(watch.standing(), Standing::Confirmed);
}

/// One that is confirmed among MetalLB's.
fn beside_metallb(now: Instant, metallb: &[&str]) -> Watch {
    let mut watch = watch(now);
    let others = metallb.iter().zip(2..).map(|(name, last)| neighbour(name, last, false));
    watch.set_members(now, others.collect(), &[]);
    assert_eq!(watch.standing(), Standing::Confirmed);
    pass(&mut watch, now, SECOND, |_| false);
    watch
}

#[test]
fn after_a_standstill_beside_metallb_the_ring_has_to_confirm() {
    let now = beginning();
    let mut watch = beside_metallb(now, &["m", "n"]);
    let woken = now + SECOND * 21;
    watch.stalled(woken, SECOND * 20);
    assert_eq!(watch.standing(), Standing::Doubtful);
    assert_eq!(watch.lease(), Some(Duration::ZERO));
    let mut asked = |now| {
        watch.tick(now);
        let outputs = std::iter::from_fn(|| watch.poll());
        let asked = outputs.filter_map(|it| match it {
            WatchOutput::Exchange(name) => Some(name),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    assert_eq!(asked(woken), ["m".into()]);
    assert_eq!(asked(woken + EXCHANGE), ["n".into()], "the first may be dead");
    let answered = woken + EXCHANGE * 3 / 2;
    watch.exchanged(answered, &"n".into(), woken - SECOND);
    assert_eq!(watch.standing(), Standing::Doubtful, "that began before the standstill");
    watch.contradicted(answered);
    watch.exchanged(answered, &"n".into(), woken + EXCHANGE);
    assert_eq!(watch.standing(), Standing::Doubtful, "it had this member for dead");
    watch.exchanged(answered + EXCHANGE, &"m".into(), answered);
    assert_eq!(watch.standing(), Standing::Confirmed);
}

#[test]
fn a_ring_that_says_nothing_silences_nobody_for_ever() {
    let now = beginning();
    let mut watch = beside_metallb(now, &["m"]);
    watch.stalled(now + SECOND, SECOND);
    pass(&mut watch, now + SECOND, SECOND * 4, |_| false);
    assert_eq!(watch.standing(), Standing::Doubtful);
    pass(&mut watch, now + SECOND * 5, SECOND * 3, |_| false);
    assert_eq!(watch.standing(), Standing::Confirmed);
    // Nor does one without any other.
    watch.set_members(now + SECOND * 9, Vec::new(), &[]);
    watch.stalled(now + SECOND * 10, SECOND);
    assert_eq!(watch.standing(), Standing::Confirmed);
}

#[test]
fn whoever_was_expected_and_never_met_is_forgotten_with_the_list() {
    let now = beginning();
    let mut watch = watch(now);
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    watch.set_expected(now, names(&["b", "c", "d"]));
    watch.set_members(now, vec![neighbour("m", 4, false)], &[]);
    assert_eq!(watch.count(now).known, 5);
    watch.set_expected(now, names(&["b"]));
    assert_eq!(watch.count(now).known, 3);
    watch.set_gone(now, names(&["b"]));
    assert_eq!(watch.count(now).known, 2, "its Node is gone");
    watch.set_members(now, Vec::new(), &[]);
    watch.forget(now, &names(&["b", "m"]));
    watch.set_gone(now, names(&[]));
    assert_eq!(watch.count(now).known, 1, "nothing is kept of them");
}
