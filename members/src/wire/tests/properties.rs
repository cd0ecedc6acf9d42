// SPDX-License-Identifier: Apache-2.0
//! What is written is read as it was, and no octets are too strange.

use std::net::{IpAddr, SocketAddr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::envelope::Envelope;
use super::super::message::{Accusation, Alive, IndirectPing, Message, Ping, Source, Versions};
use super::super::push_pull::{self, NodeState, State};
use super::super::stream::{self, Incoming, StreamMessage};
use super::super::{META, compression, packet};
use crate::Key;

const NAME: &str = "[a-z0-9.-]{1,60}";

fn versions() -> impl Strategy<Value = Option<Versions>> {
    option::of(any::<[u8; 6]>().prop_map(|octets| Versions::decode(&octets).unwrap().unwrap()))
}

fn both_ways(message: &Message<'_>) -> Result<(), TestCaseError> {
    let octets = message.encode();
    prop_assert_eq!(&Message::decode(&octets).unwrap(), message);
    for end in 0..octets.len() {
        prop_assert!(Message::decode(&octets[..end]).is_err(), "a part is not taken for the whole");
    }
    Ok(())
}

proptest! {
    #[test]
    fn messages_are_read_as_they_were_written(
        sequence: u32,
        incarnation: u32,
        node in NAME,
        from in NAME,
        addresses: [IpAddr; 2],
        port: u16,
        source_port in 1_u16..,
        meta in vec(any::<u8>(), 0..META),
        versions in versions(),
        nack: bool,
    ) {
        let (node, from) = (node.as_str(), from.as_str());
        let [address, of_source] = addresses;
        let address_of_source = Some(SocketAddr::new(of_source, source_port));
        for source in [Source::default(), Source { address: address_of_source, node: from }] {
            both_ways(&Message::Ping(Ping { sequence, node, source }))?;
            let target = address;
            both_ways(&Message::IndirectPing(IndirectPing { sequence, target, port, node, nack, source }))?;
        }
        both_ways(&Message::Ack { sequence })?;
        both_ways(&Message::Nack { sequence })?;
        both_ways(&Message::Suspect(Accusation { incarnation, node, from }))?;
        both_ways(&Message::Dead(Accusation { incarnation, node, from }))?;
        both_ways(&Message::Alive(Alive { incarnation, node, address, port, meta: &meta, versions }))?;
    }

    #[test]
    fn packets_and_streams_survive_their_wrapping(
        sequences in vec(any::<u32>(), 1..300),
        compress: bool,
        crc: bool,
        label in "[a-z]{0,20}",
        encrypted: bool,
        nonce: [u8; 12],
        pieces in vec(1_usize..200, 1..20),
    ) {
        let key = encrypted.then(|| Key::new(&[9; 32]).into());
        let envelope = Envelope::new(&label, key, true, true).unwrap();
        let messages: Vec<Vec<u8>> =
            sequences.iter().map(|sequence| Message::Nack { sequence: *sequence }.encode()).collect();
        let packet = packet::encode(&messages, compress, crc);
        let mut datagram = envelope.seal_packet(nonce, &packet);
        prop_assert_eq!(datagram.len(), packet.len() + envelope.overhead());
        let mut read = Vec::new();
        packet::decode(envelope.open_packet(&mut datagram).unwrap(), &mut |message| match message {
            Message::Nack { sequence } => read.push(sequence),
            other => panic!("{other:?}"),
        }).unwrap();
        prop_assert_eq!(&read[..], &sequences[..sequences.len().min(255)]);

        let names: Vec<String> = sequences.iter().map(ToString::to_string).collect();
        let node = |name| NodeState {
            name, address: None, port: 1, meta: &[7], incarnation: 2, state: State::Dead, versions: None,
        };
        let nodes = names.iter().map(|name| node(name));
        let message = stream::encode(push_pull::encode(false, names.len(), nodes), compress);
        let mut octets = envelope.label_head();
        octets.extend(envelope.seal_stream(nonce, message));
        let mut incoming = Incoming::new(true);
        let mut rest = octets.as_slice();
        let message = pieces.iter().cycle().find_map(|piece| {
            let (now, later) = rest.split_at(rest.len().min(*piece));
            assert!(!now.is_empty(), "it ends");
            rest = later;
            incoming.receive(&envelope, now).unwrap()
        });
        let StreamMessage::PushPull(body) = StreamMessage::decode(&message.unwrap()).unwrap() else {
            panic!("another message");
        };
        let (head, nodes) = push_pull::decode(&body).unwrap();
        prop_assert_eq!(usize::try_from(head.nodes), Ok(names.len()));
        prop_assert!(nodes.map(Result::unwrap).eq(names.iter().map(|name| node(name))));
    }

    #[test]
    fn compression_is_undone(octets in vec(prop_oneof![Just(0), any::<u8>()], 0..20_000)) {
        let message = compression::compress(&octets).unwrap();
        prop_assert_eq!(compression::decompress(&message[1..], 20_000), Ok(octets));
    }
}
