// SPDX-License-Identifier: Apache-2.0
//! A second protocol on the ring's port, in network namespaces: it hears its datagrams and closed ports, and what it says of
//! members is believed by ours and by HashiCorp's at once.
#![cfg(feature = "net")]

mod lab;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use lab::{Lab, Ring, now};
use members::net::{COMPANION, Companion, CompanionCommand, CompanionOutput};
use members::{DecodeError, Event};

const INTERVAL: Duration = Duration::from_millis(20);

/// Sends a datagram to every member now and then; whoever says that his port is closed is dead.
struct Heartbeat {
    others: Vec<(SocketAddr, String)>,
    heard: Sender<(SocketAddr, Vec<u8>)>,
    outputs: VecDeque<CompanionOutput>,
    next: Option<Instant>,
}

impl Heartbeat {
    fn new() -> (Box<Self>, Receiver<(SocketAddr, Vec<u8>)>) {
        let (heard, receiver) = channel();
        let outputs = [CompanionOutput::SetMeta(vec![0xfa, 0x57])].into();
        (Box::new(Self { others: Vec::new(), heard, outputs, next: None }), receiver)
    }
}

impl Companion for Heartbeat {
    fn datagram(
        &mut self,
        _now: Instant,
        from: SocketAddr,
        octets: &mut [u8],
    ) -> Result<(), DecodeError> {
        drop(self.heard.send((from, octets.to_vec())));
        Ok(())
    }

    fn port_closed(&mut self, _now: Instant, to: SocketAddr) {
        let dead = self.others.iter().filter(|(at, _)| *at == to);
        self.outputs.extend(dead.map(|(_, name)| CompanionOutput::DeclareDead(name.clone())));
    }

    fn member_event(&mut self, now: Instant, event: &Event) {
        match event {
            Event::Joined(member) => {
                self.others.push((member.address, member.name.to_string()));
                self.next = Some(now);
            }
            Event::Dead { member, .. } | Event::Left(member) => {
                self.others.retain(|(_, name)| **name != *member.name);
            }
            Event::Updated(_)
            | Event::Suspected { .. }
            | Event::Refuted(_)
            | Event::Accused
            | Event::Exchanged { .. }
            | Event::Conflict { .. }
            | Event::Joining(_)
            | Event::Contacted { .. }
            | Event::Departed => {}
        }
    }

    fn command(&mut self, _now: Instant, _command: CompanionCommand) {}

    fn published(&mut self) {}

    fn expire(&mut self, now: Instant) {
        for (to, name) in &self.others {
            let octets = [&[COMPANION], name.as_bytes()].concat();
            self.outputs.push_back(CompanionOutput::Send { to: *to, octets });
        }
        self.next = Some(now + INTERVAL);
    }

    fn poll(&mut self) -> Option<CompanionOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

fn beside(ipv6: bool) {
    let lab = Lab::new(3);
    let ring = Ring { encrypted: true, ipv6, ..Ring::new() };
    let (first, heard_by_first) = Heartbeat::new();
    let (second, heard_by_second) = Heartbeat::new();
    let mut one = lab.host(1).ours(&ring, &[], Some(first));
    let two = lab.host(2).ours(&ring, &[], Some(second));
    let mut judge = lab.host(3).judge(&ring, &[]);
    two.members.join(vec![ring.address(1)]);
    assert_eq!(judge.join(&ring.address(1).to_string()), 1);
    let all = [ring.known(1, "fa57"), ring.known(2, "fa57"), ring.known(3, "")];
    one.sees(&all);
    two.sees(&all);
    judge.sees(&all);
    let expected = (ring.address(1), [&[COMPANION], "node-2".as_bytes()].concat());
    assert_eq!(heard_by_second.recv_timeout(lab::DEADLINE).ok(), Some(expected));
    let (from, octets) =
        heard_by_first.recv_timeout(lab::DEADLINE).ok().unwrap_or_else(|| panic!("nothing"));
    assert_eq!((from, octets.first()), (ring.address(2), Some(&COMPANION)));

    drop(two);
    let died = now();
    let dead = |event: &Event| matches!(event, Event::Dead { member, by } if &*member.name == "node-2" && &**by == "node-1");
    one.event("the death of who closed its port", dead);
    judge.next("leave", "node-2");
    println!("a closed port was a death for all after {:?}", now() - died);
    let rest = [ring.known(1, "fa57"), ring.known(3, "")];
    one.sees(&rest);
    judge.sees(&rest);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn a_companion_hears_of_closed_ports_and_its_word_is_believed_over_ipv4() {
    beside(false);
}

#[test]
#[ignore = "needs root, network namespaces and Go; make test runs it"]
fn a_companion_hears_of_closed_ports_and_its_word_is_believed_over_ipv6() {
    beside(true);
}
