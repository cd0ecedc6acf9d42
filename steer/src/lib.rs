// SPDX-License-Identifier: Apache-2.0
//! Which packets of an address go to which node, as values and pure functions. No netlink, sockets, clocks or types of
//! Kubernetes, but for the shell `net` behind the feature of that name. docs/steering.md has the design and the
//! experiments behind it.
//!
//! ```text
//!   what members tell ──> Keeper (an Address: a History, or one for each bucket) ──> Steps, Spread ──> net::Kernel
//!   weights of nodes ──> Buckets ──^
//! ```

mod address;
mod buckets;
mod flow;
mod hash;
mod history;
mod keeper;
#[cfg(feature = "net")]
pub mod net;
mod order;
mod spread;
mod station;

pub use address::Address;
pub use buckets::{BUCKETS, Buckets};
pub use flow::{Flow, MOST_FLOWS, ToldFlows};
pub use history::{FIRST_TTL, History, LONGEST_ORDER, MOST_HOPS, Origin, Steps};
pub use keeper::{
    CLAIM_SETTLE_TIME, HOLD_TIME, Keeper, KeeperOutput, REST_TIME, SETTLE_TIME, SPREAD_SETTLE_TIME,
    SPREAD_WORD_TIME, SWITCH_TIME, WORD_TIME, Wish,
};
pub use order::{Layer, MOST_LAYERS, Order, Ready};
pub use spread::{HashBy, Spread};
pub use station::{Attachment, HardwareAddress, Station};
