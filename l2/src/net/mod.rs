// SPDX-License-Identifier: Apache-2.0
//! The shell around the engine: one thread that owns all sockets and does all the answering. Not a place for decisions.
//!
//! ```text
//!   Layer2 (any thread)          Runner (thread "l2", one)
//!     publish, change ──> mpsc ────> Engine ──> PacketSocket   one per link and protocol
//!       └──────── wake (eventfd) ──> Epoll <─── Netlink        one
//!     links <──── Shared.links <───┘      └──> Memberships     as many sockets as the kernel's limits ask for
//! ```

mod memberships;
mod netlink;
mod packet_socket;
mod run;
mod slice;
mod strict_arp;

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use poll::Wake;

pub use strict_arp::{StrictArpProblem, strict_arp_problem};

use crate::{CounterValues, Counters, Desired, Event, LinkReport, Options, Precedence, Scope};

/// The stack of the answering thread; it recurses nowhere.
const STACK: usize = 256 * 1024;

/// The running responder and announcer. Dropping it stops the answering.
#[derive(Debug)]
pub struct Layer2 {
    shared: Arc<Shared>,
    wishes: mpsc::Sender<Wish>,
    thread: Option<JoinHandle<()>>,
}

/// Why answering could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The process may not open packet sockets.
    #[error("cannot answer ARP and NDP: packet sockets need the capability CAP_NET_RAW")]
    NotPermitted(#[source] io::Error),
    /// The kernel refused something else.
    #[error("cannot answer ARP and NDP: {call} failed: {error}")]
    System {
        /// What was tried.
        call: &'static str,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// What passed through the sockets, all links together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that the kernel's filter let through.
    pub frames_received: u64,
    /// Frames that were not answered because this node may not speak at the moment.
    pub silenced: u64,
    /// Frames that had waited too long to be answered still.
    pub stale_dropped: u64,
    /// Frames that could not be sent.
    pub send_errors: u64,
}

/// A change of the addresses that are owned or watched, or a question to the links.
#[derive(Debug)]
enum Wish {
    /// Exactly this.
    All(Desired),
    /// These as said, the others as they are.
    Some(Vec<(IpAddr, Option<Scope>)>),
    /// These are only answered from now.
    Linger(Vec<IpAddr>),
    /// Everything owned is announced as if it were new.
    AnnounceAll,
    /// These are watched where it says, or not at all.
    Watch(Vec<(IpAddr, Option<Scope>)>),
    /// These are asked for once, where they are watched.
    Probe(Vec<IpAddr>),
    /// Such questions carry this precedence from now, or none.
    Precedence(Option<Precedence>),
    /// To be told when everything before is in force.
    Tell(u64),
}

/// What the thread and the callers share.
#[derive(Debug)]
struct Shared {
    /// Counts the wishes, so that the thread sees at the cost of one read that there is a new one.
    published: AtomicU64,
    links: ArcSwap<Vec<LinkReport>>,
    stop: AtomicBool,
    wake: Wake,
    counters: Arc<Counters>,
    frames_received: AtomicU64,
    stale_dropped: AtomicU64,
    silenced: AtomicU64,
    send_errors: AtomicU64,
}

impl Layer2 {
    /// Learns the links, then starts the thread, in the network namespace of the caller. `on_event` is called on that thread
    /// and must return at once: hand the event over, do not act on it there.
    pub fn start(
        options: Options,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        packet_socket::PacketSocket::permitted()?;
        let system = |call| move |error| StartError::System { call, error };
        let counters = Arc::<Counters>::default();
        let shared = Arc::new(Shared {
            published: AtomicU64::new(0),
            links: ArcSwap::default(),
            stop: AtomicBool::new(false),
            wake: Wake::new().map_err(system("eventfd"))?,
            counters: Arc::clone(&counters),
            frames_received: AtomicU64::new(0),
            stale_dropped: AtomicU64::new(0),
            silenced: AtomicU64::new(0),
            send_errors: AtomicU64::new(0),
        });
        let (wishes, receiver) = mpsc::channel();
        let runner = run::Runner::new(options, Arc::clone(&shared), receiver, Box::new(on_event))?;
        let thread = std::thread::Builder::new()
            .name("l2".to_owned())
            .stack_size(STACK)
            .spawn(move || runner.run())
            .map_err(system("starting the thread"))?;
        Ok(Self { shared, wishes, thread: Some(thread) })
    }

    /// From now exactly these addresses are owned. What was owned and is not any more is not answered after this returns, but
    /// for a frame that is being answered at this moment; what stays is not announced again.
    pub fn publish(&self, desired: Desired) {
        self.wish(Wish::All(desired));
    }

    /// From now these addresses are owned where it says, or not at all; the others stay as they are. As [`Self::publish`], at a cost
    /// that does not grow with the number of addresses owned.
    pub fn change(&self, changes: Vec<(IpAddr, Option<Scope>)>) {
        if !changes.is_empty() {
            self.wish(Wish::Some(changes));
        }
    }

    /// From now these addresses are answered, if they are owned, and no longer announced: they pass to another node. Conflicts
    /// about them are none. It ends with the next change of the address.
    pub fn answer_only(&self, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            self.wish(Wish::Linger(addresses));
        }
    }

    /// Announces everything owned as if it were new.
    pub fn announce_all(&self) {
        self.wish(Wish::AnnounceAll);
    }

    /// From now these addresses are watched where it says, or not at all; the others stay as they are.
    /// [`Event::Answered`] tells of another station that claims a watched address. It makes no difference to what is
    /// owned, and nothing is sent.
    pub fn watch(&self, changes: Vec<(IpAddr, Option<Scope>)>) {
        if !changes.is_empty() {
            self.wish(Wish::Watch(changes));
        }
    }

    /// Asks once for each of these addresses, on each link on which it is watched, whether another station has it. A
    /// station that was told before is told again. Addresses that are not watched are left out; while the permit does
    /// not hold, nothing is asked, also not later.
    pub fn probe(&self, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            self.wish(Wish::Probe(addresses));
        }
    }

    /// The questions of later calls of [`Self::probe`] carry this precedence, or none.
    pub fn set_precedence(&self, precedence: Option<Precedence>) {
        self.wish(Wish::Precedence(precedence));
    }

    /// [`Event::Done`] with this number comes when everything wished before is answered for and was announced once.
    pub fn tell(&self, number: u64) {
        self.wish(Wish::Tell(number));
    }

    fn wish(&self, wish: Wish) {
        // Nobody receives only when the thread has ended, with which everything has.
        let _ = self.wishes.send(wish);
        self.shared.published.fetch_add(1, Ordering::Release);
        self.shared.wake.wake();
    }

    /// The links of the node, and what answers on each.
    #[must_use]
    pub fn links(&self) -> Arc<Vec<LinkReport>> {
        self.shared.links.load_full()
    }

    /// The counters of every address that was ever counted.
    #[must_use]
    pub fn counters(&self) -> Vec<(IpAddr, CounterValues)> {
        self.shared.counters.values()
    }

    /// What passed through the sockets.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            frames_received: self.shared.frames_received.load(Ordering::Relaxed),
            silenced: self.shared.silenced.load(Ordering::Relaxed),
            stale_dropped: self.shared.stale_dropped.load(Ordering::Relaxed),
            send_errors: self.shared.send_errors.load(Ordering::Relaxed),
        }
    }

    /// Stops answering and waits until the thread is gone. Not to be called from `on_event`.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the answering thread had panicked");
        }
    }
}

impl Drop for Layer2 {
    fn drop(&mut self) {
        self.stop();
    }
}
