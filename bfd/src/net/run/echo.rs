// SPDX-License-Identifier: Apache-2.0
//! Echo packets: ours on their way to the peer and back, and the peers' that are sent back.
//!
//! Over IPv6 they go as FRR 8.4 has them: to the peer's address with Hop Limit 255; a system that receives one with
//! 255 sends it back with 254, who receives one with 254 has his own. Only those of configured peers are sent back.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::{ECHO, PORTION, Runner};
use crate::net::echo_socket::{EchoSocket, Station, kernel_forwards};
use crate::net::receivers::{Port, ReceiverId};
use crate::net::{interface, ipv4, netlink, path};
use crate::{Event, Hops, Profile, SessionKey};

/// How IPv4 Echo packets reach the peer.
pub(super) struct EchoWay {
    local: std::net::Ipv4Addr,
    station: Station,
}

impl EchoWay {
    fn find(key: &SessionKey) -> io::Result<Self> {
        let path = path(key.peer, key.local, key.interface.as_deref()).map_err(io::Error::other)?;
        let Some(IpAddr::V4(local)) = path.local else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let address = netlink::neighbour(path.index, key.peer)?;
        Ok(Self { local, station: Station { index: path.index, address } })
    }
}

impl Runner {
    pub(super) fn send_echo(&mut self, discriminator: u32, octets: &[u8; 24]) -> io::Result<()> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let link = self.links.get_mut(&discriminator).ok_or_else(missing)?;
        if link.key.peer.is_ipv6() {
            let id = ReceiverId::of(&link.key, Port::Echo);
            let receiver = self.receivers.by_id(&id).ok_or_else(missing)?;
            let to = SocketAddr::new(link.key.peer, Port::Echo.number());
            return receiver.socket.send_to(octets, &to.into()).map(drop);
        }
        if link.echo.is_none() {
            link.echo = Some(EchoWay::find(&link.key)?);
        }
        let way = link.echo.as_ref().ok_or_else(missing)?;
        let socket = self.echo.as_ref().ok_or_else(missing)?;
        socket.send(way.station, &ipv4::emit(way.local, octets))
    }

    /// IPv4 Echo packets: ours that came back, and the peers'.
    pub(super) fn receive_echo(&mut self) {
        for _ in 0..PORTION {
            let Some(socket) = &self.echo else { return };
            let (length, station) = match socket.receive(&mut self.buffer) {
                Ok(Some(received)) => received,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "receiving Echo packets failed");
                    continue;
                }
            };
            let Some(octets) = self.buffer.get_mut(..length) else { continue };
            let Some(echo) = ipv4::parse(octets) else { continue };
            if echo.source != echo.destination {
                continue;
            }
            let source = IpAddr::V4(echo.source);
            if echo.ttl == 254 {
                self.table.handle(clock::now(), Event::Echo(echo.payload));
            } else if echo.ttl == 255
                && self.profiles.iter().any(|(key, profile)| has_echo(key, profile, source))
                && interface::name(station.index).is_some_and(|name| !kernel_forwards(&name))
            {
                ipv4::decrement_ttl(octets);
                if let Err(error) = socket.send(station, octets) {
                    tracing::debug!(%error, "a peer's Echo packet was not sent back");
                }
            }
        }
    }

    pub(super) fn wants_echo(&self, peer: IpAddr) -> bool {
        self.profiles.iter().any(|(key, profile)| has_echo(key, profile, peer))
    }

    pub(super) fn want_echo(&mut self, wanted: bool) {
        if !wanted {
            self.echo = None;
            self.echo_problem = None;
        } else if self.echo.is_none() {
            let opened = EchoSocket::open().and_then(|socket| {
                self.epoll.add(socket.descriptor(), ECHO)?;
                Ok(socket)
            });
            self.echo_problem = opened.as_ref().err().map(|error| {
                format!("echo mode needs a packet socket (CAP_NET_RAW): {error}").into()
            });
            self.echo = opened.ok();
        }
    }
}

pub(super) fn has_echo(key: &SessionKey, profile: &Profile, peer: IpAddr) -> bool {
    profile.echo_mode && key.hops == Hops::Single && key.peer == peer
}

pub(super) fn reflect(reflector: Option<&socket2::Socket>, to: SocketAddr, payload: &[u8]) {
    let Some(reflector) = reflector else { return };
    if let Err(error) = reflector.send_to(payload, &to.into()) {
        tracing::debug!(%error, "a peer's Echo packet was not sent back");
    }
}
