// SPDX-License-Identifier: Apache-2.0
//! The program `controller`: flags, and the loop that drives the allocator.

pub mod args;
mod controller;
mod leader;
mod memberlist_secret;
mod webhook;

pub use controller::run;
