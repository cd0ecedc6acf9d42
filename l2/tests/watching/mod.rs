// SPDX-License-Identifier: Apache-2.0
//! Watched addresses on the real kernel: who answers a probe, and who gives way to whom.

#![allow(clippy::unwrap_used, reason = "support of tests, which fail by panicking")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use l2::{Event, MacAddress, Options, Permit, Precedence, Scope};

use crate::lab::{Lab, Running, eventually};
use crate::{V4, V6};

const HIGHER: Precedence = Precedence { members: 3, position: 1 };
const LOWER: Precedence = Precedence { members: 2, position: 0 };

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl Running {
    fn watch(&self, texts: &[&str]) {
        let everywhere = |address| (address, Some(Scope::AllInterfaces));
        self.layer2.watch(addresses(texts).into_iter().map(everywhere).collect());
    }

    fn probe(&self, texts: &[&str]) {
        self.layer2.probe(addresses(texts));
    }

    /// Waits until exactly these are told of this station, in any order and before any other.
    fn answered(&self, station: MacAddress, texts: &[&str]) {
        let mut missing: BTreeSet<IpAddr> = addresses(texts).into_iter().collect();
        while !missing.is_empty() {
            let what = format!("that {station} has {missing:?}");
            let event = self.event(&what, |event| matches!(event, Event::Answered { .. }));
            let Event::Answered { address, hardware_address, .. } = event else { panic!() };
            assert_eq!(hardware_address, station);
            assert!(missing.remove(&address), "{address} was told, not {missing:?}");
        }
    }

    /// Questions received and answers sent, for each address that has any.
    fn questions(&self) -> Vec<(u64, u64)> {
        let counters = self.layer2.counters();
        counters.iter().map(|(_, it)| (it.requests_received, it.responses_sent)).collect()
    }
}

/// The neighbour's kernel has these from now, without a word.
fn give(lab: &Lab, texts: &[&str]) {
    for address in addresses(texts) {
        let (length, detection): (_, &[&str]) =
            if address.is_ipv4() { (32, &[]) } else { (128, &["nodad"]) };
        let prefix = format!("{address}/{length}");
        lab.peer(&[&["addr", "add", prefix.as_str(), "dev", "peer0"], detection].concat());
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_neighbour_that_has_a_watched_address_is_told_and_nobody_for_a_free_one() {
    let lab = Lab::joined();
    give(&lab, &[V4, V6]);
    let running = lab.start(Options::default());
    running.ready("eth0");
    let free = ["192.0.2.101", "2001:db8::101"];
    running.watch(&[&free[..], &[V4, V6]].concat());
    for precedence in [None, Some(HIGHER)] {
        running.layer2.set_precedence(precedence);
        running.probe(&free);
        // The neighbour answers in the order of the questions.
        running.probe(&[V4, V6]);
        running.answered(lab.peer_mac("peer0"), &[V4, V6]);
    }
    assert!(running.layer2.counters().is_empty(), "nothing was answered or announced");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn of_two_that_probe_the_lower_precedence_gives_way() {
    let lab = Lab::joined();
    let (one, other) = (lab.start(Options::default()), lab.start_beside(Options::default()));
    one.ready("eth0");
    other.ready("peer0");
    let late = ["192.0.2.101", "2001:db8::101"];
    for (running, precedence) in [(&one, HIGHER), (&other, LOWER)] {
        running.layer2.set_precedence(Some(precedence));
        running.watch(&[&late[..], &[V4, V6]].concat());
        running.layer2.tell(1);
        running.event("that all is in force", |event| matches!(event, Event::Done(1)));
    }
    one.probe(&[V4, V6]);
    other.answered(lab.mac("eth0"), &[V4, V6]);
    other.probe(&[V4, V6]);
    // The last questions are heard, those before them were of no account.
    let highest = Precedence { members: 4, position: 9 };
    other.layer2.set_precedence(Some(highest));
    other.probe(&late);
    one.answered(lab.peer_mac("peer0"), &late);

    one.own(&[V4, V6]);
    one.layer2.tell(2);
    one.event("that all is answered for", |event| matches!(event, Event::Done(2)));
    other.probe(&[V4, V6]);
    one.answered(lab.peer_mac("peer0"), &[V4, V6]);
    assert_eq!(one.questions(), [(1, 0); 2], "a higher precedence is not answered");
    other.layer2.set_precedence(Some(LOWER));
    eventually("answers to a lower precedence", || {
        // A busy machine answers no question that had to wait.
        other.probe(&[V4, V6]);
        one.questions().iter().all(|(_, answered)| *answered > 0).then_some(())
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_probe_without_permission_is_not_sent_later_either() {
    let lab = Lab::joined();
    let (heard, later) = ("192.0.2.101", ["192.0.2.102", "2001:db8::102"]);
    give(&lab, &[V4, V6, heard, later[0], later[1]]);
    let permit = Permit::none();
    let running = lab.start(Options { permit: permit.clone(), ..Options::default() });
    running.ready("eth0");
    running.watch(&[V4, V6, later[0], later[1]]);
    running.probe(&[V4, V6]);
    // A thread that tells of this address has taken the wishes before.
    running.watch(&[heard]);
    eventually("the announcement", || {
        lab.beside_peer(&["arping", "-U", "-P", "-c", "1", "-i", "peer0", "-S", heard, heard]);
        running.events.try_iter().find(|event| matches!(event, Event::Answered { .. }))
    });
    permit.share().store(u64::MAX, Ordering::Release);
    running.probe(&later);
    running.answered(lab.peer_mac("peer0"), &later);
}
