// SPDX-License-Identifier: Apache-2.0
//! Octets that HashiCorp's memberlist 0.5.4 wrote, both ways: recorded by tcpdump between two members of `e2e/ring`, `a` on
//! 127.0.0.1 and `b` on 127.0.0.2, port 17946. The first set is without compression, the second with it, the third also with the
//! key of the secret `abcdefghijklmnopqrstuv` and the label `ring-one`.

use std::net::{IpAddr, Ipv4Addr};

use hex_literal::hex;

const PUSH_PULL_JOIN: [u8; 92] = hex!(
    "0683a44a6f696ec3a54e6f64657301ac5573657253746174654c656e0087a441646472a47f000002ab496e6361726e617469"
    "6f6e01a44d657461c0a44e616d65a162a4506f7274cd461aa5537461746500a356736ea6010502000000"
);
const PUSH_PULL_ANSWER: [u8; 94] = hex!(
    "0683a44a6f696ec3a54e6f64657301ac5573657253746174654c656e0087a441646472a47f000001ab496e6361726e617469"
    "6f6e01a44d657461a2cafea44e616d65a161a4506f7274cd461aa5537461746500a356736ea6010502000000"
);
const TWO_ALIVE: [u8; 127] = hex!(
    "0c9ab991910702003b00390486a441646472a47f000001ab496e6361726e6174696f6e01a44d657461a2cafea44e6f6465a1"
    "61a4506f7274cd461aa356736ea60105020000000486a441646472a47f000002ab496e6361726e6174696f6e01a44d657461"
    "c0a44e6f6465a162a4506f7274cd461aa356736ea6010502000000"
);
const PING: [u8; 59] = hex!(
    "0085a44e6f6465a162a55365714e6f01aa536f7572636541646472a47f000001aa536f757263654e6f6465a161aa536f7572"
    "6365506f7274cd461a"
);
const ACK: [u8; 18] = hex!("0282a75061796c6f6164c0a55365714e6f01");
const ALIVE_META: [u8; 64] = hex!(
    "0c783436980486a441646472a47f000001ab496e6361726e6174696f6e02a44d657461a20102a44e6f6465a161a4506f7274"
    "cd461aa356736ea6010502000000"
);
const LEFT: [u8; 34] = hex!("0ca41fe1e40583a446726f6da161ab496e6361726e6174696f6e02a44e6f6465a161");
const PING_AND_LEFT: [u8; 94] = hex!(
    "0702003b001d0085a44e6f6465a162a55365714e6f03aa536f7572636541646472a47f000001aa536f757263654e6f6465a1"
    "61aa536f75726365506f7274cd461a0583a446726f6da161ab496e6361726e6174696f6e02a44e6f6465a161"
);
const COMPRESSED_JOIN: [u8; 116] = hex!(
    "0982a4416c676f00a3427566da0065000d0c22a5e44d1a37c34a397943a6cc9c00acaacc2923670a9d3074ca3029e306c021"
    "5241c8909143ea0f00000256257133268c1c3718d3bc7113805493321781917212a64d99506248417923874e33231a4a59c4"
    "5806c0282b73dc980a5040c049000101"
);
const COMPRESSED_ANSWER: [u8; 118] = hex!(
    "0982a4416c676f00a3427566da0067000d0c22a5e44d1a37c34a397943a6cc9c00acaacc2923670a9d3074ca3029e306c021"
    "5241c8909143ea0f00000156257133268c1c3718d3bc711380549332174529f347ca4998366542852105e58d1c3acd8c6828"
    "6511631900a3accc71632a40010127010404"
);
const LABEL: [u8; 10] = hex!("f40872696e672d6f6e65");
const ENCRYPTED_JOIN: [u8; 150] = hex!(
    "0a0000009101356d519fbf379334aa0a6981c3a500c9decfbe957f6be5868f11bc095ced8f741d67b776afb7dace7cff6275"
    "6d7d831129b2425b0fff8a184770efc0254f8a4a78cde4ab9b36cad8c5f6c203fa8b6be84cc3f5997f27f7a7f89c5c97d7f2"
    "bf726cd9f27bae06a3d4dc4d7dd86c29b67adf946eba7cf2e4b1ef0b5bb819e2eecdc075fbe484ac18ac545e091b462e4692"
);
const ENCRYPTED_ANSWER: [u8; 152] = hex!(
    "0a00000093016431154db618a33ce4902319e3594130d3b70d234ce9c3474a80667574fbe50bb35f08cb847a520b55a05fc3"
    "5c7e0e48f944f208f6ad1111538f45996070b485eff52db58392a9a97eee83374de823f6fb43c4dbe192459a7de93119d690"
    "e5cb3f9e3b580f448d94af74bd7518e4b46129ed0aae0d407d6f51861c8447eb617c67ce9d455be722141deb071d6bd2b2e2"
    "f33a"
);
const ENCRYPTED_TWO_ALIVE: [u8; 166] = hex!(
    "f40872696e672d6f6e6501cca48ff1feb1c8d37e9e3d9194cc407a4a28a0ce1e25edd9a1aa292f5040fb12bce8abdc4746a4"
    "19d9139bc4df41a65ef776e58c92b06f3f641779a6e7a31bddc7794ce9920bb21285db26ca038a7d0b3b5a14884b51375141"
    "29cf6a444df9b56a3c8a3f96427e93c35d0ede3aa3f264685ac2e952d18cf971fea4d56e63c9284e2785797505c88475a69b"
    "2151d457163ff820dd024c61ce829a2b"
);
const ENCRYPTED_ACK: [u8; 57] = hex!(
    "f40872696e672d6f6e65018d134c8d7c4365032e70210ef92248c7f1770ee75c75790b892a743fd36c4fe96de1894c8368ff"
    "90103372a0699f"
);

use super::super::envelope::Envelope;
use super::super::error::DecodeError;
use super::super::message::{Accusation, Alive, Message, Ping, Source, Versions};
use super::super::push_pull::{self, Head, NodeState, State};
use super::super::stream::{self, Incoming, StreamMessage};
use super::super::{compression, packet};
use crate::Key;

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const PORT: u16 = 17946;
const VERSIONS: Versions = Versions {
    minimum: 1,
    maximum: 5,
    current: 2,
    delegate_minimum: 0,
    delegate_maximum: 0,
    delegate_current: 0,
};

fn alive<'a>(node: &'a str, address: IpAddr, incarnation: u32, meta: &'a [u8]) -> Alive<'a> {
    Alive { incarnation, node, address, port: PORT, meta, versions: Some(VERSIONS) }
}

fn ping() -> Message<'static> {
    let source = Source { address: Some((A, PORT).into()), node: "a" };
    Message::Ping(Ping { sequence: 1, node: "b", source })
}

fn state<'a>(name: &'a str, address: IpAddr, meta: &'a [u8]) -> NodeState<'a> {
    NodeState {
        name,
        address: Some(address),
        port: PORT,
        meta,
        incarnation: 1,
        state: State::Alive,
        versions: Some(VERSIONS),
    }
}

fn envelope(label: &str) -> Envelope {
    let key = Key::from_secret(b"abcdefghijklmnopqrstuv");
    Envelope::new(label, Some(key.into()), true, true).unwrap()
}

/// The packet is read as these messages, and they are written as the packet.
fn is(packet: &[u8], messages: &[Message<'_>], with_crc: bool) {
    let mut count = 0;
    packet::decode(packet, &mut |message| {
        assert_eq!(messages.get(count), Some(&message));
        count += 1;
    })
    .unwrap();
    assert_eq!(count, messages.len());
    let encoded: Vec<Vec<u8>> = messages.iter().map(Message::encode).collect();
    assert_eq!(packet::encode(&encoded, false, with_crc), packet);
}

fn received(envelope: &Envelope, labelled: bool, octets: &[u8]) -> Vec<u8> {
    let mut incoming = Incoming::new(labelled);
    for (at, octet) in octets.iter().enumerate() {
        if let Some(message) = incoming.receive(envelope, &[*octet]).unwrap() {
            assert_eq!(at + 1, octets.len(), "it ends where it ends");
            return message;
        }
    }
    panic!("it does not end");
}

fn is_push_pull(message: &[u8], join: bool, node: &NodeState<'_>) {
    let StreamMessage::PushPull(body) = StreamMessage::decode(message).unwrap() else {
        panic!("not a push/pull");
    };
    let (head, nodes) = push_pull::decode(&body).unwrap();
    assert_eq!(head, Head { nodes: 1, user_state: 0, join });
    assert!(nodes.map(Result::unwrap).eq([node.clone()]));
}

#[test]
fn packets_are_read_and_written_as_the_library_does() {
    let joined =
        [Message::Alive(alive("a", A, 1, &[0xca, 0xfe])), Message::Alive(alive("b", B, 1, &[]))];
    is(&TWO_ALIVE, &joined, true);
    is(&PING, &[ping()], false);
    is(&ACK, &[Message::Ack { sequence: 1 }], false);
    is(&ALIVE_META, &[Message::Alive(alive("a", A, 2, &[1, 2]))], true);
    let left = Message::Dead(Accusation { incarnation: 2, node: "a", from: "a" });
    is(&LEFT, std::slice::from_ref(&left), true);
    let ping = Message::Ping(Ping {
        sequence: 3,
        node: "b",
        source: Source { address: Some((A, PORT).into()), node: "a" },
    });
    is(&PING_AND_LEFT, &[ping, left], false);
}

#[test]
fn a_damaged_packet_is_refused_by_its_checksum() {
    let mut damaged = ALIVE_META;
    damaged[40] ^= 1;
    assert_eq!(packet::decode(&damaged, &mut |_| panic!()), Err(DecodeError::Checksum));
}

#[test]
fn streams_are_read_and_written_as_the_library_does() {
    let (a, b) = (state("a", A, &[0xca, 0xfe]), state("b", B, &[]));
    let plain = Envelope::default();
    for (octets, compressed, join, node) in [
        (PUSH_PULL_JOIN.as_slice(), COMPRESSED_JOIN.as_slice(), true, &b),
        (&PUSH_PULL_ANSWER, &COMPRESSED_ANSWER, true, &a),
    ] {
        let encoded = push_pull::encode(join, 1, [node.clone()].into_iter());
        assert_eq!(encoded, octets);
        assert_eq!(stream::encode(encoded, true), compressed);
        is_push_pull(&received(&plain, true, octets), join, node);
        is_push_pull(&received(&plain, false, compressed), join, node);
    }
}

#[test]
fn encrypted_packets_and_streams_of_the_library_are_opened() {
    let envelope = envelope("ring-one");
    assert_eq!(envelope.label_head(), LABEL);
    let mut datagram = ENCRYPTED_TWO_ALIVE;
    assert_eq!(envelope.open_packet(&mut datagram), Ok(TWO_ALIVE.as_slice()));
    let mut datagram = ENCRYPTED_ACK;
    assert_eq!(envelope.open_packet(&mut datagram), Ok(ACK.as_slice()));
    let joining = [LABEL.as_slice(), &ENCRYPTED_JOIN].concat();
    is_push_pull(&received(&envelope, true, &joining), true, &state("b", B, &[]));
    let answer = received(&envelope, false, &ENCRYPTED_ANSWER);
    is_push_pull(&answer, true, &state("a", A, &[0xca, 0xfe]));
    // The nonce of the recording gives the recording.
    let nonce = <[u8; 12]>::try_from(&ENCRYPTED_ACK[11..23]).unwrap();
    assert_eq!(envelope.seal_packet(nonce, &ACK), ENCRYPTED_ACK);
    let nonce = <[u8; 12]>::try_from(&ENCRYPTED_JOIN[6..18]).unwrap();
    assert_eq!(envelope.seal_stream(nonce, COMPRESSED_JOIN.to_vec()), ENCRYPTED_JOIN);
}

#[test]
fn another_label_or_key_is_refused_and_so_is_plaintext() {
    let wrong_label = envelope("ring-two");
    assert_eq!(wrong_label.open_packet(&mut ENCRYPTED_ACK.clone()), Err(DecodeError::Label));
    assert_eq!(wrong_label.open_packet(&mut ACK.clone()), Err(DecodeError::Label));
    let none = envelope("");
    assert_eq!(none.open_packet(&mut ENCRYPTED_ACK.clone()), Err(DecodeError::Label));
    assert_eq!(none.open_packet(&mut ACK.clone()), Err(DecodeError::Decryption));
    assert_eq!(none.open_stream(&mut PUSH_PULL_JOIN.clone()), Err(DecodeError::Plaintext));
    let other = Envelope::new("ring-one", Some(Key::new(&[1; 32]).into()), true, true).unwrap();
    assert_eq!(other.open_packet(&mut ENCRYPTED_ACK.clone()), Err(DecodeError::Decryption));
    assert_eq!(other.open_stream(&mut ENCRYPTED_JOIN.clone()), Err(DecodeError::Decryption));
    let keyless = Envelope::new("ring-one", None, true, true).unwrap();
    assert_eq!(keyless.open_stream(&mut ENCRYPTED_JOIN.clone()), Err(DecodeError::NoKey));
}

#[test]
fn without_verification_both_plaintext_and_ciphertext_are_taken() {
    let key = Key::from_secret(b"abcdefghijklmnopqrstuv");
    let lenient = Envelope::new("ring-one", Some(key.into()), false, false).unwrap();
    assert_eq!(lenient.open_packet(&mut ENCRYPTED_ACK.clone()), Ok(ACK.as_slice()));
    let mut plain = [LABEL.as_slice(), &ACK].concat();
    assert_eq!(lenient.seal_packet([0; 12], &ACK), plain);
    assert_eq!(lenient.open_packet(&mut plain), Ok(ACK.as_slice()));
    assert_eq!(lenient.open_stream(&mut PUSH_PULL_JOIN.clone()), Ok(PUSH_PULL_JOIN.as_slice()));
}

#[test]
fn version_zero_with_padding_is_read() {
    let key = Key::from_secret(b"abcdefghijklmnopqrstuv");
    let envelope = envelope("");
    let mut padded = ACK.to_vec();
    padded.extend([14; 14]);
    key.seal([5; 12], b"", &mut padded);
    let mut datagram = [&[0], [5; 12].as_slice(), &padded].concat();
    assert_eq!(envelope.open_packet(&mut datagram), Ok(ACK.as_slice()));
    // A padding longer than the content.
    let mut wrong = vec![2; 1];
    key.seal([6; 12], b"", &mut wrong);
    let mut datagram = [&[0], [6; 12].as_slice(), &wrong].concat();
    assert_eq!(envelope.open_packet(&mut datagram), Err(DecodeError::Value));
}

#[test]
fn what_decompresses_to_too_much_is_refused() {
    let bomb = compression::compress(&vec![0; 1 << 20]).unwrap();
    assert_eq!(compression::decompress(&bomb[1..], 1 << 20).map(|all| all.len()), Ok(1 << 20));
    assert_eq!(compression::decompress(&bomb[1..], 1 << 19), Err(DecodeError::Length));
    assert_eq!(packet::decode(&bomb, &mut |_| panic!()), Err(DecodeError::Length));
    let nested = compression::compress(&bomb).unwrap();
    assert_eq!(packet::decode(&nested, &mut |_| panic!()), Err(DecodeError::Nested));
    assert_eq!(
        compression::decompress(
            &[0x82, 0xa4, b'A', b'l', b'g', b'o', 1, 0xa3, b'B', b'u', b'f', 0xc0],
            9
        ),
        Err(DecodeError::Compression)
    );
}
