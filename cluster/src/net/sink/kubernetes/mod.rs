// SPDX-License-Identifier: Apache-2.0
//! Writes to a Kubernetes API, within the permissions of MetalLB's roles (contract 8.2).
//!
//! Status is written by PUT of the *live* object, read as untyped JSON: nothing that another writer put on
//! it can be lost, and nothing cached is ever written back (docs/design/rules.md, rule 7).

mod configuration_state;
mod event;
mod pool;
mod rewrite;
mod service;

pub use configuration_state::{Component, ConfigurationStateSink};
pub use event::{EventSink, ObjectEvent, Regarding};
pub use pool::{PoolCounters, PoolSink};
pub use rewrite::{Rewrite, rewrite_status};
pub use service::{ServiceReport, ServiceSink, ServiceStatus, list_formerly_allocated};
