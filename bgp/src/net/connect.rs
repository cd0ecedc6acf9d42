// SPDX-License-Identifier: Apache-2.0
//! Connecting to a peer: from where, how, and in words if it does not work.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::socket_options;
use crate::{Config, Remote};

/// Why there is no connection, as the status says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectError {
    /// The neighbour behind the interface was not heard yet.
    Unheard(String),
    /// This host cannot even try.
    Local(String),
    /// No packet found the way there and back.
    Unreachable(String),
    /// The peer or the network did not let us.
    Remote(String),
}

/// How long a neighbour may take to be heard; they advertise every few seconds.
const UNHEARD: Duration = Duration::from_secs(10);

impl ConnectError {
    /// What an administrator should look at, if it is that, after waiting for so long for the neighbour.
    pub(super) fn problem(&self, waited: Duration) -> Option<&str> {
        match self {
            Self::Local(text) => Some(text),
            Self::Unheard(text) if waited >= UNHEARD => Some(text),
            Self::Unheard(_) | Self::Unreachable(_) | Self::Remote(_) => None,
        }
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Self::Unheard(text)
            | Self::Local(text)
            | Self::Unreachable(text)
            | Self::Remote(text) => text,
        }
    }
}

/// What this host lacks.
impl From<String> for ConnectError {
    fn from(text: String) -> Self {
        Self::Local(text)
    }
}

/// Where to connect to.
pub(super) fn target(
    config: &Config,
    neighbour: Option<Ipv6Addr>,
) -> Result<SocketAddr, ConnectError> {
    match &config.remote {
        Remote::Address { address: IpAddr::V6(address), interface: Some(interface) } => {
            let scope = index(interface)?;
            Ok(SocketAddrV6::new(*address, config.port, 0, scope).into())
        }
        Remote::Address { address, .. } => Ok(SocketAddr::new(*address, config.port)),
        Remote::Interface(interface) => {
            let scope = index(interface)?;
            let address = neighbour.ok_or_else(|| {
                ConnectError::Unheard(format!("no router advertisement heard on {interface} yet"))
            })?;
            Ok(SocketAddrV6::new(address, config.port, 0, scope).into())
        }
    }
}

/// The index of an interface by its name.
pub(super) fn index(interface: &str) -> Result<u32, String> {
    nix::net::if_::if_nametoindex(interface)
        .map_err(|_| format!("there is no interface {interface}"))
}

/// Connects.
pub(super) async fn connect(
    config: std::sync::Arc<Config>,
    target: SocketAddr,
) -> Result<TcpStream, ConnectError> {
    let socket = prepare(&config, target)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(target).await.map_err(|error| {
        let text = format!("{target}: {error}");
        match error.kind() {
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::TimedOut => ConnectError::Unreachable(text),
            _ => ConnectError::Remote(text),
        }
    })
}

fn prepare(config: &Config, target: SocketAddr) -> Result<Socket, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))
        .map_err(failed("opening a socket"))?;
    if let Some(device) = &config.bind_interface {
        socket
            .bind_device(Some(device.as_bytes()))
            .map_err(|error| format!("binding to the interface {device}: {error}"))?;
    }
    if let Some(source) = config.source_address {
        let scope = match target {
            SocketAddr::V6(target) => target.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let source_socket: SocketAddr = match source {
            IpAddr::V4(source) => SocketAddr::new(source.into(), 0),
            IpAddr::V6(source) => SocketAddrV6::new(source, 0, 0, scope).into(),
        };
        socket.bind(&source_socket.into()).map_err(|error| {
            if error.kind() == io::ErrorKind::AddrNotAvailable {
                format!("the source address {source} is not on this host")
            } else {
                format!("binding to the source address {source}: {error}")
            }
        })?;
    }
    socket_options::prepare(&socket, config, target.is_ipv6()).map_err(failed("socket options"))?;
    if let Some(password) = &config.password {
        socket_options::set_md5(&socket, target.ip(), Some(password))
            .map_err(failed("setting the TCP MD5 key"))?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_that_was_not_heard_is_a_problem_only_after_a_while() {
        let unheard = ConnectError::Unheard("silence".to_owned());
        assert_eq!(unheard.problem(Duration::ZERO), None);
        assert_eq!(unheard.problem(UNHEARD), Some("silence"));
        assert_eq!(ConnectError::Local("no".to_owned()).problem(Duration::ZERO), Some("no"));
        assert_eq!(ConnectError::Remote("no".to_owned()).problem(UNHEARD), None);
    }
}
