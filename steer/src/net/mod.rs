// SPDX-License-Identifier: Apache-2.0
//! The shell: makes the kernel's nftables equal to a value, and counts connections. By netlink alone, without other programs.
//!
//! ```text
//!   Keep ──> Ruleset (two tables) ──┐
//!   kernel ──lists──> Found ────────┴──> difference ──> operations ──one transaction──> kernel
//! ```
//!
//! The tables are named `ferrolb`, and are of the families ip and ip6. Their rules are the same for whatever addresses: a change
//! of an address is a change of elements. A table bears a mark with the number of its format, a rule one with its fingerprint.
//! A table without our mark is never touched. Needs Linux 5.10, whose tables can bear marks, and `CAP_NET_ADMIN`.
//!
//! Not here yet: the flows of UDP (a set and a rule of the chain `prerouting`), and buckets (a table of the family netdev).

mod attribute;
mod check;
pub mod conntrack;
mod difference;
mod error;
mod expression;
mod found;
mod keep;
mod kernel;
mod message;
mod operation;
pub mod robustness;
mod ruleset;
mod socket;

pub use difference::{Repair, Wrong};
pub use error::{Error, Lack};
pub use keep::{Keep, LeftOut, Missing};
pub use kernel::{Applied, Cleared, Kernel};
pub use ruleset::Family;
