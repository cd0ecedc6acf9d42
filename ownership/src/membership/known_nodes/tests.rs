// SPDX-License-Identifier: Apache-2.0
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TIME: u64 = 1_700_000_000_000_000;

#[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
fn beginning() -> Instant {
    Instant::now()
}

fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// Pods that run on these nodes.
fn pods(nodes: &[&str]) -> Vec<Pod> {
    nodes.iter().map(|node| pod(node, true, None)).collect()
}

fn pod(node: &str, ready: bool, young_until: Option<Instant>) -> Pod {
    Pod { node: Some(node.into()), address: None, ready, young_until }
}

fn nodes(ready: &[&str], not_ready: &[&str]) -> BTreeMap<Arc<str>, Node> {
    let node = |ready| Node { ready, ..Node::default() };
    let all = ready.iter().map(|name| (Arc::from(*name), node(true)));
    all.chain(not_ready.iter().map(|name| (Arc::from(*name), node(false)))).collect()
}

/// The known nodes of "a", which has met "b" and "c".
fn known_nodes(now: Instant) -> KnownNodes {
    let mut known_nodes = KnownNodes::new("a".into());
    known_nodes.count(names(&["a", "b", "c"]).iter());
    known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(now));
    known_nodes
}

#[test]
fn whoever_was_only_expected_is_gone_with_its_node() {
    let now = beginning();
    let mut known_nodes = KnownNodes::new("a".into());
    known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(now));
    let judgement = known_nodes.look(now, TIME, &nodes(&["a", "b"], &[]));
    assert_eq!(judgement, Judgement { gone: names(&["c"]), forgotten: names(&[]) });
}

#[test]
fn who_starts_believes_the_api_since_when_a_node_is_not_ready() {
    let now = beginning();
    let mut known_nodes = KnownNodes::new("a".into());
    known_nodes.handle_list(&pods(&["b", "c", "d"]), Listing::Asked(now));
    let mut nodes = nodes(&["a"], &["b", "c", "d"]);
    let since = [("b", 3_600), ("c", 50)];
    for (name, ago) in since {
        nodes.get_mut(name).unwrap().not_ready_since = Some(1_700_000_000 - ago);
    }
    assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&["b"]));
    let later = now + SECOND * 10;
    assert_eq!(known_nodes.deadline(now), Some(later));
    assert!(known_nodes.wants_list(later) && !known_nodes.wants_list(now));
    known_nodes.handle_list(&pods(&["b", "c", "d"]), Listing::Asked(later));
    assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&["b", "c"]));
    // Later changes are timed by the own clock: the other one may be wrong.
    nodes.get_mut("a").unwrap().ready = false;
    nodes.get_mut("a").unwrap().not_ready_since = Some(0);
    known_nodes.handle_list(&pods(&["a", "b", "c", "d"]), Listing::Asked(later + SECOND));
    assert_eq!(known_nodes.look(later + SECOND, TIME, &nodes).gone, names(&["b", "c"]));
}

#[test]
fn while_the_api_does_not_answer_nobody_is_gone_for_not_being_ready() {
    let now = beginning();
    let mut known_nodes = known_nodes(now);
    let nodes = nodes(&["a", "b"], &["c"]);
    known_nodes.look(now, TIME, &nodes);
    let later = now + SECOND * 120;
    assert!(known_nodes.wants_list(later));
    assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&[]), "nobody has asked since");
    known_nodes.handle_list(&pods(&["b", "c"]), Listing::Unsettled);
    assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&[]));
    known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(later));
    assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&["c"]));
    assert!(!known_nodes.wants_list(later));
    // The node stays gone when the API goes away.
    known_nodes.handle_list(&pods(&["b", "c"]), Listing::Unsettled);
    assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&["c"]));
}

#[test]
fn without_an_api_the_own_clock_is_enough() {
    let now = beginning();
    let mut known_nodes = known_nodes(now);
    known_nodes.handle_list(&pods(&[]), Listing::NoApi);
    let nodes = nodes(&["a", "b"], &["c"]);
    known_nodes.look(now, TIME, &nodes);
    known_nodes.died(now, &"b".into());
    let later = now + NOT_READY_TIME;
    assert!(!known_nodes.wants_list(later));
    assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&["c"]));
}

#[test]
fn one_that_died_counts_until_a_later_list_has_no_pod_on_its_node() {
    let now = beginning();
    let mut known_nodes = known_nodes(now);
    let nodes = nodes(&["a", "b", "c"], &[]);
    known_nodes.count(names(&["a", "b"]).iter());
    known_nodes.died(now + SECOND / 2, &"c".into());
    assert!(known_nodes.wants_list(now + SECOND));
    known_nodes.handle_list(&pods(&["b"]), Listing::Asked(now));
    assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&[]), "asked before it died");
    known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(now + SECOND));
    assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&[]), "its pod is there");
    assert!(!known_nodes.wants_list(now + SECOND));
    known_nodes.handle_list(&pods(&["b"]), Listing::Asked(now + SECOND * 2));
    assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&["c"]));
    known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(now + SECOND * 3));
    assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&[]), "there is a new one");
    known_nodes.count(names(&["a", "b", "c"]).iter());
    known_nodes.handle_list(&pods(&["b"]), Listing::Asked(now + SECOND * 4));
    assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&[]), "it lives");
}

#[test]
fn a_name_without_node_is_forgotten_when_it_is_no_member() {
    let now = beginning();
    let mut known_nodes = known_nodes(now);
    let nodes = nodes(&["a", "b"], &[]);
    assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&["c"]), "it is still there");
    known_nodes.count(names(&["a", "b"]).iter());
    known_nodes.died(now, &"c".into());
    known_nodes.handle_list(&pods(&["b"]), Listing::Asked(now));
    let judgement = known_nodes.look(now, TIME, &nodes);
    assert_eq!(judgement, Judgement { gone: names(&[]), forgotten: names(&["c"]) });
    assert!(known_nodes.dead.is_empty() && !known_nodes.seen.contains("c"));
    assert_eq!(known_nodes.look(now, TIME, &nodes), Judgement::default(), "it is told once");
}

#[test]
fn a_pod_that_was_never_met_counts_while_it_runs_or_is_young() {
    let now = beginning();
    let mut known_nodes = KnownNodes::new("a".into());
    let until = now + SECOND * 20;
    let list = [pod("b", true, None), pod("c", false, None), pod("d", false, Some(until))];
    known_nodes.handle_list(&list, Listing::Asked(now));
    assert_eq!(known_nodes.expected(), names(&["b", "d"]));
    assert!(!known_nodes.wants_list(now) && known_nodes.deadline(now) == Some(until));
    // Only the API can say that the pod still does not run when it is no longer young.
    assert!(known_nodes.wants_list(until));
    assert_eq!(known_nodes.expected(), names(&["b", "d"]));
    known_nodes.handle_list(&list, Listing::Unsettled);
    assert_eq!(known_nodes.expected(), names(&["b", "d"]));
    known_nodes.handle_list(&list, Listing::Asked(until));
    assert_eq!(known_nodes.expected(), names(&["b"]));
    // The state of the pods is looked at again.
    assert!(!known_nodes.wants_list(until + UNMET_TIME - SECOND));
    assert!(known_nodes.wants_list(until + UNMET_TIME));
    known_nodes.count(names(&["a", "b", "c", "d"]).iter());
    known_nodes.count(names(&["a"]).iter());
    assert_eq!(known_nodes.expected(), names(&["b", "c", "d"]), "they were met");
    assert!(!known_nodes.wants_list(until + UNMET_TIME) && known_nodes.deadline(until).is_none());
}

#[test]
fn of_two_pods_of_a_node_one_that_runs_is_enough() {
    let now = beginning();
    let mut known_nodes = KnownNodes::new("a".into());
    for list in [
        [pod("b", true, None), pod("b", false, None)],
        [pod("b", false, None), pod("b", true, None)],
    ] {
        known_nodes.handle_list(&list, Listing::Asked(now));
        assert_eq!(known_nodes.expected(), names(&["b"]));
    }
}
