// SPDX-License-Identifier: Apache-2.0
//! The program `controller`: flags, and the loop that drives the allocator; and what its log says, which `ferrolb run` says as well.

mod antrea;
pub mod args;
mod controller;
mod external;
mod leader;
pub mod log;
mod memberlist_secret;
mod metrics;
mod webhook;

pub use controller::run;
