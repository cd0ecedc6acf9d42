// SPDX-License-Identifier: Apache-2.0
//! What somebody without the key does to a ring with a heartbeat, in network namespaces: forged ICMP errors from the link and from behind a
//! router, datagrams of garbage, streams. Nobody is dead for it, and whoever really is is found.
//!
//! A machine that is busy may lose a heartbeat without any attacker. What is judged therefore is one round of three; where an attack works it
//! does in each.
#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what tests share fails by panicking, as they do"
)]

mod lab;

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::{Host, Lab, Ours, PORT, Ring, detection, eventually};
use members::Event;
use members::net::Cause;
use socket2::{Domain, Protocol, Socket, Type};

/// How long each attack lasts.
const ATTACK: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

/// Members with a heartbeat under one key, on the first hosts of a lab.
struct Attacked {
    lab: Lab,
    ring: Ring,
    ours: Vec<Ours>,
}

impl Attacked {
    /// `strangers` more hosts are on the link.
    fn new(count: usize, strangers: usize) -> Self {
        let (lab, ring) = (Lab::new(count + strangers), Ring { encrypted: true, ..Ring::new() });
        let mut attacked = Self { lab, ring, ours: Vec::new() };
        for number in 1..=count {
            let ours = attacked.start(number);
            attacked.ours.push(ours);
        }
        attacked.see_all();
        attacked
    }

    fn start(&self, number: usize) -> Ours {
        let ours = self.lab.host(number).ours(&self.ring, &[1], detection());
        if number > 1 {
            ours.members.join(vec![self.ring.address(1)]);
        }
        ours
    }

    fn see_all(&self) {
        let all: Vec<_> =
            (1..=self.ours.len()).map(|number| self.ring.known(number, "01")).collect();
        for ours in &self.ours {
            ours.sees(&all);
        }
    }

    /// How many deaths were told since this was last asked.
    fn deaths(&mut self) -> usize {
        let events = |ours: &mut Ours| {
            let is_death = |event: &Event| matches!(event, Event::Dead { .. } | Event::Accused);
            std::iter::from_fn(|| ours.events.try_recv()).filter(is_death).count()
        };
        self.ours.iter_mut().map(events).sum()
    }

    fn refused(&self, cause: Cause) -> u64 {
        let counts =
            |ours: &Ours| ours.members.snapshot().refused.counts.get(&cause).copied().unwrap_or(0);
        self.ours.iter().map(counts).sum()
    }

    /// An attack from that host changes nothing, and is counted under that cause. It is told when it is to end.
    fn withstands(
        &mut self,
        host: &Host,
        cause: Cause,
        attack: impl Fn(&AtomicBool) + Clone + Send + 'static,
    ) {
        let mut deaths = Vec::new();
        for _ in 0..ROUNDS {
            // Long enough for a heartbeat of each to be known as one.
            std::thread::sleep(Duration::from_millis(500));
            self.see_all();
            self.deaths();
            let (ends, before) = (Arc::new(AtomicBool::new(false)), self.refused(cause));
            let (attack, told) = (attack.clone(), Arc::clone(&ends));
            let attacker = host.inside(move || std::thread::spawn(move || attack(&told)));
            std::thread::sleep(ATTACK);
            ends.store(true, Ordering::Relaxed);
            attacker.join().unwrap();
            eventually("that the attack is counted", || {
                let counted = self.refused(cause) - before;
                if counted > 100 { Ok(()) } else { Err(format!("{counted} were refused")) }
            });
            match self.deaths() {
                0 => return self.see_all(),
                some => deaths.push(some),
            }
        }
        panic!("deaths in each round: {deaths:?}");
    }

    /// One that is killed is found all the same.
    fn finds_the_dead(mut self) {
        let killed = self.ours.pop().unwrap();
        drop(killed);
        let left: Vec<_> =
            (1..=self.ours.len()).map(|number| self.ring.known(number, "01")).collect();
        for ours in &self.ours {
            ours.sees(&left);
        }
    }
}

fn checksum(octets: &[u8]) -> [u8; 2] {
    let words = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn ip(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + content.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend_from_slice(content);
    packet
}

/// Says in the name of `closed` to `to` that nothing listens at the ring's port; `guess` is what the datagram might have been.
fn port_closed(closed: Ipv4Addr, to: Ipv4Addr, guess: &[u8]) -> Vec<u8> {
    let port = PORT.to_be_bytes();
    let length = u16::try_from(8 + guess.len()).unwrap().to_be_bytes();
    let udp = [&port[..], &port, &length, &[0, 0], guess].concat();
    let mut icmp = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &ip(17, to, closed, &udp)].concat();
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    ip(1, closed, to, &icmp)
}

/// Each of three members is told that each other one's port is closed.
fn forged(ends: &AtomicBool) {
    let rate = rate(2);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
    let member = |number: u8| Ipv4Addr::new(192, 0, 2, number);
    let sealed = [&[0xf7, 1, 1][..], &[0x5a; 120]].concat();
    let gossip = [&[1][..], &[0x5a; 60]].concat();
    let mut packets = Vec::new();
    for closed in 1..=3 {
        for to in (1..=3).filter(|to| *to != closed) {
            for guess in [&sealed[..], &gossip, b""] {
                packets.push((member(to), port_closed(member(closed), member(to), guess)));
            }
        }
    }
    let mut packets = packets.iter().cycle();
    while !ends.load(Ordering::Relaxed) {
        for (to, packet) in packets.by_ref().take(rate) {
            let to = SocketAddr::from((*to, 0));
            drop(socket.send_to(packet, &to.into()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Packets in a millisecond, as `FERROLB_ATTACK_RATE` says, to find where it ends; else few enough for a machine that has other things to do.
fn rate(usual: usize) -> usize {
    let said = std::env::var("FERROLB_ATTACK_RATE").ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(usual)
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn forged_errors_from_the_link_kill_nobody() {
    let mut attacked = Attacked::new(3, 1);
    let host = attacked.lab.hosts.pop().unwrap();
    attacked.withstands(&host, Cause::Icmp, forged);
    attacked.finds_the_dead();
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn forged_errors_from_behind_a_router_kill_nobody() {
    let mut attacked = Attacked::new(3, 1);
    let router = attacked.lab.hosts.pop().unwrap();
    let far = Host::new(9);
    far.join("away", &router, "near");
    far.address("away", "198.51.100.2/24");
    far.up("away");
    router.address("near", "198.51.100.1/24");
    router.up("near");
    far.ip(&["route", "add", "default", "via", "198.51.100.1"]);
    router.inside(|| {
        let all = "/proc/sys/net/ipv4/conf";
        for file in ["all/rp_filter", "near/rp_filter", "eth0/rp_filter"] {
            std::fs::write(format!("{all}/{file}"), "0").unwrap();
        }
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    });
    attacked.withstands(&far, Cause::Icmp, forged);
    attacked.finds_the_dead();
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn garbage_at_a_high_rate_kills_nobody() {
    let mut attacked = Attacked::new(3, 1);
    let host = attacked.lab.hosts.pop().unwrap();
    attacked.withstands(&host, Cause::Key, |ends| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let heads: [&[u8]; 6] = [&[0xf7, 1, 1], &[1], &[0], &[0xf7, 1, 0], &[244, 3], &[7, 255]];
        let datagrams: Vec<Vec<u8>> =
            heads.iter().map(|head| [head, &[0xa5; 200][..]].concat()).collect();
        let mut number = 0_u8;
        let rate = rate(20);
        while !ends.load(Ordering::Relaxed) {
            for datagram in datagrams.iter().cycle().take(rate) {
                number = number.wrapping_add(1);
                let to = Ipv4Addr::new(192, 0, 2, 1 + number % 3);
                drop(socket.send_to(datagram, (to, PORT)));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    attacked.finds_the_dead();
}

/// Opens streams from many addresses without end and keeps the newest 2,000, some silent, some that speak what is no use.
fn streams(ends: &AtomicBool) {
    let said =
        [&b""[..], b"\x0a\x00\x10\x00\x00begun", b"\x06\xdf\xff\xff\xff\xff\xa0\xc0\xa0\xc0"];
    let mut held = std::collections::VecDeque::new();
    for number in 0_usize.. {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let octet = u8::try_from(100 + number % 100).unwrap();
        let from = SocketAddr::from((Ipv4Addr::new(192, 0, 2, octet), 0));
        let to = SocketAddr::from((
            Ipv4Addr::new(192, 0, 2, u8::try_from(1 + number % 3).unwrap()),
            PORT,
        ));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        if socket.connect_timeout(&to.into(), Duration::from_secs(1)).is_err() {
            continue;
        }
        let mut stream: TcpStream = socket.into();
        drop(std::io::Write::write_all(&mut stream, said[number % 3]));
        held.push_back(stream);
        if held.len() > 2_000 {
            held.pop_front();
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn streams_of_strangers_keep_nobody_out_and_kill_nobody() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let mut attacked = Attacked::new(3, 1);
    let host = attacked.lab.hosts.pop().unwrap();
    for octet in 100..200 {
        host.ip(&["addr", "add", &format!("192.0.2.{octet}/24"), "dev", "eth0"]);
    }
    attacked.withstands(&host, Cause::Plain, streams);
    // A member that was killed comes back while it goes on.
    let ends = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ends);
    let attacker = host.inside(move || std::thread::spawn(move || streams(&told)));
    drop(attacked.ours.pop());
    let mut back = attacked.start(3);
    for _ in 0..ROUNDS {
        let contacted = |event: &Event| matches!(event, Event::Contacted { .. });
        let told = back.event("that it was in vain or not", contacted);
        if matches!(told, Event::Contacted { error: None, .. }) {
            break;
        }
        back.members.join(vec![attacked.ring.address(1)]);
    }
    attacked.ours.push(back);
    attacked.see_all();
    ends.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    assert!(attacked.refused(Cause::Crowded) > 0, "there were more than there are places");
    attacked.finds_the_dead();
}
