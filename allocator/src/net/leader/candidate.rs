// SPDX-License-Identifier: Apache-2.0
//! The steps of one controller towards the Lease, decided from the Lease as it was last read. A synchronous value that
//! reads no clock. The module above has the rules; `model.rs` plays them against each other.
//!
//! Clocks of different machines are not compared. A lease is over when this process has seen it unchanged for its
//! duration.

use std::time::{Duration, Instant};

/// The time for which a lease is renewed after another controller said that it stands by, if the own Deployment cannot
/// be asked.
const COMPANY: Duration = Duration::from_secs(600);

/// The times of the Lease, as client-go has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Times {
    /// The time for which others take a renewed lease for held. A controller that takes over from a holder that may
    /// live writes nothing for as long.
    pub(in crate::net) lease: Duration,
    /// The time for which the holder writes after it began to renew, or to look at, a lease that was still its own. It
    /// is shorter than the lease.
    pub(in crate::net) renew: Duration,
    /// The time between two renewals, and between two looks of the others.
    pub(in crate::net) retry: Duration,
}

impl Times {
    /// The time after which a leader that renews nothing looks for a standby controller, and one that renews asks
    /// whether it is alone again: 30 s by default.
    pub(super) fn patrol(&self) -> Duration {
        self.retry * 15
    }

    /// The time after which a holder that has not answered a mark counts as gone, if it does not renew its lease: two
    /// looks of a leader that can look.
    fn answer(&self) -> Duration {
        self.patrol() * 2
    }
}

/// The parts of the Lease that decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// `spec.holderIdentity`; empty if the Lease was given back.
    pub(super) holder: String,
    /// `metadata.resourceVersion`.
    pub(super) version: String,
    /// True if the holder renews the Lease.
    pub(super) renewed: bool,
    /// The lease's own duration, `spec.leaseDurationSeconds`.
    pub(super) duration: Duration,
    /// The identity of a controller that stands by, as it says itself.
    pub(super) stands_by: Option<String>,
    /// True if the holder took the Lease by force, and the holder before may still write.
    pub(super) forced: bool,
}

/// The state of the holder's Pod, by the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// The Pod is the own one: the process before this one held the Lease, and has ended.
    Before,
    /// The Pod lives, as far as is known.
    Alive,
    /// Nothing is known.
    Unknown,
    /// The Pod is absent or has ended, or its node is lost. The holder's process may live all the same.
    Gone,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make the Lease.
    Create {
        /// As in `Take`.
        quarantine: bool,
    },
    /// Take the Lease, if it still has this version.
    Take {
        version: String,
        /// True if the holder before may still write: then this process writes nothing for the length of a lease.
        quarantine: bool,
    },
    /// Renew the own Lease of this version.
    Renew(String),
    /// Leave the own Lease as it is: to have seen it is enough.
    Confirm,
    /// Mark the Lease with this standby process, if the Lease still has this version.
    Mark(String),
    /// Wait, as another controller holds the Lease.
    Wait,
}

/// One controller that stands for election.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    times: Times,
    /// The version last seen, and the moment at which it was first seen.
    last: Option<(String, Instant)>,
    /// True if this process renews its own lease.
    renews: bool,
    /// The duration of the last lease of another holder.
    theirs: Duration,
    /// An attempt to get the Lease. The API may have carried it out, whether or not its answer came. True if the
    /// attempt was made in quarantine.
    tried: Option<bool>,
    /// The last moment at which another controller said that it stands by.
    company: Option<Instant>,
    /// The moment from which the own lease may be used, if it was taken by force.
    from: Option<Instant>,
}

impl Candidate {
    pub(super) fn new(identity: String, times: Times) -> Self {
        Self {
            identity,
            times,
            last: None,
            renews: false,
            theirs: Duration::ZERO,
            tried: None,
            company: None,
            from: None,
        }
    }

    /// True if this process renews its lease.
    pub(super) fn renews(&self) -> bool {
        self.renews
    }

    /// Takes in whether other controllers are there, as the own Deployment says; none if the Deployment cannot be
    /// asked.
    pub(super) fn note_others(&mut self, now: Instant, others: Option<bool>) {
        let said_so = self.company.is_some_and(|company| now < company + COMPANY);
        self.renews = others.unwrap_or(said_so);
    }

    /// Decides the next step from the Lease as it was seen at `now`; none if there is no Lease.
    pub(super) fn step(&mut self, now: Instant, seen: Option<&Seen>, holder: Holder) -> Step {
        let step = self.decide(now, seen, holder);
        if let Step::Create { quarantine } | Step::Take { quarantine, .. } = &step {
            self.tried = Some(self.tried.unwrap_or_default() || *quarantine);
        }
        step
    }

    /// Notes that the Lease is known at `now` to be the own one. If that is new, returns the moment from which this
    /// process may write; none in it means at once.
    pub(super) fn own(&mut self, now: Instant) -> Option<Option<Instant>> {
        let quarantine = self.tried.take()?;
        self.from = quarantine.then(|| now + self.times.lease.max(self.theirs));
        Some(self.from)
    }

    /// True if the holder before may still write: the Lease says so for as long.
    pub(super) fn is_quarantined(&self, now: Instant) -> bool {
        self.from.is_some_and(|from| now < from)
    }

    fn decide(&mut self, now: Instant, seen: Option<&Seen>, holder: Holder) -> Step {
        let Some(seen) = seen else {
            // The Lease is gone under its holder, or another Pod of the own Deployment may have held it: the holder may
            // still write.
            return Step::Create { quarantine: self.last.take().is_some() || self.renews };
        };
        let version = seen.version.clone();
        let since = match &self.last {
            Some((last, since)) if *last == version => *since,
            _ => {
                self.last = Some((version.clone(), now));
                if seen.holder != self.identity {
                    // Another controller wrote the Lease after this one's attempt, or instead.
                    self.tried = None;
                }
                now
            }
        };
        let own = |name: &str| name == self.identity;
        if own(&seen.holder) {
            // A standby controller would wait for the node to be lost. From now on it waits for the length of a lease.
            if seen.stands_by.as_deref().is_some_and(|other| !own(other)) {
                (self.renews, self.company) = (true, Some(now));
            }
            let is_over = seen.forced && self.tried.is_none() && !self.is_quarantined(now);
            let renew = self.renews || seen.renewed || is_over;
            return if renew { Step::Renew(version) } else { Step::Confirm };
        }
        self.theirs = seen.duration;
        if seen.holder.is_empty() || holder == Holder::Before {
            // The holder has ended, or writes no more. The holder before it may still write, if the Lease was taken by
            // force.
            return Step::Take { version, quarantine: seen.forced };
        }
        if seen.renewed {
            // The holder has stopped writing before this moment.
            let over = now >= since + seen.duration;
            return if over { Step::Take { version, quarantine: seen.forced } } else { Step::Wait };
        }
        if holder == Holder::Gone {
            return Step::Take { version, quarantine: true };
        }
        if !seen.stands_by.as_deref().is_some_and(own) {
            return Step::Mark(version);
        }
        if now >= since + self.times.answer() {
            Step::Take { version, quarantine: true }
        } else {
            Step::Wait
        }
    }

    /// The moment of the next look after a step at `now`; a write that asks for a look comes before.
    pub(super) fn next(&self, now: Instant, leads: bool) -> Instant {
        now + if leads && !self.renews { self.times.patrol() } else { self.times.retry }
    }

    /// The end of the time in which this process may write, after a look that began at `began` and found or made the
    /// Lease its own.
    pub(super) fn until(&self, began: Instant) -> Instant {
        began + self.times.renew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        lease: Duration::from_secs(15),
        renew: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn seen(holder: &str, version: &str, renewed: bool) -> Seen {
        Seen {
            holder: holder.into(),
            version: version.into(),
            renewed,
            duration: TIMES.lease,
            stands_by: None,
            forced: false,
        }
    }

    fn take(version: &str, quarantine: bool) -> Step {
        Step::Take { version: version.into(), quarantine }
    }

    #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_lease_that_is_renewed_is_left_alone_and_one_that_is_not_any_more_is_taken() {
        let (mut candidate, now) = (Candidate::new("a".into(), TIMES), now());
        let mut step =
            |at, version: &str| candidate.step(at, Some(&seen("b", version, true)), Holder::Gone);
        for renewal in 0..10 {
            let at = now + TIMES.lease * renewal;
            assert_eq!(
                step(at, &renewal.to_string()),
                Step::Wait,
                "whatever its Pod is said to be"
            );
            let soon = at + TIMES.lease - Duration::from_millis(1);
            assert_eq!(step(soon, &renewal.to_string()), Step::Wait);
        }
        assert_eq!(step(now + TIMES.lease * 10, "9"), take("9", false));
    }

    #[test]
    fn a_lease_that_was_given_back_or_is_of_the_process_before_is_taken_at_once() {
        let mut candidate = Candidate::new("a".into(), TIMES);
        let step = candidate.step(now(), Some(&seen("", "1", false)), Holder::Unknown);
        assert_eq!(step, take("1", false));
        let step = candidate.step(now(), Some(&seen("b", "2", false)), Holder::Before);
        assert_eq!(step, take("2", false));
        // The exception: the last holder took the Lease by force, a moment ago.
        let forced = Seen { forced: true, ..seen("", "3", false) };
        assert_eq!(candidate.step(now(), Some(&forced), Holder::Unknown), take("3", true));
        let step = candidate.step(now(), None, Holder::Unknown);
        assert_eq!(step, Step::Create { quarantine: true }, "somebody may hold it");
        let mut first = Candidate::new("a".into(), TIMES);
        let step = first.step(now(), None, Holder::Unknown);
        assert_eq!(step, Step::Create { quarantine: false });
        first.note_others(now(), Some(true));
        let step = first.step(now(), None, Holder::Unknown);
        assert_eq!(step, Step::Create { quarantine: true }, "others are there");
    }

    #[test]
    fn alone_nothing_is_written_until_another_one_stands_by() {
        let (mut candidate, now) = (Candidate::new("a".into(), TIMES), now());
        let own = seen("a", "1", false);
        assert_eq!(candidate.step(now, Some(&own), Holder::Unknown), Step::Confirm);
        assert_eq!(candidate.next(now, true), now + TIMES.patrol());
        let marked = Seen { stands_by: Some("b".into()), ..own.clone() };
        assert_eq!(candidate.step(now, Some(&marked), Holder::Unknown), Step::Renew("1".into()));
        assert_eq!(candidate.next(now, true), now + TIMES.retry);
        candidate.note_others(now, Some(false));
        let renewed = Seen { renewed: true, ..own };
        // The leader renews once more, to say that it is the last time.
        assert_eq!(candidate.step(now, Some(&renewed), Holder::Unknown), Step::Renew("1".into()));
        assert!(!candidate.renews());
    }

    #[test]
    fn a_holder_that_renews_nothing_is_asked_and_taken_over_from_when_it_does_not_answer() {
        let (mut candidate, now) = (Candidate::new("a".into(), TIMES), now());
        let theirs = seen("b", "1", false);
        for holder in [Holder::Alive, Holder::Unknown] {
            assert_eq!(candidate.step(now, Some(&theirs), holder), Step::Mark("1".into()));
        }
        let marked = Seen { stands_by: Some("a".into()), version: "2".into(), ..theirs.clone() };
        assert_eq!(candidate.step(now, Some(&marked), Holder::Alive), Step::Wait);
        let soon = now + TIMES.answer() - Duration::from_millis(1);
        assert_eq!(candidate.step(soon, Some(&marked), Holder::Alive), Step::Wait);
        assert_eq!(
            candidate.step(now + TIMES.answer(), Some(&marked), Holder::Alive),
            take("2", true)
        );
        assert_eq!(candidate.step(now, Some(&theirs), Holder::Gone), take("1", true));
    }

    #[test]
    fn who_takes_over_from_one_that_may_live_writes_after_that_one_can_write_no_more() {
        let (mut candidate, now) = (Candidate::new("a".into(), TIMES), now());
        assert_eq!(candidate.until(now), now + TIMES.renew);
        candidate.step(now, Some(&seen("b", "1", false)), Holder::Gone);
        // The answer came; or a later look finds that the Lease is the own one.
        assert_eq!(
            candidate.step(now, Some(&seen("a", "2", false)), Holder::Unknown),
            Step::Confirm
        );
        assert_eq!(candidate.own(now), Some(Some(now + TIMES.lease)));
        assert_eq!(candidate.own(now), None, "that is no news");
        // The Lease says so until that time is over.
        let forced = Seen { forced: true, ..seen("a", "2", false) };
        let soon = now + TIMES.lease - Duration::from_millis(1);
        assert_eq!(candidate.step(soon, Some(&forced), Holder::Unknown), Step::Confirm);
        let over = now + TIMES.lease;
        assert_eq!(candidate.step(over, Some(&forced), Holder::Unknown), Step::Renew("2".into()));
        let long = Seen { duration: TIMES.lease * 4, ..seen("b", "3", false) };
        candidate.step(now, Some(&long), Holder::Gone);
        assert_eq!(
            candidate.own(now),
            Some(Some(now + TIMES.lease * 4)),
            "it may be kept by other flags"
        );
        candidate.step(now, Some(&seen("b", "4", false)), Holder::Gone);
        candidate.step(now, Some(&seen("", "5", false)), Holder::Unknown);
        assert_eq!(candidate.own(now), Some(None), "it was given back meanwhile");
    }

    #[test]
    fn where_the_deployment_cannot_be_asked_a_mark_is_remembered() {
        let (mut candidate, now) = (Candidate::new("a".into(), TIMES), now());
        let marked = Seen { stands_by: Some("b".into()), ..seen("a", "1", false) };
        candidate.step(now, Some(&marked), Holder::Unknown);
        candidate.note_others(now + TIMES.patrol(), None);
        assert!(candidate.renews());
        candidate.note_others(now + COMPANY, None);
        assert!(!candidate.renews());
    }
}
