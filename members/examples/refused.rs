// SPDX-License-Identifier: Apache-2.0
//! What it costs to refuse what a stranger sends: `refused CASE COUNT` refuses so many inputs of a kind. The instructions of one are the
//! difference of two counts, by `scripts/refused.sh`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement, which fails by panicking"
)]

use std::hint::black_box;

use members::net::Seal;
use members::{Envelope, Incoming, Key, Keyring};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (case, count) = (arguments.next().unwrap(), arguments.next().unwrap());
    let count: usize = count.parse().unwrap();
    let key = Keyring::from(Key::new(&[7; 32]));
    let keys = Keyring::new(Key::new(&[7; 32]), [Key::new(&[8; 32]), Key::new(&[9; 32])]);
    let [sealed, changing] =
        [key.clone(), keys].map(|keys| Envelope::new("", Some(keys), true, true).unwrap());
    let garbage = |length: usize| [&[1][..], &vec![0xa5; length - 1]].concat();
    match &*case {
        "datagram-200" => datagrams(&sealed, &garbage(200), count),
        "datagram-1400" => datagrams(&sealed, &garbage(1_400), count),
        "datagram-200-three-keys" => datagrams(&changing, &garbage(200), count),
        "datagram-of-no-kind" => datagrams(&sealed, &[0x42; 200], count),
        "heartbeat-200" => heartbeats(key, count),
        "stream-in-the-clear" => {
            for _ in 0..count {
                let refused = Incoming::new(true).receive(&sealed, black_box(b"\x06"));
                assert!(black_box(refused).is_err());
            }
        }
        // By the octet, in pieces of one segment.
        "octet-of-a-sealed-stream" => stream(&sealed, b"\x0a\x00\x3f\x00\x00", 0xa5, count),
        "octet-of-a-stream-without-a-key" => {
            stream(&Envelope::default(), b"\x08\xdd\x00\x3f\xff\xff", 0xc0, count);
        }
        other => panic!("{other} is no case"),
    }
}

fn datagrams(envelope: &Envelope, datagram: &[u8], count: usize) {
    for _ in 0..count {
        let mut octets = datagram.to_vec();
        assert!(envelope.open_packet(black_box(&mut octets)).is_err());
    }
}

fn heartbeats(key: Keyring, count: usize) {
    let seal =
        Seal { key: Some(key), label: String::new(), verify_incoming: true, verify_outgoing: true };
    let datagram = [&[0xf7, 1, 1][..], &[0xa5; 197]].concat();
    for _ in 0..count {
        let mut octets = datagram.clone();
        assert!(seal.open(black_box(&mut octets)).is_err());
    }
}

fn stream(envelope: &Envelope, head: &[u8], filling: u8, octets: usize) {
    let mut incoming = Incoming::new(true);
    assert!(incoming.receive(envelope, head).unwrap().is_none());
    let piece = [filling; 1_448];
    let mut left = octets;
    while left > 0 {
        let now = left.min(piece.len());
        assert!(black_box(incoming.receive(envelope, &piece[..now])).unwrap().is_none());
        left -= now;
    }
}
