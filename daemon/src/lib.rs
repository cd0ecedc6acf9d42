// SPDX-License-Identifier: Apache-2.0
//! What the programs of ferrolb have in common: flags as Go writes them, logs as MetalLB writes them,
//! the health and metrics endpoints. It knows nothing of Services or networks.

pub mod access;
pub mod companion;
pub mod endpoints;
pub mod files;
pub mod flags;
pub mod listen;
pub mod log;
mod memory;
pub mod metric;
pub mod metrics;
pub mod metrics_server;
pub mod program;
pub mod serve;
pub mod signals;
pub mod tls;

/// The exit code for a call that cannot be understood (sysexits' EX_USAGE).
pub const EXIT_USAGE: u8 = 64;
