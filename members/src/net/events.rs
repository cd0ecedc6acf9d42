// SPDX-License-Identifier: Apache-2.0
//! The channel of events. If nobody takes them, the newest events of the memberlist are lost, and no others. [`Event::MembersChanged`] waits
//! once at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::Event;

/// The number of the memberlist's events that wait, at most; a listener that misses more has to look at the members anyway.
const WAITING_LIMIT: usize = 1024;

/// The state that both ends share.
#[derive(Debug, Default)]
struct Shared {
    /// The number of the memberlist's events that wait.
    waiting: AtomicUsize,
    /// True while [`Event::MembersChanged`] waits.
    changed: AtomicBool,
}

/// The thread's end of the channel.
#[derive(Debug)]
pub(super) struct EventSender {
    sender: mpsc::UnboundedSender<Event>,
    shared: Arc<Shared>,
}

/// The caller's end of the channel, which ends with the thread.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::UnboundedReceiver<Event>,
    shared: Arc<Shared>,
}

pub(super) fn channel() -> (EventSender, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::<Shared>::default();
    (EventSender { sender, shared: Arc::clone(&shared) }, Events { receiver, shared })
}

/// The treatment of an event that nobody takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The event may be lost.
    Memberlist,
    /// One event is as good as many.
    MembersChanged,
    Kept,
}

impl Kind {
    fn of(event: &Event) -> Self {
        match event {
            Event::MembersChanged => Self::MembersChanged,
            event if event.is_of_memberlist() => Self::Memberlist,
            _ => Self::Kept,
        }
    }
}

impl EventSender {
    pub(super) fn send(&self, event: Event) {
        match Kind::of(&event) {
            Kind::Memberlist => {
                if self.shared.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_LIMIT {
                    self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                    tracing::debug!(?event, "nobody takes the events of the ring");
                    return;
                }
            }
            Kind::MembersChanged => {
                if self.shared.changed.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
            Kind::Kept => {}
        }
        // The listener may have ended.
        drop(self.sender.send(event));
    }
}

impl Events {
    /// The next event; none when the thread has ended. No event is lost if this future is dropped before its end.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await;
        self.taken(event)
    }

    /// As [`Self::recv`], for a thread without a runtime.
    pub fn blocking_recv(&mut self) -> Option<Event> {
        let event = self.receiver.blocking_recv();
        self.taken(event)
    }

    /// The next event, if one is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        let event = self.receiver.try_recv().ok();
        self.taken(event)
    }

    fn taken(&self, event: Option<Event>) -> Option<Event> {
        match event.as_ref().map(Kind::of) {
            Some(Kind::Memberlist) => {
                self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            // The flag falls before the snapshot is read, so that a later change is told anew.
            Some(Kind::MembersChanged) => {
                self.shared.changed.swap(false, Ordering::AcqRel);
            }
            Some(Kind::Kept) | None => {}
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Standing;

    #[test]
    fn a_flood_of_the_memberlist_costs_nothing_that_counts() {
        let (sender, mut events) = channel();
        for number in 0..WAITING_LIMIT * 2 {
            sender.send(Event::Accused);
            sender.send(Event::MembersChanged);
            sender.send(Event::Standing(Standing::Minority { present: number, known: 0 }));
        }
        let taken: Vec<Event> = std::iter::from_fn(|| events.try_recv()).collect();
        let count = |wanted: Kind| taken.iter().filter(|it| Kind::of(it) == wanted).count();
        assert_eq!(count(Kind::Memberlist), WAITING_LIMIT);
        assert_eq!(count(Kind::MembersChanged), 1);
        let standings = taken.iter().filter_map(|event| match event {
            Event::Standing(Standing::Minority { present, .. }) => Some(*present),
            _ => None,
        });
        assert!(standings.eq(0..WAITING_LIMIT * 2), "all, in their order");
        // Taken events make room.
        sender.send(Event::Accused);
        sender.send(Event::MembersChanged);
        assert_eq!(events.try_recv(), Some(Event::Accused));
        assert_eq!(events.try_recv(), Some(Event::MembersChanged));
        drop(sender);
        assert_eq!(events.blocking_recv(), None);
    }
}
