// SPDX-License-Identifier: Apache-2.0
//! The members and their standing, the owner of each address and the reason for it, and the addresses that pass to another node. No sockets,
//! clocks or clients: every value is given the time.
//!
//! ```text
//!   members' agent ──> Membership ──> RingSpeakers, standing ──> election, Placement ──> the owner of an address
//!                          ├── KnownNodes, JoinSchedule, PortCheck: the members that should be there
//!                          └── OwnershipTable: the addresses that each speaker says it owns
//!   a decision ──────> Handovers ──> the addresses that are answered for until the next owner has them
//! ```
//!
//! One address on one node:
//!
//! ```text
//!   Elsewhere ── elected, standing confirmed, table in sync ──> Announcing ── engine done: the others are told ──> Owned
//!      ^  ^                                                                                                         |
//!      |  +── the next owner has told, or 1 s (refused: kept 10 s) ── AnswerOnly <── the verdict names another ────+
//!      +───────────── doubtful for 80 ms, with the minority, or permit over: silent, keeps its table ──────────────+
//! ```

pub mod election;
pub mod fnv;
mod handover;
mod link_check;
mod members;
mod membership;
mod placement;
pub mod robustness;
mod table;
pub mod wire;

pub use handover::{EngineOrders, Handovers, MOVE_TIME, Pending, Withdrawal};
pub use link_check::{Carriers, LinkAction, LinkCheck, LinkWord, Station, precedence};
pub use members::{RingSpeaker, RingSpeakers};
pub use membership::{
    FIRST_PAUSES, Listed, Listing, Membership, MembershipView, Pod, PortChange, PortCheck,
    is_drained,
};
pub use placement::{Choice, Modes, Placement};
pub use table::OwnershipTable;
pub use wire::keeping::KeepingMessage;
pub use wire::links::{Allowed, Links, NodeLinks, transport};
pub use wire::message::{OwnedDelta, OwnedSnapshot, PeerMessage, Term};
pub use wire::metadata::{NodeMetadata, PoolLinks, PoolOrder};
