// SPDX-License-Identifier: Apache-2.0
//! What an input may cost: the octets that its handling allocates, at once and in all, in proportion to its length. Whoever
//! sends octets to a program must not be able to make it take a multiple of them.

/// The bounds of one target: so much whatever comes, and so much for each octet.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Octets that are held at the same time.
    pub held: Bound,
    /// Octets that are allocated in all: what is copied again and again counts each time.
    pub allocated: Bound,
}

/// `fixed + per_octet * length`, in octets.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// For any input: the objects that the body makes by itself.
    pub fixed: u64,
    /// For each octet of the input.
    pub per_octet: u64,
}

impl Bound {
    const fn of(self, length: u64) -> u64 {
        self.fixed + self.per_octet * length
    }
}

/// Runs the body and counts; a panic where it costs more than it may. With `FERROLB_COST` set, each new maximum is printed.
pub fn bounded(data: &[u8], cost: Cost, body: impl FnOnce(&[u8])) {
    let info = allocation_counter::measure(|| body(data));
    let length = data.len() as u64;
    report(length, info.bytes_max, info.bytes_total);
    assert!(
        info.bytes_max <= cost.held.of(length),
        "{} octets held for an input of {length}",
        info.bytes_max
    );
    assert!(
        info.bytes_total <= cost.allocated.of(length),
        "{} octets allocated for an input of {length}",
        info.bytes_total
    );
}

fn report(length: u64, held: u64, allocated: u64) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static MOST: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
    if std::env::var_os("FERROLB_COST").is_none() {
        return;
    }
    // What is fixed is told by short inputs, the rest by long ones.
    let (place, each) = if length < 64 { (0, 1) } else { (2, length) };
    for (most, value) in MOST.iter().skip(place).zip([held / each, allocated / each]) {
        if most.fetch_max(value, Ordering::Relaxed) < value {
            eprintln!("cost: length {length}: held {held}, allocated {allocated}");
        }
    }
}
