// SPDX-License-Identifier: Apache-2.0
//! The bodies of the fuzz targets `members_packet` and `members_stream`, also run as property tests: octets as what a ring
//! receives. They panic when a rule is broken. Not used by the daemon.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::wire::message::{Alive, Message};
use crate::wire::packet;
use crate::{
    Config, Envelope, Event, Incoming, Key, MEMBERS, META, Output, Ring, Settings, Versions,
    refusal,
};

/// Octets that are kept and heads of values that are decoded for one octet of a stream, and anyway. A head that is not whole is looked at again
/// with each piece, and pieces have an octet at least; what grows doubles.
const COST: (usize, usize) = (2, 64);
/// Outputs that one octet of input may cause, and those that an input may cause anyway.
const EFFECT: (usize, usize) = (4, 64);

/// Datagrams one after the other: each with its length in an octet (times eight) and the time that passes before it in another.
pub fn packet(data: &[u8]) {
    let key = Key::new(&[7; 32]);
    for envelope in
        [Envelope::default(), Envelope::new("x", Some(key.into()), false, true).unwrap_or_default()]
    {
        let mut copy = data.to_vec();
        let opened = envelope.open_packet(&mut copy).map_or(0, <[u8]>::len);
        assert!(opened <= data.len(), "opening does not add");
    }
    let mut read = 0;
    // What can be read can be written, and is then read as the same.
    drop(packet::decode(data, &mut |message| {
        read += 1;
        assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
    }));
    assert!(read <= 0x1_0000, "a message has an octet at least");
    let (mut ring, mut now) = ring();
    let mut rest = data;
    while let [length, time, behind @ ..] = rest {
        let (octets, behind) =
            behind.split_at_checked(usize::from(*length) * 8).unwrap_or((behind, &[]));
        rest = behind;
        now += Duration::from_millis(u64::from(*time) * 4);
        ring.receive(now, address(9), octets);
        step(&mut ring, now, octets.len());
    }
}

/// A stream in pieces of a length that the first octet tells; its message as a request, and as the answer to one of ours.
pub fn stream(data: &[u8]) {
    let Some((piece, octets)) = data.split_first() else { return };
    let key = Key::new(&[7; 32]);
    let sealed = Envelope::new("", Some(key.into()), true, true).unwrap_or_default();
    for (envelope, labelled) in [(Envelope::default(), true), (sealed, false)] {
        let mut incoming = Incoming::new(labelled);
        let mut whole = None;
        let (mut came, mut pieces) = (0, 0);
        for piece in octets.chunks(usize::from(*piece).max(1)) {
            (came, pieces) = (came + piece.len(), pieces + 1);
            let received = incoming.receive(&envelope, piece);
            let (kept, steps) = incoming.cost();
            assert!(kept <= COST.0 * came + COST.1, "{kept} octets are kept for {came}");
            assert!(steps <= came + 2 * pieces, "{steps} steps for {came} octets in {pieces}");
            match received {
                Ok(None) => {}
                Ok(Some(message)) => {
                    whole = Some(message);
                    break;
                }
                Err(error) => {
                    assert!(!refusal(&error.to_string()).is_empty());
                    break;
                }
            }
        }
        let Some(message) = whole else { continue };
        assert!(message.len() <= octets.len(), "opening does not add");
        let (mut ring, now) = ring();
        // Compression may make a message longer, up to a bound.
        let effect = message.len() * 16;
        ring.request(now, 1, &message);
        step(&mut ring, now, effect);
        ring.join(now, [address(8)]);
        ring.response(now, 0, Ok(&message));
        step(&mut ring, now, effect);
    }
}

/// A ring with two others, one of whom is being probed.
fn ring() -> (Ring, Instant) {
    let now = start();
    let config = Config {
        name: "us".into(),
        address: address(1),
        settings: Settings { udp_buffer_size: 1400, ..Settings::lan() },
        meta: vec![1],
        overhead: 0,
        seed: 1,
    };
    let Ok(mut ring) = Ring::new(config, now) else { unreachable!("the name is short") };
    for (node, last) in [("a", 2), ("b", 3)] {
        let at = address(last);
        let versions = Some(Versions { minimum: 1, maximum: 5, current: 2, ..Versions::default() });
        let (address, port) = (at.ip(), at.port());
        let alive = Alive { incarnation: 1, node, address, port, meta: &[], versions };
        let octets = Message::Alive(alive).encode();
        ring.receive(now, at, &octets);
    }
    (ring, now)
}

/// After an input of this length.
fn step(ring: &mut Ring, now: Instant, length: usize) {
    ring.expire(now);
    let mut effect = 0;
    while let Some(output) = ring.poll() {
        effect += 1;
        match output {
            Output::Packet { octets, .. } => assert!(octets.len() <= 1400, "a packet fits"),
            Output::Event(Event::Dead { member, .. } | Event::Left(member)) => {
                assert_ne!(&*member.name, "us", "nobody else decides that we are dead");
            }
            Output::Open { .. } | Output::Answer { .. } | Output::Refuse { .. } => {}
            Output::Event(_) => {}
            Output::Heartbeat { .. } | Output::StoodStill(_) | Output::DeclaredDead { .. } => {
                unreachable!("that is not the memberlist's")
            }
        }
    }
    assert!(effect <= EFFECT.0 * length + EFFECT.1, "an input has a bounded effect");
    let mut count = 0;
    for member in ring.members() {
        count += 1;
        assert!(member.meta.len() <= META && !member.name.is_empty());
    }
    assert!((1..=MEMBERS).contains(&count));
    assert!(ring.deadline().is_some_and(|at| at > now), "what is due is done");
}

fn address(last: u8) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, last), 7946).into()
}

#[allow(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; only differences count"
)]
fn start() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Octets that often look like messages.
    fn octets() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            vec(any::<u8>(), 0..40),
            vec(0..14_u8, 1..3),
            Just(b"\x85\xa4Node\xa2us\xa5SeqNo\x01".to_vec()),
            Just(b"\x83\xa4From\xa1a\xabIncarnation\x05\xa4Node".to_vec()),
            Just(b"\xa2us".to_vec()),
            Just(b"\xa1b".to_vec()),
            Just(b"\x86\xa4Addr\xa4\xc0\x00\x02\x09\xabIncarnation\xce\xff\xff\xff\xff".to_vec()),
            Just(b"\xa3Vsn\xa6\x01\x05\x02\x00\x00\x00\xa4Node\xa1c".to_vec()),
            Just(b"\x06\x83\xa4Join\xc3\xa5Nodes\x01\xacUserStateLen\x00".to_vec()),
            Just(b"\x87\xa4Name\xa1d\xa5State\x02".to_vec()),
            Just(b"\x09\x82\xa4Algo\x00\xa3Buf".to_vec()),
        ];
        vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_ring_survives_any_packets(data in octets()) {
            packet(&data);
        }

        #[test]
        fn a_ring_survives_any_streams(data in octets()) {
            stream(&data);
        }
    }

    /// Heads that promise much, and what they promise again and again: each octet is looked at once, in whatever pieces it comes.
    #[test]
    fn work_and_memory_for_a_stream_grow_with_what_came() {
        let heads: [&[u8]; 6] = [
            b"\x06\xdf\xff\xff\xff\xff",
            b"\x06\xdf\x00\x40\x00\x00",
            b"\x06\x82\xa5Nodes\xcd\x3f\xff\xacUserStateLen\x00",
            b"\x08\xdd\x00\x3f\xff\xff",
            b"\x09\x82\xa4Algo\x00\xa3Buf\xdb\x00\x3f\xff\xff",
            b"\x0a\x00\x40\x00\x00",
        ];
        for head in heads {
            for filling in [&b"\xa0\xc0"[..], b"\x80", b"\xdb\x00\x00\x00\x10aaaaaaaaaaaaaaaa"] {
                for piece in [1, 7, 255] {
                    let mut data = vec![piece];
                    data.extend_from_slice(head);
                    data.extend(filling.iter().cycle().take(100_000));
                    stream(&data);
                }
            }
        }
    }

    proptest! {
        /// In a ring with a key nothing of a stream in the clear is kept beyond its first piece.
        #[test]
        fn a_stream_in_the_clear_is_refused_at_its_first_octet(first in any::<u8>()) {
            let key = Key::new(&[7; 32]).into();
            let envelope = Envelope::new("", Some(key), true, true).unwrap();
            let refused = Incoming::new(true).receive(&envelope, &[first]);
            match first {
                10 => assert_eq!(refused, Ok(None)),
                244 => assert_eq!(refused, Err(crate::DecodeError::Label)),
                _ => assert_eq!(refused, Err(crate::DecodeError::Plaintext)),
            }
        }
    }
}
