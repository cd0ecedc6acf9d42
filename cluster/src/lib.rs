// SPDX-License-Identifier: Apache-2.0
//! The world as data: what the cluster (or a folder of manifests) says, reduced to what decisions need.
//!
//! [`Snapshot`] is a synchronous index; with the feature `net` there are the *sources* that fill it and the
//! *sinks* that carry decisions out. How an address is chosen or announced is known elsewhere.

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
