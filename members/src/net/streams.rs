// SPDX-License-Identifier: Apache-2.0
//! Streams, each in a task of its own: what others ask of us, and what we ask of others. Each has a time limit as a whole, and all
//! that others opened share a limit of octets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use super::run::random;
use crate::{DecodeError, Envelope, Incoming, refusal};

/// Octets that are read at once.
const PIECE: usize = 16 * 1024;
/// Octets that have come on all streams that others opened, at most.
const OCTETS: usize = 16 << 20;

/// What the tasks tell the loop.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// Somebody wants an answer, or that the stream is closed.
    Request { octets: Vec<u8>, answer: oneshot::Sender<Option<Vec<u8>>> },
    /// Nobody could read what came.
    Unreadable { from: SocketAddr, error: DecodeError },
    /// A stream of ours is open, and somebody wants what is to be sent on it.
    Opened { stream: u64, message: oneshot::Sender<Option<Vec<u8>>> },
    /// What became of a stream of ours.
    Response { stream: u64, result: Result<Vec<u8>, String> },
}

/// What the tasks share.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) envelope: Arc<Envelope>,
    pub(super) events: mpsc::Sender<StreamEvent>,
    pub(super) octets: Arc<AtomicUsize>,
}

/// Octets that count against the limit until they are dropped.
struct Share<'a> {
    of: &'a AtomicUsize,
    octets: usize,
}

#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("{0}")]
    Connection(#[from] std::io::Error),
    #[error("the stream ended too early")]
    Ended,
    #[error("what came cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    #[error("nothing is to be said any more")]
    Unwanted,
    #[error("no random octets")]
    Random,
}

impl Streams {
    /// Serves a stream that somebody opened.
    pub(super) async fn serve(
        self,
        mut stream: TcpStream,
        from: SocketAddr,
        limit: Duration,
        _permit: OwnedSemaphorePermit,
    ) {
        let served = timeout(limit, async {
            let mut share = Share { of: &self.octets, octets: 0 };
            match self.read(&mut stream, true, Some(&mut share)).await {
                Ok(octets) => {
                    let (answer, wait) = oneshot::channel();
                    // The loop may be gone.
                    drop(self.events.send(StreamEvent::Request { octets, answer }).await);
                    match wait.await {
                        Ok(Some(answer)) => self.write(&mut stream, Vec::new(), answer).await,
                        Ok(None) | Err(_) => Ok(()),
                    }
                }
                Err(StreamError::Unreadable(error)) => {
                    let text = refusal(&error.to_string());
                    drop(self.events.send(StreamEvent::Unreadable { from, error }).await);
                    self.write(&mut stream, Vec::new(), text).await
                }
                Err(error) => Err(error),
            }
        });
        match served.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%from, %error, "a stream failed"),
            Err(_) => tracing::debug!(%from, "a stream took too long"),
        }
    }

    /// Sends the message that there is for a stream when it is open, and waits for the answer.
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
            Ok(result) => result.map_err(|error: StreamError| error.to_string()),
            Err(_) => Err(format!("no answer within {limit:?}")),
        };
        drop(self.events.send(StreamEvent::Response { stream, result }).await);
    }

    async fn read(
        &self,
        stream: &mut TcpStream,
        labelled: bool,
        mut share: Option<&mut Share<'_>>,
    ) -> Result<Vec<u8>, StreamError> {
        let mut incoming = Incoming::new(labelled);
        let mut piece = vec![0; PIECE];
        loop {
            let length = stream.read(&mut piece).await?;
            if length == 0 {
                return Err(StreamError::Ended);
            }
            if share.as_mut().is_some_and(|share| !share.add(length)) {
                return Err(DecodeError::Length.into());
            }
            let more = piece.get(..length).unwrap_or_default();
            if let Some(message) = incoming.receive(&self.envelope, more)? {
                return Ok(message);
            }
        }
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

impl Share<'_> {
    /// Whether that many more are within the limit.
    fn add(&mut self, octets: usize) -> bool {
        self.octets += octets;
        self.of.fetch_add(octets, Ordering::Relaxed) + octets <= OCTETS
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.octets, Ordering::Relaxed);
    }
}
