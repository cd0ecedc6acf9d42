// SPDX-License-Identifier: Apache-2.0
//! The events that a peer takes, and what it wants done for them.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::adj_rib_out::NextHops;
use crate::config::Config;
use crate::route::{Attributes, Routes};
use crate::session::Direction;
use crate::status::{Down, Negotiated, Stop};

/// An input of a peer.
#[derive(Debug)]
pub enum Event<'a> {
    /// Begin.
    Start,
    /// End every connection and do nothing more.
    Stop(Stop),
    /// TCP connected.
    Connected {
        /// The side that opened the connection.
        direction: Direction,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
        /// Addresses for next hops on the interface that it goes over.
        next_hops: NextHops,
    },
    /// TCP could not connect, or the connection ended; without a text the peer closed it.
    Disconnected {
        /// Which.
        direction: Direction,
        /// The error.
        error: Option<String>,
    },
    /// TCP did not take what [`super::Peer::transmit`] gave: the connection has ended.
    Unsent {
        /// Which.
        direction: Direction,
        /// The error.
        error: String,
    },
    /// Our attempt to connect found no way to the peer: it is asked again soon, however often that was in vain.
    Unreachable {
        /// The error.
        error: String,
    },
    /// Octets came.
    Received {
        /// On which connection.
        direction: Direction,
        /// The octets.
        octets: &'a [u8],
    },
    /// So many of the octets of [`super::Peer::transmit`] were taken.
    Written {
        /// On which connection.
        direction: Direction,
        /// How many.
        count: usize,
    },
    /// The time of [`super::Peer::deadline`] has come.
    Timer,
    /// From now the peer shall have this.
    Routes(Arc<Routes>),
    /// From now it shall have these, and of those with `None` nothing.
    Changes(Vec<(IpNet, Option<Arc<Attributes>>)>),
    /// From now the session is to be like this.
    Configure(Arc<Config>),
    /// The routes are complete: End-of-RIB may be sent. Before `Start` it says that this is no restart.
    InitialSyncDone,
    /// BFD says that the path works, the link is back, or the peer was heard: an attempt is worth while, and one that began
    /// before that is begun anew.
    Reachable,
    /// BFD says that it does not.
    BfdDown,
    /// Announce GRACEFUL_SHUTDOWN, or no longer.
    Drain(bool),
    /// Addresses on the interface towards the peer have changed.
    NextHops(NextHops),
    /// What keeps the shell from connecting or listening, or that nothing does.
    Problem {
        /// From which of both.
        hindrance: Hindrance,
        /// What; `None`: nothing any more.
        text: Option<String>,
    },
    /// The neighbour of an unnumbered peer, which the session runs with, has moved to this address.
    Moved(Ipv6Addr),
}

/// What a problem keeps the shell from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Connecting.
    Connecting,
    /// Listening.
    Listening,
}

/// What is to be done for a peer.
#[derive(Debug)]
pub enum Output {
    /// Connect to it, and give up an attempt that still runs.
    Connect,
    /// Write these octets if they are taken at once, then close the connection.
    Close {
        /// Which.
        direction: Direction,
        /// The last octets.
        octets: Vec<u8>,
    },
    /// The session is up.
    Established(Arc<Negotiated>),
    /// A session or an attempt ended.
    Down(Down),
}
