// SPDX-License-Identifier: Apache-2.0
//! The channel of events. Of what the memberlist tells, the newest is lost when nobody takes it; nothing else is. That the members are
//! others waits once at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::Event;

/// Events of the memberlist that wait for whoever listens; if there are more, he has to look at the members anyway.
const WAITING_LIMIT: usize = 1024;

/// What both ends know.
#[derive(Debug, Default)]
struct Shared {
    /// How many events of the memberlist wait.
    waiting: AtomicUsize,
    /// Whether it waits that the members are others.
    changed: AtomicBool,
}

/// The end of the thread.
#[derive(Debug)]
pub(super) struct EventSender {
    sender: mpsc::UnboundedSender<Event>,
    shared: Arc<Shared>,
}

/// The end of the caller. It ends with the thread.
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

/// What becomes of an event that nobody takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It may be lost.
    Memberlist,
    /// One is as good as many.
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
        // Whoever listens may have ended.
        drop(self.sender.send(event));
    }
}

impl Events {
    /// The next one; none when the thread has ended. An event is not lost if this is dropped before its end.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await;
        self.taken(event)
    }

    /// As [`Self::recv`], for a thread without a runtime.
    pub fn blocking_recv(&mut self) -> Option<Event> {
        let event = self.receiver.blocking_recv();
        self.taken(event)
    }

    /// One that is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        let event = self.receiver.try_recv().ok();
        self.taken(event)
    }

    fn taken(&self, event: Option<Event>) -> Option<Event> {
        match event.as_ref().map(Kind::of) {
            Some(Kind::Memberlist) => {
                self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            // Before the snapshot is looked at: a change after that is told anew.
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
        // What was taken makes room.
        sender.send(Event::Accused);
        sender.send(Event::MembersChanged);
        assert_eq!(events.try_recv(), Some(Event::Accused));
        assert_eq!(events.try_recv(), Some(Event::MembersChanged));
        drop(sender);
        assert_eq!(events.blocking_recv(), None);
    }
}
