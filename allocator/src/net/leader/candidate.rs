// SPDX-License-Identifier: Apache-2.0
//! The steps of one controller towards the Lease, by the Lease as it was last read. A synchronous value that reads no clock. The
//! rules are in the module above; `model.rs` plays them against each other.
//!
//! Clocks of different machines are not compared: a lease is over when it has not changed for its duration as this process saw it.

use std::time::{Duration, Instant};

/// How long a lease is renewed after somebody said that it stands by, where the own Deployment cannot be asked.
const COMPANY: Duration = Duration::from_secs(600);

/// How the Lease is kept, as client-go has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Times {
    /// The time for which others take a renewed lease for held. A controller that takes over from a holder that may live writes
    /// nothing for as long.
    pub(in crate::net) lease: Duration,
    /// The time for which the holder writes after it began to renew, or to look at, a lease that was still its own. Shorter than
    /// the lease.
    pub(in crate::net) renew: Duration,
    /// How often it is renewed, and others look.
    pub(in crate::net) retry: Duration,
}

impl Times {
    /// How often a leader that renews nothing looks whether another controller stands by, and one that renews whether it is alone again:
    /// 30 s by default.
    pub(super) fn patrol(&self) -> Duration {
        self.retry * 15
    }

    /// How long a mark on a lease that is not renewed goes unanswered until its holder counts as gone: two looks of a leader that can
    /// look.
    fn answer(&self) -> Duration {
        self.patrol() * 2
    }
}

/// What is read of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// `spec.holderIdentity`; empty when it was given back.
    pub(super) holder: String,
    /// `metadata.resourceVersion`.
    pub(super) version: String,
    /// Whether its holder renews it.
    pub(super) renewed: bool,
    /// The lease's own duration, `spec.leaseDurationSeconds`.
    pub(super) duration: Duration,
    /// The identity of a controller that says that it stands by.
    pub(super) stands_by: Option<String>,
    /// Whether the holder took it by force, and the one before may write still.
    pub(super) forced: bool,
}

/// The state of the holder's Pod, by the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// It is the own Pod: the process before this one, which has ended.
    Before,
    /// It lives, as far as is known.
    Alive,
    /// Nothing is known.
    Unknown,
    /// It is not there, or has ended, or its node is lost. Its process may live all the same.
    Gone,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make the Lease.
    Create {
        /// As below.
        quarantine: bool,
    },
    /// Take it, if it is still that version.
    Take {
        version: String,
        /// Whether the holder before may write still: then nothing is written for the length of a lease.
        quarantine: bool,
    },
    /// It is the own one, of this version, and to be renewed.
    Renew(String),
    /// It is the own one and is left as it is: that it was seen is enough.
    Confirm,
    /// Say that this process stands by, if it is still that version.
    Mark(String),
    /// Another one holds it.
    Wait,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    times: Times,
    /// The version last seen, and when it was first seen.
    last: Option<(String, Instant)>,
    /// Of the own lease: whether it is renewed.
    renews: bool,
    /// The duration of the lease that another one held last.
    theirs: Duration,
    /// An attempt to make the Lease the own one, which may have been carried out whether its answer came or not; true where it
    /// was made in quarantine.
    tried: Option<bool>,
    /// When another one said last that it stands by.
    company: Option<Instant>,
    /// Of the own lease: from when on it may be used, if it was taken by force.
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

    /// Whether the lease of this process is one that it renews.
    pub(super) fn renews(&self) -> bool {
        self.renews
    }

    /// Whether other controllers are there, as the own Deployment says; none if it cannot be asked.
    pub(super) fn note_others(&mut self, now: Instant, others: Option<bool>) {
        let said_so = self.company.is_some_and(|company| now < company + COMPANY);
        self.renews = others.unwrap_or(said_so);
    }

    /// By what was seen at `now`; none if there is no Lease.
    pub(super) fn step(&mut self, now: Instant, seen: Option<&Seen>, holder: Holder) -> Step {
        let step = self.decide(now, seen, holder);
        if let Step::Create { quarantine } | Step::Take { quarantine, .. } = &step {
            self.tried = Some(self.tried.unwrap_or_default() || *quarantine);
        }
        step
    }

    /// The Lease was found or made the own one, as is known at `now`. If that is new: from when on this process may write, at once if
    /// none.
    pub(super) fn own(&mut self, now: Instant) -> Option<Option<Instant>> {
        let quarantine = self.tried.take()?;
        self.from = quarantine.then(|| now + self.times.lease.max(self.theirs));
        Some(self.from)
    }

    /// Whether the holder before may write still: the Lease says so as long.
    pub(super) fn is_quarantined(&self, now: Instant) -> bool {
        self.from.is_some_and(|from| now < from)
    }

    fn decide(&mut self, now: Instant, seen: Option<&Seen>, holder: Holder) -> Step {
        let Some(seen) = seen else {
            // Somebody took it away under its holder, or holds it no longer than others know: Pods of the own Deployment may.
            return Step::Create { quarantine: self.last.take().is_some() || self.renews };
        };
        let version = seen.version.clone();
        let since = match &self.last {
            Some((last, since)) if *last == version => *since,
            _ => {
                self.last = Some((version.clone(), now));
                if seen.holder != self.identity {
                    // Another one wrote it after what was tried, or instead.
                    self.tried = None;
                }
                now
            }
        };
        let own = |name: &str| name == self.identity;
        if own(&seen.holder) {
            // Whoever stands by would wait for the node to be lost; from now on it waits for the length of a lease.
            if seen.stands_by.as_deref().is_some_and(|other| !own(other)) {
                (self.renews, self.company) = (true, Some(now));
            }
            let is_over = seen.forced && self.tried.is_none() && !self.is_quarantined(now);
            let renew = self.renews || seen.renewed || is_over;
            return if renew { Step::Renew(version) } else { Step::Confirm };
        }
        self.theirs = seen.duration;
        if seen.holder.is_empty() || holder == Holder::Before {
            // It has ended, or will write no more. The one from which it took the Lease may.
            return Step::Take { version, quarantine: seen.forced };
        }
        if seen.renewed {
            // Its holder has stopped writing before this moment.
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

    /// When to look again after a step at `now`; a write that asks comes before.
    pub(super) fn next(&self, now: Instant, leads: bool) -> Instant {
        now + if leads && !self.renews { self.times.patrol() } else { self.times.retry }
    }

    /// Until when this process may write after a look that began at `began` and found or made the Lease its own.
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
        // Unless it was taken by force itself, a moment ago.
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
        // Once more, to say that it is the last time.
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
        // Whether the answer came, or the Lease is found to be the own one later.
        assert_eq!(
            candidate.step(now, Some(&seen("a", "2", false)), Holder::Unknown),
            Step::Confirm
        );
        assert_eq!(candidate.own(now), Some(Some(now + TIMES.lease)));
        assert_eq!(candidate.own(now), None, "that is no news");
        // The Lease says so until that is over.
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
