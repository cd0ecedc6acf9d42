// SPDX-License-Identifier: Apache-2.0
//! Sources and sinks: everything of this crate that does I/O.

pub mod access;
pub mod client;
#[cfg(test)]
mod fake;
pub mod fence;
pub mod generated;
pub mod pod;
pub mod request;
pub mod rounds;
pub mod sink;
pub mod source;
pub mod writer;
