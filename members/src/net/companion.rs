// SPDX-License-Identifier: Apache-2.0
//! A second protocol on the same UDP port, in the same thread: its datagrams begin with an octet that none of the ring's has.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::heartbeat::wire::{FIRST_BYTE, Mark};
use crate::{DecodeError, Event, Keyring};

/// The first octet of a companion's datagrams. The ring's begin with a message kind (0 to 13), an encryption version (0 or 1) or
/// the mark of a label (244).
pub const COMPANION: u8 = FIRST_BYTE;

/// What callers ask of a companion.
#[derive(Clone, Debug)]
pub enum CompanionCommand {
    /// Tell one member, or all that speak its protocol.
    Notify {
        /// Whom; none for all.
        to: Option<Arc<str>>,
        /// What.
        octets: Vec<u8>,
    },
    /// Carry this from now.
    Mark(Mark),
    /// These are no members any more, by what the API says.
    Gone(BTreeSet<Arc<str>>),
    /// Nothing is to be kept of these, unless they are members.
    Forget(BTreeSet<Arc<str>>),
    /// These should be members, by what the API says.
    Expected(BTreeSet<Arc<str>>),
    /// From now these keys seal and open.
    Keys(Keyring),
    /// There is nobody to wait for.
    Alone,
    /// Whoever listens knows the members as they are now that this one may speak (again).
    Resume,
}

/// What a companion wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompanionOutput {
    /// Send a datagram, which begins with [`COMPANION`].
    Send {
        /// To where.
        to: SocketAddr,
        /// The whole datagram.
        octets: Vec<u8>,
    },
    /// As [`Ring::declare_dead`](crate::Ring::declare_dead).
    DeclareDead(String),
    /// As [`Ring::vouch`](crate::Ring::vouch).
    Vouch(String),
    /// As [`Ring::reappear`](crate::Ring::reappear).
    Reappear,
    /// As [`Ring::exchange`](crate::Ring::exchange).
    Exchange(String),
    /// As [`Ring::set_meta`](crate::Ring::set_meta).
    SetMeta(Vec<u8>),
}

/// A core of its own, without sockets and clock, that is called on the thread of the ring and must return at once. What it wants
/// is asked for after each call.
pub trait Companion: Send {
    /// A datagram that begins with [`COMPANION`].
    ///
    /// # Errors
    /// Why it was not taken.
    fn datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        octets: &mut [u8],
    ) -> Result<(), DecodeError>;
    /// The host at this address said that nothing listens on that port: an ICMP message which came from that address itself, and which
    /// quotes a datagram that was sent there a moment ago.
    fn port_closed(&mut self, now: Instant, to: SocketAddr);
    /// What the ring told of a member.
    fn member_event(&mut self, now: Instant, event: &Event);
    /// A caller asks for something.
    fn command(&mut self, now: Instant, command: CompanionCommand);
    /// The members as they are now can be seen by all.
    fn published(&mut self);
    /// The deadline has passed.
    fn expire(&mut self, now: Instant);
    /// The next thing to carry out.
    fn poll(&mut self) -> Option<CompanionOutput>;
    /// When [`Companion::expire`] is to be called.
    fn deadline(&self) -> Option<Instant>;
    /// Until when the thread may leave everything unread, for a few milliseconds at most, because more is expected by then.
    fn gathers_until(&self, _now: Instant) -> Option<Instant> {
        None
    }
}
