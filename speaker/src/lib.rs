// SPDX-License-Identifier: Apache-2.0
//! Elects the node that announces a Service, and makes the network find it.
//!
//! ```text
//! Snapshot ──> announce (pure, one Service) ──> Speaker (what changed) ──> desired ──> l2
//! ```
//!
//! Everything that decides is here without sockets; the feature `net` adds the program `speaker`.

mod announce;
pub mod election;
pub mod metrics;
#[cfg(feature = "net")]
pub mod net;
mod reason;
mod speaker;

pub use announce::{Announcement, Members, Options, Verdict, announce};
pub use reason::Withhold;
pub use speaker::{Output, Speaker};
