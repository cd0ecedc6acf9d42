// SPDX-License-Identifier: Apache-2.0
//! Listeners, one per port and interface, shared by peers. Only configured peers are let in; everybody else's connection is
//! closed at once. One task each.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::inner::Inner;
use super::socket_options;
use crate::Password;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// When to try again to listen, or after an error to accept.
const PAUSE: Duration = Duration::from_secs(5);

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) port: u16,
    pub(super) interface: Option<Arc<str>>,
}

/// Whom a listener is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Guests {
    pub(super) keys: BTreeMap<IpAddr, Password>,
    /// Some peer has GTSM.
    pub(super) ttl_security: bool,
    /// The least TTL that one of them may send with, if there is one.
    pub(super) least_ttl: Option<u8>,
}

/// A running listener.
#[derive(Debug)]
pub(super) struct Listener {
    guests: watch::Sender<Guests>,
    task: JoinHandle<()>,
}

impl Listener {
    pub(super) fn start(engine: Weak<Inner>, place: Place, guests: Guests) -> Self {
        let (guests, receiver) = watch::channel(guests);
        let task = tokio::spawn(run(engine, place, receiver));
        Self { guests, task }
    }

    pub(super) fn set_guests(&self, guests: Guests) {
        self.guests.send_if_modified(|old| {
            let differs = *old != guests;
            if differs {
                *old = guests;
            }
            differs
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The sockets of both families and the keys that they have.
struct Sockets {
    ipv4: Option<TcpListener>,
    ipv6: Option<TcpListener>,
    keyed: BTreeSet<IpAddr>,
}

async fn run(engine: Weak<Inner>, place: Place, mut guests: watch::Receiver<Guests>) {
    loop {
        let current = guests.borrow_and_update().clone();
        let opened = Sockets::open(&place, &current);
        let problem = opened
            .as_ref()
            .err()
            .map(|error| format!("cannot listen on port {}: {error}", place.port));
        match engine.upgrade() {
            Some(engine) => engine.listener_problem(&place, problem.as_deref()),
            None => return,
        }
        if let Ok(mut sockets) = opened {
            sockets.serve(&engine, &place, &mut guests).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Sockets {
    /// Keys and TTL are set before anybody can connect.
    fn open(place: &Place, guests: &Guests) -> io::Result<Self> {
        let ipv4 = bind(place, Ipv4Addr::UNSPECIFIED.into())?;
        // A host without IPv6 listens with IPv4 alone.
        let ipv6 = match bind(place, Ipv6Addr::UNSPECIFIED.into()) {
            Ok(socket) => Some(socket),
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(error) => return Err(error),
        };
        let mut keyed = BTreeSet::new();
        admit(Some(&ipv4), ipv6.as_ref(), &mut keyed, guests)?;
        let listen = |socket: Socket| {
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        };
        Ok(Self { ipv4: Some(listen(ipv4)?), ipv6: ipv6.map(listen).transpose()?, keyed })
    }

    /// Until accepting fails.
    async fn serve(
        &mut self,
        engine: &Weak<Inner>,
        place: &Place,
        guests: &mut watch::Receiver<Guests>,
    ) {
        loop {
            let accepted = tokio::select! {
                biased;
                changed = guests.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let current = guests.borrow_and_update().clone();
                    let (ipv4, ipv6) = (self.ipv4.as_ref(), self.ipv6.as_ref());
                    if let Err(error) = admit(ipv4, ipv6, &mut self.keyed, &current) {
                        tracing::warn!(port = place.port, %error, "keys and TTL of a listener");
                    }
                    continue;
                }
                accepted = accept(self.ipv4.as_ref()) => accepted,
                accepted = accept(self.ipv6.as_ref()) => accepted,
            };
            match accepted {
                Ok((stream, remote)) => match engine.upgrade() {
                    Some(engine) => engine.deliver(place, stream, remote),
                    None => return,
                },
                // The peer was gone again, or there are no descriptors left for now.
                Err(error) => {
                    tracing::debug!(port = place.port, %error, "accepting a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Sets the keys and TTLs of these guests and takes the keys of former ones away.
fn admit<S: AsFd>(
    ipv4: Option<&S>,
    ipv6: Option<&S>,
    keyed: &mut BTreeSet<IpAddr>,
    guests: &Guests,
) -> io::Result<()> {
    let set_key = |address: IpAddr, password: Option<&Password>| {
        let socket = if address.is_ipv4() { ipv4 } else { ipv6 };
        socket.map_or(Ok(()), |socket| socket_options::set_md5(socket, address, password))
    };
    let mut result = Ok(());
    let gone: Vec<IpAddr> =
        keyed.iter().filter(|one| !guests.keys.contains_key(*one)).copied().collect();
    for address in gone {
        result = result.and(set_key(address, None));
        keyed.remove(&address);
    }
    for (address, password) in &guests.keys {
        result = result.and(set_key(*address, Some(password)));
        keyed.insert(*address);
    }
    for (socket, is_ipv6) in [(ipv4, false), (ipv6, true)] {
        if let Some(socket) = socket {
            let least = guests.least_ttl.unwrap_or(0);
            let security = guests.ttl_security;
            result = result.and(socket_options::listener_ttl(socket, security, least, is_ipv6));
        }
    }
    result
}

fn bind(place: &Place, address: IpAddr) -> io::Result<Socket> {
    let address = SocketAddr::new(address, place.port);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Some(interface) = &place.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}
