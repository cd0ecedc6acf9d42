// SPDX-License-Identifier: Apache-2.0
//! Captures, pcap and pcapng: the TCP segments in them that belong to BGP.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::data::{PacketData, get_packetdata};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

use crate::piece::Piece;
use crate::stream::{Segment, Streams};

const BGP_PORT: u16 = 179;
/// First octets of pcap, in either order of octets and with either unit of time, and of pcapng.
const MAGIC: [[u8; 4]; 5] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0x0a, 0x0d, 0x0d, 0x0a],
];
/// LINKTYPE_LINUX_SLL2 (tcpdump -i any) and its header.
const COOKED_V2: Linktype = Linktype(276);
const COOKED_V2_HEADER: usize = 20;

/// Whether it begins as a capture does.
pub(crate) fn is_capture(octets: &[u8]) -> bool {
    octets.first_chunk().is_some_and(|first| MAGIC.contains(first))
}

/// The pieces of every connection with port 179 at one end.
pub(crate) fn pieces(octets: &[u8]) -> Result<Vec<Piece>, String> {
    let mut reader = create_reader(octets.len().max(65_536), octets)
        .map_err(|_| "not readable as a capture".to_owned())?;
    let mut links = BTreeMap::new();
    let mut streams = Streams::default();
    let mut number = 0;
    let mut refilled = false;
    loop {
        let (length, packet) = match reader.next() {
            Ok((length, block)) => (length, note(&block, &mut links, &mut number)),
            Err(PcapError::Eof) => break,
            // Only then it looks whether there is more.
            Err(PcapError::Incomplete(_)) if !refilled => {
                reader
                    .refill()
                    .map_err(|_| format!("packet {}: the file ends in it", number + 1))?;
                refilled = true;
                continue;
            }
            Err(PcapError::Incomplete(_) | PcapError::UnexpectedEof) => {
                return Err(format!("packet {}: the file ends in it", number + 1));
            }
            Err(_) => return Err(format!("packet {}: not formed as in a capture", number + 1)),
        };
        refilled = false;
        if let Some((address, segment)) = packet {
            streams.add(address, segment);
        }
        reader.consume(length);
    }
    Ok(streams.pieces())
}

type Found = ((SocketAddr, SocketAddr), Segment);

/// Remembers what an interface is, or reads a packet of one.
fn note(
    block: &PcapBlockOwned<'_>,
    links: &mut BTreeMap<u32, Linktype>,
    number: &mut usize,
) -> Option<Found> {
    let (interface, data, length) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            links.insert(0, header.network);
            return None;
        }
        PcapBlockOwned::Legacy(packet) => (0, packet.data, packet.caplen),
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            links.clear();
            return None;
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            let next = u32::try_from(links.len()).unwrap_or(u32::MAX);
            links.insert(next, interface.linktype);
            return None;
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            (packet.if_id, packet.data, packet.caplen)
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => (0, packet.data, packet.origlen),
        PcapBlockOwned::NG(_) => return None,
    };
    *number += 1;
    let data = data.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(data);
    segment(*links.get(&interface)?, data)
}

/// The TCP segment in a packet, if it is one of BGP.
fn segment(link: Linktype, data: &[u8]) -> Option<Found> {
    let packet = if link == COOKED_V2 {
        LaxSlicedPacket::from_ip(data.get(COOKED_V2_HEADER..)?).ok()?
    } else {
        match get_packetdata(data, link, data.len())? {
            PacketData::L2(frame) => LaxSlicedPacket::from_ethernet(frame).ok()?,
            PacketData::L3(_, packet) => LaxSlicedPacket::from_ip(packet).ok()?,
            PacketData::L4(..) | PacketData::Unsupported(_) => return None,
        }
    };
    let (source, destination): (IpAddr, IpAddr) = match packet.net? {
        LaxNetSlice::Ipv4(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        LaxNetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let TransportSlice::Tcp(tcp) = packet.transport? else { return None };
    let ports = (tcp.source_port(), tcp.destination_port());
    (ports.0 == BGP_PORT || ports.1 == BGP_PORT).then(|| {
        let segment = Segment {
            begins: tcp.syn(),
            sequence: tcp.sequence_number(),
            octets: tcp.payload().to_vec(),
        };
        ((SocketAddr::new(source, ports.0), SocketAddr::new(destination, ports.1)), segment)
    })
}
