// SPDX-License-Identifier: Apache-2.0
//! Which packets of an address go to which node, as values and pure functions. No netlink, sockets, clocks or types of
//! Kubernetes, but for the shell `net` behind the feature of that name. docs/steering.md has the design and the
//! experiments behind it.
//!
//! ```text
//!   keep:   what members tell ──> Keeper (a History for each address) ──> Steps ──> net::Kernel
//!   spread: nodes of the link, endpoints ──> weights ──> Buckets ──> Address (a History for each bucket) ──> NodeTable
//! ```
//!
//! The speaker uses the upper row (`--keep-connections`). **The lower row is not used yet.**

mod address;
mod buckets;
mod flow;
mod hash;
mod history;
mod keeper;
#[cfg(feature = "net")]
pub mod net;
mod spread;
mod station;
mod table;

pub use address::Address;
pub use buckets::{BUCKETS, Buckets, Key};
pub use flow::Flow;
pub use history::{FIRST_TTL, History, LONGEST_ORDER, MOST_HOPS, Origin, Steps};
pub use keeper::{CLAIM_SETTLE_TIME, HOLD_TIME, Keeper, KeeperOutput, Order, Ready, SETTLE_TIME};
pub use spread::{HashBy, Spread};
pub use station::{Attachment, Station};
pub use table::{HardwareAddress, Link, LinkNode, NodeTable, weights};
