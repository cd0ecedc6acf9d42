// SPDX-License-Identifier: Apache-2.0
use super::*;

fn quorum(own: &str, others: &[&str]) -> Quorum {
    let mut quorum = Quorum::new(own.into(), Fencing::Majority, false);
    for other in others {
        quorum.joined(&(*other).into(), true);
    }
    quorum
}

fn enough(quorum: &Quorum, present: &[&str]) -> bool {
    quorum.count(|name| present.contains(&name).then_some(Side::Undecided)).enough
}

/// Counts with these members present, all of which hear this one and are not new, and remembers the count.
fn counts(quorum: &mut Quorum, present: &[&str]) -> bool {
    let side = |name: &str| present.contains(&name).then_some(Side::Majority);
    let count = quorum.count(side);
    if let Some(memory) = quorum.recall(count, side, |name| present.contains(&name)) {
        quorum.keep(memory);
    }
    count.enough
}

#[test]
fn who_joins_the_minority_makes_it_no_majority() {
    let mut quorum = quorum("c", &["d", "e"]);
    assert_eq!(quorum.side(), Side::Undecided);
    assert!(counts(&mut quorum, &["d", "e"]));
    assert_eq!(quorum.side(), Side::Majority);
    assert!(!counts(&mut quorum, &[]));
    assert_eq!(quorum.side(), Side::Minority);
    quorum.joined(&"a".into(), true);
    quorum.joined(&"b".into(), true);
    quorum.expect(&["f".into()].into());
    assert!(!counts(&mut quorum, &["a", "b", "f"]), "four of six, one of its three");
    let count = quorum.count(|name| (name == "a").then_some(Side::Undecided));
    assert_eq!((count.present, count.known, count.enough), (1, 3, false));
    assert!(!counts(&mut quorum, &["d"]), "two of its three, two of six");
    assert!(counts(&mut quorum, &["a", "b", "d", "f"]));
    assert!(!counts(&mut quorum, &["d", "e"]), "all six are its own by now");
}

#[test]
fn who_has_left_with_a_majority_is_nobody_that_was_missed() {
    let mut quorum = quorum("c", &["a", "d", "e"]);
    assert!(counts(&mut quorum, &["a", "d", "e"]));
    quorum.left("a");
    assert!(counts(&mut quorum, &["d", "e"]));
    assert!(!counts(&mut quorum, &[]));
    quorum.joined(&"a".into(), true);
    assert!(!counts(&mut quorum, &["a"]), "the others do not count it");
}

#[test]
fn who_leaves_the_minority_and_comes_back_is_one_of_them() {
    let mut quorum = quorum("d", &["a", "b", "c", "e"]);
    assert!(counts(&mut quorum, &["a", "b", "c", "e"]));
    quorum.left("c");
    assert!(!counts(&mut quorum, &["e"]), "half, without the smallest name");
    quorum.joined(&"c".into(), true);
    assert!(counts(&mut quorum, &["c", "e"]), "three of five");
}

#[test]
fn whoever_came_when_others_were_lost_counts_for_nothing() {
    let mut quorum = quorum("c", &["d", "e"]);
    assert!(counts(&mut quorum, &["d", "e"]));
    quorum.joined(&"a".into(), true);
    let present = |with: &'static [&str]| {
        move |name: &str| {
            let side = if name == "a" { Side::Undecided } else { Side::Majority };
            with.contains(&name).then_some(side)
        }
    };
    let all = quorum.count(present(&["a", "d", "e"]));
    assert!(all.enough);
    assert!(quorum.recall(all, present(&["a", "d", "e"]), |_| true).is_none());
    assert!(!quorum.count(present(&["a"])).enough, "half, with the smallest name");
}

#[test]
fn a_new_one_remembers_nobody_before_those_who_could_do_without_it_know_it() {
    for (hears, side) in [
        (["d", "x"], Side::Undecided),
        (["a", "x"], Side::Undecided),
        (["a", "d"], Side::Majority),
        (["d", "e"], Side::Majority),
    ] {
        let mut quorum = quorum("c", &["a", "d", "e"]);
        let present = |_: &str| Some(Side::Majority);
        let count = quorum.count(present);
        if let Some(memory) = quorum.recall(count, present, |name| hears.contains(&name)) {
            quorum.keep(memory);
        }
        assert_eq!(quorum.side(), side, "{hears:?}");
    }
}

#[test]
fn a_new_one_makes_no_majority_with_those_who_miss_theirs() {
    let quorum = quorum("a", &["c", "d", "e"]);
    let of = |c, d| {
        move |name: &str| match name {
            "c" => Some(c),
            "d" => d,
            _ => None,
        }
    };
    assert!(quorum.count(of(Side::Undecided, None)).enough, "all are new");
    assert!(!quorum.count(of(Side::Minority, None)).enough);
    assert!(quorum.count(of(Side::Minority, Some(Side::Majority))).enough);
}

#[test]
fn with_one_that_misses_its_majority_nobody_has_one() {
    let mut quorum = quorum("a", &["b", "c", "d"]);
    assert!(counts(&mut quorum, &["b", "c", "d"]));
    let with = |others: &'static [(&str, Side)]| {
        move |name: &str| others.iter().find(|(other, _)| *other == name).map(|(_, side)| *side)
    };
    let half = with(&[("b", Side::Minority)]);
    let count = quorum.count(half);
    assert_eq!((count.present, count.known, count.enough), (1, 4, false), "it knows a fifth");
    let memory = quorum.recall(count, half, |_| true).unwrap();
    quorum.keep(memory);
    assert_eq!(quorum.side(), Side::Undecided, "else two would wait for one another");
    assert!(quorum.count(with(&[("b", Side::Undecided)])).enough);
    assert!(quorum.count(with(&[("b", Side::Minority), ("c", Side::Undecided)])).enough);
    quorum.joined(&"e".into(), true);
    quorum.set_gone(["c".into(), "d".into(), "e".into()].into());
    assert!(quorum.count(half).enough, "it may not have heard that from the API");
}

#[test]
fn one_and_two_go_on_alone() {
    assert!(enough(&quorum("a", &[]), &[]));
    assert!(enough(&quorum("a", &["b"]), &[]));
    assert!(enough(&quorum("b", &["a"]), &[]));
}

#[test]
fn two_that_count() {
    let of_two = |own: &str, other: &str| {
        let mut quorum = Quorum::new(own.into(), Fencing::Majority, true);
        quorum.joined(&other.into(), true);
        quorum
    };
    assert!(enough(&of_two("a", "b"), &[]));
    assert!(!enough(&of_two("b", "a"), &[]));
}

#[test]
fn three_to_five() {
    assert!(!enough(&quorum("a", &["b", "c"]), &[]));
    assert!(enough(&quorum("a", &["b", "c"]), &["c"]));
    assert!(enough(&quorum("a", &["b", "c", "d"]), &["d"]), "half, with the smallest name");
    assert!(!enough(&quorum("b", &["a", "c", "d"]), &["d"]), "half, without it");
    assert!(!enough(&quorum("a", &["b", "c", "d", "e"]), &["b"]));
    assert!(enough(&quorum("e", &["a", "b", "c", "d"]), &["c", "d"]));
}

#[test]
fn silence_shrinks_nothing_but_leaving_does() {
    let mut quorum = quorum("a", &["b", "c"]);
    assert!(!enough(&quorum, &[]));
    quorum.left("b");
    assert!(enough(&quorum, &[]), "two are left");
    quorum.joined(&"b".into(), true);
    quorum.set_gone(["b".into(), "c".into()].into());
    let count = quorum.count(|_| None);
    assert_eq!((count.present, count.known, count.enough), (1, 1, true));
    // A member that is present counts, whatever the API says.
    assert_eq!(quorum.count(|name| (name == "b").then_some(Side::Undecided)).known, 2);
}

#[test]
fn beside_one_that_would_not_fall_silent_only_the_stall_rule_holds() {
    let mut quorum = quorum("a", &["b", "c", "d"]);
    quorum.joined(&"metallb".into(), false);
    assert!(enough(&quorum, &["metallb"]));
    assert!(!enough(&quorum, &["b"]), "it is known, and not present");
}

#[test]
fn by_choice() {
    for fencing in [Fencing::Stall, Fencing::Off] {
        let mut quorum = Quorum::new("a".into(), fencing, false);
        quorum.joined(&"b".into(), true);
        quorum.joined(&"c".into(), true);
        assert!(enough(&quorum, &[]));
    }
    assert_eq!("stall".parse(), Ok(Fencing::Stall));
    assert!("quorum".parse::<Fencing>().unwrap_err().contains("majority"));
}
