// SPDX-License-Identifier: Apache-2.0
//! The body of the fuzz target `members_heartbeat`, also run as a property test: octets as the datagrams, their seal opened, that a detector
//! receives. The function panics when a rule is broken. The daemon does not use it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::{Message, Stamp};
use super::{Detector, Options, Output};

/// The number of outputs that one datagram may cause in a ring of three, notices and a ping to all members included.
const EFFECT: usize = 64;

/// Datagrams one after the other. Each has its length in an octet (times four), and in another one the time that passes before it, and
/// whether its stamp is made new.
pub fn heartbeat(data: &[u8]) {
    let mut now = beginning();
    let mut detector = Detector::new("us".into(), Options::default(), 7, now);
    let peers = ["a", "b"].map(|name| (Arc::from(name), address(9)));
    detector.set_peers(now, peers);
    let (mut rest, mut counter) = (data, 0);
    while let [length, time, behind @ ..] = rest {
        let (octets, behind) =
            behind.split_at_checked(usize::from(*length) * 4).unwrap_or((behind, &[]));
        rest = behind;
        now += Duration::from_millis(u64::from(time / 2));
        if let Ok(message) = Message::decode(octets) {
            assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
            counter += 1;
            let message = if time % 2 == 0 {
                let stamp = Stamp { session: 1, counter };
                Message { stamp, echo: Some(Stamp { session: 7, counter }), ..message }
            } else {
                message
            };
            detector.handle(now, address(9), message);
        }
        detector.tick(now);
        let caused = std::iter::from_fn(|| detector.poll())
            .filter(|output| matches!(output, Output::Send { .. }))
            .count();
        assert!(caused <= EFFECT, "{caused} datagrams");
        assert!(detector.deadline() > now, "what is due was done");
    }
}

fn address(last: u8) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, last), 7946).into()
}

#[allow(clippy::disallowed_methods, reason = "any moment will do as the beginning of a history")]
fn beginning() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::heartbeat::wire::{Body, Mark, Opinion};

    #[test]
    fn messages_in_any_order() {
        let bodies = [
            Body::Heartbeat,
            Body::Probe,
            Body::PingAll,
            Body::Ask { about: "b".into() },
            Body::Report { about: "b".into(), silent_for: Some(3) },
            Body::Notice { id: 1, bytes: vec![1, 2, 3] },
        ];
        let mut data = Vec::new();
        for (number, body) in bodies.iter().cycle().take(400).enumerate() {
            let stamp = Stamp { session: 1, counter: 1 };
            let from = if number % 3 == 0 { "stranger" } else { "a" };
            let mark = Mark::default();
            let message = Message {
                from: from.into(),
                stamp,
                echo: None,
                view: Opinion::Alive,
                side: crate::quorum::Side::default(),
                mark,
                body: body.clone(),
            };
            let octets = message.encode();
            // The length counts in fours: the padding adds octets, which is a mistake of its own.
            data.push(u8::try_from(octets.len().div_ceil(4)).unwrap());
            data.push(u8::try_from(number * 7 % 256).unwrap());
            data.extend(&octets);
            data.resize(data.len().next_multiple_of(4), 0);
        }
        heartbeat(&data);
    }

    proptest! {
        #[test]
        fn any_octets(data in prop::collection::vec(any::<u8>(), 0..2_000)) {
            heartbeat(&data);
        }
    }
}
