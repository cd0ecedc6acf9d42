// SPDX-License-Identifier: Apache-2.0
//! The time for which a watch waits before it tries again: longer each time, and never all watches of a cluster at
//! once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait for an API that cannot be reached: news must not wait long once the API is back.
const FAILING: Duration = Duration::from_secs(10);
/// The longest wait for a kind that is absent or not permitted. An API server that starts refuses everything for a
/// moment, so the first of these waits are as short.
const ABSENT: Duration = Duration::from_secs(30);
/// The longest wait for a kind that may be listed and not watched, as nodes by the controller of MetalLB's manifests:
/// each try is a whole list.
const UNWATCHED: Duration = Duration::from_secs(300);
/// The time without a failure after which the next failure is a first one again. A list that succeeds is no sign: the
/// watch after it may be refused each time.
const CALM: Duration = Duration::from_secs(60);

/// The kind of the last failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Failing,
    Absent,
    Unwatched,
}

/// The waits of one watch.
#[derive(Debug, Default)]
pub(super) struct Pause {
    last: Option<(Failure, Duration, Instant)>,
}

impl Pause {
    /// The time to wait after this failure: half to all of a time that doubles while the same failure goes on.
    pub(super) fn after(&mut self, failure: Failure, now: Instant) -> Duration {
        let longest = match failure {
            Failure::Failing => FAILING,
            Failure::Absent => ABSENT,
            Failure::Unwatched => UNWATCHED,
        };
        let whole = match self.last {
            Some((last, wait, end)) if last == failure && now < end + CALM => {
                (wait * 2).min(longest)
            }
            _ => FIRST,
        };
        self.last = Some((failure, whole, now + whole));
        let random = RandomState::new().hash_one(whole) % 1024;
        whole / 2 + whole / 2 * u32::try_from(random).unwrap_or(0) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        for whole in [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000].map(Duration::from_millis) {
            let wait = pause.after(Failure::Failing, now);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
    }

    #[test]
    fn another_failure_and_a_calm_minute_begin_anew() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        for _ in 0..9 {
            pause.after(Failure::Failing, now);
        }
        assert!(
            pause.after(Failure::Absent, now) <= FIRST,
            "the API is back, it only refuses still"
        );
        for _ in 0..9 {
            pause.after(Failure::Absent, now);
        }
        assert!(pause.after(Failure::Absent, now) >= ABSENT / 2);
        assert!(pause.after(Failure::Absent, now + ABSENT + CALM) <= FIRST);
        for _ in 0..12 {
            pause.after(Failure::Unwatched, now);
        }
        assert!(pause.after(Failure::Unwatched, now) >= UNWATCHED / 2, "a list each time");
    }
}
