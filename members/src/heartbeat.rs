// SPDX-License-Identifier: Apache-2.0
//! Fast detection of deaths beside the memberlist: members that use it send one another a heartbeat, and a few watchers of each member find
//! out within half a second that it is gone. The owners of the dead member's addresses are decided elsewhere.
//!
//! - Each member is watched by a few others, by the monitoring topology ([`topology`]); heartbeats go between those
//!   only.
//! - A silent member is first a suspect: its watchers probe it directly and ask one another about it, about every 10 ms for 80 ms. Only
//!   silence to all of these probes is death.
//! - A datagram is a sign of the sender's life only if it is new: its counter was not seen before, and a new session has to echo a datagram
//!   that was sent to it ([`peer`]).
//! - A member that misses half of its partners or more pings all members once: it may itself be cut off, and has to
//!   know how many members it is with.
//! - A detector that was late itself (a busy machine, a stopped process) forgives the others the time that it has lost.

mod detector;
mod notices;
mod pace;
mod peer;
pub mod robustness;
mod topology;
pub mod wire;

pub use detector::{Cause, Detector, Options, Output, PeerReport};
