// SPDX-License-Identifier: Apache-2.0
//! One ring of our members and HashiCorp's, in network namespaces on a bridge: both see the same through joins, changes of meta
//! data, leaves, crashes, restarts, partitions and healing; with and without encryption, label and compression, over both
//! families. Suspicion takes a second or two (lab::CONFIG).
#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what tests share fails by panicking, as they do"
)]

mod lab;

use std::time::Duration;

use lab::{Judge, Lab, Ours, Ring};
use members::{Command, Detection, Event, State};
use testlab::now;

/// Ours are the first hosts, the judges the others; all join the first, and each has its number as meta data.
struct Mixed {
    lab: Lab,
    ring: Ring,
    ours: Vec<Ours>,
    judges: Vec<Judge>,
}

impl Mixed {
    fn new(ours: usize, judges: usize, ring: Ring) -> Self {
        let lab = Lab::new(ours + judges);
        let meta = |number: usize| [u8::try_from(number).unwrap()];
        let first = ring.address(1);
        let start = |number| lab.host(number).ours(&ring, &meta(number), Detection::off());
        let running: Vec<Ours> = (1..=ours).map(start).collect();
        for ours in running.iter().skip(1) {
            ours.members.join(vec![first]);
        }
        let judge = |number| {
            let mut judge = lab.host(number).judge(&ring, &meta(number));
            assert_eq!(judge.join(&first.to_string()), 1);
            judge
        };
        let judges = (ours + 1..=ours + judges).map(judge).collect();
        Self { lab, ring, ours: running, judges }
    }

    /// All see these members, each with its meta data.
    fn see(&mut self, expected: &[(usize, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(number, meta)| self.ring.known(*number, meta)).collect();
        for ours in &self.ours {
            ours.sees(&expected);
        }
        for judge in &mut self.judges {
            judge.sees(&expected);
        }
    }
}

fn dead(name: &str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Dead { member, .. } if *member.name == *name)
}

/// Joins, changes of meta data on both sides, a leave of each kind and their return.
fn life(ring: Ring, ours: usize, judges: usize) {
    let mut mixed = Mixed::new(ours, judges, ring);
    let last = ours + judges;
    assert_eq!(last, 4);
    mixed.see(&[(1, "01"), (2, "02"), (3, "03"), (4, "04")]);
    assert_eq!(mixed.judges[0].versions("node-1"), "[1,5,2,0,0,0]");

    let long = vec![0xab; 512];
    mixed.ours[0].members.command(Command::SetMeta(long.clone())).unwrap();
    mixed.judges.last_mut().unwrap().set_meta(&[4, 4]);
    let long = lab::hex(&long);
    mixed.see(&[(1, &long), (2, "02"), (3, "03"), (4, "0404")]);

    let mut judge = mixed.judges.pop().unwrap();
    judge.leave();
    let left = |event: &Event| matches!(event, Event::Left(member) if &*member.name == "node-4");
    mixed.ours[0].event("that the judge left", left);
    mixed.see(&[(1, &long), (2, "02"), (3, "03")]);
    judge.kill();

    let first = mixed.ours.remove(0);
    assert!(first.members.leave(lab::DEADLINE), "the others have heard of it");
    drop(first);
    mixed.see(&[(2, "02"), (3, "03")]);

    // Both come back, the one as ours, the other as a judge, in new lives that begin with incarnation 1.
    let back = mixed.lab.host(1).ours(&mixed.ring, &[0x11], Detection::off());
    back.members.join(vec![mixed.ring.address(2)]);
    let mut judge = mixed.lab.host(4).judge(&mixed.ring, &[0x44]);
    assert_eq!(judge.join(&mixed.ring.address(2).to_string()), 1);
    mixed.ours.insert(0, back);
    mixed.judges.push(judge);
    mixed.see(&[(1, "11"), (2, "02"), (3, "03"), (4, "44")]);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn two_and_two_in_the_clear() {
    life(Ring::new(), 2, 2);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn two_and_two_with_encryption_and_a_label() {
    life(Ring { encrypted: true, label: "ring-one", ..Ring::new() }, 2, 2);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn one_and_three_with_encryption() {
    life(Ring { encrypted: true, ..Ring::new() }, 1, 3);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn two_and_two_without_compression_over_ipv6() {
    life(Ring { compressed: false, ipv6: true, ..Ring::new() }, 2, 2);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn a_crash_is_found_by_both_and_a_restart_with_a_new_incarnation_is_believed() {
    let mut mixed = Mixed::new(2, 2, Ring { encrypted: true, ..Ring::new() });
    mixed.see(&[(1, "01"), (2, "02"), (3, "03"), (4, "04")]);

    mixed.judges.pop().unwrap().kill();
    let killed = now();
    mixed.ours[0].event("the judge's death", dead("node-4"));
    println!("a killed judge was dead for ours after {:?}", now() - killed);
    mixed.see(&[(1, "01"), (2, "02"), (3, "03")]);

    drop(mixed.ours.remove(0));
    let killed = now();
    mixed.judges[0].next("leave", "node-1");
    println!("one of ours that was killed was dead for a judge after {:?}", now() - killed);
    mixed.see(&[(2, "02"), (3, "03")]);

    let back = mixed.lab.host(1).ours(&mixed.ring, &[0x11], Detection::off());
    back.members.join(vec![mixed.ring.address(3)]);
    mixed.ours.insert(0, back);
    let mut judge = mixed.lab.host(4).judge(&mixed.ring, &[0x44]);
    assert_eq!(judge.join(&mixed.ring.address(2).to_string()), 1);
    mixed.judges.push(judge);
    mixed.see(&[(1, "11"), (2, "02"), (3, "03"), (4, "44")]);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn a_partition_divides_the_ring_and_healing_makes_it_one_again() {
    let mut mixed = Mixed::new(2, 2, Ring::new());
    mixed.see(&[(1, "01"), (2, "02"), (3, "03"), (4, "04")]);
    // One of ours and a judge, each alone.
    mixed.lab.cut(2);
    mixed.lab.cut(4);
    let alone = [mixed.ring.known(2, "02")];
    mixed.ours[1].sees(&alone);
    mixed.judges[1].sees(&[mixed.ring.known(4, "04")]);
    let rest = [mixed.ring.known(1, "01"), mixed.ring.known(3, "03")];
    mixed.ours[0].sees(&rest);
    mixed.judges[0].sees(&rest);
    mixed.lab.mend(2);
    mixed.lab.mend(4);
    // As MetalLB does from time to time.
    let first = mixed.ring.address(1);
    mixed.ours[1].members.join(vec![first]);
    assert_eq!(mixed.judges[1].join(&first.to_string()), 1);
    mixed.see(&[(1, "01"), (2, "02"), (3, "03"), (4, "04")]);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn a_wrong_key_or_label_keeps_out_and_is_counted() {
    let mixed = Mixed::new(1, 1, Ring { encrypted: true, label: "ring-one", ..Ring::new() });
    let stranger = Ring { label: "ring-two", ..mixed.ring.clone() };
    let lab = &mixed.lab;
    // In the place of the judge, after it.
    drop(mixed.judges);
    let mut judge = lab.host(2).judge(&stranger, &[9]);
    assert_eq!(judge.join(&mixed.ring.address(1).to_string()), 0, "the label is another one");
    let plain = Ring { encrypted: false, ..mixed.ring.clone() };
    judge.kill();
    let mut judge = lab.host(2).judge(&plain, &[9]);
    assert_eq!(judge.join(&mixed.ring.address(1).to_string()), 0, "it has no key");
    lab::eventually("that it is counted", || {
        let snapshot = mixed.ours[0].members.snapshot();
        if snapshot.discarded >= 2 { Ok(()) } else { Err(format!("{snapshot:?}")) }
    });
    let first = mixed.ours[0].members.snapshot().members[0].clone();
    assert_eq!((&*first.name, first.state), ("node-1", State::Alive));
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn leaving_is_heard_at_once_by_both_kinds() {
    let mut mixed = Mixed::new(2, 1, Ring::new());
    mixed.see(&[(1, "01"), (2, "02"), (3, "03")]);
    let first = mixed.ours.remove(0);
    let leaving = now();
    assert!(first.members.leave(lab::DEADLINE));
    println!("leaving took {:?}", now() - leaving);
    assert!(first.members.leave(Duration::from_secs(1)), "a second time too");
    mixed.judges[0].next("leave", "node-1");
    let left = |event: &Event| matches!(event, Event::Left(member) if &*member.name == "node-1");
    mixed.ours[0].event("that it left", left);
    // The same, without having been stopped, comes back.
    first.members.join(vec![mixed.ring.address(3)]);
    mixed.ours.insert(0, first);
    mixed.see(&[(1, "01"), (2, "02"), (3, "03")]);
}
