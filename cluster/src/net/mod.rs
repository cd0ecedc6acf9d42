// SPDX-License-Identifier: Apache-2.0
//! Sources and sinks: everything of this crate that does I/O.

pub mod access;
pub mod client;
pub mod fence;
pub mod pod;
pub mod request;
pub mod rounds;
pub mod sink;
pub mod source;
