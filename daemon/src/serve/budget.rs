// SPDX-License-Identifier: Apache-2.0
//! How many octets of bodies all connections of a port may have here at a time, questions and their answers.
//!
//! The first 64 KiB of a body, more than nearly every question has, come out of a part of their own, so that large bodies keep no small
//! one out. Where nothing is left a body waits, and the connection goes whose body has moved least lately: who sends or reads as slowly
//! as it can holds no room that another one needs.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Connection;

/// The octets of a body that are counted apart.
const SMALL: usize = 64 << 10;
/// How long a body's pace is measured.
const WINDOW: Duration = Duration::from_millis(250);
/// The least octets in that time of one that may not be sent away.
const PACE: usize = 64 << 10;
/// How often a body that waits looks for others that have become slow.
const LOOK: Duration = Duration::from_millis(50);

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is longer than any may be.
    #[error("the body is too long")]
    Long,
    /// It did not come in time, or there was no room for it in that time.
    #[error("the body came too slowly, or there is no room for it now")]
    Slow,
    /// The connection ended.
    #[error("the connection ended")]
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Arriving,
    Working,
    Leaving,
}

/// What one body holds.
#[derive(Debug)]
struct Entry {
    octets: usize,
    phase: Phase,
    last: Instant,
    /// When the current window began, what moved in it, and whether little moved in the one before.
    window: (Instant, usize, bool),
    connection: Connection,
}

impl Entry {
    fn moves(&mut self, octets: usize, now: Instant) {
        let (began, moved, _) = self.window;
        if now >= began + WINDOW {
            self.window = (now, 0, moved < PACE || now >= began + 2 * WINDOW);
        }
        self.window.1 = self.window.1.saturating_add(octets);
        self.last = now;
    }

    fn may_go(&self, now: Instant) -> bool {
        let (began, moved, was_slow) = self.window;
        // Nothing moved in the whole of the window after this one.
        let stands = now >= began + 2 * WINDOW;
        let is_slow = stands || if now >= began + WINDOW { moved < PACE } else { was_slow };
        self.phase != Phase::Working && is_slow
    }

    /// What counts as small, and the rest.
    fn parts(&self) -> [usize; 2] {
        parts(self.octets)
    }
}

fn parts(octets: usize) -> [usize; 2] {
    [octets.min(SMALL), octets.saturating_sub(SMALL)]
}

#[derive(Debug)]
struct Ledger {
    /// What may be held: of small parts, and of the rest.
    most: [usize; 2],
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

/// What became of a wish for more room.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Given,
    /// The connection of this body has to be closed first.
    After(u64),
    Wait,
    /// This body's own connection was sent away.
    Gone,
}

impl Ledger {
    fn used(&self) -> [usize; 2] {
        self.entries.values().fold([0, 0], |[small, large], entry| {
            let [more_small, more_large] = entry.parts();
            [small + more_small, large + more_large]
        })
    }

    /// Gives the body so many octets more, or says what has to happen first.
    fn grow(&mut self, number: u64, octets: usize, now: Instant) -> Room {
        let used = self.used();
        let Some(entry) = self.entries.get_mut(&number) else { return Room::Gone };
        let (before, after) = (entry.parts(), parts(entry.octets + octets));
        let lacks: Vec<usize> = (0..2)
            .filter(|part| {
                let of = |parts: &[usize; 2]| parts.get(*part).copied().unwrap_or_default();
                of(&used) + of(&after) > of(&self.most) + of(&before)
            })
            .collect();
        let Some(part) = lacks.first() else {
            entry.octets += octets;
            entry.moves(octets, now);
            return Room::Given;
        };
        let helps = |entry: &Entry| entry.parts().get(*part).is_some_and(|octets| *octets > 0);
        let others = self.entries.iter().filter(|(other, _)| **other != number);
        let slow = others.filter(|(_, entry)| entry.may_go(now) && helps(entry));
        slow.min_by_key(|(_, entry)| entry.last).map_or(Room::Wait, |(slow, _)| Room::After(*slow))
    }
}

/// What all bodies of a port may take; shared.
#[derive(Clone, Debug)]
pub struct Budget {
    ledger: Arc<Mutex<Ledger>>,
    freed: Arc<Notify>,
}

impl Budget {
    /// One for so many octets of small bodies and of the first 64 KiB of others, and for so many of the rest.
    #[must_use]
    pub fn new(small: usize, large: usize) -> Self {
        let ledger = Ledger { most: [small, large], next: 0, entries: BTreeMap::new() };
        Self { ledger: Arc::new(Mutex::new(ledger)), freed: Arc::default() }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The octets that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.ledger().used().iter().sum()
    }

    /// Reads a whole body of at most so many octets in at most this time. The share lasts until it is dropped.
    ///
    /// # Errors
    /// When it is longer, or does not come, or there is no room.
    pub async fn read(
        &self,
        connection: &Connection,
        body: Body,
        most: usize,
        patience: Duration,
    ) -> Result<(Vec<u8>, Share), Refused> {
        timeout(patience, self.collect(connection, body, most)).await.unwrap_or(Err(Refused::Slow))
    }

    async fn collect(
        &self,
        connection: &Connection,
        mut body: Body,
        most: usize,
    ) -> Result<(Vec<u8>, Share), Refused> {
        let told = body.size_hint().upper().and_then(|octets| usize::try_from(octets).ok());
        if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
            return Err(Refused::Long);
        }
        let share = self.share(connection);
        let mut read = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|_| Refused::Ended)?;
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > most {
                return Err(Refused::Long);
            }
            share.grow(data.len()).await?;
            reserve(&mut read, data.len(), told.unwrap_or(most).min(most))?;
            read.extend_from_slice(&data);
        }
        share.enter(Phase::Working);
        Ok((read, share))
    }

    fn share(&self, connection: &Connection) -> Share {
        let now = Instant::now();
        let mut ledger = self.ledger();
        ledger.next += 1;
        let number = ledger.next;
        let entry = Entry {
            octets: 0,
            phase: Phase::Arriving,
            last: now,
            window: (now, 0, false),
            connection: connection.clone(),
        };
        ledger.entries.insert(number, entry);
        Share { budget: self.clone(), number }
    }
}

/// Makes room in memory by quarters, so that what is there is at most a quarter more than what came.
fn reserve(read: &mut Vec<u8>, more: usize, most: usize) -> Result<(), Refused> {
    if read.capacity() - read.len() >= more {
        return Ok(());
    }
    let step = (read.capacity() / 4).max(SMALL).max(more);
    let step = step.min(most.saturating_sub(read.len())).max(more);
    read.try_reserve_exact(step).map_err(|_| Refused::Slow)
}

/// A body's part of the budget.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    number: u64,
}

impl Share {
    async fn grow(&self, octets: usize) -> Result<(), Refused> {
        loop {
            match self.ask(octets) {
                Room::Given => return Ok(()),
                Room::Gone => return Err(Refused::Slow),
                Room::After(_) => {}
                // The time of the whole body bounds this.
                Room::Wait => drop(timeout(LOOK, self.budget.freed.notified()).await),
            }
        }
    }

    /// Asks for room once. The connection that has to go for it is closed.
    fn ask(&self, octets: usize) -> Room {
        let mut ledger = self.budget.ledger();
        let room = ledger.grow(self.number, octets, Instant::now());
        if let Room::After(slow) = room
            && let Some(entry) = ledger.entries.remove(&slow)
        {
            entry.connection.close();
        }
        room
    }

    fn enter(&self, phase: Phase) {
        if let Some(entry) = self.budget.ledger().entries.get_mut(&self.number) {
            entry.phase = phase;
            let now = Instant::now();
            entry.window = (now, 0, false);
            entry.last = now;
        }
    }

    fn moves(&self, octets: usize) {
        if let Some(entry) = self.budget.ledger().entries.get_mut(&self.number) {
            entry.moves(octets, Instant::now());
        }
    }

    /// An answer in pieces, for which the share lasts until it has left.
    pub fn answer(self, pieces: Vec<Vec<u8>>) -> Body {
        self.enter(Phase::Leaving);
        let octets = pieces.iter().map(Vec::len).sum();
        Body::new(Pieces { share: self, pieces: pieces.into(), octets })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.ledger().entries.remove(&self.number);
        self.budget.freed.notify_waiters();
    }
}

/// See [`Share::answer`].
struct Pieces {
    share: Share,
    pieces: VecDeque<Vec<u8>>,
    octets: usize,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(piece) = self.pieces.pop_front() else { return Poll::Ready(None) };
        self.octets -= piece.len();
        self.share.moves(piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.octets).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
