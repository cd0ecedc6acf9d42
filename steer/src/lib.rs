// SPDX-License-Identifier: Apache-2.0
//! Which packets of an address go to which node, as values and pure functions. **Not used by the speaker yet.** No
//! netlink, sockets, clocks or types of Kubernetes, but for the shell `net` behind the feature of that name. docs/steering.md
//! has the design and the experiments behind it.
//!
//! ```text
//!   nodes of the link, endpoints ──> weights ──> Buckets ──┐
//!   moves, deaths, the end of the linger time ─────────────┴──> Address (a History for each bucket) ──> NodeTable
//! ```
//!
//! The caller tells every node the same moves in the same generations, and has two waits in a change: all nodes have
//! the new steps before a new owner announces or clients' frames go by new buckets ([`Address::switch`]), and the
//! former owner has fallen silent before the old steps go ([`Address::settle`]).

mod address;
mod buckets;
mod hash;
mod history;
#[cfg(feature = "net")]
pub mod net;
mod table;

pub use address::Address;
pub use buckets::{BUCKETS, Buckets, Key};
pub use history::{FIRST_TTL, History, LONGEST_ORDER, MOST_HOPS, Origin, Steps};
pub use table::{HardwareAddress, Link, LinkNode, NodeTable, weights};
