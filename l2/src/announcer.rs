// SPDX-License-Identifier: Apache-2.0
//! When to announce: the opening window of an address on a link (MetalLB's timing) and the periodic repetition. Not what an
//! announcement looks like, and no clock: it says what is due at the moment it is given.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a newly announced address is repeated on a link.
const WINDOW: Duration = Duration::from_secs(5);
/// The pause between two bursts of a window.
const PAUSE: Duration = Duration::from_millis(1100);
/// The share of the interval by which a periodic announcement is moved around its place.
const JITTER: f64 = 0.05;
/// How much later than its moment a burst may go out, so that those of many addresses go out together: waking up costs
/// more than sending.
const SLACK: Duration = Duration::from_millis(20);
/// Whoever began to announce so lately announces once more after another station has contradicted it: that one was on its way out.
const FRESH: Duration = Duration::from_millis(500);
/// The pause before it does: the two frames of a burst belong together.
const AGAIN: Duration = Duration::from_millis(10);
/// How long whoever announces an address for longer is quiet after another station has announced it: the news that it passes there may be
/// on their way, and an announcement would lead everybody back for a moment.
const HELD: Duration = Duration::from_millis(500);
/// How often at most, so that a station that goes on claiming an address silences nobody. Whoever still owns the address after
/// [`HELD`] then announces it once: DEFEND_INTERVAL of RFC 5227 §1.1 and §2.4 (b).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// The golden ratio's fraction: its multiples fill the interval evenly, however many addresses come.
const GOLDEN: f64 = 0.618_033_988_749_894_8;

/// One burst that is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The address to announce.
    pub address: IpAddr,
    /// The link to announce it on.
    pub link: u32,
    /// Whether to ask, too, if somebody else has it.
    pub probe: bool,
}

/// So much room for stale moments and empty places stays in any case.
const FEW: usize = 64;

/// The schedule of all owned addresses. Everything lies in a few large pieces: what thousands of addresses need for the seconds after a start
/// would otherwise leave holes between what stays, which do not go back to the system.
#[derive(Debug)]
pub struct Announcer {
    interval: Duration,
    seed: u64,
    born: u32,
    addresses: HashMap<IpAddr, Address>,
    windows: HashMap<(IpAddr, u32), Window>,
    /// Moments, the next one first. Those that are stale stay until they come to the front, or are too many.
    queue: BinaryHeap<Reverse<(Instant, Job)>>,
    due: VecDeque<Burst>,
}

#[derive(Debug)]
struct Address {
    links: Arc<[u32]>,
    periodic: Option<Periodic>,
    /// When its announcements were last put off because another station announced it.
    held: Option<Instant>,
    /// When, and on which link, that announcement is to be answered by one of ours.
    defence: Option<(Instant, u32)>,
}

/// The place of an address in the interval, and the jittered moment next to it.
#[derive(Debug)]
struct Periodic {
    base: Instant,
    at: Instant,
    times: u64,
}

#[derive(Debug)]
struct Window {
    next: Instant,
    until: Instant,
    first: bool,
    /// Whether it was contradicted when it was fresh.
    repeats: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Window(IpAddr, u32),
    Periodic(IpAddr),
    Defence(IpAddr),
}

impl Announcer {
    /// With the periodic interval (zero: none) and the seed of its jitter.
    #[must_use]
    pub fn new(interval: Duration, seed: u64) -> Self {
        Self {
            interval,
            seed,
            born: 0,
            addresses: HashMap::new(),
            windows: HashMap::new(),
            queue: BinaryHeap::new(),
            due: VecDeque::new(),
        }
    }

    /// The address is owned and belongs on these links. Links that are new for it get a window, those that went lose theirs,
    /// the others notice nothing.
    pub fn own(&mut self, now: Instant, address: IpAddr, links: Arc<[u32]>) {
        let before = match self.addresses.get_mut(&address) {
            Some(known) => std::mem::replace(&mut known.links, Arc::clone(&links)),
            None => {
                let periodic = self.first_periodic(now, address);
                let links = Arc::clone(&links);
                self.addresses
                    .insert(address, Address { links, periodic, held: None, defence: None });
                Arc::default()
            }
        };
        for link in before.iter().filter(|link| !links.contains(link)) {
            self.close_window(address, *link);
        }
        for link in links.iter().filter(|link| !before.contains(link)) {
            self.open_window(now, address, *link);
        }
        self.tidy();
    }

    /// The address is owned no more: nothing of it is sent from now.
    pub fn disown(&mut self, address: IpAddr) {
        let Some(known) = self.addresses.remove(&address) else { return };
        for link in known.links.iter() {
            self.close_window(address, *link);
        }
        self.due.retain(|burst| burst.address != address);
        if self.addresses.len() < self.addresses.capacity() / 4 {
            self.addresses.shrink_to(FEW.max(2 * self.addresses.len()));
        }
        self.tidy();
    }

    /// Everything on this link is to be announced anew: its hardware address changed, or it was plugged in.
    pub fn rearm(&mut self, now: Instant, link: u32, which: impl Fn(IpAddr) -> bool) {
        let mut addresses: Vec<IpAddr> = self
            .addresses
            .iter()
            .filter(|(address, known)| known.links.contains(&link) && which(**address))
            .map(|(address, _)| *address)
            .collect();
        addresses.sort_unstable();
        for address in addresses {
            self.open_window(now, address, link);
        }
        self.tidy();
    }

    /// Another station announced the address to all on this link. If that was the last owner's word against our first, ours comes once more;
    /// if it was the next owner's, what is due here waits until we may know that there is one. Where there is none, the address is
    /// announced once more then, so that the neighbours do not believe a false claim until the next periodic announcement. True if
    /// it waits.
    pub fn contested(&mut self, now: Instant, address: IpAddr, link: u32) -> bool {
        if let Some(window) = self.windows.get_mut(&(address, link))
            && now + WINDOW < window.until + FRESH
        {
            if !window.first && !std::mem::replace(&mut window.repeats, true) {
                window.next = now + AGAIN;
                self.queue.push(Reverse((window.next, Job::Window(address, link))));
            }
            return false;
        }
        let Some(known) = self.addresses.get_mut(&address) else { return false };
        if known.held.is_some_and(|since| now < since + DEFEND_INTERVAL) {
            return false;
        }
        known.held = Some(now);
        if !self.windows.contains_key(&(address, link)) {
            known.defence = Some((now + HELD, link));
            self.queue.push(Reverse((now + HELD, Job::Defence(address))));
        }
        self.put_off(address, now + HELD);
        self.tidy();
        true
    }

    /// Nothing of the address comes before this moment, except in a window that opens anew.
    fn put_off(&mut self, address: IpAddr, until: Instant) {
        self.due.retain(|burst| burst.address != address);
        let Some(known) = self.addresses.get_mut(&address) else { return };
        for link in known.links.iter() {
            if let Some(window) = self.windows.get_mut(&(address, *link))
                && window.next < until
            {
                window.next = until;
                self.queue.push(Reverse((until, Job::Window(address, *link))));
            }
        }
        if let Some(periodic) = known.periodic.as_mut()
            && periodic.at < until
        {
            periodic.at = until;
            self.queue.push(Reverse((until, Job::Periodic(address))));
        }
    }

    /// The next burst that is due, until there is none. What comes too late is sent once, not as often as it was missed.
    pub fn poll(&mut self, now: Instant) -> Option<Burst> {
        loop {
            if let Some(burst) = self.due.pop_front() {
                return Some(burst);
            }
            crate::shrink(&mut self.due);
            let Reverse((_, job)) = self.queue.peek().copied().filter(|next| next.0.0 <= now)?;
            self.queue.pop();
            match job {
                Job::Window(address, link) => self.window_due(now, address, link),
                Job::Periodic(address) => self.periodic_due(now, address),
                Job::Defence(address) => self.defence_due(address),
            }
            self.tidy();
        }
    }

    /// When to poll again: a little later than the next burst's moment, with those that come soon after it. What is due at
    /// once (a new address) is found by polling without waiting for this.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.queue.peek().map(|next| next.0.0 + SLACK)
    }

    /// The next moment is one at which something is due, and room that was needed for a while is given back.
    fn tidy(&mut self) {
        let (addresses, windows) = (&self.addresses, &self.windows);
        let is_due = |(at, job): (Instant, Job)| match job {
            Job::Window(address, link) => {
                windows.get(&(address, link)).is_some_and(|window| window.next == at)
            }
            Job::Periodic(address) => {
                let periodic = addresses.get(&address).and_then(|known| known.periodic.as_ref());
                periodic.is_some_and(|periodic| periodic.at == at)
            }
            Job::Defence(address) => {
                let defence = addresses.get(&address).and_then(|known| known.defence);
                defence.is_some_and(|(due, _)| due == at)
            }
        };
        while self.queue.peek().is_some_and(|next| !is_due(next.0)) {
            self.queue.pop();
        }
        if self.queue.len() > FEW + 2 * (addresses.len() + windows.len()) {
            self.queue.retain(|next| is_due(next.0));
        }
        if self.queue.capacity() > FEW && self.queue.len() < self.queue.capacity() / 2 {
            self.queue.shrink_to(FEW.max(self.queue.len() * 5 / 4));
        }
        if self.windows.is_empty() && self.windows.capacity() > FEW {
            self.windows = HashMap::new();
        }
    }

    fn open_window(&mut self, now: Instant, address: IpAddr, link: u32) {
        self.close_window(address, link);
        let window = Window { next: now, until: now + WINDOW, first: true, repeats: false };
        self.windows.insert((address, link), window);
        self.queue.push(Reverse((now, Job::Window(address, link))));
    }

    fn close_window(&mut self, address: IpAddr, link: u32) {
        self.windows.remove(&(address, link));
        self.due.retain(|burst| burst.address != address || burst.link != link);
    }

    fn window_due(&mut self, now: Instant, address: IpAddr, link: u32) {
        let Some(window) = self.windows.get_mut(&(address, link)) else { return };
        self.due.push_back(Burst { address, link, probe: window.first });
        window.first = false;
        window.next += PAUSE;
        if window.next <= now {
            window.next = now + PAUSE;
        }
        if window.next < window.until {
            self.queue.push(Reverse((window.next, Job::Window(address, link))));
        } else {
            self.windows.remove(&(address, link));
        }
    }

    fn periodic_due(&mut self, now: Instant, address: IpAddr) {
        let (interval, seed) = (self.interval, self.seed);
        let Some(known) = self.addresses.get_mut(&address) else { return };
        self.due.extend(known.links.iter().map(|link| Burst { address, link: *link, probe: true }));
        let Some(periodic) = known.periodic.as_mut() else { return };
        periodic.base += interval;
        if periodic.base <= now {
            let missed = now.duration_since(periodic.base).as_secs_f64() / interval.as_secs_f64();
            periodic.base += interval.mul_f64(missed.floor() + 1.0);
        }
        periodic.times += 1;
        periodic.at = jittered(periodic.base, interval, (seed, address, periodic.times));
        self.queue.push(Reverse((periodic.at, Job::Periodic(address))));
    }

    /// Without a question: whether the other one still claims it is asked at the usual times.
    fn defence_due(&mut self, address: IpAddr) {
        let Some(known) = self.addresses.get_mut(&address) else { return };
        let Some((_, link)) = known.defence.take() else { return };
        if known.links.contains(&link) && !self.windows.contains_key(&(address, link)) {
            self.due.push_back(Burst { address, link, probe: false });
        }
    }

    fn first_periodic(&mut self, now: Instant, address: IpAddr) -> Option<Periodic> {
        if self.interval.is_zero() {
            return None;
        }
        let place = (fraction(self.seed) + f64::from(self.born) * GOLDEN).fract();
        self.born = self.born.wrapping_add(1);
        let mut base = now + self.interval.mul_f64(place);
        if base < now + WINDOW {
            base += self.interval;
        }
        let at = jittered(base, self.interval, (self.seed, address, 0));
        self.queue.push(Reverse((at, Job::Periodic(address))));
        Some(Periodic { base, at, times: 0 })
    }
}

/// A moment within the jitter after `base`: never before it, so that a place in the interval stays behind the window.
fn jittered(base: Instant, interval: Duration, which: (u64, IpAddr, u64)) -> Instant {
    let mut hasher = DefaultHasher::new();
    which.hash(&mut hasher);
    base + interval.mul_f64(JITTER * fraction(hasher.finish()))
}

/// A number from zero up to one, by the top 32 bits of a mixed seed.
fn fraction(seed: u64) -> f64 {
    let mixed = (seed ^ (seed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / 4_294_967_296.0
}

#[cfg(test)]
mod tests;
