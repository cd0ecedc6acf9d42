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
pub mod announced_condition;
mod conflict_book;
pub mod core;
mod eligibility;
mod identifier;
#[cfg(feature = "net")]
pub mod metrics;
#[cfg(feature = "net")]
pub mod net;
mod options;
mod owned_record;
mod postponed;
mod reason;
mod reason_counts;
mod report;
mod routes;
mod service_view;
mod sessions;
mod sharing;
mod speaker;

pub use advertise::{Path, advertise};
pub use announce::{
    Announcement, Circumstances, PREFERRED_NODE_ANNOTATION, Remark, Spreading, Verdict, announce,
    announce_sharers, preference_ends, preferred_node,
};
pub use conflict_book::ConflictBook;
pub use core::{
    ClockReading, Core, Effect, EngineCommand, Fact, FlowRequest, KeepTable, ListedFlows,
    RivalClaim, Sessions, Trouble,
};
pub use identifier::{identifier, identifier_of_name, routers_take};
pub use members::quorum::Fencing;
pub use options::{BgpMode, Options};
pub use owned_record::{OtherSpeaker, OwnedAddress, OwnedRecord, RECORD_WAIT, RecordError};
pub use ownership::{
    Links, Listed, Listing, MembershipView, Modes, NodeLinks, NodeMetadata, Pod, PoolLinks,
    PoolOrder, RingSpeaker, RingSpeakers, election, transport,
};
pub use reason::{Nobody, Withhold};
pub use reason_counts::ReasonCounts;
pub use report::{Report, SHARES};
pub use routes::{Advertised, RouteBooks, RouteChanges, RouteOutput};
pub use sessions::{NoSession, Way, bfd_hops, bfd_profile, families, session};
pub use sharing::ServicesByAddress;
pub use speaker::{Output, Speaker};
