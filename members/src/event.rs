// SPDX-License-Identifier: Apache-2.0
//! What comes out of an agent, and out of its parts: what is to be carried out, and what is told to those above.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::heartbeat::Cause;
use crate::heartbeat::wire::{Mark, Message};
use crate::{State, Versions};

/// What is known of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, which is unique in the ring.
    pub name: Arc<str>,
    /// Where it listens, for packets and streams.
    pub address: SocketAddr,
    /// What its application says of it, 512 octets at most.
    pub meta: Arc<[u8]>,
    /// How it is.
    pub state: State,
    /// The number of its last word about itself.
    pub incarnation: u32,
    /// The protocol versions that it understands and speaks.
    pub versions: Versions,
}

/// Whether this member may speak, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Confirmed,
    /// It has just started and has not met the ring yet.
    Starting,
    /// It stood still, or was declared dead, and the others have not confirmed it since.
    Doubtful,
    /// It is with the few.
    Minority {
        /// With how many, itself included.
        present: usize,
        /// Of how many.
        known: usize,
    },
}

impl Standing {
    /// Its name, for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Starting => "starting",
            Self::Doubtful => "doubtful",
            Self::Minority { .. } => "minority",
        }
    }

    /// Whether it may answer and announce.
    #[must_use]
    pub fn speaks(self) -> bool {
        matches!(self, Self::Confirmed)
    }
}

/// What is to be carried out, in this order. The ring gives [`Output::Packet`] to [`Output::Event`], an agent all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a packet of the memberlist, in a datagram of its own.
    Packet {
        /// To where.
        to: SocketAddr,
        /// The packet, without label and encryption.
        octets: Vec<u8>,
    },
    /// Open a stream, send what [`Ring::stream_message`](crate::Ring::stream_message) says when it is open, read one message, close; then give
    /// the response. To be done once for each.
    Open {
        /// The number of the stream, which is not given twice.
        stream: u64,
        /// To where.
        to: SocketAddr,
        /// How long the whole may take.
        timeout: Duration,
    },
    /// Send the message on a stream that was opened by somebody, and close it.
    Answer {
        /// As in the request.
        stream: u64,
        /// The message, without encryption; an answer has no label.
        octets: Vec<u8>,
    },
    /// Close a stream that was opened by somebody, without an answer.
    Refuse {
        /// As in the request.
        stream: u64,
    },
    /// Something changed.
    Event(Event),
    /// Seal a message of the heartbeat and send it, in a datagram of its own.
    Heartbeat {
        /// To where.
        to: SocketAddr,
        /// The message.
        message: Message,
    },
    /// This member stood still for so long that the others may have declared it dead. For the log: what follows is done.
    StoodStill(Duration),
    /// The failure detector found a member dead, and the ring tells all. For the log: what follows is done.
    DeclaredDead {
        /// Its name.
        name: Arc<str>,
        /// Why.
        cause: Cause,
    },
}

/// What is told to those above. The memberlist tells [`Event::Joined`] to [`Event::Departed`], of this member itself only
/// [`Event::Updated`] and [`Event::Refuted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member is alive that was unknown, dead or gone.
    Joined(Member),
    /// A member said that it leaves; or nobody had reached it, and its place was wanted.
    Left(Member),
    /// A member's meta data changed, or ours was told.
    Updated(Member),
    /// A member did not answer, or somebody says so.
    Suspected {
        /// The member.
        member: Member,
        /// Who says so.
        by: Arc<str>,
    },
    /// A suspect is alive after all; or, if the name is ours, we contradicted somebody's suspicion of us.
    Refuted(Member),
    /// Somebody said that we are dead; it was contradicted.
    Accused,
    /// A member is dead.
    Dead {
        /// The member.
        member: Member,
        /// Who says so.
        by: Arc<str>,
    },
    /// Somebody says that a known member has another address; he is not believed. Told once per address.
    Conflict {
        /// The member as we know it.
        member: Member,
        /// The other address.
        other: SocketAddr,
    },
    /// An address of [`Ring::join`](crate::Ring::join) was contacted.
    Contacted {
        /// The address.
        to: SocketAddr,
        /// Why it was in vain; `None` if we are in one ring now.
        error: Option<Arc<str>>,
    },
    /// Whether addresses of [`Ring::join`](crate::Ring::join) are being contacted that have not been in vain before; told when it changes.
    Joining(bool),
    /// A member that we asked over a stream has told all that it knows, and got all that we know. Whatever it said of us was told before this.
    Exchanged {
        /// Its name.
        name: Arc<str>,
        /// When the stream was opened.
        began: Instant,
    },
    /// The others have been told that we leave.
    Departed,
    /// Members joined, left, or are others than before. Told after what changed them, and before the events below.
    MembersChanged,
    /// Whether this member may speak is another.
    Standing(Standing),
    /// The mark that a member's heartbeats carry is another.
    Marked {
        /// Its name.
        name: Arc<str>,
        /// The mark.
        mark: Mark,
    },
    /// Another member tells something, by [`Command::Notify`](crate::Command::Notify).
    Notice {
        /// Its name.
        from: Arc<str>,
        /// What.
        octets: Vec<u8>,
    },
    /// These members speak the heartbeat and are not heard by it, although they answer over a stream; told when they are others.
    Unheard(BTreeSet<Arc<str>>),
}

impl Event {
    /// Whether the memberlist tells it: then the list of members shows what follows from it.
    #[must_use]
    pub fn is_of_memberlist(&self) -> bool {
        match self {
            Self::Joined(_)
            | Self::Left(_)
            | Self::Updated(_)
            | Self::Suspected { .. }
            | Self::Refuted(_)
            | Self::Accused
            | Self::Dead { .. }
            | Self::Conflict { .. }
            | Self::Contacted { .. }
            | Self::Joining(_)
            | Self::Exchanged { .. }
            | Self::Departed => true,
            Self::MembersChanged
            | Self::Standing(_)
            | Self::Marked { .. }
            | Self::Notice { .. }
            | Self::Unheard(_) => false,
        }
    }

    /// Whether a member is another for it.
    pub(crate) fn changes_members(&self) -> bool {
        matches!(
            self,
            Self::Joined(_)
                | Self::Left(_)
                | Self::Updated(_)
                | Self::Suspected { .. }
                | Self::Refuted(_)
                | Self::Dead { .. }
        )
    }
}
