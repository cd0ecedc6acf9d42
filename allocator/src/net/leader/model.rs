// SPDX-License-Identifier: Apache-2.0
//! Plays controllers that stand for election on one Lease, with every pause, loss and lie that a cluster has, at
//! random: no two of them may write at the same time.
//!
//! A round is played in its parts: the read is answered; the step is decided and its write leaves; the write is carried
//! out; its answer arrives or is lost. Between any two parts time passes, a process stands still or dies, or the API
//! answers nobody. The API's word on Pods is arbitrary.

use std::time::{Duration, Instant};

use super::candidate::{Candidate, Holder, Seen, Step, Times};

const TIMES: Times = Times {
    lease: Duration::from_secs(15),
    renew: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

/// splitmix64: its number names a history.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }
}

#[derive(Clone)]
struct Lease {
    holder: String,
    version: u64,
    renewed: bool,
    stands_by: Option<String>,
    duration: Duration,
    forced: bool,
}

impl Lease {
    fn seen(&self) -> Seen {
        Seen {
            holder: self.holder.clone(),
            version: self.version.to_string(),
            renewed: self.renewed,
            duration: self.duration,
            stands_by: self.stands_by.clone(),
            forced: self.forced,
        }
    }
}

enum Phase {
    Rest,
    Looked { began: Instant, seen: Option<Seen> },
    Writes { began: Instant, step: Step },
    Written { began: Instant, step: Step, succeeded: bool },
}

struct Process {
    identity: String,
    /// The processes that ran before in the same Pod.
    before: Vec<String>,
    times: Times,
    candidate: Candidate,
    phase: Phase,
    leads: bool,
    /// The fence: the moments between which the process may write.
    from: Option<Instant>,
    until: Option<Instant>,
}

impl Process {
    fn new(identity: String, before: Vec<String>, times: Times) -> Self {
        let candidate = Candidate::new(identity.clone(), times);
        let phase = Phase::Rest;
        Self { identity, before, times, candidate, phase, leads: false, from: None, until: None }
    }

    fn may_write(&self, now: Instant) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_some_and(|until| now < until)
    }

    fn hold(&mut self, began: Instant, now: Instant) {
        if let Some(from) = self.candidate.own(now) {
            self.from = from;
        }
        self.leads = true;
        self.until = Some(self.candidate.until(began));
    }

    fn lose(&mut self) {
        (self.leads, self.from, self.until) = (false, None, None);
    }
}

#[derive(Default)]
struct Counts {
    forced: u32,
    expired: u32,
    writes_after_force: u32,
}

struct World {
    now: Instant,
    lease: Option<Lease>,
    version: u64,
    processes: Vec<Process>,
    random: Random,
    counts: Counts,
}

impl World {
    fn new(number: u64, times: Times) -> Self {
        #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let now = Instant::now();
        let process = |name: &str| Process::new(name.to_owned(), Vec::new(), times);
        Self {
            now,
            lease: None,
            version: 0,
            processes: ["a", "b", "c"].map(process).into(),
            random: Random(number),
            counts: Counts::default(),
        }
    }

    /// Plays one event.
    ///
    /// # Errors
    /// Two processes may write.
    fn tick(&mut self) -> Result<(), String> {
        let pauses = [0, 1, 50, 500, 2_000, 9_999, 10_000, 15_000, 31_000, 61_000];
        let pause = pauses[usize::try_from(self.random.below(10)).unwrap()];
        // Long pauses are rare: most of a history is business as usual.
        let pause = if pause > 500 && self.random.below(4) > 0 { 200 } else { pause };
        self.now += Duration::from_millis(pause);
        let index = usize::try_from(self.random.below(3)).unwrap();
        match self.random.below(200) {
            0 => self.replace(index),
            1 => self.release(index),
            _ => self.advance(index),
        }
        let writers: Vec<&str> = (self.processes.iter())
            .filter(|process| process.may_write(self.now))
            .map(|process| &*process.identity)
            .collect();
        if writers.len() > 1 { Err(format!("{writers:?} write")) } else { Ok(()) }
    }

    /// A process dies, and another one with a name of its own takes its place.
    fn replace(&mut self, index: usize) {
        self.version += 1;
        let old = &mut self.processes[index];
        let mut before = std::mem::take(&mut old.before);
        before.push(old.identity.clone());
        // Every second process comes in a Pod of its own.
        if self.random.below(2) == 0 {
            before.clear();
        }
        let times = old.times;
        self.processes[index] = Process::new(format!("new{}", self.version), before, times);
    }

    /// A process ends in order: it writes no more, and gives the Lease back if it holds it.
    fn release(&mut self, index: usize) {
        let identity = self.processes[index].identity.clone();
        self.replace(index);
        self.version += 1;
        if let Some(lease) = self.lease.as_mut().filter(|lease| lease.holder == identity) {
            (lease.holder, lease.version) = (String::new(), self.version);
        }
    }

    fn advance(&mut self, index: usize) {
        let now = self.now;
        let holder = [Holder::Alive, Holder::Unknown, Holder::Gone, Holder::Alive];
        let holder = holder[usize::try_from(self.random.below(4)).unwrap()];
        let others = self.random.below(8);
        let process = &mut self.processes[index];
        match std::mem::replace(&mut process.phase, Phase::Rest) {
            Phase::Rest => {
                let seen = self.lease.as_ref().map(Lease::seen);
                process.phase = Phase::Looked { began: now, seen };
            }
            Phase::Looked { began, seen } => {
                if process.leads && others == 0 {
                    process.candidate.note_others(now, Some(false));
                }
                let is_own = seen.as_ref().is_some_and(|seen| seen.holder == process.identity);
                if process.leads && seen.is_some() && !is_own {
                    process.lose();
                }
                let holder = match &seen {
                    Some(seen) if process.before.contains(&seen.holder) => Holder::Before,
                    _ => holder,
                };
                match process.candidate.step(now, seen.as_ref(), holder) {
                    Step::Confirm => process.hold(began, now),
                    Step::Wait => {}
                    step => process.phase = Phase::Writes { began, step },
                }
            }
            Phase::Writes { began, step } => {
                let succeeded = self.write(index, &step);
                self.processes[index].phase = Phase::Written { began, step, succeeded };
            }
            // One answer in eight is lost.
            Phase::Written { began, step, succeeded } if succeeded && others > 0 => {
                if !matches!(step, Step::Mark(_)) {
                    process.hold(began, now);
                }
            }
            Phase::Written { .. } => {}
        }
    }

    /// Carries out a write, if the Lease still has the version that the write is about.
    fn write(&mut self, index: usize, step: &Step) -> bool {
        let now = self.now;
        let process = &self.processes[index];
        let current = self.lease.as_ref().map(|lease| lease.version.to_string());
        let expected = match step {
            Step::Create { .. } => None,
            Step::Take { version, .. } | Step::Renew(version) | Step::Mark(version) => {
                Some(version.clone())
            }
            Step::Confirm | Step::Wait => return false,
        };
        if current != expected {
            return false;
        }
        self.version += 1;
        if let Step::Mark(_) = step {
            if let Some(lease) = &mut self.lease {
                lease.stands_by = Some(process.identity.clone());
                lease.version = self.version;
            }
            return true;
        }
        if let Step::Take { quarantine, .. } = step {
            self.counts.forced += u32::from(*quarantine);
            let left = self.lease.as_ref().is_some_and(|lease| !lease.holder.is_empty());
            self.counts.expired += u32::from(!quarantine && left);
        }
        self.lease = Some(Lease {
            holder: process.identity.clone(),
            version: self.version,
            renewed: process.candidate.renews(),
            stands_by: None,
            duration: process.times.lease,
            forced: match step {
                Step::Create { quarantine } | Step::Take { quarantine, .. } => *quarantine,
                _ => process.candidate.is_quarantined(now),
            },
        });
        true
    }
}

/// Plays this many histories; returns the first error, and the counts of the rare events that were played.
fn play(histories: u64, times: Times) -> (Option<String>, Counts) {
    let mut all = Counts::default();
    for number in 0..histories {
        let mut world = World::new(number, times);
        for tick in 0..400 {
            let forced = world.counts.forced;
            if let Err(error) = world.tick() {
                return (Some(format!("history {number}, event {tick}: {error}")), all);
            }
            let writes = world.processes.iter().any(|process| process.may_write(world.now));
            all.writes_after_force += u32::from(forced > 0 && writes);
        }
        all.forced += world.counts.forced;
        all.expired += world.counts.expired;
    }
    (None, all)
}

#[test]
fn no_two_controllers_write_at_the_same_time() {
    let (error, counts) = play(20_000, TIMES);
    assert_eq!(error, None);
    // The test proves something only if the rare events were played.
    assert!(counts.forced > 1_000, "{} forced", counts.forced);
    assert!(counts.expired > 1_000, "{} expired", counts.expired);
    assert!(counts.writes_after_force > 10_000, "{} written", counts.writes_after_force);
}

#[test]
fn the_model_finds_what_is_wrong_when_a_lease_is_shorter_than_its_holder_writes() {
    let times = Times { lease: Duration::from_secs(1), ..TIMES };
    assert!(play(20_000, times).0.is_some());
}
