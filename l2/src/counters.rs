// SPDX-License-Identifier: Apache-2.0
//! What was received and sent for each address: written by the answering thread, read by whoever exposes metrics. Not the
//! metrics themselves. An address that was counted once stays for ever, as counters must.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The counters of one address at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValues {
    /// ARP requests and Neighbor Solicitations for the address on a link of its scope.
    pub requests_received: u64,
    /// Answers sent.
    pub responses_sent: u64,
    /// Announcement frames sent: two in a burst for IPv4, one for IPv6.
    pub gratuitous_sent: u64,
    /// Frames in which another station claimed the address.
    pub conflicts: u64,
}

/// The counters of all addresses that were ever counted.
#[derive(Debug, Default)]
pub struct Counters {
    by_address: Mutex<BTreeMap<IpAddr, Arc<AddressCounters>>>,
}

/// The live counters of one address.
#[derive(Debug, Default)]
pub(crate) struct AddressCounters {
    pub(crate) requests_received: AtomicU64,
    pub(crate) responses_sent: AtomicU64,
    pub(crate) gratuitous_sent: AtomicU64,
    pub(crate) conflicts: AtomicU64,
}

/// Adds one; only the answering thread writes.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// A copy of everything, in the order of addresses.
    #[must_use]
    pub fn values(&self) -> Vec<(IpAddr, CounterValues)> {
        let by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        by_address.iter().map(|(address, counters)| (*address, counters.values())).collect()
    }

    /// The counters of an address, made at the first use.
    pub(crate) fn of(&self, address: IpAddr) -> Arc<AddressCounters> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_address.entry(address).or_default())
    }
}

impl AddressCounters {
    fn values(&self) -> CounterValues {
        CounterValues {
            requests_received: self.requests_received.load(Ordering::Relaxed),
            responses_sent: self.responses_sent.load(Ordering::Relaxed),
            gratuitous_sent: self.gratuitous_sent.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
        }
    }
}
