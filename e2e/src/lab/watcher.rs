// SPDX-License-Identifier: Apache-2.0
//! Who has an address, frame by frame, as the client sees it: asks for it every few milliseconds and keeps every frame that
//! claims it, with the kernel's time of its arrival. The threads only open their sockets in the client's namespace, so their times are the
//! clock of whoever causes the faults.

mod frame;
mod record;

use std::fs::File;
use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::Socket;

pub use record::{Record, Sighting};

use super::netns::Namespace;
use super::wait::now;
use crate::packet;

/// How often the address is asked for.
pub const EVERY: Duration = Duration::from_millis(10);

/// A watcher; it ends when it is dropped.
#[derive(Debug)]
pub struct Watcher {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to watch an address on a link of a namespace; asks for it every [`EVERY`] if `asks`.
    ///
    /// # Errors
    /// When the namespace or the link is gone.
    pub fn start(
        namespace: &Namespace,
        link: &str,
        address: IpAddr,
        asks: bool,
    ) -> anyhow::Result<Self> {
        let (sender, receiver) = sockets(namespace, link, address)?;
        let record = Arc::new(Mutex::new(Record::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (records, stops) = (Arc::clone(&record), Arc::clone(&stop));
        let mut threads = vec![thread("watch", move || {
            while !stops.load(Ordering::Relaxed) {
                if let Some(sighting) = receive(&receiver, address) {
                    lock(&records).sightings.push(sighting);
                }
            }
        })?];
        if asks {
            let (records, stops) = (Arc::clone(&record), Arc::clone(&stop));
            threads.push(thread("ask", move || {
                let mut next = now();
                let mut number: u16 = 0;
                while !stops.load(Ordering::Relaxed) {
                    // The moment comes first: no answer can be older than its question.
                    lock(&records).questions.push(now());
                    // A link that is down at the other end takes the frame all the same.
                    let _ = sender.send(&frame::question(address, number));
                    number = number.wrapping_add(1);
                    next += EVERY;
                    std::thread::sleep(next.saturating_duration_since(now()));
                }
            })?);
        }
        Ok(Self { record, stop, threads })
    }

    /// All that was seen so far.
    #[must_use]
    pub fn record(&self) -> Record {
        lock(&self.record).clone()
    }

    /// Looks at what was seen so far without copying it.
    pub fn with<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&lock(&self.record))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}

/// Runs something on a thread in a namespace; sockets that it opens stay there.
///
/// # Errors
/// When the namespace is gone, or as it says itself.
pub fn inside<T: Send>(
    namespace: &Namespace,
    run: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let file = File::open(namespace.path())?;
    std::thread::scope(|scope| {
        let running = scope.spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).context("setns")?;
            run()
        });
        running.join().map_err(|_| anyhow!("panicked in a namespace"))?
    })
}

fn sockets(namespace: &Namespace, link: &str, address: IpAddr) -> anyhow::Result<(Socket, Socket)> {
    let ethertype = match address {
        IpAddr::V4(_) => packet::ARP,
        IpAddr::V6(_) => packet::IPV6,
    };
    inside(namespace, || {
        let sender = packet::socket(link, ethertype)?;
        // It only sends: what comes in shall not pile up.
        sender.set_recv_buffer_size(1)?;
        let receiver = packet::socket(link, ethertype)?;
        receiver.set_recv_buffer_size(8 << 20)?;
        receiver.set_read_timeout(Some(Duration::from_millis(100)))?;
        setsockopt(&receiver, sockopt::ReceiveTimestampns, &true)?;
        Ok((sender, receiver))
    })
}

fn receive(socket: &Socket, address: IpAddr) -> Option<Sighting> {
    let mut octets = [0; 256];
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(&mut octets)];
    let flags = MsgFlags::empty();
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    let length = message.bytes;
    let arrived = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
        _ => None,
    })?;
    let claim = frame::claim(octets.get(..length)?, address)?;
    let (at, real) = (now(), real_time());
    let at = at.checked_sub(real.saturating_sub(arrived)).unwrap_or(at);
    Some(Sighting { at, real: arrived, mac: claim.mac, answers: claim.answers })
}

/// Time since 1970.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the rack measures real programs in real time")]
pub fn real_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// So long before or after a moment, in milliseconds.
#[must_use]
pub fn milliseconds(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(time) => time.as_secs_f64() * 1e3,
        None => from.saturating_duration_since(to).as_secs_f64() * -1e3,
    }
}
