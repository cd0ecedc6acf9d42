// SPDX-License-Identifier: Apache-2.0
//! The program `controller`: flags, and the loop that drives the allocator.

mod antrea;
pub mod args;
mod controller;
mod external;
mod leader;
mod log;
mod memberlist_secret;
mod webhook;

pub use controller::run;
