// SPDX-License-Identifier: Apache-2.0
//! How a session stands, for statuses, metrics, events and logs. Values only; nothing here decides.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Families, Family, HoldTime, Role};

/// State of a session (RFC 4271 §8.2.2). Of the two connections of a peer the further one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Refuses connections: stopped, or waiting to try again.
    #[default]
    Idle,
    /// Waits for TCP to connect.
    Connect,
    /// Waits for the peer to connect.
    Active,
    /// Sent OPEN, waits for the peer's.
    OpenSent,
    /// Has the peer's OPEN, waits for its KEEPALIVE.
    OpenConfirm,
    /// Exchanges routes.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Everything about one peer.
#[derive(Clone, Debug)]
pub struct Status {
    /// [`crate::Config::name`].
    pub name: Arc<str>,
    /// The state.
    pub state: State,
    /// Since when it is in it.
    pub since: Instant,
    /// Why it was last not, or no longer, Established.
    pub last_down: Option<Down>,
    /// Why it was last no longer Established; attempts that failed since do not count.
    pub last_drop: Option<Down>,
    /// How often it was Established.
    pub established: u64,
    /// How often it left Established.
    pub dropped: u64,
    /// What was agreed on; only while Established.
    pub negotiated: Option<Arc<Negotiated>>,
    /// Our end of the connection, once there is one.
    pub local: Option<SocketAddr>,
    /// The peer's end; for an unnumbered peer, once it was heard.
    pub remote: Option<SocketAddr>,
    /// What was sent and received since the process started.
    pub counters: Counters,
    /// Prefixes that the peer shall have, of the families that it is offered.
    pub desired_prefixes: usize,
    /// Prefixes that the peer was told of.
    pub announced_prefixes: usize,
    /// Prefixes whose announcement or withdrawal has not been handed to TCP yet.
    pub queued_prefixes: usize,
    /// Prefixes that cannot be sent, and why.
    pub withheld: Vec<Withheld>,
    /// Capabilities (their codes) that the peer refused and that the next OPEN, or that of the session, leaves out (RFC 5492 §3).
    pub omitted_capabilities: Vec<u8>,
    /// What keeps this side from connecting or listening, such as a source address that this host does not have, or what the
    /// next OPEN leaves out.
    pub problem: Option<String>,
    /// Whether GRACEFUL_SHUTDOWN is announced with every prefix (RFC 8326).
    pub draining: bool,
}

/// The end of a session or of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// When.
    pub at: Instant,
    /// The state that was left.
    pub from: State,
    /// Why.
    pub reason: DownReason,
}

/// Why a session or an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// The peer sent a NOTIFICATION.
    #[error("the peer sent NOTIFICATION {0}")]
    NotificationReceived(NotificationText),
    /// The peer broke the protocol, and was sent a NOTIFICATION that says so.
    #[error("sent NOTIFICATION {notification}: {detail}")]
    NotificationSent {
        /// What was sent.
        notification: NotificationText,
        /// What was wrong.
        detail: String,
    },
    /// Nothing came within the Hold Time (RFC 4271 §6.5).
    #[error("hold timer expired: nothing received for {0:?}")]
    HoldTimerExpired(Duration),
    /// The peer took nothing from us for too long (RFC 9687).
    #[error("send hold timer expired: the peer read nothing for {0:?}")]
    SendHoldTimerExpired(Duration),
    /// TCP failed, or could not connect.
    #[error("TCP: {0}")]
    Tcp(String),
    /// The same, while an UPDATE was being sent.
    #[error("TCP: {0}")]
    UpdateUnsent(String),
    /// The peer closed the connection without a NOTIFICATION.
    #[error("the peer closed the connection")]
    ClosedByPeer,
    /// BFD says that the path is down (RFC 5882, RFC 9384).
    #[error("BFD session down")]
    BfdDown,
    /// A change of configuration that a session cannot live through.
    #[error("configuration {0}")]
    ConfigurationChanged(String),
    /// The peer sent more prefixes than it may.
    #[error("the peer sent {received} prefixes, the limit is {limit}")]
    TooManyPrefixes {
        /// How many at least.
        received: u64,
        /// How many it may.
        limit: u32,
    },
    /// Stopped by us.
    #[error("{0}")]
    Stopped(Stop),
}

/// A NOTIFICATION in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationText {
    /// Error code (RFC 4271 §4.5).
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Whether it came wrapped in a Hard Reset (RFC 8538); code and subcode are those inside.
    pub hard_reset: bool,
    /// Shutdown communication (RFC 9003), control characters taken out.
    pub communication: Option<String>,
}

impl fmt::Display for NotificationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = crate::wire::iana::error_name(self.code, self.subcode);
        write!(f, "{}/{} ({name})", self.code, self.subcode)?;
        if self.hard_reset {
            f.write_str(" as Hard Reset")?;
        }
        self.communication.as_ref().map_or(Ok(()), |text| write!(f, " saying {text:?}"))
    }
}

/// How a session is to be ended by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// For good: CEASE/administrative shutdown with a text of up to 255 octets (RFC 9003), as Hard Reset if the N-bit was
    /// negotiated (RFC 8538).
    Shutdown(String),
    /// The process comes back: TCP is closed without NOTIFICATION, so that the peer keeps the routes (RFC 4724). Sessions
    /// without graceful restart are sent CEASE/administrative shutdown with this text.
    Restarting(String),
    /// The peer was taken out of the configuration: CEASE/3.
    PeerDeconfigured,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown(text) => write!(f, "shut down: {text}"),
            Self::Restarting(text) => write!(f, "restarting: {text}"),
            Self::PeerDeconfigured => f.write_str("peer taken out of the configuration"),
        }
    }
}

/// What both sides agreed on in their OPENs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The smaller of both proposals.
    pub hold_time: HoldTime,
    /// How often we send KEEPALIVE; `None`: never.
    pub keepalive_time: Option<Duration>,
    /// Families that both offered.
    pub families: Families,
    /// The AS that the peer showed.
    pub peer_asn: u32,
    /// Whether that is our own.
    pub internal: bool,
    /// The peer's BGP Identifier.
    pub peer_identifier: Ipv4Addr,
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_asn: bool,
    /// The peer may ask for our routes (RFC 2918).
    pub route_refresh: bool,
    /// With begin and end marked (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Messages of up to 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// IPv4 prefixes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// Graceful restart, if both offered it.
    pub graceful_restart: Option<PeerRestart>,
    /// Long-lived stale time of the peer (RFC 9494), if both offered it.
    pub long_lived_stale_time: Option<Duration>,
    /// The peer's role (RFC 9234), if it said one.
    pub peer_role: Option<Role>,
    /// The peer's host name, if it said one; control characters taken out.
    pub peer_host: Option<String>,
    /// The codes of all capabilities that we offered.
    pub offered_capabilities: Vec<u8>,
    /// The codes of all capabilities that the peer offered.
    pub received_capabilities: Vec<u8>,
}

/// What the peer said about graceful restart (RFC 4724 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRestart {
    /// How long we may think it comes back.
    pub restart_time: Duration,
    /// R bit: it has restarted.
    pub restarted: bool,
    /// Both set the N-bit (RFC 8538).
    pub notification: bool,
    /// Families that it named, of those that are spoken here: their routes it could keep over a restart of its own.
    pub families: Families,
    /// Those of them whose forwarding state it says it kept.
    pub forwarding: Families,
}

/// Prefixes that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Their family.
    pub family: Family,
    /// How many.
    pub prefixes: usize,
    /// Why.
    pub reason: WithheldReason,
}

/// Why prefixes of a family are not sent on an Established session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WithheldReason {
    /// The configuration does not offer the family.
    #[error("the family is not enabled for this peer")]
    NotOffered,
    /// The peer does not offer it.
    #[error("the peer does not offer the family")]
    NotNegotiated,
    /// The interface towards the peer has no address that could be the next hop.
    #[error("no address for the next hop on the interface towards the peer")]
    NoNextHop,
    /// The attributes, communities above all, do not fit into a message.
    #[error("the attributes are longer than a message")]
    AttributesTooLong,
}

/// Counters since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages sent.
    pub sent: MessageCounters,
    /// Messages received.
    pub received: MessageCounters,
    /// Prefixes announced by the peer and dropped, as every one is.
    pub received_prefixes_dropped: u64,
    /// Prefixes that the peer announced with errors that made them withdrawn (RFC 7606 §2).
    pub received_prefixes_malformed: u64,
    /// UPDATEs with errors that the session lives through (RFC 7606).
    pub received_updates_malformed: u64,
    /// Prefixes that the peer withdrew.
    pub received_withdrawals: u64,
    /// Prefixes announced in UPDATEs to the peer, each time counted.
    pub prefixes_announced: u64,
    /// Prefixes withdrawn in UPDATEs to the peer.
    pub prefixes_withdrawn: u64,
}

/// Messages in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounters {
    /// OPEN.
    pub opens: u64,
    /// UPDATE, also End-of-RIB.
    pub updates: u64,
    /// NOTIFICATION.
    pub notifications: u64,
    /// KEEPALIVE.
    pub keepalives: u64,
    /// ROUTE-REFRESH.
    pub route_refreshes: u64,
    /// Octets of all.
    pub octets: u64,
}

impl MessageCounters {
    /// All messages.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.opens + self.updates + self.notifications + self.keepalives + self.route_refreshes
    }
}
