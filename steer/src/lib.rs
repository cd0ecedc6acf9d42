// SPDX-License-Identifier: Apache-2.0
//! Which packets of an address go to which node, as values and pure functions. **Not used by the speaker yet.** No
//! netlink, sockets, clocks or types of Kubernetes. docs/steering.md has the design and the experiments behind it.

mod buckets;
mod hash;

pub use buckets::{BUCKETS, Buckets, Key};
