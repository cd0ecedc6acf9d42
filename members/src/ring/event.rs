// SPDX-License-Identifier: Apache-2.0
//! What goes into the ring and what comes out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A packet came; label and encryption are off.
    Packet {
        /// From where.
        from: SocketAddr,
        /// The packet.
        octets: &'a [u8],
    },
    /// A packet to there could not be sent, or the host has no such port.
    Unreachable {
        /// Where it should have gone.
        to: SocketAddr,
        /// The host is there and says that nobody listens.
        port_closed: bool,
    },
    /// Somebody opened a stream and sent a message; label and encryption are off. It is answered by [`Output::Answer`] or
    /// [`Output::Refuse`], in the same turn.
    Request {
        /// The number that the caller gives the stream.
        stream: u64,
        /// The message.
        octets: &'a [u8],
    },
    /// What became of [`Output::Open`]: the answer, or why there is none. To be given once for each.
    Response {
        /// As in the output.
        stream: u64,
        /// The answer; label and encryption are off.
        result: Result<&'a [u8], &'a str>,
    },
    /// The deadline has passed.
    Deadline,
}

/// What is to be carried out, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a packet, in a datagram of its own.
    Packet {
        /// To where.
        to: SocketAddr,
        /// The packet, without label and encryption.
        octets: Vec<u8>,
    },
    /// Open a stream, send what [`Ring::stream_message`](crate::Ring::message) says when it is open, read one message, close; then give
    /// [`Input::Response`].
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
}

/// A change. Of ourselves only [`Event::Updated`] and [`Event::Refuted`] are told.
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
}
