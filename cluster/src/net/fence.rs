// SPDX-License-Identifier: Apache-2.0
//! Says whether this process may still write for the cluster: a time of its own monotonic clock, asked last before each
//! write. So a leader that stood still does not write when it goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// The time after which a waiting write looks again without a signal.
const LOOK: Duration = Duration::from_secs(1);

/// Shared between the holder of the lease and the writers.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Signals that a write waits for a look at the lease.
    asked: Notify,
    /// Signals a change of the state.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    gate: Gate,
    /// Writes under way.
    writing: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum Gate {
    /// Writes may always begin: there is no other writer.
    #[default]
    Always,
    /// No write may begin.
    Closed,
    /// Writes may begin from the first moment until the second; later ones ask for a look at the lease.
    Between(Option<Instant>, Instant),
}

impl Gate {
    fn allows(self, now: Instant) -> bool {
        match self {
            Self::Always => true,
            Self::Closed => false,
            Self::Between(from, until) => from.is_none_or(|from| from <= now) && now < until,
        }
    }
}

impl Fence {
    /// A fence that is always open: there is no other writer.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// A fence that is closed until it is extended.
    #[must_use]
    pub fn closed() -> Self {
        let fence = Self::default();
        fence.close();
        fence
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Allows writing from the first moment, or from now on if there is none, until the second.
    pub fn extend(&self, from: Option<Instant>, until: Instant) {
        self.set(Gate::Between(from, until));
    }

    /// Allows writing from now on.
    pub fn open_for_good(&self) {
        self.set(Gate::Always);
    }

    /// Forbids writing from now on.
    pub fn close(&self) {
        self.set(Gate::Closed);
    }

    fn set(&self, gate: Gate) {
        self.state().gate = gate;
        self.0.changed.notify_waiters();
    }

    /// Closes the fence, and waits until the writes under way have an answer, for `patience` at most.
    pub async fn close_after_writes(&self, patience: Duration) {
        self.close();
        let ended = async {
            loop {
                let changed = self.0.changed.notified();
                if self.state().writing == 0 {
                    return;
                }
                changed.await;
            }
        };
        // A later write does no harm to its object: the object's version keeps it out.
        let _ = timeout(patience, ended).await;
    }

    /// True if a write may begin at `now`.
    #[must_use]
    pub fn allows(&self, now: Instant) -> bool {
        self.state().gate.allows(now)
    }

    /// Begins a write if one may begin at `now`.
    #[must_use]
    pub fn enter(&self, now: Instant) -> Option<Writing> {
        let mut state = self.state();
        if !state.gate.allows(now) {
            return None;
        }
        state.writing += 1;
        Some(Writing(self.clone()))
    }

    /// Waits until writing is allowed; asks for a look at the lease if there was none lately. False if another process
    /// writes now.
    pub async fn pass(&self) -> bool {
        loop {
            let changed = self.0.changed.notified();
            let gate = self.state().gate;
            let now = clock::now();
            match gate {
                Gate::Closed => return false,
                gate if gate.allows(now) => return true,
                Gate::Between(Some(from), _) if now < from => {
                    tokio::select! {
                        () = sleep(from - now) => {}
                        () = changed => {}
                    }
                }
                Gate::Always | Gate::Between(..) => {
                    self.0.asked.notify_one();
                    let _ = timeout(LOOK, changed).await;
                }
            }
        }
    }

    /// Waits until a write asks for the lease to be looked at.
    pub async fn asked(&self) {
        self.0.asked.notified().await;
    }
}

/// A write that is under way.
#[derive(Debug)]
pub struct Writing(Fence);

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.writing = state.writing.saturating_sub(1);
        drop(state);
        self.0.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_closes_by_itself() {
        let (fence, now) = (Fence::closed(), clock::now());
        assert!(!fence.allows(now));
        fence.clone().extend(None, now + SECOND);
        assert!(fence.allows(now) && !fence.allows(now + SECOND));
        fence.extend(Some(now + SECOND), now + 3 * SECOND);
        assert!(!fence.allows(now) && fence.allows(now + SECOND));
        assert!(fence.enter(now).is_none());
        fence.close();
        assert!(!fence.allows(now));
        assert!(Fence::open().allows(now + SECOND));
    }

    #[tokio::test]
    async fn a_write_that_finds_it_lapsed_asks_and_waits_and_one_that_finds_it_closed_does_not() {
        let fence = Fence::closed();
        assert!(!fence.pass().await);
        fence.extend(None, clock::now());
        let holder = fence.clone();
        let answer = async move {
            holder.asked().await;
            holder.extend(None, clock::now() + 60 * SECOND);
        };
        let (passed, ()) = tokio::join!(fence.pass(), answer);
        assert!(passed);
        fence.extend(None, clock::now());
        let holder = fence.clone();
        let answer = async move {
            holder.asked().await;
            holder.close();
        };
        let (passed, ()) = tokio::join!(fence.pass(), answer);
        assert!(!passed);
    }

    #[tokio::test]
    async fn it_is_given_back_when_what_is_being_written_has_ended() {
        let fence = Fence::open();
        let writing = fence.enter(clock::now()).unwrap();
        let closing = fence.clone();
        let closed = tokio::spawn(async move { closing.close_after_writes(600 * SECOND).await });
        tokio::task::yield_now().await;
        assert!(!closed.is_finished() && fence.enter(clock::now()).is_none());
        drop(writing);
        closed.await.unwrap();
        // The wait has an end.
        fence.open_for_good();
        let _writing = fence.enter(clock::now()).unwrap();
        fence.close_after_writes(Duration::from_millis(10)).await;
    }
}
