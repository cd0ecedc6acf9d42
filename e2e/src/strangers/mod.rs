// SPDX-License-Identifier: Apache-2.0
//! A stranger to the ring: it is on the link, has no key, and does to the memberlist's port of every member what it
//! can. Each kind is bounded in number and time, and says in the end how much it did.

mod connections;
mod datagrams;
mod orders;
mod pace;
mod packets;
mod unreachable;

use std::time::Duration;

use anyhow::ensure;

pub use orders::{BEGINS, DID, Kind, Orders};

/// The longest time of an attack.
const LONGEST: Duration = Duration::from_secs(600);
/// The most packets a second, and connections.
const MOST: u32 = 1_000_000;

/// Does it in the namespace of the calling thread, and prints how much it was.
///
/// # Errors
/// When nothing of it can be sent, or more is asked than the bounds allow.
pub fn play(orders: &Orders) -> anyhow::Result<()> {
    ensure!(orders.time <= LONGEST && orders.amount <= MOST, "more than a stranger does here");
    ensure!(orders.members.len() > 1 && !orders.sources.is_empty(), "two members and a source");
    println!("{BEGINS}: {} {}", orders.amount, orders.kind.unit());
    match orders.kind {
        Kind::Unreachable => unreachable::play(orders),
        Kind::Datagrams => datagrams::play(orders),
        Kind::Idle | Kind::Slow | Kind::Garbled => connections::play(orders),
    }
}
