// SPDX-License-Identifier: Apache-2.0
//! Fast detection beside the memberlist: members that speak it send one another a heartbeat, and a few watchers of each find out
//! within half a second that it is gone. It decides nothing about what the dead one had owned.
//!
//! - Each member is watched by a few others that stand beside it on a circle ([`circle`]); heartbeats go between those only.
//! - A silent member is first a suspect: its watchers probe it directly and ask one another about it, about every 10 ms for 80 ms. Only
//!   silence to all of that is death.
//! - A datagram speaks for the sender's life only if it is news: its counter was not seen before, and a new session has to echo something
//!   that was sent to it ([`peer`]).
//! - Whoever misses more than half of its partners calls all members once: it may be itself that is cut off, and has to know with how
//!   many it is.
//! - A detector that was late itself (a busy machine, a stopped process) forgives the others the time that it has lost.

mod circle;
mod detector;
mod notices;
mod pace;
mod peer;
pub mod robustness;
pub mod wire;

pub use detector::{Cause, Detector, Options, Output, PeerReport};
