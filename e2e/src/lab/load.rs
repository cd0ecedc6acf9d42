// SPDX-License-Identifier: Apache-2.0
//! Many small HTTP requests from the client, at an even pace, on a connection each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, setns};

use super::netns::Namespace;
use super::wait::now;

/// Requests are spread over so many threads.
const THREADS: u32 = 20;
/// A request that has got no page after this time has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// A packet of a request that took so long was lost: a lost SYN is sent again after a second (RFC 6298).
const SLOW: Duration = Duration::from_millis(900);

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many got the page.
    pub served: usize,
    /// When each that failed began, and why.
    pub failed: Vec<(Instant, String)>,
    /// When each began whose connection was reset while it was open, and that was served when it was asked once more.
    pub repeated: Vec<Instant>,
    /// When each began that took so long that a packet of it must have been lost.
    pub slow: Vec<Instant>,
    /// The longest time to a page.
    pub longest: Duration,
}

impl Tally {
    /// Of all of these together.
    #[must_use]
    pub fn sum(loads: &[Load]) -> Self {
        let mut sum = Self::default();
        for tally in loads.iter().map(Load::tally) {
            sum.served += tally.served;
            sum.failed.extend(tally.failed);
            sum.repeated.extend(tally.repeated);
            sum.slow.extend(tally.slow);
            sum.longest = sum.longest.max(tally.longest);
        }
        sum
    }

    /// Every request got its page.
    ///
    /// # Errors
    /// Those that did not.
    pub fn none_failed(&self) -> anyhow::Result<()> {
        ensure!(self.failed.is_empty(), "{} requests failed: {:?}", self.failed.len(), self.failed);
        Ok(())
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { served, failed, repeated, slow, longest } = self;
        write!(
            formatter,
            "{served} requests, the longest {:.0} ms, {} slow, {} asked again, {} failed",
            longest.as_secs_f64() * 1e3,
            slow.len(),
            repeated.len(),
            failed.len(),
        )
    }
}

/// Requests that go on until they are ended.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins with so many requests a second.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn start(namespace: &Namespace, to: SocketAddr, rate: u32) -> anyhow::Result<Self> {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let pace = Duration::from_secs(1) * THREADS / rate;
        let begin = now();
        let mut load = Self { tally, stop, threads: Vec::new() };
        for number in 0..THREADS {
            let file = std::fs::File::open(namespace.path())?;
            let (tally, stop) = (Arc::clone(&load.tally), Arc::clone(&load.stop));
            let mut next = begin + pace * number / THREADS;
            load.threads.push(std::thread::Builder::new().name("load".into()).spawn(
                move || {
                    if let Err(error) = setns(file, CloneFlags::CLONE_NEWNET) {
                        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                        tally.failed.push((now(), format!("setns: {error}")));
                        return;
                    }
                    while !stop.load(Ordering::Relaxed) {
                        std::thread::sleep(next.saturating_duration_since(now()));
                        // Whoever is late catches up by leaving no pause, but not for ever.
                        next = (next + pace)
                            .max(now().checked_sub(Duration::from_secs(1)).unwrap_or(next));
                        let start = now();
                        let first = request(to);
                        // A connection lives in the connection tracking of one node: one that is open at the moment of a move
                        // is reset by whoever gets its next packet. Then a client asks again (RFC 9110 section 9.2.2); nothing
                        // else is forgiven.
                        let reset = first.as_ref().is_err_and(is_reset);
                        let result = if reset { request(to) } else { first };
                        let took = start.elapsed();
                        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                        match result {
                            Ok(()) => {
                                tally.served += 1;
                                tally.repeated.extend(reset.then_some(start));
                                tally.longest = tally.longest.max(took);
                                if took >= SLOW {
                                    tally.slow.push(start);
                                }
                            }
                            Err(error) => tally.failed.push((start, format!("{error:#}"))),
                        }
                    }
                },
            )?);
        }
        Ok(load)
    }

    /// What became of them so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Whether the connection had been made and was reset then. A SYN that is answered by RST is another error, `ConnectionRefused`, so a reset
/// that `connect` tells came after the SYN-ACK.
fn is_reset(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::ConnectionReset)
}

fn request(to: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: rack\r\nconnection: close\r\n\r\n")
        .context("write")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read")?;
    anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"node1"), "no page");
    Ok(())
}
