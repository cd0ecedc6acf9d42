// SPDX-License-Identifier: Apache-2.0
//! The link behind an unnumbered peer: sends our router advertisements and hears the neighbour's (RFC 4861). One raw socket and
//! one task per interface.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use super::cell::now;
use super::{Inner, addresses, connect, socket_options};
use crate::advertiser::{
    ADVERTISEMENT, Advertiser, HOP_LIMIT, Heard, NEIGHBOR_ADVERTISEMENT, SOLICITATION,
    advertisement, neighbor_solicitation, read, solicitation, solicited_node,
};

/// When to try again where the interface is not there or not up.
const PAUSE: Duration = Duration::from_secs(1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The longest message that says something to us.
const LONGEST: usize = 1500;

/// A running link; dropping it ends the advertisements.
#[derive(Debug)]
pub(super) struct Link(JoinHandle<()>);

impl Link {
    pub(super) fn start(engine: Weak<Inner>, interface: Arc<str>, seed: u64) -> Self {
        Self(tokio::spawn(run(engine, interface, seed)))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(engine: Weak<Inner>, interface: Arc<str>, seed: u64) {
    let mut said = None;
    loop {
        let error = match Endpoint::open(&interface) {
            Ok(endpoint) => {
                said = None;
                endpoint.serve(&engine, &interface, seed).await
            }
            Err(error) => error,
        };
        if engine.strong_count() == 0 {
            return;
        }
        if said.as_ref() != Some(&error) {
            tracing::warn!(interface = &*interface, error, "router advertisements");
            said = Some(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

struct Endpoint {
    socket: AsyncFd<OwnedFd>,
    scope: u32,
}

impl Endpoint {
    fn open(interface: &str) -> Result<Self, String> {
        let scope = connect::index(interface)?;
        let open = || -> io::Result<AsyncFd<OwnedFd>> {
            let kind = Type::RAW.nonblocking().cloexec();
            let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
            socket_options::filter_icmpv6(
                &socket,
                [SOLICITATION, ADVERTISEMENT, NEIGHBOR_ADVERTISEMENT],
            )?;
            socket.bind_device(Some(interface.as_bytes()))?;
            socket.set_multicast_if_v6(scope)?;
            socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
            socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_recv_hoplimit_v6(true)?;
            socket.join_multicast_v6(&ALL_ROUTERS, scope)?;
            socket_options::watch(OwnedFd::from(socket))
        };
        let socket = open().map_err(|error| format!("ICMPv6 socket: {error}"))?;
        Ok(Self { socket, scope })
    }

    /// Until something fails; returns what.
    async fn serve(&self, engine: &Weak<Inner>, interface: &str, seed: u64) -> String {
        let mut advertiser = Advertiser::new(now(), seed);
        // A neighbour that is there already need not wait for its own schedule; nobody hearing it is no failure.
        let _ = self.send(&solicitation(addresses::link(interface).0), ALL_ROUTERS);
        loop {
            tokio::select! {
                biased;
                heard = self.receive() => match heard {
                    Ok((Heard::Advertisement, source)) => match engine.upgrade() {
                        Some(engine) => {
                            for address in engine.heard(interface, source) {
                                let asked = neighbor_solicitation(address, addresses::link(interface).0);
                                // One that cannot be asked does not answer.
                                let _ = self.send(&asked, solicited_node(address));
                            }
                        }
                        None => return "stopped".to_owned(),
                    },
                    Ok((Heard::Neighbor(address), _)) => match engine.upgrade() {
                        Some(engine) => engine.answered(interface, address),
                        None => return "stopped".to_owned(),
                    },
                    Ok((Heard::Solicitation, _)) => advertiser.solicited(now()),
                    Err(error) => return format!("receiving: {error}"),
                },
                () = tokio::time::sleep_until(advertiser.deadline().into()) => {
                    let (link_layer, link_local) = addresses::link(interface);
                    // Before the link has its address there is nothing to advertise from.
                    if link_local.is_some()
                        && let Err(error) = self.send(&advertisement(link_layer), ALL_NODES)
                    {
                        return format!("sending: {error}");
                    }
                    advertiser.sent(now());
                    if link_local.is_none() {
                        return "the interface has no link-local address".to_owned();
                    }
                }
            }
        }
    }

    fn send(&self, octets: &[u8], to: Ipv6Addr) -> io::Result<()> {
        let to = SocketAddrV6::new(to, 0, 0, self.scope);
        socket2::SockRef::from(self.socket.get_ref()).send_to(octets, &to.into()).map(drop)
    }

    async fn receive(&self) -> io::Result<(Heard, Ipv6Addr)> {
        loop {
            let mut guard = self.socket.readable().await?;
            match guard.try_io(|socket| message(socket.get_ref())) {
                Ok(Ok(Some(heard))) => return Ok(heard),
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

/// The next message; `None` for one that is not valid.
fn message(socket: &OwnedFd) -> io::Result<Option<(Heard, Ipv6Addr)>> {
    let mut buffer = [0; LONGEST];
    let mut control = nix::cmsg_space!(libc::c_int);
    let mut parts = [io::IoSliceMut::new(&mut buffer)];
    let received = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let hop_limit = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
        _ => None,
    });
    let (Some(source), Some(hop_limit)) = (received.address, hop_limit) else { return Ok(None) };
    let octets = received.bytes;
    let source = source.ip();
    let octets = buffer.get(..octets).unwrap_or_default();
    Ok(read(octets, source, hop_limit).map(|heard| (heard, source)))
}
