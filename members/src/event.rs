// SPDX-License-Identifier: Apache-2.0
//! The outputs of an agent and of its parts: actions to be carried out, and events for the layer above.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::heartbeat::Cause;
use crate::heartbeat::wire::{Mark, Message};
use crate::{State, Versions};

/// A member as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's name, which is unique in the ring.
    pub name: Arc<str>,
    /// The address at which the member listens, for packets and streams.
    pub address: SocketAddr,
    /// The member's metadata, 512 octets at most.
    pub meta: Arc<[u8]>,
    /// The member's state.
    pub state: State,
    /// The number of the member's last message about itself.
    pub incarnation: u32,
    /// The protocol versions that the member understands and uses.
    pub versions: Versions,
}

/// The standing of this member: whether it may answer, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The member may answer.
    Confirmed,
    /// The member has just started and has not met the ring yet.
    Starting,
    /// The member stood still, or was declared dead, and the others have not confirmed it since.
    Doubtful,
    /// The member is with the minority.
    Minority {
        /// The number of members present, this one included.
        present: usize,
        /// The number of members known, this one included.
        known: usize,
    },
    /// The member is with the minority, or has started and met nobody although others are listed; its link has the last word. The member may
    /// answer for an address once it has asked the link, and no other station answers.
    ByLink {
        /// The number of members present, this one included.
        present: usize,
        /// The number of members known or listed, this one included.
        known: usize,
        /// False if this member has met no other since its start: nobody else counts on a majority without it.
        met: bool,
    },
}

impl Standing {
    /// The name of the standing, for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Starting => "starting",
            Self::Doubtful => "doubtful",
            Self::Minority { .. } => "minority",
            Self::ByLink { .. } => "link",
        }
    }

    /// True if the member may answer and announce.
    #[must_use]
    pub fn speaks(self) -> bool {
        matches!(self, Self::Confirmed)
    }

    /// True if the member may answer for addresses that no other station of its link answers for.
    #[must_use]
    pub fn asks_link(self) -> bool {
        matches!(self, Self::ByLink { .. })
    }

    /// True if what the member announces stays while the link is being asked: the member has met no other, or knows one other alone, so that
    /// no majority without it can have taken that over.
    #[must_use]
    pub fn keeps_announced(self) -> bool {
        matches!(self, Self::ByLink { met, known, .. } if !met || known <= 2)
    }
}

/// An action or an event, to be carried out in this order. The ring gives [`Output::Packet`] to [`Output::Event`], an agent all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a packet of the memberlist, in a datagram of its own.
    Packet {
        /// The receiver's address.
        to: SocketAddr,
        /// The packet, without label and encryption.
        octets: Vec<u8>,
    },
    /// Open a stream, send the result of [`Ring::stream_message`](crate::Ring::stream_message) once the stream is open, read one message,
    /// close; then give the response. To be done once for each.
    Open {
        /// The number of the stream, which is not used twice.
        stream: u64,
        /// The address to connect to.
        to: SocketAddr,
        /// The time that the whole exchange may take.
        timeout: Duration,
    },
    /// Send the message on a stream that another member opened, and close the stream.
    Answer {
        /// The number in the request.
        stream: u64,
        /// The message, without encryption; an answer has no label.
        octets: Vec<u8>,
    },
    /// Close a stream that another member opened, without an answer.
    Refuse {
        /// The number in the request.
        stream: u64,
    },
    /// An event for the layer above.
    Event(Event),
    /// Seal a message of the heartbeat and send it, in a datagram of its own.
    Heartbeat {
        /// The receiver's address.
        to: SocketAddr,
        /// The message.
        message: Message,
    },
    /// This member stood still for so long that the others may have declared it dead. For the log: the consequences are other outputs.
    StoodStill(Duration),
    /// The failure detector found a member dead, and the ring tells all members. For the log: the consequences are other outputs.
    DeclaredDead {
        /// The member's name.
        name: Arc<str>,
        /// The cause.
        cause: Cause,
    },
}

/// An event for the layer above. The memberlist tells [`Event::Joined`] to [`Event::Departed`], about this member itself only
/// [`Event::Updated`] and [`Event::Refuted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member is alive that was unknown, dead or gone.
    Joined(Member),
    /// A member said that it leaves; or no member had reached it, and its place was needed.
    Left(Member),
    /// A member's metadata changed, or this member's metadata was told.
    Updated(Member),
    /// A member did not answer, or another member says so.
    Suspected {
        /// The member.
        member: Member,
        /// The member that says so.
        by: Arc<str>,
    },
    /// A suspect is alive after all; or, if the name is this member's, this member contradicted a suspicion of itself.
    Refuted(Member),
    /// Another member said that this one is dead, and was contradicted.
    Accused,
    /// The failure detector of this member found that the port of a member is closed: its process has ended, and its host goes on. The
    /// member's death follows.
    Ended(Arc<str>),
    /// A member is dead.
    Dead {
        /// The member.
        member: Member,
        /// The member that says so.
        by: Arc<str>,
    },
    /// Another member gives a different address for a known member, and is not believed. Told once per address.
    Conflict {
        /// The member as it is known.
        member: Member,
        /// The other address.
        other: SocketAddr,
    },
    /// An address of [`Ring::join`](crate::Ring::join) was contacted.
    Contacted {
        /// The address.
        to: SocketAddr,
        /// The reason why the contact failed; `None` if both are in one ring now.
        error: Option<Arc<str>>,
    },
    /// Tells whether addresses of [`Ring::join`](crate::Ring::join) are being contacted that have not failed before. Told when that changes.
    Joining(bool),
    /// A member that was asked over a stream has told all that it knows, and got all that this member knows. Its word about this member was
    /// told before this event.
    Exchanged {
        /// The member's name.
        name: Arc<str>,
        /// The time at which the stream was opened.
        began: Instant,
    },
    /// The others have been told that this member leaves.
    Departed,
    /// Members joined, left or changed. Told after the change, and before the events below.
    MembersChanged,
    /// The standing of this member has changed.
    Standing(Standing),
    /// The mark in a member's heartbeats has changed.
    Marked {
        /// The member's name.
        name: Arc<str>,
        /// The mark.
        mark: Mark,
    },
    /// Another member sends octets, by [`Command::Notify`](crate::Command::Notify).
    Notice {
        /// The sender's name.
        from: Arc<str>,
        /// The octets.
        octets: Vec<u8>,
    },
    /// These members use the heartbeat and are not heard by it, although they answer over a stream. Told when the set changes.
    Unheard(BTreeSet<Arc<str>>),
    /// These members of the ring are not heard, while the link has the last word ([`Standing::ByLink`]): nobody is to wait for them. Told when
    /// the set changes.
    Lost(BTreeSet<Arc<str>>),
}

impl Event {
    /// True if the memberlist tells the event: then the list of members shows its effect.
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
            | Self::Ended(_)
            | Self::Standing(_)
            | Self::Marked { .. }
            | Self::Notice { .. }
            | Self::Unheard(_)
            | Self::Lost(_) => false,
        }
    }

    /// True if the event changes a member.
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
