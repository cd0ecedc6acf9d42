// SPDX-License-Identifier: Apache-2.0
//! BGP-4 (RFC 4271) for a node that originates prefixes and takes none: messages, the session with every router, and what each
//! of them is owed.
//!
//! It is not a router: received routes are checked, counted and dropped. It knows nothing of Kubernetes or of BFD: somebody
//! gives a [`Config`] per peer and the [`Routes`] that this peer shall have; this crate makes it so and says how it stands
//! ([`Status`]).
//!
//! ```text
//!   caller ── Config, Routes, BFD, stop ──> Peer (core, one per peer: no clock, no socket)
//!   caller <────────── Status ──────────────  ├── two Connections: outgoing, incoming (RFC 4271 §6.8)
//!                                             └── AdjRibOut: what the peer has yet to be told
//!   net::Engine: one task per peer, one listener per port
//! ```

mod adj_rib_out;
pub mod advertiser;
mod config;
mod jitter;
mod peer;
mod received;
pub mod robustness;
mod route;
mod session;
mod status;
pub mod wire;

#[cfg(feature = "net")]
pub mod net;

pub use adj_rib_out::NextHops;
pub use config::{
    Change, Config, Families, Family, Fqdn, GracefulRestart, HoldTime, Ipv6NextHop, Password,
    PeerAsn, Remote, Role, RolePolicy,
};
pub use peer::{Admission, Event, Hindrance, Output, Peer};
pub use route::{Attributes, Routes};
pub use session::Direction;
pub use status::{
    Counters, Down, DownReason, MessageCounters, Negotiated, NotificationText, PeerRestart, State,
    Status, Stop, Withheld, WithheldReason,
};
