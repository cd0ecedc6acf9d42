// SPDX-License-Identifier: Apache-2.0
//! The program `controller`: its flags, the loop that drives the allocator, and its log lines, which `ferrolb run`
//! prints as well.

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
