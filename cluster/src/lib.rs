// SPDX-License-Identifier: Apache-2.0
//! The world as data: the objects of the cluster, or of a folder of manifests, reduced to the parts that decisions
//! need.
//!
//! [`Snapshot`] is a synchronous index. With the feature `net` there are the *sources* that fill it and the *sinks*
//! that carry decisions out. Other crates choose and announce addresses.

mod announcers;
pub mod key;
mod kinds;
pub mod model;
mod named;
#[cfg(feature = "net")]
pub mod net;
mod reports;
mod shared;
pub mod snapshot;
pub mod writer;

pub use announcers::AnnouncerObject;
pub use key::ObjectKey;
pub use reports::ReportObject;
pub use snapshot::{ConfigScope, Dirty, Kind, Object, Snapshot};
