// SPDX-License-Identifier: Apache-2.0
//! Who is connected, and who has to go when another one comes. A synchronous table: the time is an argument.
//!
//! A newcomer is always let in. Where no place is left the connection that was silent longest makes room: first among those that have not
//! sent a whole request yet, which cost a stranger nothing, then among those without a request under way, then among all. Of one
//! source only a part of the places may be taken by connections that have not sent a whole request: the API server, from whose one
//! address all reviews come, has proven itself with its first.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Limits;

/// Where a connection comes from: an IPv4 address, or the 64 bits of an IPv6 address that a host can choose no other of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source(IpAddr);

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// What one connection has done so far.
#[derive(Debug)]
struct State {
    /// When its last octet came; none has come yet.
    heard: Option<Instant>,
    /// Whether it has sent a whole request.
    proven: bool,
    /// The requests that are not answered to the end, by their number: when each began.
    under_way: VecDeque<(u64, Instant)>,
    next: u64,
    /// Since when none has been under way.
    quiet: Instant,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Seat {
    source: Source,
    begun: Instant,
    state: Mutex<State>,
    /// A request has begun.
    request: Notify,
    is_evicted: AtomicBool,
    evicted: Notify,
}

impl Seat {
    pub(super) fn new(source: Source, now: Instant) -> Self {
        let state =
            State { heard: None, proven: false, under_way: VecDeque::new(), next: 0, quiet: now };
        Self {
            source,
            begun: now,
            state: Mutex::new(state),
            request: Notify::new(),
            is_evicted: AtomicBool::new(false),
            evicted: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Octets came.
    pub(super) fn hear(&self, now: Instant) {
        self.state().heard = Some(now);
    }

    /// The head of a request has come; its number.
    pub(super) fn begin(&self, now: Instant) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        state.under_way.push_back((number, now));
        self.request.notify_one();
        number
    }

    /// A request has come to its end.
    pub(super) fn prove(&self) {
        self.state().proven = true;
    }

    /// A request was answered to the end, or given up.
    pub(super) fn end(&self, number: u64, now: Instant) {
        let mut state = self.state();
        state.under_way.retain(|(other, _)| *other != number);
        state.quiet = now;
    }

    /// When this connection is to be closed if nothing happens until then.
    pub(super) fn due(&self, limits: &Limits) -> Instant {
        let state = self.state();
        match state.under_way.front() {
            Some((_, began)) => *began + limits.request,
            None if state.next > 0 => state.quiet + limits.idle,
            None if state.heard.is_none() => self.begun + limits.greeting,
            None => self.begun + limits.head,
        }
    }

    /// Waits until another request has begun.
    pub(super) async fn begun(&self) {
        self.request.notified().await;
    }

    /// Waits until this place is another one's.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Takes its place away.
    pub(super) fn evict(&self) {
        self.is_evicted.store(true, Ordering::Relaxed);
        // The permit is kept until it is waited for.
        self.evicted.notify_one();
    }

    #[cfg(test)]
    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    /// The lower, the sooner it has to go.
    fn rank(&self) -> (bool, bool, Instant) {
        let state = self.state();
        let silent_since = state.heard.unwrap_or(self.begun);
        (state.proven, state.proven && !state.under_way.is_empty(), silent_since)
    }

    fn is_unproven(&self, source: Source) -> bool {
        self.source == source && !self.state().proven
    }
}

/// All places of one port.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    most_unproven: usize,
    taken: Mutex<(u64, BTreeMap<u64, Arc<Seat>>)>,
}

/// A seat until its connection ends.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) seat: Arc<Seat>,
    number: u64,
    seats: Arc<Seats>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.seats.taken().1.remove(&self.number);
    }
}

impl Seats {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let (most, most_unproven) = (limits.connections.max(1), limits.per_source.max(1));
        Arc::new(Self { most, most_unproven, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Arc<Seat>>)> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a newcomer a place. Whether another connection had to go for it.
    pub(super) fn take(self: &Arc<Self>, source: Source, now: Instant) -> (Taken, bool) {
        let mut taken = self.taken();
        let (next, seats) = &mut *taken;
        let of_source = seats.values().filter(|seat| seat.is_unproven(source)).count();
        let evicted = if of_source >= self.most_unproven {
            evict(seats, |seat| seat.is_unproven(source))
        } else if seats.len() >= self.most {
            evict(seats, |_| true)
        } else {
            false
        };
        *next += 1;
        let seat = Arc::new(Seat::new(source, now));
        seats.insert(*next, Arc::clone(&seat));
        (Taken { seat, number: *next, seats: Arc::clone(self) }, evicted)
    }

    /// Makes one connection go: there are no more files for a new one.
    pub(super) fn evict_one(&self) {
        evict(&mut self.taken().1, |_| true);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.taken().1.len()
    }
}

fn evict(seats: &mut BTreeMap<u64, Arc<Seat>>, may: impl Fn(&Seat) -> bool) -> bool {
    let first = seats.iter().filter(|(_, seat)| may(seat)).min_by_key(|(_, seat)| seat.rank());
    let Some(number) = first.map(|(number, _)| *number) else { return false };
    seats.remove(&number).inspect(|seat| seat.evict()).is_some()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 8,
        per_source: 3,
        greeting: Duration::from_secs(5),
        head: Duration::from_secs(10),
        request: Duration::from_secs(30),
        idle: Duration::from_secs(120),
        head_octets: 8192,
    };
    const SECOND: Duration = Duration::from_secs(1);

    fn source(number: u8) -> Source {
        Source::of([192, 0, 2, number].into())
    }

    fn is_gone(taken: &Taken) -> bool {
        !taken.seats.taken().1.contains_key(&taken.number)
    }

    #[test]
    fn the_longest_silent_goes_and_the_newcomer_always_has_a_place() {
        let (seats, start) = (Seats::new(&LIMITS), Instant::now());
        let mut there: Vec<Taken> =
            (0..8).map(|number| seats.take(source(number), start).0).collect();
        // All but the fifth say something later.
        for (taken, second) in there.iter().zip(1..) {
            taken.seat.hear(start + SECOND * second);
        }
        there[4].seat.hear(start);
        let (new, evicted) = seats.take(source(9), start + SECOND * 20);
        assert!(evicted && is_gone(&there[4]) && !is_gone(&new));
        assert_eq!(there.iter().filter(|taken| is_gone(taken)).count(), 1);
        drop(there.remove(4));
        assert_eq!(seats.len(), 8, "it was another one's already");
        drop(there);
        assert_eq!(seats.len(), 1);
    }

    #[test]
    fn who_has_sent_a_whole_request_goes_last_and_who_is_being_answered_after_all() {
        let (seats, start) = (Seats::new(&LIMITS), Instant::now());
        let there: Vec<Taken> = (0..8).map(|number| seats.take(source(number), start).0).collect();
        for taken in there.iter().take(2) {
            let number = taken.seat.begin(start);
            taken.seat.prove();
            taken.seat.end(number, start);
        }
        there[0].seat.begin(start);
        let mut late = Vec::new();
        // Whoever came new and stays silent goes before those.
        for second in 1..40 {
            late.push(seats.take(source(100 + second), start + SECOND * u32::from(second)).0);
        }
        assert!(!is_gone(&there[0]) && !is_gone(&there[1]));
        assert!(there.iter().skip(2).all(is_gone));
        for taken in late.iter().filter(|taken| !is_gone(taken)) {
            taken.seat.prove();
            taken.seat.hear(start + SECOND * 50);
        }
        late.push(seats.take(source(9), start + SECOND * 60).0);
        assert!(is_gone(&there[1]) && !is_gone(&there[0]));
    }

    #[test]
    fn one_source_has_no_more_than_its_part_until_it_has_proven_itself() {
        let (seats, start) = (Seats::new(&LIMITS), Instant::now());
        let other = seats.take(source(1), start).0;
        let mut many = Vec::new();
        for second in 1..=100 {
            many.push(seats.take(source(2), start + SECOND * second).0);
        }
        assert!(!is_gone(&other), "it has been silent for longer and is of another source");
        assert_eq!(many.iter().filter(|taken| !is_gone(taken)).count(), LIMITS.per_source);
        assert!(many.iter().rev().take(LIMITS.per_source).all(|taken| !is_gone(taken)));
        // The API server: one source, many connections, each of which has asked something.
        let mut reviews = Vec::new();
        for second in 200..204 {
            let taken = seats.take(source(3), start + SECOND * second).0;
            taken.seat.prove();
            reviews.push(taken);
        }
        assert!(reviews.iter().all(|taken| !is_gone(taken)));
        assert!(!is_gone(&other));
    }

    #[test]
    fn sources_are_hosts() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn every_pause_has_its_end() {
        let (seats, start) = (Seats::new(&LIMITS), Instant::now());
        let taken = seats.take(source(1), start).0;
        assert_eq!(taken.seat.due(&LIMITS), start + LIMITS.greeting);
        taken.seat.hear(start + SECOND);
        assert_eq!(taken.seat.due(&LIMITS), start + LIMITS.head);
        let first = taken.seat.begin(start + SECOND * 2);
        let second = taken.seat.begin(start + SECOND * 3);
        assert_eq!(taken.seat.due(&LIMITS), start + SECOND * 2 + LIMITS.request);
        taken.seat.end(first, start + SECOND * 4);
        assert_eq!(taken.seat.due(&LIMITS), start + SECOND * 3 + LIMITS.request);
        taken.seat.end(second, start + SECOND * 5);
        taken.seat.hear(start + SECOND * 100);
        assert_eq!(
            taken.seat.due(&LIMITS),
            start + SECOND * 5 + LIMITS.idle,
            "octets are no request"
        );
    }
}
