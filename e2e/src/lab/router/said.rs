// SPDX-License-Identifier: Apache-2.0
//! What routers say of sessions and routes, in one form for all programs.

use std::collections::BTreeSet;

/// What a router says of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Whether it is Established.
    pub established: bool,
    /// The state as the router calls it, and its last error where it tells.
    pub state: String,
    /// Since when, and what else shows that it is still the same session: equal means not reset. Not the same form
    /// everywhere.
    pub since: String,
    /// The negotiated hold time in seconds, where it tells.
    pub hold_time: Option<u64>,
    /// UPDATE messages (GoBGP, FRR) or routes (BIRD) received.
    pub updates: Option<u64>,
    /// The capabilities that the speaker sent, in the router's words.
    pub capabilities: BTreeSet<String>,
    /// Routes are kept for a peer that restarts.
    pub restarting: bool,
}

/// What a router says of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `10.60.0.1/32`
    pub prefix: String,
    /// From whom: BIRD's protocol, otherwise the neighbour's address.
    pub neighbour: String,
    /// AS numbers with spaces between.
    pub as_path: String,
    /// Next hops, the global one first.
    pub next_hops: Vec<String>,
    /// `IGP`, as BIRD and FRR write it.
    pub origin: String,
    /// LOCAL_PREF, where it is told.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC, where it is told.
    pub med: Option<u32>,
    /// `65535:0`
    pub communities: BTreeSet<String>,
    /// `1:2:3`
    pub large_communities: BTreeSet<String>,
    /// Kept for a peer that restarts.
    pub stale: bool,
}
