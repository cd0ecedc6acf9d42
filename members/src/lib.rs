// SPDX-License-Identifier: Apache-2.0
//! Who is alive: the memberlist protocol as HashiCorp's library speaks it (SWIM with Lifeguard), so that our speakers and
//! MetalLB's share one ring.

mod key;

pub use key::Key;
