// SPDX-License-Identifier: Apache-2.0
//! A folder of manifests as a cluster.
//!
//! ```text
//! text ──> manifest (documents, lines) ──> schema (the API server's verdict) ──> objects ──> cluster::Snapshot
//!                    └────────────── mistakes, each with file, line, object and field ──────────┘
//! ```
//!
//! The decisions that follow from the objects are taken elsewhere.

pub mod manifest;
mod objects;
pub mod robustness;
pub mod schema;
mod source;
mod state_file;

pub use objects::{Folder, FolderState, ServiceState, feed, host_name};
pub use source::FolderSource;
pub use state_file::{StateError, StateFile, StateLock};
