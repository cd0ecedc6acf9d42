// SPDX-License-Identifier: Apache-2.0
//! The bodies of the fuzz targets `arp` and `ndp`, also run as property tests: arbitrary octets through the whole core. They
//! panic when a rule is broken. Not used by the daemon.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pnet::packet::icmpv6::{Icmpv6Packet, checksum};

use crate::frame::LONGEST;
use crate::frame::arp::Arp;
use crate::frame::ndp::Ndp;
use crate::{
    Engine, Event, LinkFacts, MacAddress, Options, Precedence, Protocol, Scope, solicited_node,
};

const LINK: u32 = 2;
/// Longer messages do not fit into a frame of usual size.
const MESSAGE_LIMIT: usize = 1400;
const STATION: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);
const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x0a]);
/// Ours; others may be higher and lower in either of their numbers.
const PRECEDENCE: Precedence = Precedence { members: 0x4000, position: 0x4000 };

/// Octets as an ARP frame, as they are and behind a header that is right.
pub fn arp(data: &[u8]) {
    arp_frame(data);
    let mut frame = Arp::probe(STATION, [192, 0, 2, 1].into()).emit().as_bytes().to_vec();
    overwrite(&mut frame, 20, data);
    arp_frame(&frame);
}

/// Octets as an NDP frame, as they are and as the message of a frame whose headers and checksum are right.
pub fn ndp(data: &[u8]) {
    ndp_frame(data);
    let target = std::net::Ipv6Addr::LOCALHOST;
    let source = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
    let mut frame = Ndp::probe(STATION, source, target).emit().as_bytes().to_vec();
    let data = data.get(..MESSAGE_LIMIT).unwrap_or(data);
    let length = u16::try_from(data.len()).unwrap_or(0).saturating_add(4);
    frame.truncate(58);
    frame.extend_from_slice(data);
    overwrite(&mut frame, 18, &length.to_be_bytes());
    let kind = if data.len() % 2 == 0 { 135 } else { 136 };
    overwrite(&mut frame, 54, &[kind, 0]);
    let sum = frame.get(54..).and_then(Icmpv6Packet::new);
    let sum = sum.map(|icmp| checksum(&icmp, &source, &solicited_node(target)));
    overwrite(&mut frame, 56, &sum.unwrap_or(0).to_be_bytes());
    ndp_frame(&frame);
}

/// Puts octets over those from `at`; what goes beyond the end is left out.
fn overwrite(frame: &mut [u8], at: usize, octets: &[u8]) {
    for (old, new) in frame.iter_mut().skip(at).zip(octets) {
        *old = *new;
    }
}

fn arp_frame(data: &[u8]) {
    if let Ok(frame) = Arp::parse(data) {
        assert_eq!(
            Arp::parse(frame.emit().as_bytes()),
            Ok(frame),
            "what was read is written the same"
        );
    }
    let parsed = Arp::parse(data).ok();
    let claimed = parsed.map(|frame| frame.sender.into());
    answer(Protocol::Arp, data, parsed.map(|frame| frame.target.into()), claimed);
}

fn ndp_frame(data: &[u8]) {
    use crate::frame::ndp::Message;
    let parsed = Ndp::parse(data).ok();
    if let Some(frame) = parsed {
        assert_eq!(
            Ndp::parse(frame.emit().as_bytes()),
            Ok(frame),
            "what was read is written the same"
        );
    }
    let (asked, claimed) = match parsed.map(|frame| frame.message) {
        Some(Message::Solicitation(message)) => (Some(message.target.into()), None),
        Some(Message::Advertisement(message)) => (None, Some(message.target.into())),
        None => (None, None),
    };
    answer(Protocol::Ndp, data, asked, claimed);
}

/// Through an engine that only watches what is asked for and claimed, one that owns what is asked for, and one that
/// does both.
fn answer(protocol: Protocol, data: &[u8], target: Option<IpAddr>, claimed: Option<IpAddr>) {
    let now = start();
    let about: Vec<IpAddr> = target.into_iter().chain(claimed).collect();
    let mut watcher = engine(now, None, &about);
    assert!(
        watcher.handle_frame(now, LINK, protocol, data).is_none(),
        "answered for a foreign address"
    );
    told(&mut watcher, &about);
    let mut owner = engine(now, target, &[]);
    let reply = owner.handle_frame(now, LINK, protocol, data);
    if let Some(reply) = &reply {
        assert_eq!(Some(reply.address), target, "answered for what was not asked");
        assert!(reply.frame.as_bytes().len() <= LONGEST, "an answer has a bounded length");
    }
    assert_eq!(told(&mut owner, &[]), 0, "told of what is not watched");
    let mut both = engine(now, target, &about);
    let also = both.handle_frame(now, LINK, protocol, data);
    let given_way = told(&mut both, &about) > 0 && also.is_none();
    assert!(also == reply || given_way, "a watched address is answered as another one");
}

/// How many stations the engine tells of; each is another one, and has an address that is watched.
fn told(engine: &mut Engine, watched: &[IpAddr]) -> usize {
    let mut count = 0;
    while let Some(event) = engine.poll_event() {
        if let Event::Answered { address, hardware_address, .. } = event {
            assert!(watched.contains(&address), "told of an address that is not watched");
            assert_ne!(hardware_address, MAC, "our own address is no other station");
            count += 1;
        }
    }
    assert!(count <= watched.len(), "one frame is at most one claim of an address");
    count
}

fn engine(now: Instant, owned: Option<IpAddr>, watched: &[IpAddr]) -> Engine {
    let options = Options { announce_interval: Duration::ZERO, ..Options::default() };
    let mut engine = Engine::new(options, Arc::default());
    engine.upsert_link(LinkFacts {
        index: LINK,
        name: "eth0".into(),
        hardware_address: Some(MAC),
        ethernet: true,
        up: true,
        carrier: true,
        broadcast: true,
        no_arp: false,
        master: None,
        link_local: Some(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa)),
        addresses: Arc::default(),
    });
    engine.settle(now);
    engine.set_desired(
        now,
        &owned.into_iter().map(|address| (address, Scope::AllInterfaces)).collect(),
    );
    engine.set_precedence(Some(PRECEDENCE));
    for address in watched {
        engine.watch(now, *address, Some(&Scope::AllInterfaces));
    }
    engine
}

#[allow(clippy::disallowed_methods, reason = "any instant will do; nothing here waits or measures")]
fn start() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Real frames with some octets changed and the end moved: far more of them pass the first checks than of noise.
    fn mangled(seed: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        let length = seed.len();
        (prop::collection::vec((0..length, any::<u8>()), 0..6), 0..length + 40).prop_map(
            move |(changes, end)| {
                let mut frame = seed.clone();
                for (at, value) in changes {
                    frame[at] = value;
                }
                frame.resize(end, 0);
                frame
            },
        )
    }

    fn arp_seed() -> Vec<u8> {
        Arp::probe(STATION, [192, 0, 2, 1].into()).emit().as_bytes().to_vec()
    }

    fn ndp_seed() -> Vec<u8> {
        let (source, target) = ("fe80::7".parse().unwrap(), "2001:db8::1".parse().unwrap());
        Ndp::probe(STATION, source, target).emit().as_bytes().to_vec()
    }

    /// The same frames with a precedence, higher than ours or lower.
    fn with_precedence(members: u16, position: u16) -> [Vec<u8>; 2] {
        let precedence = Precedence { members, position };
        let arp = Arp::parse(&arp_seed()).unwrap().with_precedence(precedence);
        let ndp = Ndp::parse(&ndp_seed()).unwrap().with_precedence(precedence);
        [arp.emit(), ndp.emit()].map(|frame| frame.as_bytes().to_vec())
    }

    proptest! {
        #[test]
        fn a_precedence_does_no_harm(
            (arp_data, ndp_data) in (any::<u16>(), any::<u16>()).prop_flat_map(|(members, position)| {
                let [arp, ndp] = with_precedence(members, position);
                (mangled(arp), mangled(ndp))
            })
        ) {
            arp(&arp_data);
            ndp(&ndp_data);
        }

        #[test]
        fn arbitrary_octets_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..200)) {
            arp(&data);
            ndp(&data);
        }

        #[test]
        fn mangled_arp_does_no_harm(data in mangled(arp_seed())) {
            arp(&data);
        }

        #[test]
        fn mangled_ndp_does_no_harm(data in mangled(ndp_seed())) {
            ndp(&data);
        }
    }

    #[test]
    fn the_seeds_are_answered() {
        let now = start();
        let mut owner = engine(now, Some("192.0.2.1".parse().unwrap()), &[]);
        assert!(owner.handle_frame(now, LINK, Protocol::Arp, &arp_seed()).is_some());
        let mut owner = engine(now, Some("2001:db8::1".parse().unwrap()), &[]);
        assert!(owner.handle_frame(now, LINK, Protocol::Ndp, &ndp_seed()).is_some());
    }

    #[test]
    fn the_seeds_with_a_higher_precedence_are_left_to_the_station() {
        let now = start();
        let addresses: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        for (members, answered) in [(0x4001, false), (0x3fff, true)] {
            let frames = with_precedence(members, 0);
            for (address, frame) in addresses.iter().zip(frames) {
                let mut both = engine(now, Some(*address), &[*address]);
                let reply = both.handle_frame(now, LINK, Protocol::of(*address), &frame);
                assert_eq!(reply.is_some(), answered);
                assert_eq!(told(&mut both, &[*address]), usize::from(!answered));
            }
        }
    }
}
