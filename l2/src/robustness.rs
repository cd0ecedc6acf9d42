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
use crate::{Engine, LinkFacts, MacAddress, Options, Protocol, Scope, solicited_node};

const LINK: u32 = 2;
/// Longer messages do not fit into a frame of usual size.
const MESSAGE_LIMIT: usize = 1400;
const STATION: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);
const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x0a]);

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
    answer(Protocol::Arp, data, Arp::parse(data).ok().map(|frame| frame.target.into()));
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
    let target = parsed.and_then(|frame| match frame.message {
        Message::Solicitation(message) => Some(message.target.into()),
        Message::Advertisement(_) => None,
    });
    answer(Protocol::Ndp, data, target);
}

/// Through an engine that owns the target, and through one that does not.
fn answer(protocol: Protocol, data: &[u8], target: Option<IpAddr>) {
    let now = start();
    let mut stranger = engine(now, None);
    assert!(
        stranger.handle_frame(now, LINK, protocol, data).is_none(),
        "answered for a foreign address"
    );
    let mut owner = engine(now, target);
    if let Some(reply) = owner.handle_frame(now, LINK, protocol, data) {
        assert_eq!(Some(reply.address), target, "answered for what was not asked");
        assert!(reply.frame.as_bytes().len() <= LONGEST, "an answer has a bounded length");
    }
}

fn engine(now: Instant, owned: Option<IpAddr>) -> Engine {
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

    proptest! {
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
        let mut owner = engine(now, Some("192.0.2.1".parse().unwrap()));
        assert!(owner.handle_frame(now, LINK, Protocol::Arp, &arp_seed()).is_some());
        let mut owner = engine(now, Some("2001:db8::1".parse().unwrap()));
        assert!(owner.handle_frame(now, LINK, Protocol::Ndp, &ndp_seed()).is_some());
    }
}
