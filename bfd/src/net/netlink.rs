// SPDX-License-Identifier: Apache-2.0
//! Single questions to the kernel by rtnetlink(7), answered on the calling thread: the route to an address and the link-layer
//! address of a neighbour.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

/// More than any single answer.
const BUFFER: usize = 16 * 1024;

/// The route that a packet to `peer` takes.
pub(super) fn route(
    peer: IpAddr,
    source: Option<IpAddr>,
    interface: Option<u32>,
) -> io::Result<RouteMessage> {
    let mut request = RouteMessage::default();
    request.header.address_family = family(peer);
    request.header.destination_prefix_length = bits(peer);
    request.attributes.push(RouteAttribute::Destination(peer.into()));
    if let Some(source) = source {
        request.header.source_prefix_length = bits(source);
        request.attributes.push(RouteAttribute::Source(source.into()));
    }
    request.attributes.extend(interface.map(RouteAttribute::Oif));
    match ask(RouteNetlinkMessage::GetRoute(request))? {
        RouteNetlinkMessage::NewRoute(route) => Ok(route),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The link-layer address of a neighbour that is known at present.
pub(super) fn neighbour(link: u32, address: IpAddr) -> io::Result<[u8; 6]> {
    let mut request = NeighbourMessage::default();
    request.header.family = family(address);
    request.header.ifindex = link;
    request.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    let RouteNetlinkMessage::NewNeighbour(entry) = ask(RouteNetlinkMessage::GetNeighbour(request))?
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if matches!(entry.header.state, NeighbourState::Incomplete | NeighbourState::Failed) {
        return Err(io::ErrorKind::NotFound.into());
    }
    entry
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(octets) => octets.as_slice().try_into().ok(),
            _ => None,
        })
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn ask(request: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = 1;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    socket.send_to(&octets, &SocketAddr::new(0, 0), 0)?;
    let mut buffer = Vec::with_capacity(BUFFER);
    // The kernel has put the answer into the socket before the request returned.
    socket.recv_from(&mut buffer, libc::MSG_DONTWAIT)?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&buffer)
        .map_err(|error| io::Error::other(error.to_string()))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(message) => Ok(message),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}
