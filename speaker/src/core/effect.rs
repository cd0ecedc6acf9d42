// SPDX-License-Identifier: Apache-2.0
//! The outputs of a [`Core`](super::Core).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use cluster::ObjectKey;
use cluster::model::ServiceCondition;
use l2::{Precedence, Scope};
use members::{Command, Standing};
use ownership::LinkWord;

use super::conflicts::RivalClaim;
use super::flows::FlowRequest;
use super::keeping::KeepTable;
use crate::routes::{RouteChanges, RouteOutput};
use crate::speaker::Output;

/// One thing to be done, in the order given.
#[derive(Debug)]
pub enum Effect {
    /// A command to the memberlist or the failure detector.
    Agent(Command),
    /// A command to the l2 engine.
    Engine(EngineCommand),
    /// A change of the routes to a BGP peer.
    Routes {
        /// The BGPPeer.
        peer: Arc<str>,
        /// The routes that change.
        changes: RouteChanges,
    },
    /// A table for the kernel of this node (`--keep-connections`).
    Keep(KeepTable),
    /// List the flows of UDP of these addresses from conntrack, and give them to [`Core::handle_flows`](super::Core::handle_flows).
    ListFlows(FlowRequest),
    /// A notice for people or the API.
    Fact(Fact),
}

/// An order to the l2 engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineCommand {
    /// Answer only: go on answering for these addresses, and announce them no more.
    AnswerOnly(Vec<IpAddr>),
    /// Answer for these addresses on these links; without a scope answer no more.
    Change(Vec<(IpAddr, Option<Scope>)>),
    /// Announce everything anew.
    AnnounceAll,
    /// Report with this number when everything before it is done.
    Tell(u64),
    /// Report every other station that claims these addresses on these links; without a scope no more.
    Watch(Vec<(IpAddr, Option<Scope>)>),
    /// Send one probe for each of these addresses, which are watched.
    Probe {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// The precedence that the probes carry.
        precedence: Precedence,
    },
}

/// A fact that people or the API are to know.
#[derive(Debug)]
pub enum Fact {
    /// A Service is announced by L2, or no longer, or lacks an interface.
    Layer2(Output),
    /// A Service is advertised by BGP, or no longer, or something is wrong with that.
    Route(RouteOutput),
    /// The standing of this node has changed.
    Standing(Standing),
    /// The memberlist's port seems to be blocked, or is open again, or another speaker's key differs.
    Trouble(Trouble),
    /// Another station answers for an address of ours.
    Conflict {
        /// The station's claim.
        claim: RivalClaim,
        /// The Services that announce the address from here.
        users: Vec<ObjectKey>,
    },
    /// The link has spoken about an address, while the count does not let this node answer.
    Link {
        /// The address.
        address: IpAddr,
        /// The link's word.
        word: LinkWord,
        /// The Services that have the address.
        users: Vec<ObjectKey>,
    },
    /// The word about a Service that this speaker has to give; none where the last word is to be taken back.
    Word {
        /// The Service.
        service: ObjectKey,
        /// The word.
        word: Option<ServiceCondition>,
    },
}

/// A change in the reachability of the memberlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Speakers are listed, and none answers.
    Blocked {
        /// The places where the speakers should be.
        speakers: Vec<SocketAddr>,
        /// True if one of them uses another key.
        other_key: bool,
        /// True if this node asks its links whether others answer; otherwise it announces as if it were alone.
        by_link: bool,
    },
    /// Speakers answer again.
    Open,
    /// These members answer over TCP only, now; the set may be empty.
    OverTcpOnly(BTreeSet<Arc<str>>),
    /// These listed speakers use another key, now; the set may be empty.
    OtherKey(BTreeSet<IpAddr>),
}
