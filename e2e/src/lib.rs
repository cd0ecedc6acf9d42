// SPDX-License-Identifier: Apache-2.0
//! The end-to-end rack: a real control plane, nodes and clients in network namespaces, and the scenarios that
//! are played on them with the programs as they are shipped.
//!
//! Not here: anything that knows the inside of the programs. What they do is seen from outside, through the
//! API, by frames and pages, and in metrics and logs.

pub mod bench;
pub mod claim;
pub mod field;
pub mod lab;
pub mod packet;
pub mod plot;
pub mod proxy;
pub mod raw;
pub mod roles;
pub mod runner;
pub mod scenarios;
pub mod serve;
pub mod soak;
pub mod solicit;
pub mod strangers;
