// SPDX-License-Identifier: Apache-2.0
//! The shell: makes the kernel's nftables equal to a value, counts connections, and lists flows of UDP. By netlink alone, without other programs.
//!
//! ```text
//!   Keep ──> Ruleset (two or three tables) ──┐
//!   kernel ──lists──> Found ─────────────────┴──> difference ──> operations ──one transaction──> kernel
//! ```
//!
//! The tables are named `ferrolb`, and are of the families ip, ip6 and, while any bucket is led on, netdev. Their rules are the same
//! for whatever addresses that one node serves: a change of an address is a change of elements. Addresses that several nodes serve
//! lead by an element to a chain that is named after its content. A table bears a mark with the number of its format, a rule one with its fingerprint.
//! A table without our mark is never touched. Needs Linux 5.10, whose tables can bear marks, and `CAP_NET_ADMIN`.

mod attribute;
mod bucket;
mod check;
pub mod conntrack;
mod difference;
mod error;
mod expression;
mod found;
mod ingress;
mod keep;
mod kernel;
mod message;
mod operation;
pub mod robustness;
mod rules;
mod ruleset;
mod socket;
mod spreading;

pub use difference::{Repair, Wrong};
pub use error::{Error, Lack};
pub use keep::{Keep, LeftOut, Missing, Part};
pub use kernel::{Applied, Cleared, Kernel};
pub use ruleset::Family;
