// SPDX-License-Identifier: Apache-2.0
//! Streams, each in a task of its own: requests of other members, and this member's own. Each has a time limit as a whole, and a stream that
//! another member opened has a shorter one for its first octets. [`super::places`] limits the number of these streams and of their octets.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{timeout, timeout_at};

use super::moment::random;
use super::places::Places;
use super::refusals::{Cause, Refusals};
use crate::{DecodeError, Envelope, Incoming, refusal};
use clock::now;

/// The number of octets that are read at once, at most.
const PIECE: usize = 16 * 1024;
/// The time that a stream from outside may be silent at first. A member that opens a stream sends its request at once.
const FIRST: Duration = Duration::from_millis(500);

/// An event that a task tells the loop.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// A request of another member, which waits for an answer; none closes the stream.
    Request { octets: Vec<u8>, answer: oneshot::Sender<Option<Vec<u8>>> },
    /// A stream of this member is open, and its task waits for the message to send.
    Opened { stream: u64, message: oneshot::Sender<Option<Vec<u8>>> },
    /// The end of a stream of this member.
    Response { stream: u64, result: Result<Vec<u8>, String> },
}

/// The values that the tasks share.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) envelope: Arc<Envelope>,
    pub(super) events: mpsc::Sender<StreamEvent>,
    pub(super) door: Arc<Door>,
}

/// The streams from outside, and the refusals. All use is on one thread, so nobody ever waits for a lock.
#[derive(Debug, Default)]
pub(super) struct Door {
    places: Mutex<Places<AbortHandle>>,
    refusals: Mutex<Refusals>,
}

/// The place of a stream from outside; given back on drop.
#[derive(Debug)]
pub(super) struct Seat {
    door: Arc<Door>,
    number: u64,
    from: SocketAddr,
}

#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("{0}")]
    Connection(#[from] io::Error),
    #[error("the stream ended too early")]
    Ended,
    #[error("nothing came")]
    Silent,
    #[error("too much came on all streams")]
    Crowded,
    #[error("what came cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    #[error("nothing is to be said any more")]
    Unwanted,
    #[error("no random octets")]
    Random,
}

impl StreamError {
    /// The cause under which the end of a stream from outside is counted; none if it is not.
    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Connection(_) | Self::Ended => Some(Cause::Ended),
            Self::Silent => Some(Cause::Silent),
            Self::Crowded => Some(Cause::Crowded),
            Self::Unreadable(error) => Some(Cause::of(error)),
            Self::Unwanted | Self::Random => None,
        }
    }
}

impl Door {
    pub(super) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self) -> MutexGuard<'_, Places<AbortHandle>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, from: SocketAddr, cause: Cause) {
        self.refusals().note(now(), from.ip(), cause);
    }

    /// A stream has come; its number is higher than that of any before.
    pub(super) fn seat(self: &Arc<Self>, number: u64, from: SocketAddr) -> Seat {
        Seat { door: Arc::clone(self), number, from }
    }

    /// The task of a stream is there: the stream is in now, and another one may have to go.
    pub(super) fn enter(&self, number: u64, from: SocketAddr, task: AbortHandle) {
        let evicted = self.places().enter(number, from.ip(), task);
        if let Some(evicted) = evicted {
            evicted.handle.abort();
            self.refusals().note(now(), evicted.source, Cause::Crowded);
        }
    }
}

impl Seat {
    /// Returns true if this number of octets more may be kept.
    fn add(&self, octets: usize) -> bool {
        let (may, evicted) = self.door.places().add(self.number, octets);
        if let Some(evicted) = evicted {
            evicted.handle.abort();
            self.door.refusals().note(now(), evicted.source, Cause::Crowded);
        }
        may
    }

    fn has_asked(&self) {
        self.door.places().has_asked(self.number);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.door.places().leave(self.number);
    }
}

impl Streams {
    /// Serves a stream from outside.
    pub(super) async fn serve(self, mut stream: TcpStream, seat: Seat, limit: Duration) {
        let from = seat.from;
        match timeout(limit, self.serve_in_time(&mut stream, &seat)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%from, %error, "a stream failed");
                if let Some(cause) = error.cause() {
                    seat.door.refuse(from, cause);
                }
            }
            Err(_) => {
                tracing::debug!(%from, "a stream took too long");
                seat.door.refuse(from, Cause::Slow);
            }
        }
    }

    async fn serve_in_time(&self, stream: &mut TcpStream, seat: &Seat) -> Result<(), StreamError> {
        match self.read(stream, true, Some(seat)).await {
            Ok(octets) => {
                seat.has_asked();
                let (answer, wait) = oneshot::channel();
                // The loop may be gone.
                drop(self.events.send(StreamEvent::Request { octets, answer }).await);
                match wait.await {
                    Ok(Some(answer)) => self.write(stream, Vec::new(), answer).await,
                    Ok(None) | Err(_) => Ok(()),
                }
            }
            Err(StreamError::Unreadable(error)) => {
                let text = refusal(&error.to_string());
                drop(self.write(stream, Vec::new(), text).await);
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Sends the message for a stream once the stream is open, and waits for the answer.
    pub(super) async fn ask(self, stream: u64, to: SocketAddr, limit: Duration) {
        let asked = timeout(limit, async {
            let mut connection = TcpStream::connect(to).await?;
            let (message, wait) = oneshot::channel();
            // The loop may be gone.
            drop(self.events.send(StreamEvent::Opened { stream, message }).await);
            let octets = wait.await.ok().flatten().ok_or(StreamError::Unwanted)?;
            let head = self.envelope.label_head();
            self.write(&mut connection, head, octets).await?;
            self.read(&mut connection, false, None).await
        });
        let result = match asked.await {
            Ok(result) => result.map_err(|error: StreamError| {
                if let StreamError::Unreadable(error) = &error {
                    self.door.refuse(to, Cause::of(error));
                }
                error.to_string()
            }),
            Err(_) => Err(format!("no answer within {limit:?}")),
        };
        drop(self.events.send(StreamEvent::Response { stream, result }).await);
    }

    async fn read(
        &self,
        stream: &mut TcpStream,
        labelled: bool,
        seat: Option<&Seat>,
    ) -> Result<Vec<u8>, StreamError> {
        let mut incoming = Incoming::new(labelled);
        let first = seat.map(|_| tokio::time::Instant::from_std(now()) + FIRST);
        let mut came = false;
        loop {
            match first.filter(|_| !came) {
                Some(until) => {
                    let ready = timeout_at(until, stream.readable()).await;
                    ready.map_err(|_| StreamError::Silent)??;
                }
                None => stream.readable().await?,
            }
            let Some(message) = self.take(stream, &mut incoming, seat)? else { continue };
            came = true;
            if let Some(message) = message {
                return Ok(message);
            }
        }
    }

    /// Reads the octets that are there, into a buffer that no waiting stream keeps. None if there are no octets; otherwise the message, if it
    /// is whole.
    fn take(
        &self,
        stream: &TcpStream,
        incoming: &mut Incoming,
        seat: Option<&Seat>,
    ) -> Result<Option<Option<Vec<u8>>>, StreamError> {
        let mut piece = [0; PIECE];
        let length = match stream.try_read(&mut piece) {
            Ok(0) => return Err(StreamError::Ended),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if seat.is_some_and(|seat| !seat.add(length)) {
            return Err(StreamError::Crowded);
        }
        let piece = piece.get(..length).unwrap_or_default();
        Ok(Some(incoming.receive(&self.envelope, piece)?))
    }

    async fn write(
        &self,
        stream: &mut TcpStream,
        mut head: Vec<u8>,
        message: Vec<u8>,
    ) -> Result<(), StreamError> {
        let nonce = random().ok_or(StreamError::Random)?;
        head.append(&mut self.envelope.seal_stream(nonce, message));
        stream.write_all(&head).await?;
        Ok(())
    }
}
