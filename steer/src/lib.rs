// SPDX-License-Identifier: Apache-2.0
//! Which packets of an address go to which node, as values and pure functions. **Not used by the speaker yet.** No
//! netlink, sockets, clocks or types of Kubernetes. docs/steering.md has the design and the experiments behind it.

mod buckets;
mod hash;
mod history;

pub use buckets::{BUCKETS, Buckets, Key};
pub use history::{FIRST_TTL, History, LONGEST_ORDER, MOST_HOPS, Origin, Steps};
