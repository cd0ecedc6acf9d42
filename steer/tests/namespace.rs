// SPDX-License-Identifier: Apache-2.0
//! The tables in the kernel, in a network namespace, with the eyes of nft (1.0.6).
#![cfg(feature = "net")]

mod lab;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use lab::{LINGER, Lab, keep, parts, station};
use steer::MOST_FLOWS;
use steer::net::{Applied, Cleared, Error, Family, Keep, Kernel, Missing};
use steer::{Flow, Steps};

const IP: &str = include_str!("lab/ip.nft");
const IP6: &str = include_str!("lab/ip6.nft");

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn nft_shows_the_rules_and_the_second_time_nothing_is_sent() {
    let lab = Lab::new();
    let applied = lab.apply(&keep());
    assert!(applied.operations > 0 && applied.left_out.is_empty(), "{applied:?}");
    assert_eq!(lab.apply(&keep()), Applied::default());
    assert_eq!(lab.table("ip"), IP);
    assert_eq!(lab.table("ip6"), IP6);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_node_that_is_not_loose_leads_on_what_is_invalid_and_resets_nothing() {
    let lab = Lab::new();
    lab.apply(&keep());
    let applied = lab.apply(&Keep { loose: false, ..keep() });
    assert!(applied.operations > 0 && applied.repaired.is_empty(), "{applied:?}");
    let loose = "\t\tct state new tcp flags ack / syn,rst,ack goto unknown\n\
                 \t\tct state invalid tcp flags fin,rst goto unknown\n";
    let other = IP
        .replace(loose, "\t\tct state invalid tcp flags ! syn goto unknown\n")
        .replace("\t\tip ttl <= 1 reject with tcp reset\n", "");
    assert_eq!(lab.table("ip"), other);
    assert_eq!(lab.apply(&Keep { loose: false, ..keep() }), Applied::default());
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_change_of_an_address_is_a_change_of_elements() {
    let lab = Lab::new();
    lab.apply(&keep());
    let rules = lab.nft("-a list chain ip ferrolb unknown");
    let mut changed = keep();
    let new = Steps { client: Some("c".into()), ..Steps::default() };
    changed.addresses.insert("192.0.2.11".parse().unwrap(), new.clone());
    let applied = lab.apply(&changed);
    assert_eq!((applied.operations, applied.repaired.len()), (3, 0), "gate anew, one of clients'");
    changed.addresses.insert("192.0.2.10".parse().unwrap(), new);
    let applied = lab.apply(&changed);
    assert_eq!(applied.operations, 3, "a step goes, a client's goes and comes");
    changed.addresses.remove(&"192.0.2.10".parse().unwrap());
    lab.apply(&changed);
    assert_eq!(lab.nft("-a list chain ip ferrolb unknown"), rules, "the handles are the same");
    let listed = lab.nft("list table ip ferrolb");
    assert!(listed.contains("192.0.2.11") && !listed.contains("192.0.2.10"), "{listed}");
    assert!(lab.nft("list table ip6 ferrolb").contains("2001:db8::10"));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn fellows_come_change_and_go() {
    let lab = Lab::new();
    let mut keep = keep();
    lab.apply(&keep);
    keep.fellows.insert("d.example".into(), station(4));
    lab.apply(&keep);
    assert!(lab.table("ip6").contains("chain first_d.example {"));
    keep.fellows.insert("d.example".into(), station(5));
    lab.apply(&keep);
    assert!(lab.table("ip").contains("dup to 198.51.100.5"));
    keep.fellows.remove("d.example");
    keep.fellows.remove("c");
    let applied = lab.apply(&keep);
    let missing: Vec<_> = applied.left_out.into_iter().map(|it| it.missing).collect();
    assert_eq!(missing, [Missing::Station("c".into()), Missing::Station("c".into())]);
    assert!(applied.repaired.is_empty());
    assert!(!lab.table("ip").contains("to_c") && !lab.table("ip").contains("d.example"));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn whatever_others_do_to_our_tables_is_repaired_and_told() {
    let lab = Lab::new();
    lab.apply(&keep());
    let anew = |reason: &str| vec![format!("table ip ferrolb was made anew: {reason}")];
    let told = |text: &str| vec![format!("table ip ferrolb: {text}")];
    let more = anew("it holds more than chains and sets");
    let other_hook = anew("a chain has another hook, priority or policy");
    let gone: Vec<String> =
        ["ip", "ip6"].iter().map(|it| format!("table {it} ferrolb was gone")).collect();
    let unknown = || told("the chain unknown had other rules");
    let cases: [(&[&str], Vec<String>); 16] = [
        (&["flush ruleset"], gone),
        (&["delete chain ip ferrolb prerouting"], told("the chain prerouting was gone")),
        (&["flush chain ip ferrolb unknown"], unknown()),
        (&["add rule ip ferrolb unknown counter accept"], unknown()),
        (&["insert rule ip ferrolb unknown ip saddr { 10.0.0.1, 10.0.0.2 } accept"], unknown()),
        (
            &["delete element ip ferrolb steps { 192.0.2.10 . 02:f5:00:00:00:02 }"],
            told("the set steps lacked 1 elements and had 0 others"),
        ),
        (
            &[
                "delete element ip ferrolb clients { 192.0.2.10 }",
                "add element ip ferrolb clients { 192.0.2.10 : drop }",
            ],
            told("the set clients lacked 1 elements and had 1 others"),
        ),
        (
            &["flush set ip ferrolb served"],
            told("the set served lacked 1 elements and had 0 others"),
        ),
        (
            &["add element ip ferrolb served { 192.0.2.99 }"],
            told("the set served lacked 0 elements and had 1 others"),
        ),
        (
            &["add element ip ferrolb fellows { 02:00:00:00:00:99 }"],
            told("the set fellows lacked 0 elements and had 1 others"),
        ),
        (&["add chain ip ferrolb strange"], told("the chain strange is not ours")),
        (&["add set ip ferrolb strange { type ipv4_addr; }"], told("the set strange is not ours")),
        (&["add counter ip ferrolb strange"], more),
        (&["chain ip ferrolb prerouting { policy drop; }"], other_hook),
        (&["add table ip ferrolb { flags dormant; }"], anew("it sleeps, or has an owner")),
        (
            &["delete chain ip ferrolb prerouting", "add chain ip ferrolb prerouting"],
            anew("a chain has another hook, priority or policy"),
        ),
    ];
    for (done, wanted) in cases {
        done.iter().for_each(|words| drop(lab.nft(words)));
        assert_eq!(lab.repaired(&keep()), wanted, "{done:?}");
        assert_eq!(parts(&lab.table("ip")), parts(IP), "{done:?}");
        assert_eq!(parts(&lab.table("ip6")), parts(IP6), "{done:?}");
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn strange_chains_and_sets_that_need_each_other_go_together() {
    let lab = Lab::new();
    lab.apply(&keep());
    for words in [
        "add chain ip ferrolb aaa",
        "add chain ip ferrolb zzz",
        "add map ip ferrolb more { type ipv4_addr : verdict; }",
        "add element ip ferrolb more { 10.0.0.1 : goto zzz }",
        "add rule ip ferrolb aaa ip saddr vmap @more",
        "add rule ip ferrolb zzz ip daddr @served jump aaa2",
    ] {
        // The last one is wrong by intention, so that nft's own refusal is seen to change nothing.
        let fine = !words.ends_with("aaa2");
        assert_eq!(lab.succeeds("nft", &words.split(' ').collect::<Vec<_>>()), fine, "{words}");
    }
    lab.nft("add rule ip ferrolb unknown jump aaa");
    lab.nft("add element ip ferrolb clients { 192.0.2.77 : goto zzz }");
    assert_eq!(lab.repaired(&keep()).len(), 5);
    assert_eq!(lab.table("ip"), IP);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_table_of_our_name_without_our_mark_is_not_touched() {
    let lab = Lab::new();
    lab.nft("add table ip6 ferrolb { comment \"mine\"; }");
    let error = lab.try_apply(&keep()).unwrap_err();
    assert!(matches!(error, Error::Foreign(Family::V6)), "{error}");
    lab.nft("add table ip ferrolb { comment \"made by ferrolb, format 0\"; }");
    let cleared = lab.with(|kernel| kernel.clear()).unwrap();
    assert_eq!(cleared, Cleared { removed: vec![Family::V4], foreign: vec![Family::V6] });
    let left = lab.nft("list ruleset");
    assert_eq!(left, "table ip6 ferrolb {\n\tcomment \"mine\"\n}\n");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_table_of_an_older_format_is_made_anew() {
    let lab = Lab::new();
    lab.nft("add table ip ferrolb { comment \"made by ferrolb, format 0\"; }");
    lab.nft("add chain ip ferrolb old { type filter hook prerouting priority -150; }");
    lab.apply(&keep());
    assert_eq!((lab.table("ip"), lab.table("ip6")), (IP.into(), IP6.into()));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn clear_takes_our_tables_and_leaves_those_of_others() {
    let lab = Lab::new();
    lab.nft("add table ip other");
    lab.nft("add chain ip other ferrolb { type filter hook prerouting priority -150; }");
    lab.nft("add rule ip other ferrolb counter");
    let before = lab.nft("-a list ruleset");
    assert_eq!(lab.with(|kernel| kernel.clear()).unwrap(), Cleared::default());
    lab.apply(&keep());
    let cleared = lab.with(|kernel| kernel.clear()).unwrap();
    assert_eq!(cleared, Cleared { removed: vec![Family::V4, Family::V6], foreign: Vec::new() });
    assert_eq!(lab.nft("-a list ruleset"), before);
    assert!(lab.apply(&keep()).repaired.is_empty(), "we took them away ourselves");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn changes_of_others_in_between_do_no_harm() {
    let lab = Lab::new();
    let name = lab.node.name().to_owned();
    let others = std::thread::spawn(move || {
        for number in 0..40 {
            let table = format!("other{number}");
            testlab::run("ip", &["netns", "exec", &name, "nft", "add", "table", "ip", &table]);
        }
    });
    let mut keep = keep();
    for number in 0..100 {
        let steps = Steps { client: Some("b".into()), ..Steps::default() };
        keep.addresses.insert(Ipv4Addr::new(192, 0, 2, 100 + number).into(), steps);
        assert!(lab.apply(&keep).operations > 0);
    }
    others.join().unwrap();
    assert_eq!(lab.apply(&keep), Applied::default());
    assert_eq!(lab.nft("list tables").matches("other").count(), 40);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn two_that_disagree_never_meet_half_a_change() {
    let lab = Lab::new();
    let workers = ["b", "c"].map(|name| {
        let mut other = keep();
        other.fellows.remove(name);
        other.addresses.values_mut().for_each(|steps| steps.client = Some(name.into()));
        lab.node.spawn(move || {
            let mut kernel = Kernel::open().unwrap();
            // Each is wrong as soon as the other one is done; a change that came in between costs an attempt.
            (0..50).for_each(|_| drop(kernel.apply(&other, LINGER).unwrap()));
        })
    });
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    lab.apply(&keep());
    assert_eq!(parts(&lab.table("ip")), parts(IP));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn elements_run_out_unless_they_are_renewed() {
    const LINGER: Duration = Duration::from_millis(800);
    let lab = Lab::new();
    let served = || lab.nft("list set ip ferrolb served").contains("192.0.2.10");
    let apply = || lab.with(|kernel| kernel.apply(&keep(), LINGER)).unwrap();
    let addresses: BTreeSet<IpAddr> = keep().addresses.into_keys().collect();
    apply();
    let end = testlab::now() + 3 * LINGER;
    while testlab::now() < end {
        let (addresses, begin) = (addresses.clone(), testlab::now());
        lab.with(move |kernel| kernel.renew(&addresses, LINGER)).unwrap();
        // A host that was too busy to look in time proves nothing.
        assert!(served() || begin.elapsed() >= LINGER, "ran out although renewed");
        std::thread::sleep(LINGER / 8);
    }
    let runs_out = || {
        let end = testlab::now() + 20 * LINGER;
        while served() {
            assert!(testlab::now() < end, "did not run out");
            std::thread::sleep(LINGER / 8);
        }
    };
    runs_out();
    let repaired: Vec<_> = apply().repaired.iter().map(ToString::to_string).collect();
    let lacked =
        |it| format!("table {it} ferrolb: the set served lacked 1 elements and had 0 others");
    assert_eq!(repaired, [lacked("ip"), lacked("ip6")]);
    assert!(served());
    // Renewed late, and not all of them.
    runs_out();
    let only: BTreeSet<IpAddr> = addresses.into_iter().filter(IpAddr::is_ipv4).collect();
    lab.with(move |kernel| kernel.renew(&only, LINGER)).unwrap();
    assert!(served() && !lab.nft("list set ip6 ferrolb served").contains("elements"));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn what_is_gone_cannot_be_renewed() {
    let lab = Lab::new();
    let addresses = || keep().addresses.into_keys().collect::<BTreeSet<IpAddr>>();
    let renew = || lab.with(move |kernel| kernel.renew(&addresses(), LINGER));
    assert!(matches!(renew().unwrap_err(), Error::Gone));
    lab.apply(&keep());
    renew().unwrap();
    assert_eq!(lab.apply(&keep()), Applied::default());
    // An address that is not renewed comes back with the next comparison, and nobody else has taken it away.
    let only = addresses().into_iter().filter(IpAddr::is_ipv4).collect();
    lab.with(move |kernel| kernel.renew(&only, LINGER)).unwrap();
    assert_eq!(lab.apply(&keep()), Applied { operations: 2, ..Applied::default() });
    lab.nft("flush ruleset");
    assert!(matches!(renew().unwrap_err(), Error::Gone));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn as_many_flows_as_a_set_takes_are_led_on() {
    let lab = Lab::new();
    let mut keep = keep();
    let client = IpAddr::from([198, 51, 100, 9]);
    let flow = |address: &str, client, client_port| Flow {
        address: address.parse().unwrap(),
        client,
        client_port,
    };
    let most = u16::try_from(MOST_FLOWS).unwrap();
    keep.flows = (0..most + 9).map(|port| flow("192.0.2.10", client, port)).collect();
    keep.flows.insert(flow("2001:db8::10", "2001:db8:1::9".parse().unwrap(), 7));
    // No rule could have this one.
    keep.flows.insert(flow("2001:db8::10", client, 7));
    let begin = testlab::now();
    lab.apply(&keep);
    let made = begin.elapsed();
    assert_eq!(lab.apply(&keep), Applied::default());
    println!("{most} flows: {made:?}, and {:?} to find nothing", begin.elapsed() - made);
    let listed = lab.nft("list set ip ferrolb flows");
    assert_eq!(listed.matches("timeout 3m").count(), MOST_FLOWS);
    let listed = lab.nft("list set ip6 ferrolb flows");
    assert!(listed.contains("2001:db8::10 . 2001:db8:1::9 . 7 timeout 3m"), "{listed}");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn thousands_of_addresses_are_one_transaction() {
    const COUNT: u32 = 5_000;
    let lab = Lab::new();
    let mut keep = keep();
    let (steps, first) = (keep.addresses.values().next().unwrap().clone(), 0x0a00_0000);
    let addresses = (first..first + COUNT).map(|bits| Ipv4Addr::from_bits(bits).into());
    keep.addresses.extend(addresses.map(|address: IpAddr| (address, steps.clone())));
    let begin = testlab::now();
    lab.apply(&keep);
    let made = begin.elapsed();
    assert_eq!(lab.apply(&keep), Applied::default());
    println!("{COUNT} addresses: {made:?}, and {:?} to find nothing", begin.elapsed() - made);
    keep.addresses.remove(&IpAddr::from(Ipv4Addr::from_bits(first + 7)));
    assert_eq!(lab.apply(&keep).operations, 4, "the gate anew, two elements of maps gone");
    let listed = lab.nft("list set ip ferrolb served");
    assert_eq!(listed.matches("timeout 10m").count(), usize::try_from(COUNT).unwrap());
    let names: BTreeSet<Arc<str>> =
        lab.with(|kernel| kernel.counters()).unwrap().into_keys().collect();
    assert_eq!(names, BTreeSet::from(["b".into(), "c".into()]));
}
