// SPDX-License-Identifier: Apache-2.0
//! Elects the node that announces a Service, and makes the network find it.
//!
//! ```text
//! Snapshot ─┬─> announce (pure, the Services that share an address) ──> Speaker (what changed) ──────> changes ──> l2
//!           └─> advertise (pure, one Service) ────────────────────────> RouteBooks (what changed) ──> tables ───> bgp
//! ```
//! Which nodes may, for both, is `eligibility`: one list of what is asked of a node.
//!
//! Everything that decides is here without sockets; the feature `net` adds the program `speaker`.

mod advertise;
mod announce;
mod attendance;
pub mod blockage;
mod claims;
mod conflict_book;
pub mod core;
pub mod election;
mod eligibility;
mod fnv;
mod handover;
pub mod herald;
mod holdings;
mod identifier;
mod joining;
pub mod metrics;
#[cfg(feature = "net")]
pub mod net;
mod options;
mod participation;
mod passage;
mod postponed;
mod reason;
mod register;
mod report;
pub mod robustness;
mod roster;
mod routes;
mod sessions;
mod sharing;
mod speaker;
mod subject;
mod tally;
mod tenure;

pub use advertise::{Path, advertise};
pub use announce::{
    Announcement, Circumstances, PREFERRED_NODE_ANNOTATION, Remark, Verdict, announce,
    announce_sharers, preference_ends, preferred_node,
};
pub use attendance::Attendance;
pub use claims::{Changed, Held, Term, Told};
pub use conflict_book::ConflictBook;
pub use core::{AgentEvent, Claim, Core, Effect, EngineCommand, Moment, Notice, Sessions, Trouble};
pub use handover::Handover;
pub use holdings::Holdings;
pub use identifier::{identifier, identifier_of_name, routers_take};
pub use options::{BgpMode, Options};
pub use participation::{Participation, RingCommand};
pub use passage::{Orders, Passage};
pub use reason::{Nobody, Withhold};
pub use register::{Listed, Listing, Pod};
pub use report::{Report, SHARES};
pub use roster::{Facts, Links, Member, Members, NodeLinks, PoolLinks, PoolOrder, transport};
pub use routes::{Advertised, RouteBooks, RouteChanges, RouteOutput};
pub use sessions::{NoSession, Way, bfd_hops, bfd_profile, families, session};
pub use sharing::Sharing;
pub use speaker::{Output, Speaker};
pub use tally::Tally;
pub use tenure::{Choice, Modes, Tenure};
