// SPDX-License-Identifier: Apache-2.0
//! What a controller does about the Lease, by what it sees of it. A synchronous value: it reads no clock.
//!
//! Clocks of different machines are not compared: a lease is over when it has not changed for its duration as this process saw it.

use std::time::{Duration, Instant};

/// How long a lease holds without being renewed.
pub(super) const DURATION: Duration = Duration::from_secs(2);
/// How often the leader renews it, and the others look.
pub(super) const PERIOD: Duration = Duration::from_millis(500);

/// What is read of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// `spec.holderIdentity`; empty when it was given back.
    pub(super) holder: String,
    /// `metadata.resourceVersion`.
    pub(super) version: String,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make the Lease.
    Create,
    /// Take it, or renew it, if it is still that version.
    Hold {
        version: String,
        /// Whether another one held it.
        take: bool,
    },
    /// Another one holds it.
    Wait,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    /// The version last seen, and when it was first seen.
    last: Option<(String, Instant)>,
}

impl Candidate {
    pub(super) fn new(identity: String) -> Self {
        Self { identity, last: None }
    }

    /// By what was seen at `now`; none if there is no Lease.
    pub(super) fn step(&mut self, now: Instant, seen: Option<&Seen>) -> Step {
        let Some(Seen { holder, version }) = seen else { return Step::Create };
        let since = match &self.last {
            Some((last, since)) if last == version => *since,
            _ => {
                self.last = Some((version.clone(), now));
                now
            }
        };
        let own = *holder == self.identity;
        if own || holder.is_empty() || now >= since + DURATION {
            return Step::Hold { version: version.clone(), take: !own };
        }
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str, version: &str) -> Seen {
        Seen { holder: holder.into(), version: version.into() }
    }

    #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_lease_that_is_renewed_is_left_alone_and_one_that_is_not_is_taken() {
        let (mut candidate, now) = (Candidate::new("a".into()), now());
        for renewal in 0..10 {
            let at = now + DURATION * renewal;
            let version = renewal.to_string();
            assert_eq!(candidate.step(at, Some(&seen("b", &version))), Step::Wait);
            let soon = at + DURATION - Duration::from_millis(1);
            assert_eq!(candidate.step(soon, Some(&seen("b", &version))), Step::Wait);
        }
        let late = now + DURATION * 10;
        let take = Step::Hold { version: "9".into(), take: true };
        assert_eq!(candidate.step(late, Some(&seen("b", "9"))), take);
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        let mut candidate = Candidate::new("a".into());
        let take = Step::Hold { version: "1".into(), take: true };
        assert_eq!(candidate.step(now(), Some(&seen("", "1"))), take);
        assert_eq!(candidate.step(now(), None), Step::Create);
    }

    #[test]
    fn the_own_lease_is_renewed() {
        let mut candidate = Candidate::new("a".into());
        let renew = Step::Hold { version: "1".into(), take: false };
        assert_eq!(candidate.step(now(), Some(&seen("a", "1"))), renew);
    }
}
