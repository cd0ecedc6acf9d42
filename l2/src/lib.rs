// SPDX-License-Identifier: Apache-2.0
//! ARP (RFC 826, RFC 5227) and NDP (RFC 4861) for a set of owned addresses on a Linux node: answers who asks, announces what is
//! new, and notices another station that claims the same address.
//!
//! It is not an address allocator or an election, and knows nothing of Kubernetes: somebody publishes the [`Desired`] set,
//! this crate makes the network believe it.
//!
//! ```text
//!   caller ──publish──> Shared (swapped atomically) ──┐            ┌── packet socket per link and protocol
//!   caller <─links, counters, events──────────────────┤  1 thread  ├── netlink socket (links, IPv6 addresses)
//!                                                     │ (net::run) ├── sockets that hold multicast memberships
//!                                                     └── Engine ──┘   (engine: the core, no clock, no sockets)
//! ```

mod announcer;
mod conflicts;
mod counters;
mod engine;
mod event;
pub mod filter;
pub mod frame;
mod links;
mod mac;
mod options;
mod owned;
mod permit;
mod precedence;
pub mod robustness;

#[cfg(feature = "net")]
mod net;

pub use announcer::{Announcer, Burst};
pub use conflicts::Conflicts;
pub use counters::{CounterValues, Counters};
pub use engine::{Engine, Membership, Reply, SocketChange, Transmit};
pub use event::{ConflictSource, Event, Protocol};
pub use links::{LinkFacts, LinkReport, LinkSupport, NoResponder};
pub use mac::{InvalidMacAddress, MacAddress};
pub use options::Options;
pub use owned::{Desired, Scope, solicited_node};
pub use permit::Permit;
pub use precedence::Precedence;

/// Gives back the room of a queue that was much longer: a start with thousands of addresses must not be paid for ever.
fn shrink<T>(queue: &mut std::collections::VecDeque<T>) {
    /// What stays in any case.
    const LEAST: usize = 64;
    if queue.capacity() > LEAST && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(LEAST.max(queue.len() * 2));
    }
}

#[cfg(feature = "net")]
pub use net::{Layer2, StartError, Statistics, StrictArpProblem, strict_arp_problem};
