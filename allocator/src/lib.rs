// SPDX-License-Identifier: Apache-2.0
//! Gives Services of type LoadBalancer their addresses (contract section 2).
//!
//! ```text
//! Snapshot ──> Allocator::reconcile ──> keep / decide (pure, one Service each) ──> Output ──> a sink
//! ```
//!
//! Everything that decides is here without I/O; the feature `net` adds the program `controller`.

mod address_use;
mod allocations;
mod allocator;
mod decide;
mod decision;
mod external;
mod interval_set;
#[cfg(feature = "net")]
pub mod metrics;
#[cfg(feature = "net")]
pub mod net;
mod notice;
pub mod pool_status;
mod reason;
mod request;
mod shareable;
mod sharing;
mod steps;
mod world;

pub use allocations::{Allocations, Assigned, Usage};
pub use allocator::{Allocator, Output, Write};
pub use decide::{POOL_ANNOTATION, decide, keep};
pub use decision::{Decision, Loss, Outcome};
pub use notice::{Notice, NoticeKind};
pub use reason::{Change, Names, Reason};
pub use request::{ExternalRequest, Families, Request, RequestError};
pub use sharing::{Claim, Sharing, SharingError};
pub use world::World;
