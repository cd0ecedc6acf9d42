// SPDX-License-Identifier: Apache-2.0
//! Limits the wait for an answer, over HTTP/1.1 and HTTP/2 alike, and makes the pause for which an API server asks.
//!
//! The pings of HTTP/2 find a peer that is dead. They do not find a peer that accepts a request and never answers it,
//! such as a proxy whose server hangs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::{BoxError, Layer, Service};

/// The limits of a wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The time from a request until the head of its answer: an API server gives up its own work after 60 s.
    head: Duration,
    /// The time without an octet of the answer.
    body: Duration,
    /// The same for a watch, which is quiet while nothing happens: an API server ends a watch after 290 s, as the
    /// request asks.
    watch: Duration,
    /// The longest pause that an API server can ask for.
    pause: Duration,
}

impl Patience {
    pub(super) const DEFAULT: Self = Self {
        head: Duration::from_secs(60),
        body: Duration::from_secs(60),
        watch: Duration::from_secs(300),
        pause: Duration::from_secs(30),
    };

    #[cfg(test)]
    pub(super) const fn short(time: Duration) -> Self {
        Self { head: time, body: time, watch: time, pause: time }
    }
}

/// The error of an answer that did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("the API server has not answered for {} s", .0.as_secs_f32())]
struct Unanswered(Duration);

/// Wraps a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatienceLayer(pub(super) Patience);

impl<S> Layer<S> for PatienceLayer {
    type Service = Patient<S>;

    fn layer(&self, inner: S) -> Patient<S> {
        Patient { inner, patience: self.0 }
    }
}

/// A client that gives up.
#[derive(Clone, Debug)]
pub(super) struct Patient<S> {
    inner: S,
    patience: Patience,
}

impl<S, Q, B> Service<Request<Q>> for Patient<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<Timed<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let Patience { head, body, watch, pause } = self.patience;
        let is_watch = request.uri().query().is_some_and(|query| {
            query.split('&').any(|part| matches!(part, "watch=true" | "watch=1"))
        });
        let silence = if is_watch { watch } else { body };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = timeout(head, answer).await.map_err(|_| Unanswered(head))?;
            let answer = answer.map_err(Into::into)?;
            // Keep the answer back for the pause: each caller tries again by itself when it gets the answer.
            if let Some(wanted) = asks_for_pause(answer.status(), answer.headers()) {
                sleep(wanted.min(pause)).await;
            }
            Ok(answer.map(|body| Timed::new(body, silence)))
        })
    }
}

/// The pause that an answer asks for: `Retry-After` in seconds (RFC 9110 section 10.2.3), with 429 or 503.
fn asks_for_pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let refuses = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let after = headers.get(header::RETRY_AFTER).filter(|_| refuses.contains(&status))?;
    after.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The body of an answer; it fails if nothing comes for a time.
pub(super) struct Timed<B> {
    body: Pin<Box<B>>,
    silence: Duration,
    end: Pin<Box<Sleep>>,
}

impl<B> Timed<B> {
    fn new(body: B, silence: Duration) -> Self {
        Self { body: Box::pin(body), silence, end: Box::pin(sleep(silence)) }
    }
}

impl<B> Body for Timed<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) {
            let silence = self.silence;
            self.end.as_mut().reset(Instant::now() + silence);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Some(Err(Unanswered(self.silence).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
