// SPDX-License-Identifier: Apache-2.0
//! The heartbeat on the ring's port, in network namespaces: two of ours hear one another's, and what one finds of the other is believed by
//! HashiCorp's at once.
#![cfg(feature = "net")]

mod lab;

use lab::{CONFIG, Lab, Ring, detection};
use members::{Command, Detection, Event, heartbeat};
use testlab::now;

/// Only a closed port is a death within the time that is waited for anything: heartbeats may fail for minutes, and so may probes.
fn patient(ring: Ring) -> (Ring, impl Fn() -> Detection) {
    let config = ring.config.replace(r#""SuspicionMult": 3,"#, r#""SuspicionMult": 300,"#);
    assert_ne!(config, CONFIG);
    let heartbeat = heartbeat::Options { misses: 3_000, ..heartbeat::Options::default() };
    (ring.with(&config), move || Detection { heartbeat, ..detection() })
}

fn beside(ipv6: bool) {
    let lab = Lab::new(3);
    let (ring, detection) = patient(Ring { encrypted: true, ipv6, ..Ring::new() });
    let mut one = lab.host(1).ours(&ring, &[1], detection());
    let mut two = lab.host(2).ours(&ring, &[1], detection());
    let mut judge = lab.host(3).judge(&ring, &[]);
    two.members.join(vec![ring.address(1)]);
    assert_eq!(judge.join(&ring.address(1).to_string()), 1);
    let all = [ring.known(1, "01"), ring.known(2, "01"), ring.known(3, "")];
    one.sees(&all);
    two.sees(&all);
    judge.sees(&all);
    for (from, to, sender) in
        [(&one.members, &mut two.events, "node-1"), (&two.members, &mut one.events, "node-2")]
    {
        let mark = [7; 16];
        assert!(from.command(Command::Mark(mark)).is_ok());
        let marked = Event::Marked { name: sender.into(), mark };
        lab::eventually("that a heartbeat with the mark comes", || {
            let mut seen = std::iter::from_fn(|| to.try_recv());
            seen.find(|event| *event == marked).map(|_| ()).ok_or_else(String::new)
        });
    }

    drop(two);
    let died = now();
    let dead = |event: &Event| matches!(event, Event::Dead { member, by } if &*member.name == "node-2" && &**by == "node-1");
    one.event("the death of who closed its port", dead);
    judge.next("leave", "node-2");
    println!("a closed port was a death for all after {:?}", now() - died);
    let rest = [ring.known(1, "01"), ring.known(3, "")];
    one.sees(&rest);
    judge.sees(&rest);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn heartbeats_pass_on_the_rings_port_and_a_closed_port_is_a_death_for_all_over_ipv4() {
    beside(false);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn heartbeats_pass_on_the_rings_port_and_a_closed_port_is_a_death_for_all_over_ipv6() {
    beside(true);
}
