// SPDX-License-Identifier: Apache-2.0
//! All that comes out of a [`Core`](super::Core).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use cluster::ObjectKey;
use cluster::model::ServiceCondition;
use l2::Scope;
use members::{Command, Standing};

use super::conflicts::Claim;
use crate::routes::{RouteChanges, RouteOutput};
use crate::speaker::Output;

/// Something to be done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// The memberlist or the failure detector is to do this.
    Agent(Command),
    /// The l2 engine is to do this.
    Engine(EngineCommand),
    /// The routes to this BGP peer change.
    Routes {
        /// The BGPPeer.
        peer: Arc<str>,
        /// The routes that change.
        changes: RouteChanges,
    },
    /// People or the API are to know this.
    Notice(Notice),
}

/// An order to the l2 engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineCommand {
    /// Answer on for these, and announce them no more.
    AnswerOnly(Vec<IpAddr>),
    /// Answer for these there; without a scope no more.
    Change(Vec<(IpAddr, Option<Scope>)>),
    /// Announce everything anew.
    AnnounceAll,
    /// Say with this number when everything before it is done.
    Tell(u64),
}

/// Something that people or the API are to know.
#[derive(Debug)]
pub enum Notice {
    /// A Service is announced by L2, or no more, or lacks an interface.
    Layer2(Output),
    /// A Service is advertised by BGP, or no more, or something is wrong with that.
    Route(RouteOutput),
    /// Whether this node may answer is another.
    Standing(Standing),
    /// The memberlist's port seems to be blocked, or open again, or another's key differs.
    Trouble(Trouble),
    /// Another station answers for an address of ours.
    Conflict {
        /// The station's claim.
        claim: Claim,
        /// The Services that announce the address from here.
        users: Vec<ObjectKey>,
    },
    /// The word about a Service that is this speaker's to say; none where it is to be taken back.
    Word {
        /// The Service.
        service: ObjectKey,
        /// The word.
        word: Option<ServiceCondition>,
    },
}

/// A change of how the memberlist is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Speakers are listed, and none answers.
    Blocked {
        /// Where they should be.
        speakers: Vec<SocketAddr>,
        /// Whether one of them has another key.
        other_key: bool,
    },
    /// Somebody answers again.
    Open,
    /// These members answer over TCP only, now; it may be nobody.
    OverTcpOnly(BTreeSet<Arc<str>>),
    /// These listed speakers have another key, now; it may be nobody.
    OtherKey(BTreeSet<IpAddr>),
}
